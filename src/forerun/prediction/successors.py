"""What executions of a function may lead to within a few calls: its successors, theirs, and so on. Pure.

A call that an execution makes is another execution, which makes calls of its own, independently: how likely one leads to
a function is one less the likelihood that none of its calls does, directly or further on. Loops end at the depth looked
ahead. Callers are known by account and name; whom they call by the qualifier that they ask for.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from forerun.model import Qualified, Successor

Name = tuple[str, str]

MOST_FUNCTIONS = 10_000
MOST_SUCCESSORS = 50
MOST_REACHED = 64
MOST_CALLS = 1_000
# What is less likely decides nothing, and no person would miss it.
FAINT = 0.02


class Edge(NamedTuple):
    """Calls of one function by another. ``taken`` is how likely further ones are, once it has begun to call it.

    Seconds are from the caller's start: ``early_s`` is as far below the median ``median_s`` as ``late_s``, the 95th
    percentile, is above it, by ratio.
    """

    function: Qualified
    probability: float
    taken: float
    calls: int
    early_s: float
    median_s: float
    late_s: float
    outlives: bool
    excludes: frozenset[Name]


class Way(NamedTuple):
    """How an execution leads to a function: ``probability`` that it does; if so, ``calls`` at once; seconds are from its start."""

    probability: float
    calls: float
    early_s: float
    late_s: float


class Step(NamedTuple):
    """A way to a function that begins with the call of the edge at ``place``; its probability is that of what follows."""

    place: int
    way: Way


def edge_of(successor: Successor) -> Edge:
    """The edge as it is believed: by Laplace's rule, so that few samples are never certain of anything."""
    samples = max(0, successor.samples)
    share = min(1.0, max(0.0, successor.likelihood))
    median = max(0.0, successor.delay_p50_s)
    late = max(median, successor.delay_p95_s)
    return Edge(
        function=successor.function,
        probability=(share * samples + 1) / (samples + 2),
        taken=(samples + 1) / (samples + 2),
        calls=min(MOST_CALLS, max(1, successor.calls)),
        early_s=median * median / late if late else 0.0,
        median_s=median,
        late_s=late,
        outlives=successor.outlives,
        excludes=frozenset(each[:2] for each in successor.excludes),
    )


def joined(ways: Iterable[Way]) -> Way:
    """Several ways to one function as one, independent of each other."""
    missed, calls, early, late = 1.0, 0.0, float("inf"), 0.0
    for way in ways:
        missed *= 1 - way.probability
        calls += way.probability * way.calls
        early = min(early, way.early_s)
        late = max(late, way.late_s)
    probability = 1 - missed
    calls = min(MOST_CALLS, calls / probability) if probability > 0 else 0.0
    return Way(probability, calls, early, late)


class Successors:
    """The graph of who calls whom, as it was learned last. At most ``most`` callers; those learned of longest ago go first."""

    def __init__(self, *, depth: int, most: int = MOST_FUNCTIONS) -> None:
        self.depth = depth
        self._most = most
        self._edges: OrderedDict[Name, tuple[Edge, ...]] = OrderedDict()
        # How many callers each function has; whatever calls or is called is in one of the two.
        self._callers: dict[Name, int] = {}
        self._ways: dict[tuple[Name, int], dict[Qualified, Way]] = {}

    def learn(self, name: Name, successors: Sequence[Successor]) -> None:
        """Replace what is known of a caller; the likeliest successors are kept."""
        likely = sorted(successors, key=lambda each: (-each.likelihood, each.function))
        kept = likely[:MOST_SUCCESSORS] if self.depth > 0 else []
        edges = [edge_of(each) for each in kept if each.likelihood >= FAINT]
        self._forget(name)
        if edges:
            self._edges[name] = tuple(edges)
            for edge in edges:
                called = edge.function[:2]
                self._callers[called] = self._callers.get(called, 0) + 1
        while len(self._edges) > self._most:
            self._forget(next(iter(self._edges)))
        self._ways.clear()

    def knows(self, name: Name) -> bool:
        """Whether it calls or is called by anybody."""
        return name in self._edges or name in self._callers

    def edges(self, name: Name) -> tuple[Edge, ...]:
        """Whom it calls, likeliest first."""
        return self._edges.get(name, ())

    def steps(self, name: Name) -> dict[Qualified, list[Step]]:
        """All that its executions may lead to within ``depth`` calls, by the first call of the way there."""
        found: dict[Qualified, list[Step]] = {}
        for place, edge in enumerate(self.edges(name)):
            for function, way in self._through(edge, self.depth).items():
                found.setdefault(function, []).append(Step(place, way))
        if len(found) <= MOST_REACHED:
            return found
        likely = self.ways(name, self.depth)
        return {function: steps for function, steps in found.items() if function in likely}

    def ways(self, name: Name, depth: int) -> dict[Qualified, Way]:
        """Where its executions lead to within so many calls; the likeliest."""
        known = self._ways.get((name, depth))
        if known is not None:
            return known
        through: dict[Qualified, list[Way]] = {}
        for edge in self.edges(name) if depth > 0 else ():
            for function, way in self._through(edge, depth).items():
                probability = edge.probability * way.probability
                through.setdefault(function, []).append(way._replace(probability=probability))
        found = {function: joined(each) for function, each in through.items()}
        likely = sorted(found.items(), key=lambda each: -each[1].probability)[:MOST_REACHED]
        ways = {function: way for function, way in likely if way.probability >= FAINT}
        self._ways[name, depth] = ways
        return ways

    def _through(self, edge: Edge, depth: int) -> dict[Qualified, Way]:
        """Where an execution leads to when it makes the call of ``edge``."""
        found = {
            function: Way(
                probability=1 - (1 - way.probability) ** edge.calls,
                calls=min(MOST_CALLS, edge.calls * way.calls),
                early_s=edge.early_s + way.early_s,
                late_s=edge.late_s + way.late_s,
            )
            for function, way in self.ways(edge.function[:2], depth - 1).items()
        }
        found[edge.function] = Way(1.0, edge.calls, edge.early_s, edge.late_s)
        return found

    def _forget(self, name: Name) -> None:
        for edge in self._edges.pop(name, ()):
            called = edge.function[:2]
            self._callers[called] -= 1
            if not self._callers[called]:
                del self._callers[called]
