"""Counts of the last minute, second by second. Pure: the time is an argument."""

SECONDS = 60
RECENT = 10


class Meter:
    """Counts what happens; ``now`` is in seconds of a clock that never goes back."""

    __slots__ = ("_counts", "_second", "total")

    def __init__(self) -> None:
        self._counts = [0] * SECONDS
        self._second = 0
        self.total = 0

    def count(self, now: float, amount: int = 1) -> None:
        """So many happened."""
        second = int(now)
        if second != self._second:
            self._forget(second)
        self._counts[second % SECONDS] += amount
        self.total += amount

    def per_minute(self, now: float) -> int:
        """How many in the last minute."""
        self._forget(int(now))
        return sum(self._counts)

    def per_second(self, now: float) -> float:
        """How many a second, over the last ten whole ones."""
        self._forget(int(now))
        last = self._second
        return sum(self._counts[(last - back) % SECONDS] for back in range(1, RECENT + 1)) / RECENT

    def _forget(self, second: int) -> None:
        gap = second - self._second
        if gap <= 0:
            return
        for step in range(1, min(gap, SECONDS) + 1):
            self._counts[(self._second + step) % SECONDS] = 0
        self._second = second
