"""Functions and services with the calls between them, as a graph to be shown or walked."""

import msgspec


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function or service; ``id`` is ``function:NAME`` or ``service:NAME``.

    ``likelihood`` is how likely an execution of the graph's root reaches it at least once, ``calls`` how often on average,
    ``depth`` over how many calls at least; they are absent in the map of an account. ``per_hour`` counts executions or
    calls within the last hour. ``p50`` and ``p95`` are milliseconds, absent where they are not known.
    """

    id: str
    kind: str
    name: str
    version: str = ""
    likelihood: float | None = None
    calls: float | None = None
    depth: int | None = None
    per_hour: float | None = None
    p50: float | None = None
    p95: float | None = None
    error_rate: float | None = None


class Edge(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"source": "from", "target": "to"},
):
    """Calls of one node to another, through ``via`` when that service or function passed them on.

    ``likelihood`` is the share of the caller's executions with such a call, ``calls`` the number of calls in one on
    average. ``p50`` and ``p95`` are of the latency as the caller saw it, in milliseconds.
    """

    source: str
    target: str
    likelihood: float
    calls: float
    via: str = ""
    per_hour: float | None = None
    p50: float | None = None
    p95: float | None = None
    error_rate: float | None = None


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """``cycles`` are chains of nodes, each calling the next and the last the first; ``cut`` says that there is more."""

    nodes: list[Node]
    edges: list[Edge]
    cycles: list[list[str]]
    cut: bool = False
