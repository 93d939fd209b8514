"""All running executions on their ways through the functions they may call, and what is to be expected of them together.

Pure, but for what it remembers: moments are epoch seconds and come with each call. One execution costs a microsecond or
two; of functions that are called all the time what changes is told a few times a second, not with each call.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice

import msgspec

from forerun.model import Expectation, Qualified, Reason, Successor
from forerun.prediction.successors import MOST_CALLS, Name, Successors
from forerun.prediction.traversal import Coming, Plan, Run

MOST_RUNS = 20_000
# Beyond so many at once of one function, its executions are as well without: what they call is warm.
MOST_RUNS_OF_ONE = 200
# With more running executions than this, changes of what a function leads to are told this many seconds apart.
BUSY = 16
BUSY_S = 0.1
MAX_AGE_S = 1_000.0
MOST_WINDOWS = 16
MOST_SHOWN = 200


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """A function that an execution may still lead to, and when (epoch seconds); ``count`` calls at once, if it does."""

    function: Qualified
    probability: float
    since: float
    until: float
    count: float


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A call that an execution may make itself: how likely it is still to come, and how many such calls have begun.

    ``excluded``: it does not occur together with what has begun.
    """

    function: Qualified
    probability: float
    seen: int = 0
    excluded: bool = False


class Traversal(msgspec.Struct, frozen=True, kw_only=True):
    """A running execution as people see it: ``cause`` is the request id of the one it goes back to, ``caller`` that of
    the one that called it, empty when nobody did that runs. ``ahead`` has the likeliest first.
    """

    function: Qualified
    execution: str
    request_id: str
    cause: str
    caller: str
    began: float
    branches: list[Branch]
    ahead: list[Ahead]


class Traversals:
    """Follows running executions.

    ``likelihood`` is how likely calls must be to be expected, by at least ``samples`` watched executions; ``margin_s`` is how
    much longer than usual they are waited for, ``depth`` how many calls along a chain are looked ahead. Executions whose
    end is never told are forgotten after ``max_age_s``. ``untracked`` counts those that were too many at once.
    """

    def __init__(
        self,
        *,
        likelihood: float,
        samples: int,
        margin_s: float,
        depth: int,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._likelihood = likelihood
        self._samples = samples
        self._margin_s = margin_s
        self._max_age_s = max_age_s
        self._successors = Successors(depth=depth)
        self._plans: dict[Name, Plan] = {}
        self._runs: dict[str, Run] = {}
        # Which plans of running executions lead to a function.
        self._reaching: dict[Qualified, dict[int, Plan]] = {}
        self._due: list[tuple[float, int, Run | Plan]] = []
        self._number = count()
        self.untracked = 0

    def learn(self, function: Qualified, successors: Sequence[Successor]) -> None:
        """Replace what is known of whom a function calls, under whatever qualifier; executions that run keep to what was known."""
        known = [each for each in successors if each.samples >= self._samples]
        if known or self._successors.edges(function[:2]):
            self._successors.learn(function[:2], known)
            self._plans.clear()

    def knows(self, function: Qualified) -> bool:
        """Whether ``began`` has to be told of its executions: it calls somebody, or somebody calls it."""
        return self._successors.knows(function[:2])

    def began(
        self, function: Qualified, execution: str, parent_execution: str, request_id: str, at: float
    ) -> Iterable[Qualified]:
        """An execution began, caused by ``parent_execution`` when that is known; the functions of which expectations changed."""
        name = function[:2]
        caller = self._runs.get(parent_execution) if parent_execution else None
        changed: Sequence[Qualified] = ()
        if caller is not None and caller.function.account == function.account:
            place = caller.plan.places.get(name)
            if place is not None:
                caller.arrived(place)
                changed = self._tell(caller.plan, at)
                if caller.ended and not caller.may_call(at):
                    self._forget(caller)
        else:
            caller = None
        plan = self._plans.get(name) or self._plan(name)
        if plan is None or execution in self._runs:
            return changed
        if len(self._runs) >= MOST_RUNS or len(plan.live) >= MOST_RUNS_OF_ONE:
            self.untracked += 1
            return changed
        run = Run(
            plan=plan,
            function=function,
            execution=execution,
            request_id=request_id,
            began=at,
            caller=caller,
        )
        self._follow(run)
        told = self._tell(plan, at)
        return {*changed, *told} if changed else told

    def ended(self, execution: str, at: float) -> Iterable[Qualified]:
        """An execution ended; the functions of which expectations changed."""
        run = self._runs.get(execution)
        if run is None or run.ended:
            return ()
        run.ended = True
        if not run.may_call(at):
            self._forget(run)
        return self._tell(run.plan, at)

    def delayed(self, execution: str, until: float) -> Iterable[Qualified]:
        """The execution's handler begins no earlier than ``until``: its sandbox takes long to start. Its calls come as much later."""
        run = self._runs.get(execution)
        if run is None or until <= run.began:
            return ()
        run.began = until
        if run.stage:
            run.stage = 0
            self._await(run)
        return self._tell(run.plan, until)

    def expectations(self, function: Qualified, now: float) -> list[Expectation]:
        """The calls of a function that are likely enough to come of what runs: in order, without overlap."""
        coming = [each for each in self._coming(function, now) if each.until > now]
        coming.sort(key=_since)
        found = (self._together(each) for each in _overlapping(coming))
        return [each for each in found if each is not None]

    def next_change(self, now: float) -> float | None:
        """When ``changed`` will have something to tell, if nothing begins or ends; ``None`` for never."""
        while self._due and _is_over(self._due[0][2]):
            heapq.heappop(self._due)
        return max(now, self._due[0][0]) if self._due else None

    def changed(self, now: float) -> set[Qualified]:
        """The functions of which expectations have changed by time alone, or have not been told yet."""
        found: set[Qualified] = set()
        while self._due and self._due[0][0] <= now:
            due = heapq.heappop(self._due)[2]
            if _is_over(due):
                continue
            if isinstance(due, Plan):
                due.waiting = False
                due.told = now
                found.update(due.reach)
                continue
            if due.began + due.plan.breaks[due.stage] > now:
                # It was delayed meanwhile.
                self._await(due)
                continue
            found.update(due.plan.reach)
            due.stage += 1
            if due.stage >= len(due.plan.breaks) or (due.ended and not due.may_call(now)):
                self._forget(due)
            else:
                self._await(due)
        return found

    def live(self, account: str, now: float) -> list[Traversal]:
        """The executions of an account that may still call somebody, oldest first; at most ``MOST_SHOWN``."""
        whose = (run for run in self._runs.values() if run.function.account == account)
        return [_shown(run, now) for run in islice(whose, MOST_SHOWN)]

    def __len__(self) -> int:
        return len(self._runs)

    def _plan(self, name: Name) -> Plan | None:
        if not self._successors.edges(name):
            return None
        plan = self._plans[name] = Plan(
            name, self._successors, margin_s=self._margin_s, max_age_s=self._max_age_s
        )
        return plan

    def _follow(self, run: Run) -> None:
        plan = run.plan
        if not plan.live:
            for function in plan.reach:
                self._reaching.setdefault(function, {})[id(plan)] = plan
        plan.live[run.execution] = self._runs[run.execution] = run
        self._await(run)

    def _forget(self, run: Run) -> None:
        run.gone = run.ended = True
        plan = run.plan
        del self._runs[run.execution], plan.live[run.execution]
        if not plan.live:
            for function in plan.reach:
                plans = self._reaching[function]
                del plans[id(plan)]
                if not plans:
                    del self._reaching[function]

    def _await(self, run: Run) -> None:
        """Wait for the next moment at which the execution's likelihoods change by themselves."""
        self._push(run.began + run.plan.breaks[run.stage], run)

    def _push(self, at: float, due: Run | Plan) -> None:
        heapq.heappush(self._due, (at, next(self._number), due))
        if len(self._due) > 2 * (len(self._runs) + len(self._plans)) + 1_000:
            self._due = [each for each in self._due if not _is_over(each[2])]
            heapq.heapify(self._due)

    def _tell(self, plan: Plan, at: float) -> Sequence[Qualified]:
        """What the plan leads to; nothing now but later, when executions of it are many and it was told a moment ago."""
        if len(plan.live) <= BUSY or abs(at - plan.told) >= BUSY_S:
            plan.told = at
            return plan.reach
        if not plan.waiting:
            plan.waiting = True
            self._push(at + BUSY_S, plan)
        return ()

    def _coming(self, function: Qualified, now: float) -> Iterator[Coming]:
        for plan in self._reaching.get(function, {}).values():
            for run in plan.live.values():
                yield from run.coming(function, now)

    def _together(self, coming: Sequence[Coming]) -> Expectation | None:
        missed = 1.0
        for each in coming:
            missed *= 1 - each.probability
        if 1 - missed < self._likelihood:
            return None
        likeliest = max(coming, key=_probability)
        return Expectation(
            since=coming[0].since,
            until=max(each.until for each in coming),
            probability=1 - missed,
            reason=Reason.CALLER,
            count=self._most_at_once(coming),
            cause=likeliest.run.cause,
        )

    def _most_at_once(self, coming: Sequence[Coming]) -> int:
        """As many as are expected on average at the busiest moment, but all of an execution that is likely enough by itself."""
        changes = [(each.since, each.probability * each.calls) for each in coming]
        changes += [(each.until, -each.probability * each.calls) for each in coming]
        expected = most = 0.0
        for _, change in sorted(changes):
            expected += change
            most = max(most, expected)
        sure = [each.calls for each in coming if each.probability >= self._likelihood]
        return min(MOST_CALLS, max(1, math.floor(max(most, *sure, 0.0) + 0.5)))


def _shown(run: Run, now: float) -> Traversal:
    caller = run.running_caller()
    edges = run.plan.edges
    ahead = []
    for function in run.plan.reach:
        coming = list(run.coming(function, now))
        if not coming:
            continue
        probability = 1 - math.prod(1 - each.probability for each in coming)
        ahead.append(
            Ahead(
                function=function,
                probability=probability,
                since=min(each.since for each in coming),
                until=max(each.until for each in coming),
                count=sum(each.probability * each.calls for each in coming) / probability,
            )
        )
    return Traversal(
        function=run.function,
        execution=run.execution,
        request_id=run.request_id,
        cause=run.cause,
        caller=caller.request_id if caller is not None else "",
        began=run.began,
        branches=[
            Branch(
                function=each.edge.function,
                probability=run.chance(place, now),
                seen=run.seen.get(place, 0),
                excluded=place in run.excluded,
            )
            for place, each in enumerate(edges)
        ],
        ahead=sorted(ahead, key=lambda each: (-each.probability, each.function)),
    )


def _overlapping(coming: Iterable[Coming]) -> Iterator[list[Coming]]:
    """Those that overlap, together; the last of too many has all that are later."""
    group: list[Coming] = []
    until = -math.inf
    number = 0
    for each in coming:
        if group and each.since > until and number < MOST_WINDOWS - 1:
            yield group
            group, number = [], number + 1
        until = max(until, each.until) if group else each.until
        group.append(each)
    if group:
        yield group


def _is_over(due: Run | Plan) -> bool:
    return due.gone if isinstance(due, Run) else not due.waiting


def _since(coming: Coming) -> float:
    return coming.since


def _probability(coming: Coming) -> float:
    return coming.probability
