"""What a policy did in a replay: cold starts, idle memory, waiting. Scores of hosts add up. Pure.

Functions are counted that were called in the time that counts, which begins after the training.
"""

from array import array
from collections import Counter
from collections.abc import Sequence

import msgspec

MB_PER_GB = 1024.0


class Score:
    """``delays`` counts the calls that waited for a start, by milliseconds; ``peak_mb`` is the most that one host held.

    ``over`` counts minutes of hosts in which more was held than there is; ``ahead`` the calls that found a sandbox which
    nobody had used before, where that is known.
    """

    def __init__(self) -> None:
        self.invocations = 0
        self.cold = 0
        self.wasted_mb_minutes = 0.0
        self.used_mb_minutes = 0.0
        self.rates = array("d")
        self.delays: Counter[float] = Counter()
        self.peak_mb = 0.0
        self.over = 0
        self.ahead = 0

    def add(self, other: "Score") -> None:
        """That of another host."""
        self.invocations += other.invocations
        self.cold += other.cold
        self.wasted_mb_minutes += other.wasted_mb_minutes
        self.used_mb_minutes += other.used_mb_minutes
        self.rates.extend(other.rates)
        self.delays.update(other.delays)
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        self.over += other.over
        self.ahead += other.ahead

    def called(self, invocations: int, cold: int) -> None:
        """What one function had."""
        if invocations:
            self.invocations += invocations
            self.cold += cold
            self.rates.append(cold / invocations)

    def held(self, by_minute: Sequence[float], memory_mb: float | None) -> None:
        """The megabytes that a host held in each minute, of those it has."""
        self.peak_mb = max(self.peak_mb, max(by_minute, default=0.0))
        if memory_mb is not None:
            self.over += sum(each > memory_mb * (1 + 1e-9) for each in by_minute)

    def result(self, name: str, seconds: float) -> "Result":
        """In figures; ``seconds`` is what it took to compute."""
        rates = sorted(self.rates)
        return Result(
            name=name,
            cold_starts=self.cold,
            wasted_gb_minutes=round(self.wasted_mb_minutes / MB_PER_GB, 2),
            used_gb_minutes=round(self.used_mb_minutes / MB_PER_GB, 2),
            q50=_percent(rates, 0.5),
            q75=_percent(rates, 0.75),
            invocations=self.invocations,
            cold_percent=round(100.0 * self.cold / max(1, self.invocations), 4),
            added_latency_ms=_latency(self.delays, self.invocations),
            functions=len(rates),
            peak_host_gb=round(self.peak_mb / MB_PER_GB, 3),
            minutes_over_memory=self.over,
            seconds=round(seconds, 3),
        )


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The score of one policy in figures.

    ``q50`` and ``q75`` are quantiles over functions of the percentage of calls that started cold. ``added_latency_ms`` has what
    starts added to calls: ``p50``, ``p95``, ``p99`` over all calls, and the ``total``.
    """

    name: str
    cold_starts: int
    wasted_gb_minutes: float
    used_gb_minutes: float
    q50: float
    q75: float
    invocations: int
    cold_percent: float
    added_latency_ms: dict[str, float]
    functions: int
    peak_host_gb: float
    minutes_over_memory: int
    seconds: float


def _percent(rates: Sequence[float], share: float) -> float:
    return round(rates[int(share * (len(rates) - 1))] * 100, 1) if rates else 0.0


def _latency(delays: Counter[float], invocations: int) -> dict[str, float]:
    waited = sum(delays.values())
    found = {
        name: _waited(delays, int(share * (invocations - 1)) - (invocations - waited))
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    total = sum(delay * count for delay, count in delays.items())
    return {**found, "total": round(total, 3)}


def _waited(delays: Counter[float], place: int) -> float:
    """How long the call at this place waited, of those that waited, in order; those before them did not."""
    if place < 0:
        return 0.0
    for delay in sorted(delays):
        place -= delays[delay]
        if place < 0:
            return round(delay, 3)
    return 0.0
