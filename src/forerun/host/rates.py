"""How often something happens, remembered in two numbers: a count that fades with time."""

import math


class Rate:
    """An exponentially fading count of events; what lies ``memory_s`` seconds back weighs 1/e.

    Times are seconds on any clock that does not go back. For events at a steady rate, ``per_second`` settles at it.
    """

    __slots__ = ("_count", "_last", "_memory_s")

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._count = 0.0
        self._last = 0.0

    def note(self, now: float, events: int = 1) -> None:
        """So many events happened at ``now``."""
        self._count = self._count * math.exp((self._last - now) / self._memory_s) + events
        self._last = now

    def per_second(self, now: float) -> float:
        """The present rate; it falls while nothing happens."""
        return self._count * math.exp((self._last - now) / self._memory_s) / self._memory_s

    def log_weight(self) -> float:
        """A number that orders rates of equal memory at any moment, now and later: it changes by ``note`` alone.

        All rates fade by the same factor, so their order holds still while nothing happens; the logarithm keeps it in
        range. Minus infinity when nothing ever happened.
        """
        if self._count <= 0.0:
            return -math.inf
        return math.log(self._count) + self._last / self._memory_s

    def log_weight_of(self, per_second: float, now: float) -> float:
        """``log_weight`` at this moment, if it had always happened so many times a second, which must be above 0."""
        return math.log(per_second * self._memory_s) + now / self._memory_s
