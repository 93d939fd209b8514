"""At which minutes of the day a function was called on the last days, for what comes daily or weekly. Pure.

Minutes are counted from the epoch, days in UTC. A function that is called at more minutes of the day than are kept has
shorter habits than a day, which others know; its calendar is closed.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

DAY = 1440
KEPT_MINUTES = 64
DAYS, WEEKS = 7, 4
WEIGHT = 2.0
_KEPT_DAYS = 7 * WEEKS + 1
_MASK = (1 << _KEPT_DAYS) - 1
_WEEKLY = sum(1 << (7 * week) for week in range(1, WEEKS + 1))
_DAILY = (1 << (DAYS + 1)) - 2


class Calendar:
    """Minutes of the day in order, and for each a bit per day: bit 0 is ``day``, bit n the day n days before.

    ``first`` is the first day that is known.
    """

    __slots__ = ("closed", "day", "first", "masks", "minutes")

    def __init__(self, minute: int) -> None:
        self.first = self.day = minute // DAY
        self.minutes = array("H")
        self.masks = array("I")
        self.closed = False

    def note(self, minute: int) -> None:
        """It was called in this minute."""
        if self.closed:
            return
        self._turn(minute // DAY)
        of_day = minute % DAY
        place = bisect_left(self.minutes, of_day)
        if place < len(self.minutes) and self.minutes[place] == of_day:
            self.masks[place] |= 1
        elif len(self.minutes) < KEPT_MINUTES:
            self.minutes.insert(place, of_day)
            self.masks.insert(place, 1)
        else:
            self.closed = True
            self.minutes, self.masks = array("H"), array("I")

    def knows(self, minute: int) -> bool:
        """Whether anything can be known of minutes up to before this one."""
        return bool(self.minutes) and (minute - 1) // DAY > self.first

    def hazard(self, minute: int, before: float) -> float:
        """``before``, the hazard as it is known without calendar, corrected by what was in this minute of other days."""
        if minute // DAY <= self.first or minute // DAY < self.day:
            return before
        place = bisect_left(self.minutes, minute % DAY)
        if place == len(self.minutes) or self.minutes[place] != minute % DAY:
            return before
        mask = self.masks[place] << (minute // DAY - self.day)
        return _corrected(mask, minute // DAY - self.first, before)

    def between(self, minute: int, end: int) -> list[int]:
        """Minutes from ``minute`` to before ``end``, less than a day later, for which ``hazard`` may know something."""
        if not self.knows(end):
            return []
        of_day, begin = minute % DAY, minute - minute % DAY
        place, stop = bisect_left(self.minutes, of_day), bisect_left(self.minutes, end - begin)
        found = [begin + at for at in self.minutes[place:stop]]
        if end - begin > DAY:
            stop = bisect_left(self.minutes, end - begin - DAY)
            found += [begin + DAY + at for at in self.minutes[:stop]]
        return found

    def ahead(self, minute: int, end: int) -> Iterator[tuple[int, float]]:
        """Minutes from ``minute`` to before ``end`` that something is known of, with the hazard it gives them alone."""
        while minute < end:
            stop = min(end, minute + DAY - 1)
            for at in self.between(minute, stop):
                hazard = self.hazard(at, 0.0)
                if hazard > 0.0:
                    yield at, hazard
            minute = stop

    def shown(self) -> list[tuple[str, list[int]]]:
        """Minutes of the day, ``HH:MM``, with how many days back it was called in them, before ``day``."""
        return [
            (
                f"{at // 60:02d}:{at % 60:02d}",
                [back for back in range(_KEPT_DAYS) if mask >> back & 1],
            )
            for at, mask in zip(self.minutes, self.masks, strict=True)
        ]

    def packed(self) -> list[object]:
        """For ``unpack``."""
        return [self.first, self.day, self.closed, self.minutes.tolist(), self.masks.tolist()]

    @classmethod
    def unpack(cls, packed: tuple[int, int, bool, Sequence[int], Sequence[int]]) -> "Calendar":
        """What ``packed`` has made of one."""
        first, day, closed, minutes, masks = packed
        calendar = cls(first * DAY)
        calendar.day, calendar.closed = day, closed
        calendar.minutes.extend(minutes)
        calendar.masks.extend(masks)
        return calendar

    def _turn(self, day: int) -> None:
        """Begin another day; what is older than can be used is forgotten."""
        if day <= self.day:
            return
        shift, self.day = day - self.day, day
        kept = [
            (at, (mask << shift) & _MASK if shift < _KEPT_DAYS else 0)
            for at, mask in zip(self.minutes, self.masks, strict=True)
        ]
        self.minutes = array("H", [at for at, mask in kept if mask])
        self.masks = array("I", [mask for _, mask in kept if mask])


def _corrected(mask: int, known: int, before: float) -> float:
    """By how many of the last days, and of the same days of the last weeks, of those that are known."""
    days = min(DAYS, known)
    hazard = ((mask & _DAILY).bit_count() + WEIGHT * before) / (days + WEIGHT)
    weeks = min(WEEKS, known // 7)
    if weeks >= 2:
        hazard = ((mask & _WEEKLY).bit_count() + WEIGHT * hazard) / (weeks + WEIGHT)
    return hazard
