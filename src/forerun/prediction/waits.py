"""How likely a function is called now, by how long it has not been: the hazard of the wait since its last call. Pure.

Time is cut into ticks. Six levels of knowledge estimate the chance that a wait ends at the age it has reached, each shrunk
to the one before it with the weight of a few observations, ``(hits + weight x parent) / (at risk + weight)``: what nobody
knows yet is treated like its kind, and what has habits like itself.

    age     all functions of this kind: how often does a wait of this age end?
    rhythm  all functions of this kind: does a gap repeat the one before it, exactly or nearly?
    silence all functions: does a wait longer than every gap that is remembered still end?
    own     the function's own recent gaps
    cycle   its own calls at this tick of the last hours, days and weeks (only where there was one)
    sequel  its own gaps that followed a gap like its last one (4, 6, 4, 6; 45, 15, 45, 15)

Waits that are still open count as at risk, so functions that fall silent lower the estimates, as they should. Kinds learn
while they run; nothing is known beforehand. The use of hazards with a fading confidence in a histogram of gaps goes back to
Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple

from forerun.prediction.ages import (
    AgeClasses,
    octaves_beyond,
    overdue,
    relation,
    relation_edges,
    relations,
)
from forerun.prediction.calendar import Calendar
from forerun.prediction.policy import F
from forerun.prediction.wait import CUT, HORIZON, Row, Table, View, Wait

KEPT_GAPS = 64
PRIOR_HAZARD = 0.02
RHYTHM_WEIGHT = 4.0
SILENCE_WEIGHT = 4.0
OWN_WEIGHT = 2.0
CYCLE_WEIGHT = 4.0
SEQUEL_WEIGHT = 2.0
# The share of own gaps that will end a tick early or late.
JITTER = 0.1
# Repetitions of the last gap that are told apart.
REPEATS = 3
HOUR_S = 3600.0
HOURS = 6
KEPT_VIEWS = 4096
STEADY_TICKS = 16

Levels = list[tuple[str, float]]


class Chance(NamedTuple):
    """Ticks ``first`` to before ``end`` in which the hazard reaches the bar: the probability of a call in them, and the
    level that carried it there.
    """

    first: int
    end: int
    probability: float
    level: str


_NOTHING = (0.0, 0.0)


class Waits(Generic[F]):
    """What all functions have taught at one resolution, and when each open wait is looked at next.

    Call ``advance`` for a tick before ``observe`` for it.
    """

    def __init__(self, tick_s: float) -> None:
        self.tick_s = tick_s
        self.ages, self.rhythms, self.silences = Table(), Table(), Table()
        self._classes = AgeClasses(HORIZON)
        self._cycle = max(2, round(HOUR_S / tick_s))
        self._due: dict[int, list[Wait[F]]] = {}
        self._views: dict[Wait[F], View] = {}
        self._rows: dict[Row, Row] = {}
        # Of those that are called in every tick: how often this was used, and chances with ticks since the last call.
        self._steady: dict[Wait[F], tuple[int, float, list[Chance]]] = {}
        self._now: int | None = None

    # -- learning ------------------------------------------------------------------------------------------------

    def begin(self, function: F, kind: str, tick: int) -> Wait[F]:
        """A function is called for the first time; ``kind`` says whom it learns from: those called in the same way."""
        wait = Wait(function, kind, tick)
        self._look(wait, tick + 2)
        return wait

    def resume(self, wait: Wait[F]) -> None:
        """Go on with what was known of a function."""
        if wait.due >= 0:
            self._look(wait, max(wait.due, (self._now or 0) + 1))

    def forget(self, wait: Wait[F]) -> None:
        """It is no more."""
        wait.due = -1
        self._views.pop(wait, None)
        self._steady.pop(wait, None)

    def observe(self, wait: Wait[F], tick: int) -> bool:
        """The function was called in this tick, once or often; whether that is news."""
        if tick <= wait.last:
            return False
        gap = tick - wait.last
        if gap > HORIZON:
            gap = CUT
        if wait.due >= 0:
            self._credit(wait, gap, hit=True)
        if gap > 1 or wait.longest > 1 or len(wait.gaps) < KEPT_GAPS:
            # Otherwise it is called in every tick, and nothing is new.
            wait.gaps.append(gap)
            if len(wait.gaps) > KEPT_GAPS:
                del wait.gaps[0]
            wait.longest = max(wait.gaps)
            wait.row = self._row(wait)
            self._views.pop(wait, None)
            self._steady.pop(wait, None)
        wait.last, wait.credited = tick, 0
        self._look(wait, tick + 2)
        return True

    def advance(self, now: int) -> list[F]:
        """Count the open waits that have doubled (1, 2, 4, 8 ... ticks); those are to be planned anew.

        So a function costs a visit for each doubling, and nothing once it sleeps.
        """
        touched: list[F] = []
        for tick in self._ticks(now):
            for wait in self._due.pop(tick, ()):
                if wait.due != tick:
                    continue
                waited = tick - wait.last - 1
                self._credit(wait, waited, hit=False)
                touched.append(wait.function)
                if waited < HORIZON:
                    self._look(wait, tick + waited)
                else:
                    wait.due = -1
                    self._views.pop(wait, None)
        self._now = now if self._now is None else max(self._now, now)
        return touched

    def _ticks(self, now: int) -> list[int] | range:
        """The ticks up to ``now`` that were not looked at yet, in order."""
        if self._now is None or now - self._now > len(self._due):
            return sorted(tick for tick in self._due if tick <= now)
        return range(self._now + 1, now + 1)

    def _look(self, wait: Wait[F], tick: int) -> None:
        wait.due = tick
        self._due.setdefault(tick, []).append(wait)

    def _row(self, wait: Wait[F]) -> Row | None:
        """Kind, how often the last gap repeated those before it, its size in octaves."""
        gaps = wait.gaps
        last, count = gaps[-1], 0
        if last > HORIZON:
            return None
        for place in range(len(gaps) - 2, -1, -1):
            if abs(gaps[place] - last) > 1 or count == REPEATS:
                break
            count += 1
        row = wait.kind, count, self._classes.octave(last)
        return self._rows.setdefault(row, row)

    def _credit(self, wait: Wait[F], upto: int, *, hit: bool) -> None:
        """Ages after ``credited`` to ``upto`` were at risk, and the last of them ended the wait if ``hit``."""
        first, end = wait.credited + 1, min(upto, HORIZON) + 1
        for cls, risk in self._classes.runs(first, end):
            self.ages.add((wait.kind, cls), 0, risk)
        if wait.row is not None:
            for name, risk in relations(wait.gaps[-1], first, end):
                self.rhythms.add((wait.row, name), 0, risk)
        if wait.gaps:
            for octave, risk in octaves_beyond(wait.longest, first, end):
                self.silences.add(octave, 0, risk)
        if hit and upto <= HORIZON:
            self.ages.add((wait.kind, self._classes.of(upto)), 1, 0)
            if wait.gaps and upto > wait.longest + 1:
                self.silences.add(overdue(upto, wait.longest), 1, 0)
            if wait.row is not None:
                self.rhythms.add((wait.row, relation(upto, wait.gaps[-1])), 1, 0)
        wait.credited = upto

    # -- telling -------------------------------------------------------------------------------------------------

    def chances(
        self,
        wait: Wait[F],
        now: int,
        bar: float,
        calendar: Calendar | None = None,
        *,
        far: bool = False,
    ) -> list[Chance]:
        """When, from tick ``now`` to the next visit by ``advance``, the hazard reaches ``bar``, if no call comes.

        With ``far`` up to the horizon.
        """
        if wait.due < 0:
            return []
        if wait.longest == 1 and len(wait.gaps) == KEPT_GAPS and not far and not wait.credited:
            return self._of_steady(wait, bar)
        return self._weighed(wait, now, bar, calendar, far=far)

    def _of_steady(self, wait: Wait[F], bar: float) -> list[Chance]:
        """Chances of one that is called in every tick: what others teach changes them slowly, so not each time."""
        used, known_bar, chances = self._steady.get(wait, (0, -1.0, []))
        if known_bar != bar or used % STEADY_TICKS == 0:
            weighed = self._weighed(wait, wait.last, bar, None, far=False)
            chances = [
                each._replace(first=each.first - wait.last, end=each.end - wait.last)
                for each in weighed
            ]
            if len(self._steady) >= KEPT_VIEWS:
                self._steady.clear()
        self._steady[wait] = used + 1, bar, chances
        last = wait.last
        return [Chance(last + each.first, last + each.end, *each[2:]) for each in chances]

    def _weighed(
        self, wait: Wait[F], now: int, bar: float, calendar: Calendar | None, *, far: bool
    ) -> list[Chance]:
        end = 1 + (HORIZON if far else min(HORIZON, wait.due - wait.last))
        age = max(now - wait.last, 1)
        if calendar is not None and not calendar.knows(wait.last + end):
            calendar = None
        view = self._views.get(wait) or self._view(wait)
        found: list[Chance] = []
        start, survive, peak, best = -1, 1.0, 0.0, 0
        for stop in self._steps(wait, age, end, calendar):
            hazard = self._hazard(wait, view, age, calendar)
            if hazard >= bar:
                if start < 0:
                    start, survive, peak = age, 1.0, -1.0
                survive *= (1 - hazard) ** (stop - age)
                if hazard > peak:
                    peak, best = hazard, age
            elif start >= 0:
                level = _carrier(self.hazards(wait, best, calendar), bar)
                found.append(Chance(wait.last + start, wait.last + age, 1 - survive, level))
                start = -1
            age = stop
        if start >= 0:
            level = _carrier(self.hazards(wait, best, calendar), bar)
            found.append(Chance(wait.last + start, wait.last + age, 1 - survive, level))
        return found

    def _steps(self, wait: Wait[F], age: int, end: int, calendar: Calendar | None) -> Iterable[int]:
        """The ends of stretches from ``age`` to ``end`` in which the hazard does not change."""
        if end - age <= 4:
            return range(age + 1, end + 1)
        edges = self._views[wait].edges or self._edges(wait)
        found = edges[bisect_left(edges, age + 1) : bisect_left(edges, end)]
        if calendar is not None and (known := calendar.between(wait.last + age, wait.last + end)):
            more = {at - wait.last + step for at in known for step in (0, 1)}
            found = sorted(each for each in more.union(found) if age < each < end)
        found.append(end)
        return found

    def _edges(self, wait: Wait[F]) -> list[int]:
        view = self._views[wait]
        edges = {1, *self._classes.edges, *view.phases, *(age + 1 for age in view.phases)}
        for gap in {*view.ordered, *view.sequel}:
            edges.update((gap - 1, gap, gap + 1, gap + 2))
        if wait.row is not None:
            edges.update(relation_edges(wait.gaps[-1], HORIZON + 1))
        at = wait.longest + 2
        for _, run in octaves_beyond(wait.longest, at, HORIZON + 1):
            edges.add(at)
            at += run
        view.edges = sorted(edges)
        return view.edges

    def hazards(self, wait: Wait[F], age: int, calendar: Calendar | None = None) -> Levels:
        """The chance of a call at this age, given none before, as each level sees it; the last one counts."""
        levels: Levels = []
        view = self._views.get(wait) or self._view(wait)
        self._hazard(wait, view, age, calendar, levels)
        return levels

    def _hazard(
        self,
        wait: Wait[F],
        view: View,
        age: int,
        calendar: Calendar | None,
        levels: Levels | None = None,
    ) -> float:
        """The chance of a call at this age; ``levels`` takes what each level says of it."""
        hazard = self._general(wait, age, levels)
        if wait.gaps:
            hazard = self._own(view, age, hazard, levels)
        if calendar is not None:
            before, hazard = hazard, calendar.hazard(wait.last + age, hazard)
            if levels is not None and hazard != before:
                levels.append(("cycle", hazard))
        at, count = bisect_left(view.sequel, age), len(view.sequel)
        if at < count:
            hits = bisect_left(view.sequel, age + 1) - at
            hazard = (hits + SEQUEL_WEIGHT * hazard) / (count - at + SEQUEL_WEIGHT)
            if levels is not None:
                levels.append(("sequel", hazard))
        return hazard

    def _general(self, wait: Wait[F], age: int, levels: Levels | None) -> float:
        """What all functions together say: age, rhythm, silence."""
        hits, risk = self.ages.get((wait.kind, self._classes.of(age)), _NOTHING)
        hazard = (hits + PRIOR_HAZARD) / (risk + 1)
        if levels is not None:
            levels.append(("age", hazard))
        if wait.row is not None:
            hits, risk = self.rhythms.get((wait.row, relation(age, wait.gaps[-1])), _NOTHING)
            hazard = (hits + RHYTHM_WEIGHT * hazard) / (risk + RHYTHM_WEIGHT)
            if levels is not None:
                levels.append(("rhythm", hazard))
        if wait.gaps and age > wait.longest + 1:
            hits, risk = self.silences.get(overdue(age, wait.longest), _NOTHING)
            hazard = (hits + SILENCE_WEIGHT * hazard) / (risk + SILENCE_WEIGHT)
            if levels is not None:
                levels.append(("silence", hazard))
        return hazard

    def _own(self, view: View, age: int, hazard: float, levels: Levels | None) -> float:
        """What its own gaps make of it, and its calls at this tick of the last hours."""
        ordered = view.ordered
        at, same = bisect_left(ordered, age), bisect_left(ordered, age + 1)
        late = at - bisect_left(ordered, age - 1)
        early = bisect_left(ordered, age + 2) - same
        hits = (1 - JITTER) * (same - at) + JITTER / 2 * (early + late)
        risk = len(ordered) - at + JITTER / 2 * late
        hazard = (hits + OWN_WEIGHT * hazard) / (risk + OWN_WEIGHT)
        if levels is not None:
            levels.append(("own", hazard))
        if age in view.phases:
            cycles = min(HOURS, (age + view.known) // self._cycle)
            hits = min(view.phases[age], cycles)
            hazard = (hits + CYCLE_WEIGHT * hazard) / (cycles + CYCLE_WEIGHT)
            if levels is not None:
                levels.append(("cycle", hazard))
        return hazard

    def _view(self, wait: Wait[F]) -> View:
        if len(self._views) >= KEPT_VIEWS:
            self._views.clear()
        gaps = wait.gaps.tolist()
        view = self._views[wait] = View(sorted(gaps))
        if not gaps:
            return view
        last = gaps[-1]
        view.sequel = sorted([gap for before, gap in pairwise(gaps) if before == last])
        if self._cycle <= HORIZON:
            self._phase(gaps, view)
        return view

    def _phase(self, gaps: list[int], view: View) -> None:
        """Its calls at each tick of the last hours."""
        gaps.reverse()
        if view.ordered[-1] == CUT:
            # When the calls before a gap that was cut were is not known.
            gaps = gaps[: gaps.index(CUT)]
        cycle = self._cycle
        reach = cycle * HOURS
        back = list(accumulate(gaps))
        view.known = back[-1] if back else 0
        view.phases = Counter([-at % cycle for at in back if at + -at % cycle <= reach])
        del view.phases[0]


def _carrier(levels: Levels, bar: float) -> str:
    """The level that lifted the hazard over the bar last; the first one, if it was above all along."""
    name, below = levels[0][0], False
    for level, hazard in levels:
        if hazard < bar:
            below = True
        elif below:
            name, below = level, False
    return name
