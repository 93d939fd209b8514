"""Spans of a trace as a tree, whatever state they came in: doubled, late, out of order, with parents that are missing or
in a circle, from machines whose clocks disagree. Pure.
"""

from collections.abc import Iterable

import msgspec

from forerun.model import Attribute, Span, SpanStatus, distinct_spans

MOST_DEPTH = 200
MOST_NODES = 5_000
_SLACK_S = 0.000_5
MISSING = "missing"


class TraceNode(msgspec.Struct, kw_only=True):
    """A span where it stands. Times are epoch seconds, corrected by ``skew_ms`` where clocks disagreed.

    ``ended`` is 0.0 and ``duration_ms`` ``None`` when the end is not known. ``orphan`` says that its parent was not
    received. ``caused_by`` says that it stands under the execution that caused it instead, since its parent is
    not known. ``cut`` counts spans below it that are left out.
    """

    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    source: str
    status: SpanStatus
    started: float
    ended: float
    duration_ms: float | None
    attributes: dict[str, Attribute]
    skew_ms: float = 0.0
    orphan: bool = False
    caused_by: bool = False
    cut: int = 0
    children: list["TraceNode"] = []


class TraceTree(msgspec.Struct, kw_only=True):
    """A whole trace. ``duration_ms`` is from the first start to the last known end, as corrected.

    There is one root for each span without a parent, and one named ``missing``, of source ``""``, above those whose
    parents were not received, unless there is just one of them. ``executions`` counts runs of functions, ``cut`` spans
    that are not in the tree for its depth or size, ``circles`` parents that were not believed since they made a circle.
    """

    trace_id: str
    started: float
    duration_ms: float
    status: SpanStatus
    spans: int
    executions: int
    functions: list[str]
    cut: int
    circles: int
    roots: list[TraceNode]


def tree_of(
    trace_id: str,
    spans: Iterable[Span],
    *,
    most_depth: int = MOST_DEPTH,
    most_nodes: int = MOST_NODES,
) -> TraceTree:
    """The tree of the spans; of those that are too deep or too many the earliest and uppermost are shown."""
    known = distinct_spans(spans)
    nodes = {span.span_id: _node(span) for span in known}
    above, circles = _parents(nodes)
    tops = _hang(nodes, above)
    shown, cut = _bound(tops, most_depth, most_nodes)
    for node in shown:
        _straighten(node)
    roots = _roots(tops)
    started = min((node.started for node in shown), default=0.0)
    ended = max((max(node.started, node.ended) for node in shown), default=0.0)
    return TraceTree(
        trace_id=trace_id,
        started=started,
        duration_ms=_ms(ended - started),
        status=max((span.status for span in known), key=_badness, default=SpanStatus.OK),
        spans=len(known),
        executions=sum(1 for span in known if is_execution(span)),
        functions=sorted({span.service for span in known if is_execution(span)}),
        cut=cut,
        circles=circles,
        roots=roots,
    )


def is_execution(span: Span | TraceNode) -> bool:
    """Whether it is the run of a function, as the platform saw it."""
    return span.source == "forerun" and span.kind == "server"


def _node(span: Span) -> TraceNode:
    ended = max(span.ended, span.started) if span.ended else 0.0
    return TraceNode(
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        kind=span.kind,
        service=span.service,
        source=span.source,
        status=span.status,
        started=span.started,
        ended=ended,
        duration_ms=_ms(ended - span.started) if ended else None,
        attributes=span.attributes,
    )


def _parents(nodes: dict[str, TraceNode]) -> tuple[dict[str, str], int]:
    """Under which span each stands (absent for what stands at the top), and how many circles were opened.

    What the platform says of the cause of an execution stands in for a parent that nobody sent: an outside service may
    have put its own, unreported span in between.
    """
    above: dict[str, str] = {}
    for id_, node in nodes.items():
        cause = str(node.attributes.get("forerun.caused_by", ""))
        if node.parent_id in nodes and node.parent_id != id_:
            above[id_] = node.parent_id
        elif is_execution(node) and cause in nodes and cause != id_:
            above[id_] = cause
            node.caused_by = True
    return above, _open_circles(nodes, above)


def _open_circles(nodes: dict[str, TraceNode], above: dict[str, str]) -> int:
    """Take the earliest span of each circle out of it."""
    circles = 0
    done: set[str] = set()
    for id_ in nodes:
        way: dict[str, None] = {}
        at: str | None = id_
        while at is not None and at not in done and at not in way:
            way[at] = None
            at = above.get(at)
        if at is not None and at in way:
            ring = list(way)[list(way).index(at) :]
            first = min(ring, key=lambda each: (nodes[each].started, each))
            del above[first]
            circles += 1
        done.update(way)
    return circles


def _hang(nodes: dict[str, TraceNode], above: dict[str, str]) -> list[TraceNode]:
    """Give each node its children, earliest first; what stands at the top."""
    tops = []
    # In order of their start, hence children are, too.
    for id_, node in nodes.items():
        if (parent := above.get(id_)) is None:
            node.orphan = bool(node.parent_id)
            tops.append(node)
        else:
            nodes[parent].children.append(node)
    return tops


def _bound(tops: list[TraceNode], most_depth: int, most_nodes: int) -> tuple[list[TraceNode], int]:
    """Cut what is too deep or too much; the nodes that stay, parents first, and how many went."""
    shown: list[TraceNode] = []
    hidden = tops[most_nodes:]
    del tops[most_nodes:]
    level, depth = tops, 1
    left = most_nodes - len(tops)
    while level:
        shown += level
        below: list[TraceNode] = []
        for node in level:
            room = 0 if depth >= most_depth else left
            hidden += node.children[room:]
            node.cut = len(node.children) - len(node.children[:room])
            del node.children[room:]
            left -= len(node.children)
            below += node.children
        level, depth = below, depth + 1
    cut = 0
    while hidden:
        cut += 1
        hidden += hidden.pop().children
    return shown, cut


def _straighten(node: TraceNode) -> None:
    """Move children that began before their parent, with all below them: their clock was behind.

    A server's span is laid into the middle of the call that it served, as if both ways had taken equally long.
    """
    for child in node.children:
        ahead = node.started - child.started
        if ahead <= _SLACK_S:
            continue
        spare = 0.0
        if child.kind == "server" and node.duration_ms is not None:
            spare = max(0.0, node.duration_ms - (child.duration_ms or 0.0)) / 2000
        _shift(child, ahead + spare)
    node.children.sort(key=lambda each: (each.started, each.span_id))


def _shift(top: TraceNode, seconds: float) -> None:
    moved = [top]
    while moved:
        node = moved.pop()
        node.started += seconds
        if node.ended:
            node.ended += seconds
        node.skew_ms += _ms(seconds)
        moved += node.children


def _roots(tops: list[TraceNode]) -> list[TraceNode]:
    orphans = [node for node in tops if node.orphan]
    if len(orphans) < 2 or len(tops) == 1:
        return tops
    roots = [node for node in tops if not node.orphan]
    started = min(node.started for node in orphans)
    ended = max(max(node.started, node.ended) for node in orphans)
    roots.append(
        TraceNode(
            span_id="",
            parent_id="",
            name=MISSING,
            kind="internal",
            service="",
            source="",
            status=SpanStatus.OK,
            started=started,
            ended=ended,
            duration_ms=_ms(ended - started),
            attributes={},
            children=orphans,
        )
    )
    return sorted(roots, key=lambda node: (node.started, node.span_id))


def _badness(status: SpanStatus) -> int:
    return (SpanStatus.OK, SpanStatus.ERROR, SpanStatus.THROTTLE, SpanStatus.FAULT).index(status)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
