"""Time in which an execution does nothing but wait for one callee."""

from collections.abc import Iterator

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    ms,
    named,
    percent,
    ratio,
    share_measure,
)

# Where more than half of the time goes there is the place to look at first.
SHARE = 0.5
# A function that waits for less than this is quick enough as it is.
WAITED_MS = 50.0
# A callee whose slow calls take so many times as long as its usual ones is worth a look of its own.
TAIL = 5.0


def waiting(known: Known) -> Iterator[Finding]:
    """The callee that an execution waits for most of its time."""
    profile = known.profile
    for callee in known.called():
        waited = callee.critical_share * profile.duration_ms.mean
        if callee.critical_share < SHARE or waited < WAITED_MS:
            continue
        tail = ratio(callee.latency_ms.p95, callee.latency_ms.p50)
        slow = (
            f" Its slow calls take {tail:.0f} times as long as its usual ones: begin there."
            if tail >= TAIL
            else ""
        )
        yield known.finding(
            Kind.WAITING,
            f"{profile.function} spends {percent(callee.critical_share)} of its time waiting for {named(callee)}",
            Confidence.HIGH,
            [
                share_measure("duration in which only this was waited for", callee.critical_share),
                Measure("waited in each execution, mean", waited, "ms"),
                Measure(
                    "calls in each execution that calls it",
                    callee.calls_per_execution.mean,
                    "calls",
                ),
                Measure("latency, median", callee.latency_ms.p50, "ms"),
                Measure("latency, 95th percentile", callee.latency_ms.p95, "ms"),
                Measure("duration, mean", profile.duration_ms.mean, "ms"),
            ],
            known.saves_ms(
                waited,
                "the time waited for it: the most that a quicker or a missing call could give",
            ),
            callees=[callee.key],
            advice=f"Make {named(callee)} quicker or keep its answers; if its answer is not needed at once, "
            f"hand the work over as an event: up to {ms(waited)} of memory held for nothing.{slow}",
        )
