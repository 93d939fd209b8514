"""What happened within the last so many seconds, in bounded memory: a ring of sixty buckets.

A window of 60 s is looked at in steps of 1 s: what happened between 59 and 60 s ago may have left it already.
"""

import math

import msgspec

BUCKETS = 60
# Values of a quantile are told apart by this factor, so that an answer is off by 2.5 % at most.
STEP = 1.05
_LOG_STEP = math.log(STEP)
SMALLEST, LARGEST = 1e-3, 1e12
_NOTHING = -1_000_000


class Bucket(msgspec.Struct, array_like=True):
    """What happened in one step: how much, the values' sum, and how many there were of each size."""

    step: int
    count: int = 0
    total: float = 0.0
    sizes: dict[int, int] = {}


class Window(msgspec.Struct, array_like=True):
    """``over`` seconds. Times are epoch seconds; what is late by more than ``over`` is left out.

    ``sized``: values are kept by size, for quantiles.
    """

    over: float
    sized: bool = False
    buckets: list[Bucket] = []

    def add(self, at: float, value: float) -> None:
        """Something of this value happened at ``at``."""
        bucket = self._bucket(math.floor(at / self._length))
        bucket.count += 1
        bucket.total += value
        if self.sized:
            size = _size(value)
            bucket.sizes[size] = bucket.sizes.get(size, 0) + 1

    def expire(self, now: float) -> None:
        """Forget what is too old at ``now``, and what would lie in the future: the clock was set back."""
        last = math.floor(now / self._length)
        buckets = self.buckets
        if buckets and (buckets[0].step <= last - BUCKETS or buckets[-1].step > last):
            self.buckets = [each for each in buckets if last - BUCKETS < each.step <= last]

    def count(self) -> int:
        """How often it happened."""
        return sum(each.count for each in self.buckets)

    def total(self) -> float:
        """The sum of the values."""
        return math.fsum(each.total for each in self.buckets)

    def quantile(self, p: float) -> float | None:
        """The value that a share ``p`` of all values does not exceed; ``None`` without any."""
        merged: dict[int, int] = {}
        for bucket in self.buckets:
            for size, count in bucket.sizes.items():
                merged[size] = merged.get(size, 0) + count
        wanted = max(1, math.ceil(p * sum(merged.values())))
        for size in sorted(merged):
            wanted -= merged[size]
            if wanted <= 0:
                return 0.0 if size == _NOTHING else STEP ** (size - 0.5)
        return None

    def next_change(self) -> float | None:
        """When the oldest of it leaves the window; ``None`` while it is empty."""
        return (self.buckets[0].step + BUCKETS) * self._length if self.buckets else None

    @property
    def _length(self) -> float:
        return self.over / BUCKETS

    def _bucket(self, step: int) -> Bucket:
        buckets = self.buckets
        place = len(buckets)
        while place and buckets[place - 1].step > step:
            place -= 1
        if place and buckets[place - 1].step == step:
            return buckets[place - 1]
        made = Bucket(step)
        buckets.insert(place, made)
        return made


def _size(value: float) -> int:
    """Which step of the scale a value belongs to."""
    if value < SMALLEST:
        return _NOTHING
    return math.ceil(math.log(min(value, LARGEST)) / _LOG_STEP)
