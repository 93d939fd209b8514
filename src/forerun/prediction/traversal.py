"""One running execution on its way through the functions it may call: what it may still call, as far as is known. Pure.

Its likelihoods are revised by what happens. A call that begins is no longer to be expected, and says that what never occurs
together with it will not come. A call that is overdue is less likely: by half of what spoke for it once its median time
has passed, and given up once its 95th percentile has, each with a margin. With its end the rest is over, but for calls
that were accepted for later.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from forerun.model import Qualified
from forerun.prediction.successors import Edge, Name, Step, Successors


class Coming(NamedTuple):
    """Calls that an execution may still bring about: ``calls`` of them at once from ``since`` to ``until`` (epoch seconds)."""

    since: float
    until: float
    probability: float
    calls: float
    run: "Run"


class Plan:
    """What executions of a function lead to, as it was known when they began. ``live`` are those that run, oldest first.

    ``breaks`` are the seconds after its begin at which an execution's likelihoods change by themselves.
    """

    __slots__ = ("breaks", "edges", "live", "name", "places", "reach", "steps", "told", "waiting")

    def __init__(
        self, name: Name, successors: Successors, *, margin_s: float, max_age_s: float
    ) -> None:
        self.name = name
        self.edges = tuple(Expected(edge, margin_s) for edge in successors.edges(name))
        self.steps = successors.steps(name)
        self.reach = tuple(self.steps)
        self.places = {
            each.edge.function[:2]: place for place, each in reversed([*enumerate(self.edges)])
        }
        moments = {moment for each in self.edges for moment in (each.doubtful_s, each.over_s)}
        self.breaks = (*sorted(each for each in moments if each < max_age_s), max_age_s)
        self.live: dict[str, Run] = {}
        self.told = 0.0
        self.waiting = False


class Expected:
    """An edge with its margin: seconds from the begin until its call is doubtful, and until it is given up."""

    __slots__ = ("doubted", "doubtful_s", "edge", "margin_s", "over_s")

    def __init__(self, edge: Edge, margin_s: float) -> None:
        self.edge = edge
        self.margin_s = margin_s
        self.doubtful_s = edge.median_s + margin_s
        self.over_s = edge.late_s + margin_s
        # Half of the calls that come have come by now.
        self.doubted = edge.probability / (2 - edge.probability)


class Run(msgspec.Struct, kw_only=True, eq=False):
    """An execution. ``caller`` is the one that caused it, while that is known and runs; ``seen`` counts calls by edge.

    ``stage`` is how many of its plan's breaks are over.
    """

    plan: Plan
    function: Qualified
    execution: str
    request_id: str
    began: float
    caller: "Run | None" = None
    seen: dict[int, int] = {}
    excluded: set[int] = set()
    stage: int = 0
    ended: bool = False
    gone: bool = False

    @property
    def cause(self) -> str:
        """The request id of the execution that this one goes back to, of those that still run."""
        root = self
        while (caller := root.running_caller()) is not None:
            root = caller
        return root.request_id

    def running_caller(self) -> "Run | None":
        """The nearest that runs of those it goes back to; the others are forgotten, so that no chain holds them for ever."""
        while self.caller is not None and self.caller.ended:
            self.caller = self.caller.caller
        return self.caller

    def arrived(self, place: int) -> None:
        """The call of the edge at ``place`` was seen to begin."""
        self.seen[place] = self.seen.get(place, 0) + 1
        self.excluded.discard(place)
        excludes = self.plan.edges[place].edge.excludes
        if excludes:
            places = self.plan.places
            others = {places[name] for name in excludes if name in places}
            self.excluded |= others - self.seen.keys()

    def chance(self, place: int, now: float) -> float:
        """How likely the call of the edge at ``place``, or another of it, is still to come."""
        expected = self.plan.edges[place]
        edge = expected.edge
        seen = self.seen.get(place, 0)
        if (
            seen >= edge.calls
            or place in self.excluded
            or (self.ended and not edge.outlives)
            or now >= self.began + expected.over_s
        ):
            return 0.0
        if seen:
            return edge.taken
        return expected.doubted if now >= self.began + expected.doubtful_s else edge.probability

    def may_call(self, now: float) -> bool:
        """Whether any call is still to be expected."""
        return any(self.chance(place, now) > 0 for place in range(len(self.plan.edges)))

    def coming(self, function: Qualified, now: float) -> Iterator[Coming]:
        """The calls of a function that may still come of it: by each of the calls that it may make itself."""
        for step in self.plan.steps.get(function, ()):
            chance = self.chance(step.place, now)
            if chance > 0:
                yield self._by(step, chance)

    def _by(self, step: Step, chance: float) -> Coming:
        expected = self.plan.edges[step.place]
        calls = expected.edge.calls
        left = (calls - self.seen.get(step.place, 0)) / calls
        return Coming(
            since=self.began + step.way.early_s,
            until=self.began + step.way.late_s + expected.margin_s,
            probability=chance * step.way.probability,
            calls=step.way.calls * left,
            run=self,
        )
