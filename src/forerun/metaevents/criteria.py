"""Criteria: a tree of what must hold. Its nodes, and how they are told in words."""

from collections.abc import Iterator

import msgspec

from forerun.metaevents.expressions import Expression
from forerun.metaevents.facts import Fact

_BOUNDS = ("at_least", "more_than", "at_most", "less_than")
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a number is compared with; every bound that is given must hold."""

    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None

    def hold(self, value: float | None) -> bool:
        """Whether they do; not for ``None``."""
        return value is not None and not (
            (self.at_least is not None and value < self.at_least)
            or (self.more_than is not None and value <= self.more_than)
            or (self.at_most is not None and value > self.at_most)
            or (self.less_than is not None and value >= self.less_than)
        )

    @property
    def upper(self) -> bool:
        """Whether too little can make it hold: then nothing is said before a whole window was seen."""
        return self.at_most is not None or self.less_than is not None

    def __str__(self) -> str:
        given = ((name, getattr(self, name)) for name in _BOUNDS)
        return " and ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in given if value is not None
        )


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """One event: its kind, whose function, and what must be true of it. ``number`` is its place among all nodes."""

    number: int
    path: str
    event: str
    function: str = ""
    where: Expression | None = None

    def concerns(self, fact: Fact) -> bool:
        """Whether it is of that kind and function; ``where`` is another question."""
        return fact.kind == self.event and (not self.function or fact.function == self.function)

    def __str__(self) -> str:
        named = f"{self.event} of {self.function}" if self.function else self.event
        return f"{named} where {self.where.text}" if self.where else named


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A number drawn from the events of the last ``over`` seconds. ``measure``: ``count``, ``rate``, ``sum``, ``quantile``."""

    number: int
    path: str
    measure: str
    of: Leaf
    over: float
    bounds: Bounds
    field: str = ""
    p: float = 1.0

    def __str__(self) -> str:
        what = f"{self.measure} of {self.field} in" if self.field else f"{self.measure} of"
        if self.measure == "quantile":
            what = f"{self.p * 100:g} % quantile of {self.field} in"
        return f"{what} ({self.of}) over {span(self.over)} is {self.bounds}"


class Every(msgspec.Struct, frozen=True, kw_only=True):
    """All parts hold, or any: ``word`` says which."""

    number: int
    path: str
    word: str
    parts: "tuple[Node, ...]"

    def __str__(self) -> str:
        return f"{self.word} of {len(self.parts)}"


class Not(msgspec.Struct, frozen=True, kw_only=True):
    """The part does not hold."""

    number: int
    path: str
    part: "Node"

    def __str__(self) -> str:
        return "not the following"


class InOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The events came in this order, the last within so many seconds of the first."""

    number: int
    path: str
    steps: tuple[Leaf, ...]
    within: float

    def __str__(self) -> str:
        return " then ".join(f"({each})" for each in self.steps) + f" within {span(self.within)}"


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """There was no such event within so many seconds."""

    number: int
    path: str
    of: Leaf
    within: float

    def __str__(self) -> str:
        return f"no ({self.of}) within {span(self.within)}"


Node = Leaf | Measured | Every | Not | InOrder | Absent


class Criteria:
    """A whole tree. ``nodes`` are all nodes that are told of in an evaluation, by number; ``leaves`` all events it looks for."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.nodes = tuple(_nodes(root))
        self.leaves = tuple(_leaves(root))
        self.by_time = any(_by_time(node) for node in self.nodes)
        """Whether it may come to hold without an event."""
        self.momentary = any(isinstance(node, Leaf | InOrder) for node in self.nodes)
        """Whether it may hold for the moment of an event only."""

    @property
    def reads_output(self) -> bool:
        """Whether any of it looks at what executions answer."""
        return any(leaf.where is not None and leaf.where.reads_output for leaf in self.leaves)


def span(seconds: float) -> str:
    """A length of time in words."""
    for unit, size in _UNITS.items():
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _nodes(node: Node) -> Iterator[Node]:
    """The nodes that hold or do not, in the order they were written; leaves of windows and the like are part of those."""
    yield node
    if isinstance(node, Every):
        for part in node.parts:
            yield from _nodes(part)
    elif isinstance(node, Not):
        yield from _nodes(node.part)


def _leaves(root: Node) -> Iterator[Leaf]:
    for node in _nodes(root):
        if isinstance(node, Leaf):
            yield node
        elif isinstance(node, Measured | Absent):
            yield node.of
        elif isinstance(node, InOrder):
            yield from node.steps


def _by_time(node: Node) -> bool:
    if isinstance(node, Measured):
        return node.bounds.upper or node.measure == "quantile" or node.field != ""
    return isinstance(node, Not | Absent)
