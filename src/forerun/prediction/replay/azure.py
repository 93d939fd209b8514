"""Recordings in the schemas that Microsoft published: calls per minute (2019), and call by call (2021). Pure.

A file that is broken as a whole is an error with file and line; a row that cannot be is left out and counted.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from forerun.errors import InvalidInput
from forerun.prediction.replay.recorded import (
    MOST_CALLS,
    MOST_MINUTES,
    USUAL_MEMORY_MB,
    About,
    ByCalls,
    ByMinutes,
    Call,
    Calls,
)
from forerun.prediction.replay.tables import Source, number

DAY_MINUTES = 1440
LONGEST_S = 7 * 86_400.0
LATEST_S = 1e11
ROUNDING_S = 0.01
MOST_MB = 1e6
_DAY = re.compile(r"\.d(\d{1,3})\.csv")

_Key = tuple[str, str, str]


class Schema(StrEnum):
    """What a file holds."""

    MINUTES = "calls per minute"
    CALLS = "calls"
    MEMORY = "memory"
    DURATIONS = "durations"


def schema_of(header: Sequence[str]) -> Schema | None:
    """By the names of the columns; ``None`` for one that is not known."""
    names = set(header)
    if {"func", "end_timestamp"} & names:
        return Schema.CALLS
    if "AverageAllocatedMb" in names:
        return Schema.MEMORY
    if "HashFunction" in names and any(map(_is_minute, names)):
        return Schema.MINUTES
    if "HashFunction" in names and {"Average", "Minimum"} & names:
        return Schema.DURATIONS
    return None


class Sizes:
    """Megabytes by function, else by app, else ``usual``."""

    def __init__(self, usual: float = USUAL_MEMORY_MB) -> None:
        self._usual = usual
        self._known: dict[_Key, float] = {}

    def read(self, source: Source, skipped: Counter[str]) -> None:
        """A table with ``AverageAllocatedMb``; later files win."""
        whose = [name for name in ("HashOwner", "HashApp", "HashFunction") if name in source.header]
        if "HashApp" not in whose and "HashFunction" not in whose:
            source.places("HashFunction")
        places = dict(zip(whose, source.places(*whose), strict=True))
        (size,) = source.places("AverageAllocatedMb")
        for row in source.rows(skipped):
            megabytes = number(row[size])
            if not 0.0 < megabytes <= MOST_MB:
                skipped["memory that cannot be"] += 1
                continue
            cells = {name: row[place] for name, place in places.items()}
            key = (
                cells.get("HashOwner", ""),
                cells.get("HashApp", ""),
                cells.get("HashFunction", ""),
            )
            self._known[key] = megabytes

    def of(self, owner: str, app: str, function: str) -> float:
        """Of one function."""
        for key in ((owner, app, function), ("", "", function), (owner, app, "")):
            if key in self._known:
                return self._known[key]
        return self._usual


class _Day(NamedTuple):
    source: Source
    minutes: Sequence[int]
    places: Sequence[int]


class MinuteReader:
    """Collects days of calls per minute; ``sizes`` and ``start_ms`` say what functions cost."""

    def __init__(self, sizes: Sizes, *, start_ms: float) -> None:
        self._sizes = sizes
        self._start_ms = start_ms
        self._days: list[_Day] = []

    def add(self, source: Source) -> None:
        """A file; minutes are the names of its columns, in the day that its name tells (``.d02.csv``)."""
        found = _DAY.search(source.name)
        offset = (max(1, int(found[1])) - 1) * DAY_MINUTES if found else 0
        source.places("HashFunction")
        columns = sorted(
            (int(name), place) for place, name in enumerate(source.header) if _is_minute(name)
        )
        if not columns:
            raise InvalidInput(f"{source.name}, line 1: no column is a minute")
        if len({minute for minute, _ in columns}) < len(columns):
            raise InvalidInput(f"{source.name}, line 1: a minute is there twice")
        minutes = [offset + minute for minute, _ in columns]
        self._days.append(_Day(source, minutes, [place for _, place in columns]))

    def read(self, skipped: Counter[str]) -> ByMinutes:
        """All of it. Raises ``InvalidInput`` when days overlap or nothing can be used."""
        self._days.sort(key=lambda day: day.minutes[0])
        for one, other in pairwise(self._days):
            if other.minutes[0] <= one.minutes[-1]:
                raise InvalidInput(
                    f"{one.source.name} and {other.source.name} tell the same minutes: "
                    f"{other.minutes[0]} is in both"
                )
        if not self._days:
            raise InvalidInput("No file tells calls per minute")
        first, end = self._days[0].minutes[0], self._days[-1].minutes[-1] + 1
        if end - first > MOST_MINUTES:
            name = self._days[-1].source.name
            raise InvalidInput(f"{name}, line 1: more than {MOST_MINUTES} minutes after the first")
        missing = end - first - sum(len(day.minutes) for day in self._days)
        if missing:
            skipped["minutes that are missing"] += missing
        functions: dict[tuple[str, str, str, str], Calls] = {}
        for day in self._days:
            self._read_day(day, functions, skipped)
        if not functions:
            name = self._days[0].source.name
            raise InvalidInput(f"{name} has no function that can be used{_because(skipped)}")
        return ByMinutes(list(functions.values()), first, end, skipped)

    def _read_day(
        self,
        day: _Day,
        functions: dict[tuple[str, str, str, str], Calls],
        skipped: Counter[str],
    ) -> None:
        header = list(day.source.header)
        whose = [
            header.index(name) if name in header else -1
            for name in ("HashOwner", "HashApp", "HashFunction", "Trigger")
        ]
        told: set[tuple[str, str, str, str]] = set()
        cells_of = itemgetter(*day.places, day.places[0])  # Two at least, so that it makes tuples.
        for row in day.source.rows(skipped):
            owner, app, name, trigger = (row[at] if at >= 0 else "" for at in whose)
            key = (owner, app, name, trigger)
            found = _counts(day.minutes, cells_of(row), skipped)
            if found is None:
                continue
            if key in told:
                skipped["functions told twice"] += 1
                continue
            told.add(key)
            calls = functions.get(key)
            if calls is None:
                memory_mb = self._sizes.of(owner, app, name)
                kind = "timer" if trigger == "timer" else "call"
                about = About(name, (owner, app), kind, memory_mb, self._start_ms)
                calls = functions[key] = Calls(about)
            for minute, count in found:
                calls.add(minute, count)


def _counts(
    minutes: Sequence[int], cells: Sequence[str], skipped: Counter[str]
) -> list[tuple[int, int]] | None:
    """Minutes with calls; ``None``, and counted, for a row that cannot be."""
    busy = [each for each in zip(minutes, cells, strict=False) if each[1] != "0"]
    found = []
    for minute, cell in busy:
        if not (cell.isascii() and cell.isdigit()):
            negative = number(cell) < 0
            skipped[
                "rows with negative counts" if negative else "rows with counts that are no numbers"
            ] += 1
            return None
        if len(cell) > 10 or int(cell) > MOST_CALLS:
            skipped["rows with counts that cannot be"] += 1
            return None
        if int(cell):
            found.append((minute, int(cell)))
    return found


def read_calls(
    sources: Iterable[Source], skipped: Counter[str], *, memory_mb: float, start_ms: float
) -> ByCalls:
    """Call by call: ``app``, ``func``, ``end_timestamp`` and ``duration`` in seconds.

    Calls are put into the order of their begin. Raises ``InvalidInput`` when nothing can be used.
    """
    functions: dict[tuple[str, str], int] = {}
    calls: list[Call] = []
    name = ""
    for source in sources:
        name = source.name
        _read_calls(source, functions, calls, skipped)
    if not calls:
        raise InvalidInput(
            f"{name or 'The folder'} has no call that can be used{_because(skipped)}"
        )
    calls.sort()
    if calls[-1].begin - calls[0].begin > MOST_MINUTES * 60.0:
        raise InvalidInput(f"{name}: calls are more than {MOST_MINUTES} minutes apart")
    if calls[0].begin < 0.0:
        # What began before the recording: moments are not negative, and the first minute stays a minute.
        shift = -(calls[0].begin // 60.0) * 60.0
        calls = [call._replace(begin=call.begin + shift) for call in calls]
    abouts = [About(name, app, "", memory_mb, start_ms) for app, name in functions]
    return ByCalls(abouts, calls, skipped)


def _read_calls(
    source: Source,
    functions: dict[tuple[str, str], int],
    calls: list[Call],
    skipped: Counter[str],
) -> None:
    app, function, end, duration = source.places("app", "func", "end_timestamp", "duration")
    # Some recorders write calls when they begin, others when they end.
    latest_begin = latest_end = -math.inf
    out_of_order = Counter[str]()
    for row in source.rows(skipped):
        ended, seconds = number(row[end]), number(row[duration])
        if not 0.0 <= ended <= LATEST_S:
            skipped["calls with times that cannot be"] += 1
        elif seconds < 0.0:
            skipped["calls with negative durations"] += 1
        elif not seconds <= LONGEST_S:
            skipped["calls with durations that cannot be"] += 1
        else:
            out_of_order["begin"] += ended - seconds < latest_begin - ROUNDING_S
            out_of_order["end"] += ended < latest_end - ROUNDING_S
            latest_begin, latest_end = max(latest_begin, ended - seconds), max(latest_end, ended)
            place = functions.setdefault((row[app], row[function]), len(functions))
            calls.append(Call(ended - seconds, seconds, place))
    if back := min(out_of_order["begin"], out_of_order["end"]):
        skipped["calls out of order, sorted"] += back


def _is_minute(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 6


def _because(skipped: Counter[str]) -> str:
    """What was left out, as the end of a sentence."""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in skipped.most_common())
    return f" ({reasons})" if reasons else ""
