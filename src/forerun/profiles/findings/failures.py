"""Errors that come from one callee, and timeouts in which one callee was being waited for."""

from collections.abc import Iterator

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    named,
    percent,
    ratio,
    share_measure,
)
from forerun.profiles.profile import CalleeProfile

# Answers that a program may ask for: not there, not changed, somebody was quicker, condition not met.
EXPECTED = frozenset({"304", "404", "409", "410", "412"})
# A token has run out: an answer that is asked for as long as most calls get another.
RENEWED = frozenset({"401"})
# One call in twenty, surely; below that they are what networks do.
ERROR_SHARE = 0.05
# So many were seen, weights left aside.
ERRORS = 10.0
TIMEOUTS = 3.0
# What is also under way when executions end in time runs in the background, and nobody waits for it.
LEFT_BEHIND = 1.5
# One callee has nearly all of them; where two share them the cause is likely to be on this side.
CONCENTRATED = 0.8


def callee_errors(known: Known) -> Iterator[Finding]:
    """The one callee that the failed calls are to."""
    profile = known.profile
    failed = {callee.key: sum(_failed(callee).values()) for callee in profile.callees}
    together = sum(failed.values())
    for callee in known.called():
        part = ratio(failed[callee.key], together)
        share = known.share_of_calls(failed[callee.key], callee)
        seen = known.per_execution(failed[callee.key]) * profile.sampled
        if part < CONCENTRATED or share.low < ERROR_SHARE or seen < ERRORS:
            continue
        commonest = max(_failed(callee).items(), key=lambda item: item[1])[0]
        lost = known.per_execution(failed[callee.key]) * callee.latency_ms.mean
        yield known.finding(
            Kind.ERRORS,
            f"{percent(share.value)} of the calls of {named(callee)} by {profile.function} fail, mostly with {commonest}",
            Confidence.HIGH,
            [
                share_measure("calls that fail", share.value, share.low, share.high),
                share_measure("of all failed calls that are to it", part),
                *(
                    Measure(name, count, "calls")
                    for name, count in sorted(callee.errors.items(), key=lambda item: -item[1])[:5]
                ),
                share_measure(
                    f"executions of {profile.function} that fail",
                    profile.error_rate.value,
                    profile.error_rate.low,
                    profile.error_rate.high,
                ),
            ],
            known.saves_ms(lost, "failed calls per execution times the mean latency"),
            callees=[callee.key],
            advice=f"Look at what {named(callee)} says in these cases, and what the request looks like; "
            "decide what an execution does without its answer.",
        )


def timeouts(known: Known) -> Iterator[Finding]:
    """The callee that was under way when executions ran out of time."""
    profile = known.profile
    seen = known.per_execution(profile.timeouts) * profile.sampled
    if seen < TIMEOUTS or not known.enough(profile.sampled):
        return
    for callee in profile.callees:
        part = min(1.0, ratio(callee.unfinished, profile.timeouts))
        left_behind = callee.unfinished > LEFT_BEHIND * profile.timeouts
        if callee.via or part < CONCENTRATED or left_behind:
            continue
        often = min(1.0, known.per_execution(profile.timeouts))
        lost = often * max(0.0, profile.duration_ms.max - profile.duration_ms.p50)
        yield known.finding(
            Kind.TIMEOUTS,
            f"{profile.function} runs out of time while waiting for {named(callee)}",
            Confidence.HIGH,
            [
                share_measure("executions that run out of time", often),
                Measure("timeouts", profile.timeouts, "executions"),
                share_measure("of them with a call of it under way", part),
                Measure(
                    "latency of calls that ended, 95th percentile", callee.latency_ms.p95, "ms"
                ),
                Measure("duration, longest", profile.duration_ms.max, "ms"),
            ],
            known.saves_ms(
                lost,
                "share of timeouts times the longest duration less the median: what failing early gives back",
            ),
            callees=[callee.key],
            advice=f"Give the call a time limit of its own, well below the function's (the latency's 95th percentile is "
            f"{callee.latency_ms.p95:.0f} ms), and answer without it or fail early.",
        )


def _failed(callee: CalleeProfile) -> dict[str, float]:
    """Calls that failed in a way nobody asks for, by what they failed with."""
    return {
        name: count
        for name, count in callee.errors.items()
        if name not in EXPECTED and not (name in RENEWED and count < callee.calls / 2)
    }
