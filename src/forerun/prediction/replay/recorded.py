"""Recorded calls as the engines take them. Pure.

Recordings of clouds do not tell what starts cost: ``USUAL_START_MS`` stands for it, a second, which is usual there.
"""

from array import array
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from forerun.errors import InvalidInput

# Beyond these a recording is no recording but a mistake.
MOST_MINUTES = 400 * 1440
MOST_CALLS = 2**32 - 1
USUAL_START_MS = 1000.0
USUAL_MEMORY_MB = 128.0


class About(NamedTuple):
    """A recorded function: ``group`` is among whom it may have leaders (its app), ``kind`` how it is called (``timer``, ``call``)."""

    name: str
    group: Hashable = ""
    kind: str = ""
    memory_mb: float = USUAL_MEMORY_MB
    start_ms: float = USUAL_START_MS


class Calls:
    """Calls of one function: the minutes with any, in order, and how many in each."""

    __slots__ = ("about", "counts", "minutes")

    def __init__(self, about: About) -> None:
        self.about = about
        self.minutes = array("I")
        self.counts = array("I")

    def add(self, minute: int, count: int) -> None:
        """So many in a minute after all that were added before."""
        self.minutes.append(minute)
        self.counts.append(count)


class Call(NamedTuple):
    """One call of the function at ``place``, from ``begin`` seconds for ``seconds``."""

    begin: float
    seconds: float
    place: int


class ByMinutes(NamedTuple):
    """Recorded per minute, from minute ``first`` to before ``end``. ``skipped`` counts what was left out, by reason."""

    functions: Sequence[Calls]
    first: int
    end: int
    skipped: Counter[str]

    @property
    def minutes(self) -> int:
        """How many there are."""
        return self.end - self.first


class ByCalls(NamedTuple):
    """Recorded call by call, in order of their begin; ``skipped`` counts what was left out, by reason."""

    functions: Sequence[About]
    calls: Sequence[Call]
    skipped: Counter[str]

    @property
    def first_s(self) -> float:
        """The begin of the first call."""
        return self.calls[0].begin if self.calls else 0.0

    @property
    def end_s(self) -> float:
        """The end of the last call."""
        return max((call.begin + call.seconds for call in self.calls), default=0.0)


class Sample(msgspec.Struct, frozen=True):
    """A function of one's own history: calls per minute, as pairs of epoch minute and count."""

    name: str
    calls: list[tuple[int, int]]
    memory_mb: float = USUAL_MEMORY_MB
    start_ms: float = USUAL_START_MS
    group: str = ""


class History(msgspec.Struct, frozen=True):
    """One's own history, from minute ``first`` to before ``end`` of the epoch."""

    first: int
    end: int
    functions: list[Sample]


def from_history(history: History) -> ByMinutes:
    """As recorded per minute. Raises ``InvalidInput`` for what cannot be."""
    if not 0 <= history.end - history.first <= MOST_MINUTES:
        raise InvalidInput(f"A history has 0 to {MOST_MINUTES} minutes")
    skipped: Counter[str] = Counter()
    functions = []
    for sample in history.functions:
        about = About(sample.name, sample.group, "", sample.memory_mb, sample.start_ms)
        calls = Calls(about)
        for minute, count in _in_order(sample, history, skipped):
            calls.add(minute, count)
        if calls.minutes:
            functions.append(calls)
    return ByMinutes(functions, history.first, history.end, skipped)


def _in_order(sample: Sample, history: History, skipped: Counter[str]) -> Iterator[tuple[int, int]]:
    last = -1
    for minute, count in sorted(sample.calls):
        if not history.first <= minute < history.end:
            skipped["minutes outside of the history"] += 1
        elif minute == last:
            skipped["minutes told twice"] += 1
        elif not 0 <= count <= MOST_CALLS:
            skipped["counts that cannot be"] += 1
        elif count:
            last = minute
            yield minute, count
