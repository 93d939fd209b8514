"""Init that executions wait for: worth a snapshot, or work that could be left until it is needed."""

from collections.abc import Iterator

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    ms,
    percent,
    ratio,
    share_measure,
)

# A copy of a template is ready in about this time.
RESTORED_MS = 10.0
# People notice; what takes less is mostly the interpreter's own.
INIT_MS = 100.0
# One call in a hundred is the 99th percentile, which is what callers complain of.
COLD = 0.01
# So many inits must have been seen: a few may have met a busy machine.
INITS = 5


def slow_init(known: Known) -> Iterator[Finding]:
    """Init that takes long and is met often enough."""
    profile = known.profile
    init = profile.init_ms
    cold = min(1.0, known.per_execution(init.count))
    if not known.enough(profile.sampled) or init.p50 < INIT_MS or cold < COLD:
        return
    if cold * profile.sampled < INITS:
        return
    gain = known.saves_ms(
        cold * (init.mean - RESTORED_MS),
        f"share of executions that initialise, times mean init less the {RESTORED_MS:.0f} ms of a copy",
    )
    yield known.finding(
        Kind.INIT,
        f"{percent(cold)} of executions of {profile.function} wait {ms(init.p50)} for init",
        Confidence.HIGH,
        [
            share_measure("executions that had to initialise", cold),
            Measure("init, median", init.p50, "ms"),
            Measure("init, 95th percentile", init.p95, "ms"),
            Measure("duration, median", profile.duration_ms.p50, "ms"),
            Measure("init as a multiple of the duration", ratio(init.p50, profile.duration_ms.p50)),
        ],
        gain,
        advice="Turn SnapStart on for published versions, so that a sandbox begins as a copy of one that is initialised; "
        "or import what only some calls need inside the handler. "
        f"Those executions then begin about {ms(max(0.0, init.p50 - RESTORED_MS))} earlier.",
        condition="What init makes (connections, random numbers) may be copied, or is made anew after a restore.",
    )
