"""Who calls whom: services and the edges between them, counted over the spans of many traces. Pure, bounded."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from forerun.model import Span
from forerun.traces.xray_names import CLIENT, begins_segment, called_by, service_of

MAX_SERVICES = 2000
MAX_EDGES = 20_000
_MAX_STEPS = 64


class Measure(msgspec.Struct):
    """Counts of calls by how they ended, and how long they took: seconds rounded to two digits, and how many."""

    started: float = float("inf")
    ended: float = 0.0
    ok: int = 0
    error: int = 0
    throttle: int = 0
    fault: int = 0
    seconds: float = 0.0
    histogram: dict[float, int] = {}

    def count(self, span: Span) -> None:
        """One more call."""
        end = max(span.ended, span.started)
        self.started, self.ended = min(self.started, span.started), max(self.ended, end)
        name = span.status.value
        setattr(self, name, getattr(self, name) + 1)
        if span.ended:
            taken = end - span.started
            self.seconds += taken
            rounded = float(f"{taken:.2g}")
            self.histogram[rounded] = self.histogram.get(rounded, 0) + 1

    @property
    def total(self) -> int:
        """All of them."""
        return self.ok + self.error + self.throttle + self.fault


class Service(NamedTuple):
    """A node: who it is; nobody in the graph calls a ``root`` but clients. Only what reports spans was ``seen`` itself."""

    name: str
    kind: str


class Node(msgspec.Struct):
    """What is known of a service."""

    measure: Measure
    root: bool = False
    seen: bool = False


class ServiceGraph:
    """Counts traces, one after the other. ``cut`` says that there was more than is kept."""

    def __init__(self) -> None:
        self.nodes: dict[Service, Node] = {}
        self.edges: dict[tuple[Service, Service], Measure] = {}
        self.cut = False

    def add(self, spans: Iterable[Span]) -> None:
        """The spans of one trace."""
        known = {span.span_id: span for span in spans}
        answered: set[str] = set()
        for span in known.values():
            if begins_segment(span) and span.parent_id in known:
                answered.add(span.parent_id)
        for span in known.values():
            if begins_segment(span):
                self._count_segment(span, known)
            elif span.kind in ("client", "producer") and span.span_id not in answered:
                self._count_call(span, known)

    def _count_segment(self, span: Span, known: dict[str, Span]) -> None:
        service = Service(*service_of(span))
        node = self._node(service)
        if node is None:
            return
        node.seen = True
        node.measure.count(span)
        caller = _owner(known.get(span.parent_id), known)
        if caller is None:
            node.root = True
            caller = Service(service.name, CLIENT)
            client = self._node(caller)
            if client is None:
                return
            client.root = True
            client.measure.count(span)
        call = known.get(span.parent_id)
        seen_by_caller = call is not None and call.kind in ("client", "producer")
        self._edge(caller, service, call if call is not None and seen_by_caller else span)

    def _count_call(self, span: Span, known: dict[str, Span]) -> None:
        """A call to somebody who reports nothing."""
        caller = _owner(span, known)
        if caller is None:
            return
        callee = Service(*called_by(span))
        node = self._node(callee)
        if node is not None and self._node(caller) is not None:
            node.measure.count(span)
            self._edge(caller, callee, span)

    def _node(self, service: Service) -> Node | None:
        node = self.nodes.get(service)
        if node is None:
            if len(self.nodes) >= MAX_SERVICES:
                self.cut = True
                return None
            node = self.nodes[service] = Node(Measure())
        return node

    def _edge(self, caller: Service, callee: Service, span: Span) -> None:
        measure = self.edges.get((caller, callee))
        if measure is None:
            if len(self.edges) >= MAX_EDGES:
                self.cut = True
                return
            if self._node(caller) is None:
                return
            measure = self.edges[caller, callee] = Measure()
        measure.count(span)


def _owner(span: Span | None, known: dict[str, Span]) -> Service | None:
    """Whose segment a span belongs to; ``None`` when that is not known."""
    for _ in range(_MAX_STEPS):
        if span is None:
            return None
        if begins_segment(span) or (span.parent_id not in known and span.service):
            return Service(*service_of(span))
        span = known.get(span.parent_id)
    return None
