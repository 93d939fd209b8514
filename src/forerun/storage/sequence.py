"""Row numbers that grow with time, so that the oldest rows are the smallest numbers.

A number is ``microseconds << 10 | writer``: 63 bits last past the year 2200. Two writers may take numbers at the same
moment: the ten low bits, random per writer, keep them apart.
"""

import secrets

from forerun.aio import Clock

_WRITER_BITS = 10


class Sequence:
    """Gives numbers that only grow, even when the machine's clock is set back while it runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._writer = secrets.randbits(_WRITER_BITS)
        self._last = 0

    def take(self) -> int:
        """The next number."""
        self._last = max(self._last + 1, int(self._clock.now() * 1_000_000))
        return self._last << _WRITER_BITS | self._writer


def number_at(time_s: float) -> int:
    """The smallest number that may be given at ``time_s`` (epoch seconds)."""
    return int(time_s * 1_000_000) << _WRITER_BITS
