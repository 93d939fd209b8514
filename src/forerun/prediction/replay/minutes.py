"""Replay by the minute: which minutes with calls find their function ready, and how long it was ready for nothing. Pure.

A function is one sandbox. It is ready in a minute when an expectation covers the minute's begin; calls in a minute that is not
covered start it once. Minutes between calls are not looked at one by one: a window is counted when it ends or is replaced.
"""

from array import array
from collections.abc import Iterable, Sequence

from forerun.model import Expectation
from forerun.prediction.policy import Policy
from forerun.prediction.replay.recorded import Calls
from forerun.prediction.replay.score import Score

MINUTE_S = 60.0

# From a minute to before another.
Stretch = tuple[int, int]
Cell = tuple["array[int]", "array[int]"]


class MinuteReplay:
    """One host: ``functions`` from minute ``first`` to before ``end``, of which those from ``count_from`` on are counted.

    The policy knows functions by their place. ``run`` once.
    """

    def __init__(
        self,
        functions: Sequence[Calls],
        policy: Policy[int],
        *,
        first: int,
        end: int,
        count_from: int,
    ) -> None:
        self._functions = functions
        self._policy = policy
        self._first, self._end, self._count_from = first, end, max(first, count_from)
        self._ready: list[Sequence[Stretch]] = [()] * len(functions)
        # Up to which minute of each function is counted.
        self._upto = [first] * len(functions)
        self._idle = [0] * len(functions)
        self._cold = [0] * len(functions)
        self._memory_mb = [each.about.memory_mb for each in functions]
        # What is held idle changes by so much at the begin of each minute.
        self._change_mb = [0.0] * (end - first + 1)

    def run(self, memory_mb: float | None = None) -> Score:
        """Replay all of it; ``memory_mb`` is what the host has."""
        cells = self._cells()
        for minute in range(self._first, self._end):
            now = minute * MINUTE_S
            for place in self._policy.advance(now):
                self._plan(place, now, minute)
            cell = cells.pop(minute, None)
            if cell is not None:
                self._meet(minute, cell[0])
                self._observe(minute, now, cell)
        for place in range(len(self._functions)):
            self._settle(place, self._end)
        return self._score(memory_mb)

    def _cells(self) -> dict[int, Cell]:
        """For each minute with calls the functions that are called in it, by place, and how often."""
        cells: dict[int, Cell] = {}
        for place, calls in enumerate(self._functions):
            for minute, count in zip(calls.minutes, calls.counts, strict=True):
                cell = cells.get(minute)
                if cell is None:
                    cell = cells[minute] = (array("I"), array("I"))
                cell[0].append(place)
                cell[1].append(count)
        return cells

    def _meet(self, minute: int, places: Iterable[int]) -> None:
        """Calls come: was their function ready at the begin of the minute?"""
        upto, ready, counts = self._upto, self._ready, minute >= self._count_from
        for place in places:
            for since, until in ready[place]:
                if since <= minute < until:
                    break
            else:
                self._cold[place] += counts
            if upto[place] < minute:
                self._settle(place, minute)
            upto[place] = minute + 1

    def _observe(self, minute: int, now: float, cell: Cell) -> None:
        observe = self._policy.observe
        changed: list[int] = []
        for place, count in zip(*cell, strict=True):
            changed += observe(place, now, count)
        for place in dict.fromkeys(changed):
            self._plan(place, now, minute + 1)

    def _plan(self, place: int, now: float, minute: int) -> None:
        """Ask anew when it shall be ready, from this minute on."""
        if self._upto[place] < minute:
            self._settle(place, minute)
        self._ready[place] = self._cut(self._policy.windows(place, now))

    def _cut(self, windows: Sequence[Expectation]) -> Sequence[Stretch]:
        """The minutes whose begins are covered."""
        end, end_s = self._end, self._end * MINUTE_S
        return [
            (
                -int(-each.since // MINUTE_S),
                -int(-each.until // MINUTE_S) if each.until < end_s else end,
            )
            for each in windows
            if each.since < end_s
        ]

    def _settle(self, place: int, minute: int) -> None:
        """Count what was held before this minute."""
        begin, self._upto[place] = self._upto[place], minute
        begin = max(begin, self._count_from)
        first, memory_mb = self._first, self._memory_mb[place]
        for opens, closes in self._ready[place]:
            since = opens if opens > begin else begin
            until = closes if closes < minute else minute
            if since < until:
                self._idle[place] += until - since
                self._change_mb[since - first] += memory_mb
                self._change_mb[until - first] -= memory_mb

    def _score(self, memory_mb: float | None) -> Score:
        score = Score()
        by_minute = self._idle_mb()
        for place, calls in enumerate(self._functions):
            own_mb, cold = self._memory_mb[place], self._cold[place]
            score.wasted_mb_minutes += self._idle[place] * own_mb
            invocations = 0
            for minute, count in zip(calls.minutes, calls.counts, strict=True):
                if minute >= self._count_from:
                    invocations += count
                    score.used_mb_minutes += own_mb
                    by_minute[minute - self._count_from] += own_mb
            score.called(invocations, cold)
            if cold:
                score.delays[calls.about.start_ms] += cold
        score.held(by_minute, memory_mb)
        return score

    def _idle_mb(self) -> list[float]:
        """Of each minute that counts."""
        held, by_minute = 0.0, []
        for change in self._change_mb[:-1]:
            held += change
            by_minute.append(held)
        return by_minute[self._count_from - self._first :]
