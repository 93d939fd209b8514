"""A function that is called by nearly every execution, at the cost of a call and now and then of a cold start."""

from collections.abc import Iterator

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    ms,
    named,
    ratio,
    share_measure,
)
from forerun.profiles.profile import FUNCTION, CalleeProfile, Profile

# Nearly every execution; the lower end keeps chance out.
ALWAYS = 0.95
ALWAYS_LOW = 0.85
# What a call costs beside the work of the callee; less than this is not worth a change.
GAIN_MS = 5.0
GAIN_SHARE = 0.05


def always_called(known: Known) -> Iterator[Finding]:
    """Functions that could as well be part of this one, or be made ready as soon as this one begins."""
    for callee in known.called():
        likelihood = callee.likelihood
        if callee.kind != FUNCTION or likelihood.value < ALWAYS or likelihood.low < ALWAYS_LOW:
            continue
        if callee.name != known.profile.function:
            yield from _told(known, callee, known.callees.get(callee.name))


def _told(known: Known, callee: CalleeProfile, other: Profile | None) -> Iterator[Finding]:
    if other is None or not known.enough(other.sampled):
        return
    calls = known.per_execution(callee.calls)
    beside = max(0.0, callee.latency_ms.p50 - other.duration_ms.p50)
    cold = min(1.0, ratio(other.init_ms.count, other.executions))
    init = cold * other.init_ms.mean
    critical = callee.critical_share * known.profile.duration_ms.mean
    gain = known.saves_ms(
        min(calls * (beside + init), critical),
        "calls per execution, times (median latency less the callee's median duration, and its init times the share "
        "of its executions that initialise), as far as the execution waited for it",
    )
    if gain.amount < GAIN_MS or gain.share < GAIN_SHARE:
        return
    name, me = named(callee), known.profile.function
    how = (
        f"Have {name} ready when {me} begins (provisioned concurrency or SnapStart of {name}), or make both one function"
        if init >= beside
        else f"Make {name} a part of {me} (a module or a layer), or call it once for several things"
    )
    yield known.finding(
        Kind.ALWAYS,
        f"{me} always calls {name}",
        Confidence.MEDIUM,
        [
            share_measure(
                "executions that call it",
                callee.likelihood.value,
                callee.likelihood.low,
                callee.likelihood.high,
            ),
            Measure("calls in each execution", calls, "calls"),
            Measure("latency, median", callee.latency_ms.p50, "ms"),
            Measure("its own duration, median", other.duration_ms.p50, "ms"),
            share_measure("of its executions that initialise", cold),
            Measure("its init, mean", other.init_ms.mean, "ms"),
            Measure("from the start to the first call, median", callee.delay_ms.p50, "ms"),
        ],
        gain,
        callees=[callee.key],
        advice=f"{how}: that saves up to {ms(gain.amount)} of each execution.",
        condition=f"{name} needs no rights, memory or limits of its own, if they are made one.",
    )
