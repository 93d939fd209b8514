"""At which minutes of the day a function was called on the last days, for what comes daily or weekly. Pure.

Minutes are counted from the epoch, days in UTC. A function that is called at more minutes of the day than are kept has
shorter habits than a day, which others know; its calendar is closed.
"""

from collections.abc import Iterator

import msgspec

DAY = 1440
KEPT_MINUTES = 64
DAYS, WEEKS = 7, 4
WEIGHT = 2.0
_MASK = (1 << (7 * WEEKS + 1)) - 1
_WEEKLY = sum(1 << (7 * week) for week in range(1, WEEKS + 1))
_DAILY = (1 << (DAYS + 1)) - 2


class Calendar(msgspec.Struct, array_like=True, gc=False):
    """Per minute of the day a bit for each day: bit 0 is ``day``, bit n the day n days before. ``first`` is the first day known."""

    first: int
    day: int
    minutes: dict[int, int] = {}
    closed: bool = False

    @classmethod
    def begin(cls, minute: int) -> "Calendar":
        """The calendar of a function that is called for the first time."""
        calendar = cls(minute // DAY, minute // DAY)
        calendar.note(minute)
        return calendar

    def note(self, minute: int) -> None:
        """It was called in this minute."""
        if self.closed:
            return
        self._turn(minute // DAY)
        of_day = minute % DAY
        self.minutes[of_day] = self.minutes.get(of_day, 0) | 1
        if len(self.minutes) > KEPT_MINUTES:
            self.closed = True
            self.minutes = {}

    def hazard(self, minute: int, before: float) -> float:
        """``before``, the hazard as it is known without calendar, corrected by what was in this minute of other days."""
        mask = self.minutes.get(minute % DAY)
        if mask is None:
            return before
        ahead = minute // DAY - self.day
        if ahead < 0 or minute // DAY <= self.first:
            return before
        return self._corrected(mask << ahead, minute // DAY - self.first, before)

    def ahead(self, minute: int, end: int) -> Iterator[tuple[int, float]]:
        """Minutes from ``minute`` to before ``end`` (at most a day later) that something is known of, with their hazard."""
        for of_day in sorted(self.minutes, key=lambda each: (each - minute) % DAY):
            at = minute + (of_day - minute) % DAY
            if at >= end:
                return
            hazard = self.hazard(at, 0.0)
            if hazard > 0.0:
                yield at, hazard

    def shown(self) -> list[tuple[str, list[int]]]:
        """Minutes of the day, ``HH:MM``, with how many days back it was called in them, before ``day``."""
        return [
            (f"{at // 60:02d}:{at % 60:02d}", [back for back in range(29) if mask >> back & 1])
            for at, mask in sorted(self.minutes.items())
        ]

    @staticmethod
    def _corrected(mask: int, known: int, before: float) -> float:
        days = min(DAYS, known)
        hazard = ((mask & _DAILY).bit_count() + WEIGHT * before) / (days + WEIGHT)
        weeks = min(WEEKS, known // 7)
        if weeks >= 2:
            hazard = ((mask & _WEEKLY).bit_count() + WEIGHT * hazard) / (weeks + WEIGHT)
        return hazard

    def _turn(self, day: int) -> None:
        """Begin another day; what is older than can be used is forgotten."""
        if day <= self.day:
            return
        shift, self.day = day - self.day, day
        if shift > 7 * WEEKS:
            self.minutes = {}
            return
        kept = {at: (mask << shift) & _MASK for at, mask in self.minutes.items()}
        self.minutes = {at: mask for at, mask in kept.items() if mask}
