"""Calls that fail and are made again, so that a callee in trouble gets more of them."""

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

# A callee gets half as many calls again as were wanted. A retry here and there is what retries are for.
MORE = 0.5
# So many were seen, weights left aside: a short outage is no habit.
RETRIES = 10


def retry_storms(known: Known) -> Iterator[Finding]:
    """Callees whose calls are to a large part repetitions of failed ones."""
    profile = known.profile
    for callee in known.called():
        wanted = callee.calls - callee.retries
        more = ratio(callee.retries, wanted)
        seen = known.per_execution(callee.retries) * profile.sampled
        if more < MORE or seen < RETRIES:
            continue
        lost = known.per_execution(callee.retries) * callee.latency_ms.mean
        yield known.finding(
            Kind.RETRIES,
            f"{profile.function} makes {1 + more:.1f} times the calls of {named(callee)} that it wants, by retrying",
            Confidence.HIGH,
            [
                Measure("calls", callee.calls, "calls"),
                Measure("of them repetitions of a failed one", callee.retries, "calls"),
                share_measure(
                    "calls that fail",
                    callee.error_rate.value,
                    callee.error_rate.low,
                    callee.error_rate.high,
                ),
                Measure("refused as too many", callee.throttles, "calls"),
                Measure("latency, mean", callee.latency_ms.mean, "ms"),
            ],
            known.saves_ms(lost, "repetitions per execution times the mean latency"),
            callees=[callee.key],
            advice="Retry less often and with growing, random pauses, and stop calling for a while when most calls fail "
            f"(a circuit breaker). {_cause(callee.throttles, callee.retries)} "
            f"Retrying now costs {ms(lost)} of each execution.",
        )


def _cause(throttles: float, retries: float) -> str:
    if throttles >= retries / 2:
        return "Most refusals are throttles: ask for less at once, or for a higher limit."
    return "Mend what makes the calls fail first."
