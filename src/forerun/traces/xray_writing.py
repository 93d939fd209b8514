"""Spans of a trace as X-Ray's segment documents: one for each piece of work that somebody asked for, the rest nested.

Pure. Spans whose parent is not there, parents that go in a circle and chains that are too long give segments of their
own, so that nothing is lost.
"""

from typing import Any

import msgspec

from forerun.model import Attribute, Span, SpanStatus
from forerun.traces.xray_names import (
    ANNOTATION,
    FUNCTION,
    HTTP,
    METADATA,
    SQL,
    begins_segment,
    called_by,
    service_of,
    to_xray_id,
)

MAX_SPANS = 10_000
_MAX_DEPTH = 48
_HTTP_NAMES = frozenset(name for _, _, name in HTTP)
_SQL_NAMES = frozenset(name for _, name in SQL)
_SAID_ELSEWHERE = _HTTP_NAMES | _SQL_NAMES | {"exception.type", "exception.message", "enduser.id"}

Document = dict[str, Any]


def documents_of(spans: list[Span]) -> list[tuple[str, str]]:
    """Id and JSON of each segment document, in the order they began; of at most ``MAX_SPANS`` spans."""
    spans = sorted(spans, key=lambda span: span.started)[:MAX_SPANS]
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = {}
    waiting: list[Span] = []
    for span in spans:
        if begins_segment(span) or span.parent_id not in known:
            waiting.append(span)
        else:
            children.setdefault(span.parent_id, []).append(span)
    waiting.reverse()
    left = spans[::-1]
    seen: set[str] = set()
    segments: list[Document] = []
    while waiting or left:
        # When no segment is left to begin with, what was not reached goes in a circle.
        span = waiting.pop() if waiting else left.pop()
        if span.span_id not in seen:
            segments.append(_segment(span, children, seen, waiting))
    segments.sort(key=lambda document: float(document["start_time"]))
    return [(str(each["id"]), msgspec.json.encode(each).decode()) for each in segments]


def _segment(
    span: Span, children: dict[str, list[Span]], seen: set[str], waiting: list[Span]
) -> Document:
    """The document of a span and of those below; what is too deep is put to ``waiting``."""
    seen.add(span.span_id)
    top = _document(span)
    top["trace_id"] = to_xray_id(span.trace_id)
    if span.parent_id:
        top["parent_id"] = span.parent_id
    top["name"], kind = service_of(span)
    if kind:
        top["origin"] = kind
    level = [(top, span.span_id)]
    for depth in range(_MAX_DEPTH + 1):
        below: list[tuple[Document, str]] = []
        for document, span_id in level:
            for child in children.get(span_id, ()):
                if child.span_id in seen:
                    continue
                if depth == _MAX_DEPTH:
                    waiting.append(child)
                    continue
                seen.add(child.span_id)
                inner = _subsegment(child)
                document.setdefault("subsegments", []).append(inner)
                below.append((inner, child.span_id))
        level = below
    return top


def _subsegment(span: Span) -> Document:
    document = _document(span)
    if span.kind in ("client", "producer") and span.source != "xray":
        document["name"], kind = called_by(span)
        document["namespace"] = "aws" if kind.startswith("AWS::") else "remote"
    elif span.kind == "client":
        document["namespace"] = "aws" if "aws.service" in span.attributes else "remote"
    return document


def _document(span: Span) -> Document:
    document: Document = {"id": span.span_id, "name": span.name, "start_time": span.started}
    if span.ended:
        document["end_time"] = span.ended
    else:
        document["in_progress"] = True
    _put_status(document, span)
    attributes = span.attributes
    http = _http(attributes)
    if http:
        document["http"] = http
    sql = {member: attributes[name] for member, name in SQL if name in attributes}
    if sql:
        document["sql"] = sql
    if "enduser.id" in attributes:
        document["user"] = str(attributes["enduser.id"])
    if span.source == "forerun" and span.kind == "server":
        document["origin"] = FUNCTION
    _put_rest(document, attributes)
    return document


def _put_status(document: Document, span: Span) -> None:
    if span.status is not SpanStatus.OK:
        document[span.status.value] = True
    if span.status is SpanStatus.THROTTLE:
        document["error"] = True
    attributes = span.attributes
    kind = attributes.get("exception.type", attributes.get("error.type"))
    if kind is not None and span.status is not SpanStatus.OK:
        raised = {"type": str(kind), "message": str(attributes.get("exception.message", ""))}
        document["cause"] = {"exceptions": [{"id": span.span_id, **raised}]}


def _http(attributes: dict[str, Attribute]) -> Document:
    http: Document = {}
    for part, member, name in HTTP:
        if name in attributes:
            http.setdefault(part, {})[member] = attributes[name]
    if "url.full" not in attributes and "server.address" in attributes and http:
        url = f"{attributes['server.address']}{attributes.get('url.path', '')}"
        http.setdefault("request", {})["url"] = url
    return http


def _put_rest(document: Document, attributes: dict[str, Attribute]) -> None:
    """Annotations, metadata and the block about AWS; what has no place of its own is metadata ``default``."""
    annotations: dict[str, Attribute] = {}
    metadata: dict[str, Any] = {}
    aws: dict[str, Attribute] = {}
    other: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if name.startswith(ANNOTATION):
            annotations[name.removeprefix(ANNOTATION)] = value
        elif name.startswith(METADATA):
            metadata[name.removeprefix(METADATA)] = _parsed(value)
        elif name.startswith("aws."):
            aws[name.removeprefix("aws.")] = value
        elif name not in _SAID_ELSEWHERE:
            other[name] = value
    if other:
        space = metadata.get("default")
        metadata["default"] = {**other, **space} if isinstance(space, dict) else other
    for member, block in (("annotations", annotations), ("metadata", metadata), ("aws", aws)):
        if block:
            document[member] = block


def _parsed(value: Attribute) -> Any:
    try:
        return msgspec.json.decode(str(value))
    except (msgspec.MsgspecError, RecursionError):
        return value
