"""How a quantity is distributed, in bounded space: counts in buckets that are each 2 % wide.

Any quantile is told within 1 % of the value that a sorted list would give, and sketches of parts merge into the sketch
of the whole (the idea of DDSketch: Masson, Rim, Lee, VLDB 2019).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from forerun.profiles.profile import Quantiles

ERROR = 0.01
# What is smaller counts as zero, what is larger as this: at most 1,382 buckets.
SMALLEST, LARGEST = 1e-3, 1e9
_GAMMA = (1 + ERROR) / (1 - ERROR)
_PER_LOG = 1 / math.log(_GAMMA)
_MIDDLE = 2 / (1 + _GAMMA)
_COARSE = 1.2
_PER_COARSE = 1 / math.log(_COARSE)
_COARSEST = 0.01
_log, _ceil = math.log, math.ceil


class Sketch(msgspec.Struct, array_like=True, gc=False):
    """Weighted values of at least zero; what is below zero or no number counts as zero."""

    buckets: dict[int, int] = {}
    zeros: int = 0
    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = 0.0

    def add(self, value: float, weight: int = 1) -> None:
        """Count ``value`` as often as ``weight`` says."""
        self.count += weight
        if not value > SMALLEST:
            self.zeros += weight
            self.least = 0.0
            return
        if value > LARGEST:  # noqa: PLR1730 half a million times a second
            value = LARGEST
        index = _ceil(_log(value) * _PER_LOG)
        buckets = self.buckets
        buckets[index] = buckets.get(index, 0) + weight
        self.total += value * weight
        if value < self.least:  # noqa: PLR1730 as above
            self.least = value
        if value > self.most:  # noqa: PLR1730 as above
            self.most = value

    def move(self, old: float, new: float, weight: int) -> None:
        """Count ``new`` in place of ``old``, which was counted before. Both must be at least 1."""
        index = _ceil(_log(old) * _PER_LOG)
        left = self.buckets.get(index, 0) - weight
        if left > 0:
            self.buckets[index] = left
        else:
            self.buckets.pop(index, None)
        self.count -= weight
        self.total -= old * weight
        self.add(new, weight)

    def merge(self, other: "Sketch") -> None:
        """Count everything that ``other`` has counted."""
        buckets = self.buckets
        if not buckets:
            self.buckets = other.buckets.copy()
        else:
            for index, count in other.buckets.items():
                buckets[index] = buckets.get(index, 0) + count
        self.zeros += other.zeros
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    @property
    def mean(self) -> float:
        """The average; 0 when nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The smallest values that each of the ``shares`` (rising, 0 to 1) of all is not above; 0 when nothing was counted."""
        found: list[float] = []
        buckets = self.buckets
        indexes = sorted(buckets)
        passed = list(accumulate(map(buckets.__getitem__, indexes), initial=self.zeros))
        for share in shares:
            rank = max(1, _ceil(share * self.count - 1e-9))
            place = min(bisect_left(passed, rank), len(indexes))
            value = _MIDDLE * _GAMMA ** indexes[place - 1] if place else 0.0
            found.append(min(max(value, self.least), self.most) if place else 0.0)
        return found


def coarse(value: float) -> float:
    """``value`` within 10 %, one of few numbers: for what is sketched so often that a tenth of the buckets must do."""
    if not value > _COARSEST:
        return 0.0
    return float(_COARSE ** round(_log(min(value, LARGEST)) * _PER_COARSE))


def summary(sketch: Sketch) -> Quantiles:
    """The sketch as profiles show it."""
    if not sketch.count:
        return Quantiles()
    p50, p90, p95, p99 = sketch.quantiles((0.5, 0.9, 0.95, 0.99))
    return Quantiles(
        count=sketch.count,
        mean=sketch.mean,
        min=sketch.least,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=sketch.most,
    )
