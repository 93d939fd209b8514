"""How likely a function is called now, by how long it has not been: the hazard of the wait since its last call. Pure.

Time is cut into ticks. Five levels of knowledge estimate the chance that a wait ends at the age it has reached, each shrunk
to the one before it with the weight of a few observations, ``(hits + weight x parent) / (at risk + weight)``: what nobody
knows yet is treated like its kind, and what has habits like itself.

    age     all functions of this kind: how often does a wait of this age end?
    rhythm  all functions of this kind: does a gap repeat the one before it, exactly or nearly?
    own     the function's own recent gaps
    cycle   its own calls at this tick of the last hours, days and weeks (only where there was one)
    sequel  its own gaps that followed a gap like its last one (4, 6, 4, 6; 45, 15, 45, 15)

Waits that are still open count as at risk, so functions that fall silent lower the estimates, as they should. Kinds learn
while they run; nothing is known beforehand. The use of hazards with a fading confidence in a histogram of gaps goes back to
Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple

import msgspec

from forerun.prediction.ages import AgeClasses, relation, relations
from forerun.prediction.calendar import Calendar
from forerun.prediction.policy import F

HORIZON = 256
KEPT_GAPS = 64
PRIOR_HAZARD = 0.02
RHYTHM_WEIGHT = 4.0
OWN_WEIGHT = 2.0
CYCLE_WEIGHT = 4.0
SEQUEL_WEIGHT = 2.0
# The share of own gaps that will end a tick early or late.
JITTER = 0.1
# Repetitions of the last gap that are told apart.
REPEATS = 3
HOUR_S = 3600.0
HOURS = 6

Row = tuple[str, int, int]
Levels = list[tuple[str, float]]


class Chance(NamedTuple):
    """Ticks ``first`` to before ``end`` in which the hazard reaches the bar: the probability of a call in them, and the
    level that carried it there.
    """

    first: int
    end: int
    probability: float
    level: str


class View(msgspec.Struct, gc=False):
    """A function's own levels for one wait: gaps in order, those after a gap like the last, calls by age in the hourly cycle."""

    ordered: list[int]
    sequel: list[int]
    phases: dict[int, int]
    oldest: int


class Wait(msgspec.Struct, gc=False):
    """What is known of one function, in ticks; gaps beyond the horizon are cut to one more than it.

    ``due`` is when its open wait is counted next, -1 when it is given up; ``credited`` ages of it are counted as at risk.
    """

    kind: str
    last: int
    due: int
    credited: int = 0
    gaps: list[int] = []
    row: Row | None = None
    view: View | None = None


class Table(dict[object, list[float]]):
    """Hits and observations at risk, by class."""

    def add(self, key: object, hits: int, risk: int) -> None:
        """Count."""
        row = self.get(key)
        if row is None:
            self[key] = [hits, risk]
        else:
            row[0] += hits
            row[1] += risk


_NOTHING = (0.0, 0.0)


class Waits(Generic[F]):
    """All functions at one resolution. Call ``advance`` for a tick before ``observe`` for it.

    ``kind`` says whom a function learns from before it is known: functions that are called in the same way.
    ``calendar``, if there is one for a function, is asked at resolutions of a minute.
    """

    def __init__(self, tick_s: float, kind: Callable[[F], str]) -> None:
        self.tick_s = tick_s
        self.ages, self.rhythms = Table(), Table()
        self._kind = kind
        self._functions: dict[F, Wait] = {}
        self._classes = AgeClasses(HORIZON)
        self._cycle = max(2, round(HOUR_S / tick_s))
        self._due: dict[int, list[F]] = {}
        self._now: int | None = None

    def __len__(self) -> int:
        return len(self._functions)

    def get(self, function: F) -> Wait | None:
        """What is known of it."""
        return self._functions.get(function)

    def put(self, function: F, wait: Wait) -> None:
        """Take up what was known of it."""
        self._functions[function] = wait
        if wait.due >= 0:
            self._look(function, max(wait.due, (self._now or 0) + 1), wait)

    def forget(self, function: F) -> None:
        """It is no more."""
        self._functions.pop(function, None)

    # -- learning ------------------------------------------------------------------------------------------------

    def observe(self, function: F, tick: int) -> bool:
        """The function was called in this tick, once or often; whether that is news."""
        wait = self._functions.get(function)
        if wait is None:
            wait = self._functions[function] = Wait(self._kind(function), tick, -1)
        elif tick <= wait.last:
            return False
        else:
            gap = min(tick - wait.last, HORIZON + 1)
            if wait.due >= 0:
                self._credit(wait, gap, hit=True)
            wait.gaps.append(gap)
            if len(wait.gaps) > KEPT_GAPS:
                del wait.gaps[0]
            wait.row = self._row(wait)
        wait.last, wait.credited, wait.view = tick, 0, None
        self._look(function, tick + 2, wait)
        return True

    def advance(self, now: int) -> list[F]:
        """Count the open waits that have doubled (1, 2, 4, 8 ... ticks); those are to be planned anew.

        So a function costs a visit for each doubling, and nothing once it sleeps.
        """
        touched: list[F] = []
        began = now if self._now is None else self._now + 1
        if now - began > 4 * HORIZON:
            ticks: Iterator[int] | range = iter(sorted(tick for tick in self._due if tick <= now))
        else:
            ticks = range(began, now + 1)
        for tick in ticks:
            for function in self._due.pop(tick, ()):
                wait = self._functions.get(function)
                if wait is None or wait.due != tick:
                    continue
                waited = tick - wait.last - 1
                self._credit(wait, waited, hit=False)
                touched.append(function)
                if waited < HORIZON:
                    self._look(function, tick + max(1, waited), wait)
                else:
                    wait.due, wait.view = -1, None
        self._now = now if self._now is None else max(self._now, now)
        return touched

    def _look(self, function: F, tick: int, wait: Wait) -> None:
        wait.due = tick
        self._due.setdefault(tick, []).append(function)

    def _row(self, wait: Wait) -> Row | None:
        """Where its rhythm is counted: kind, how often the last gap repeated those before it, its size in octaves."""
        last, count = wait.gaps[-1], 0
        if last > HORIZON:
            return None
        for gap in wait.gaps[-2::-1]:
            if abs(gap - last) > 1 or count == REPEATS:
                break
            count += 1
        return wait.kind, count, self._classes.octave(last)

    def _credit(self, wait: Wait, upto: int, *, hit: bool) -> None:
        """Ages after ``credited`` to ``upto`` were at risk, and the last of them ended the wait if ``hit``."""
        first, end = wait.credited + 1, min(upto, HORIZON) + 1
        for cls, risk in self._classes.runs(first, end):
            self.ages.add((wait.kind, cls), 0, risk)
        if wait.row is not None:
            for name, risk in relations(wait.gaps[-1], first, end):
                self.rhythms.add((wait.row, name), 0, risk)
        if hit and upto <= HORIZON:
            self.ages.add((wait.kind, self._classes.of(upto)), 1, 0)
            if wait.row is not None:
                self.rhythms.add((wait.row, relation(upto, wait.gaps[-1])), 1, 0)
        wait.credited = upto

    # -- telling -------------------------------------------------------------------------------------------------

    def chances(
        self,
        function: F,
        now: int,
        bar: float,
        calendar: Calendar | None = None,
        *,
        far: bool = False,
    ) -> list[Chance]:
        """When, from tick ``now`` to the next visit by ``advance``, the hazard reaches ``bar``, if no call comes.

        With ``far`` up to the horizon.
        """
        wait = self._functions.get(function)
        if wait is None or wait.due < 0:
            return []
        end = wait.last + HORIZON + 1
        if not far:
            end = min(end, wait.due + 1)
        found: list[Chance] = []
        start, survive, peak, level = -1, 1.0, 0.0, ""
        for tick in range(max(now, wait.last + 1), end):
            levels = self.hazards(wait, tick - wait.last, calendar)
            hazard = levels[-1][1]
            if hazard >= bar:
                if start < 0:
                    start, survive, peak = tick, 1.0, -1.0
                survive *= 1 - hazard
                if hazard > peak:
                    peak, level = hazard, _carrier(levels, bar)
            elif start >= 0:
                found.append(Chance(start, tick, 1 - survive, level))
                start = -1
        if start >= 0:
            found.append(Chance(start, end, 1 - survive, level))
        return found

    def hazards(self, wait: Wait, age: int, calendar: Calendar | None = None) -> Levels:
        """The chance of a call at this age, given none before, as each level sees it; the last one counts."""
        hits, risk = self.ages.get((wait.kind, self._classes.of(age)), _NOTHING)
        hazard = (hits + PRIOR_HAZARD) / (risk + 1)
        levels = [("age", hazard)]
        if not wait.gaps:
            return self._calendar_level(levels, wait, age, calendar)
        if wait.row is not None:
            hits, risk = self.rhythms.get((wait.row, relation(age, wait.gaps[-1])), _NOTHING)
            hazard = (hits + RHYTHM_WEIGHT * hazard) / (risk + RHYTHM_WEIGHT)
            levels.append(("rhythm", hazard))
        view = wait.view or self._view(wait)
        at, same = bisect_left(view.ordered, age), bisect_left(view.ordered, age + 1)
        near = at - bisect_left(view.ordered, age - 1) + bisect_left(view.ordered, age + 2) - same
        hits = (1 - JITTER) * (same - at) + JITTER / 2 * near
        hazard = (hits + OWN_WEIGHT * hazard) / (len(view.ordered) - at + OWN_WEIGHT)
        levels.append(("own", hazard))
        if age in view.phases:
            cycles = min(HOURS, (wait.last + age - view.oldest) // self._cycle)
            hazard = (min(view.phases[age], cycles) + CYCLE_WEIGHT * hazard) / (
                cycles + CYCLE_WEIGHT
            )
            levels.append(("cycle", hazard))
        self._calendar_level(levels, wait, age, calendar)
        at = bisect_left(view.sequel, age)
        if at < len(view.sequel):
            hits = bisect_left(view.sequel, age + 1) - at
            hazard = (hits + SEQUEL_WEIGHT * levels[-1][1]) / (
                len(view.sequel) - at + SEQUEL_WEIGHT
            )
            levels.append(("sequel", hazard))
        return levels

    def _calendar_level(
        self, levels: Levels, wait: Wait, age: int, calendar: Calendar | None
    ) -> Levels:
        if calendar is not None:
            before = levels[-1][1]
            after = calendar.hazard(wait.last + age, before)
            if after != before:
                levels.append(("cycle", after))
        return levels

    def _view(self, wait: Wait) -> View:
        last, cycle = wait.gaps[-1], self._cycle
        view = wait.view = View(sorted(wait.gaps), [], {}, wait.last)
        for before, gap in zip(wait.gaps, wait.gaps[1:], strict=False):
            if before == last:
                insort(view.sequel, gap)
        reach = cycle * HOURS
        for gap in reversed(wait.gaps):
            if gap > HORIZON:
                break  # it was cut: when the calls before it were is not known
            view.oldest -= gap
            age = (view.oldest - wait.last) % cycle
            if age and wait.last + age - view.oldest <= reach:
                view.phases[age] = view.phases.get(age, 0) + 1
        return view


def _carrier(levels: Levels, bar: float) -> str:
    """The level that lifted the hazard over the bar last; the first one, if it was above all along."""
    name, below = levels[0][0], False
    for level, hazard in levels:
        if hazard < bar:
            below = True
        elif below:
            name, below = level, False
    return name
