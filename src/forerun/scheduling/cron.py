"""AWS's cron expressions: six fields, minutes to years, in local time. Pure.

The grammar is that of EventBridge and Application Auto Scaling: days of the week count from Sunday as 1, one of the two
day fields is ``?``, and the wildcards ``L``, ``W`` and ``#`` name days that differ from month to month.
"""

import calendar
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from forerun.errors import InvalidInput

FIRST_YEAR, LAST_YEAR = 1970, 2199
_MONTH_NAMES = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
_DAY_NAMES = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_WEEKDAY = re.compile(r"(\d{1,2})W", re.ASCII)
_LAST_OF = re.compile(r"([1-7])L")
_NTH = re.compile(r"([1-7]|[A-Z]{3})#([1-5])")

Days = Callable[[int, int], frozenset[int]]
"""The days of a month that a field names, by year and month; those that the month does not have may be among them."""


class _Range(NamedTuple):
    """A field of plain numbers; ``wraps``: a range may go past its end, as from Friday to Monday."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = {}
    wraps: bool = True


_MINUTES = _Range("minutes", 0, 59)
_HOURS = _Range("hours", 0, 23)
_DAYS = _Range("day-of-month", 1, 31)
_MONTH = _Range("month", 1, 12, _MONTH_NAMES)
_WEEKDAYS = _Range("day-of-week", 1, 7, _DAY_NAMES)
_YEARS = _Range("year", FIRST_YEAR, LAST_YEAR, wraps=False)


class Cron(NamedTuple):
    """The times that an expression names, as parts of a local time, each in order; ``days`` depends on the month.

    Local times stand in ``datetime`` with UTC in place of their zone, which is not known here.
    """

    minutes: Sequence[int]
    hours: Sequence[int]
    days: Days
    months: Sequence[int]
    years: frozenset[int]

    def times(self, since: datetime) -> Iterator[datetime]:
        """All local times from ``since`` on, in order; there may be none."""
        for year in range(since.year, LAST_YEAR + 1):
            if year not in self.years:
                continue
            for month in self.months:
                if (year, month) < (since.year, since.month):
                    continue
                length = calendar.monthrange(year, month)[1]
                for day in sorted(self.days(year, month)):
                    if day <= length and (year, month, day) >= (since.year, since.month, since.day):
                        yield from self._of_day(datetime(year, month, day, tzinfo=UTC), since)

    def _of_day(self, day: datetime, since: datetime) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                moment = day.replace(hour=hour, minute=minute)
                if moment >= since:
                    yield moment


def parse_cron(text: str) -> Cron:
    """What stands between the parentheses of ``cron(...)``. Raises ``InvalidInput`` naming the field that is wrong."""
    fields = text.upper().split()
    if len(fields) != 6:
        raise InvalidInput(
            "a cron expression has six fields (minutes hours day-of-month month day-of-week year), "
            f"not {len(fields)}: {text!r}"
        )
    minutes, hours, day, month, weekday, year = fields
    if (day == "?") == (weekday == "?"):
        raise InvalidInput(
            f"exactly one of day-of-month and day-of-week must be '?' in the cron expression {text!r}"
        )
    return Cron(
        _numbers(_MINUTES, minutes),
        _numbers(_HOURS, hours),
        _days_of_month(day) if weekday == "?" else _days_of_week(weekday),
        _numbers(_MONTH, month),
        frozenset(_numbers(_YEARS, year)),
    )


def _numbers(field: _Range, text: str) -> list[int]:
    found: set[int] = set()
    for part in text.split(","):
        found.update(_part(field, part))
    return sorted(found)


def _part(field: _Range, part: str) -> list[int]:
    span, slash, step_text = part.partition("/")
    step = _number(field, step_text, 1, field.high) if slash else 1
    low_text, dash, high_text = span.partition("-")
    if span == "*":
        low, high = field.low, field.high
    else:
        low = _number(field, low_text, field.low, field.high)
        high = _number(field, high_text, field.low, field.high) if dash else low
        if slash and not dash:
            high = field.high
    if low > high:
        if not field.wraps:
            raise _wrong(field, part)
        high += field.high - field.low + 1
    size = field.high - field.low + 1
    return [(number - field.low) % size + field.low for number in range(low, high + 1, step)]


def _number(field: _Range, text: str, low: int, high: int) -> int:
    number = field.names.get(text)
    if number is None:
        if not text.isascii() or not text.isdigit() or len(text) > 4:
            raise _wrong(field, text)
        number = int(text)
    if not low <= number <= high:
        raise InvalidInput(
            f"{number} is not from {low} to {high} in the field {field.name} of a cron expression"
        )
    return number


def _wrong(field: _Range, text: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is not acceptable in the field {field.name} of a cron expression"
    )


def _days_of_month(text: str) -> Days:
    return _any_of([_day_of_month(part) for part in text.split(",")])


def _day_of_month(part: str) -> Days:
    if part == "L":
        return lambda year, month: frozenset({calendar.monthrange(year, month)[1]})
    if part == "LW":
        return lambda year, month: _nearest_weekday(31, year, month)
    if found := _WEEKDAY.fullmatch(part):
        wanted = _number(_DAYS, found[1], 1, 31)
        return lambda year, month: (
            _nearest_weekday(wanted, year, month)
            if wanted <= calendar.monthrange(year, month)[1]
            else frozenset()
        )
    fixed = frozenset(_part(_DAYS, part))
    return lambda _year, _month: fixed


def _days_of_week(text: str) -> Days:
    return _any_of([_day_of_week(part) for part in text.split(",")])


def _day_of_week(part: str) -> Days:
    if part == "L":
        part = "7"
    if found := _LAST_OF.fullmatch(part):
        weekday = int(found[1])
        return lambda year, month: frozenset({max(_all_of({weekday}, year, month))})
    if found := _NTH.fullmatch(part):
        weekday, nth = _number(_WEEKDAYS, found[1], 1, 7), int(found[2])
        return lambda year, month: frozenset(sorted(_all_of({weekday}, year, month))[nth - 1 : nth])
    wanted = set(_part(_WEEKDAYS, part))
    return lambda year, month: _all_of(wanted, year, month)


def _all_of(weekdays: set[int], year: int, month: int) -> frozenset[int]:
    """The days of a month that are one of these days of the week, 1 for Sunday."""
    first, length = calendar.monthrange(year, month)
    # monthrange counts from Monday as 0.
    return frozenset(day for day in range(1, length + 1) if (first + day) % 7 + 1 in weekdays)


def _nearest_weekday(day: int, year: int, month: int) -> frozenset[int]:
    """The day from Monday to Friday that is nearest within the month; a ``day`` past its end means the last one."""
    length = calendar.monthrange(year, month)[1]
    last = day > length
    day = min(day, length)
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return frozenset({day - 1 if day > 1 else day + 2})
    if weekday == calendar.SUNDAY:
        return frozenset({day - 2 if last or day == length else day + 1})
    return frozenset({day})


def _any_of(parts: Sequence[Days]) -> Days:
    if len(parts) == 1:
        return parts[0]
    return lambda year, month: frozenset[int]().union(*(part(year, month) for part in parts))
