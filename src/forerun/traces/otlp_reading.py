"""Spans as OpenTelemetry sends them, read: OTLP's protobuf and its JSON, to segments. Pure.

What instrumented programs send is believed no further than it must be: ids are checked, times are within reason, names,
values and their number are bounded, and nothing claims to be the platform's own.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Segment, Span, SpanStatus
from forerun.traces.bounds import (
    MAX_ATTRIBUTES,
    MAX_KEY,
    MAX_NAME,
    OWN,
    bounded,
    plausible,
    status_of_http,
)
from forerun.traces.otlp_messages import request_of

PART = 200
KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_ERROR = 2
_MAX_DEPTH = 8
_MAX_EVENTS = 16
_NANO = 1e-9
_TRACE_ID = re.compile(r"[0-9a-f]{32}\Z")
_SPAN_ID = re.compile(r"[0-9a-f]{16}\Z")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
# Said once with the segment, of all that a resource may say of itself.
_OF_RESOURCE = (
    "service.namespace",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "telemetry.sdk.language",
    "host.name",
    "k8s.pod.name",
    "faas.name",
)


class Imported(NamedTuple):
    """A part of what came in: segments to keep, how many spans were refused, and why the first of those was."""

    segments: list[Segment]
    rejected: int = 0
    reason: str = ""


class _Struct(msgspec.Struct, rename="camel"):
    """A message of OTLP as JSON; its attributes are named as protobuf names them."""


class _Values(_Struct):
    values: "list[_AnyValue]" = []


class _Pairs(_Struct):
    values: "list[_KeyValue]" = []


class _AnyValue(_Struct):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None

    def WhichOneof(self, _name: str) -> str | None:  # noqa: N802  as protobuf calls it
        """Which of them is set."""
        for name in self.__struct_fields__:
            if getattr(self, name) is not None:
                return name
        return None


class _KeyValue(_Struct):
    key: str = ""
    value: _AnyValue = msgspec.field(default_factory=_AnyValue)


class _Event(_Struct):
    name: str = ""
    time_unix_nano: int = 0
    attributes: list[_KeyValue] = []


class _Link(_Struct):
    trace_id: str = ""
    span_id: str = ""


class _Status(_Struct):
    code: int = 0
    message: str = ""


class _Span(_Struct):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: list[_KeyValue] = []
    events: list[_Event] = []
    links: list[_Link] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Scope(_Struct):
    name: str = ""


class _ScopeSpans(_Struct):
    scope: _Scope = msgspec.field(default_factory=_Scope)
    spans: list[_Span] = []


class _Resource(_Struct):
    attributes: list[_KeyValue] = []


class _ResourceSpans(_Struct):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_ScopeSpans] = []


class _Request(_Struct):
    resource_spans: list[_ResourceSpans] = []


def read_json(body: bytes, account: str) -> Iterator[Imported]:
    """The spans of an ``ExportTraceServiceRequest`` as JSON, ``PART`` by part, so that others get their turn between.

    Raises ``InvalidInput``, before the first part, when it is none.
    """
    try:
        request = msgspec.json.decode(body, type=_Request, strict=False)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The body is no ExportTraceServiceRequest in JSON: {error}") from error
    return _read(request, account, str.lower)


def read_protobuf(body: bytes, account: str) -> Iterator[Imported]:
    """As ``read_json``, of protobuf."""
    return _read(request_of(body), account, bytes.hex)


def _read(request: Any, account: str, to_id: Callable[[Any], str]) -> Iterator[Imported]:
    for of_resource in request.resource_spans:
        said = _attributes(of_resource.resource.attributes)
        service = str(said.get("service.name", ""))[:MAX_NAME]
        spans = (span for of_scope in of_resource.scope_spans for span in of_scope.spans)
        while part := list(islice(spans, PART)):
            traces: dict[str, list[Span]] = {}
            refused: list[str] = []
            for sent in part:
                span = _span(sent, service, to_id)
                if isinstance(span, Span):
                    traces.setdefault(span.trace_id, []).append(span)
                else:
                    refused.append(span)
            segments = [_segment(account, spans, said) for spans in traces.values()]
            yield Imported(segments, len(refused), refused[0] if refused else "")


def _segment(account: str, spans: list[Span], said: dict[str, Any]) -> Segment:
    """The spans of one resource in one trace, the one that the others are below of first."""
    known = {span.span_id for span in spans}
    spans.sort(key=lambda span: (span.parent_id in known, span.started))
    first = spans[0]
    for name in _OF_RESOURCE:
        if name in said:
            first.attributes.setdefault(name, said[name])
    return Segment(account=account, trace_id=first.trace_id, spans=spans)


def _span(sent: Any, service: str, to_id: Callable[[Any], str]) -> Span | str:
    """The span, or why it is none."""
    trace_id, span_id = to_id(sent.trace_id), to_id(sent.span_id)
    if not _TRACE_ID.match(trace_id) or trace_id == _NO_TRACE:
        return f"traceId must be 16 bytes that are not all zero, not '{trace_id[:64]}'"
    if not _SPAN_ID.match(span_id) or span_id == _NO_SPAN:
        return f"spanId must be 8 bytes that are not all zero, not '{span_id[:64]}'"
    parent = to_id(sent.parent_span_id)
    if not _SPAN_ID.match(parent) or parent in (_NO_SPAN, span_id):
        parent = ""
    started, ended = sent.start_time_unix_nano * _NANO, sent.end_time_unix_nano * _NANO
    if not plausible(started):
        return f"startTimeUnixNano of span {span_id} is {sent.start_time_unix_nano}: not a time"
    attributes = _attributes(sent.attributes)
    _add_events(attributes, sent.events)
    _add_links(attributes, sent.links, to_id)
    status = status_of_http(
        attributes.get("http.response.status_code", attributes.get("http.status_code"))
    )
    if sent.status.code == _ERROR:
        if status is SpanStatus.OK:
            status = SpanStatus.FAULT
        if sent.status.message:
            attributes["otel.status_description"] = bounded(sent.status.message)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent,
        name=sent.name[:MAX_NAME],
        kind=KINDS[sent.kind] if 0 <= sent.kind < len(KINDS) else "internal",
        service=service,
        started=started,
        ended=max(started, ended) if plausible(ended) else 0.0,
        status=status,
        source="otlp",
        attributes=attributes,
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key = pair.key
        if len(found) >= MAX_ATTRIBUTES:
            break
        if not key or len(key) > MAX_KEY or key.startswith(OWN):
            continue
        value = pair.value
        kind = value.WhichOneof("value")
        if kind == "string_value":
            found[key] = bounded(value.string_value)
        elif kind in _PLAIN:
            found[key] = getattr(value, kind)
        elif kind is not None:
            found[key] = bounded(_as_text(_structured(value, 0)))
    return found


_PLAIN = frozenset({"int_value", "double_value", "bool_value"})


def _structured(value: Any, depth: int) -> Any:
    """A list or a mapping, for its text."""
    kind = value.WhichOneof("value")
    if kind is None or depth > _MAX_DEPTH:
        return None
    inner = getattr(value, kind)
    if kind == "array_value":
        return [_structured(each, depth + 1) for each in inner.values]
    if kind == "kvlist_value":
        return {pair.key: _structured(pair.value, depth + 1) for pair in inner.values}
    if kind == "bytes_value" and isinstance(inner, bytes):
        return base64.b64encode(inner).decode()
    return inner


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _add_events(attributes: dict[str, Any], events: Any) -> None:
    """The first exception as attributes, and all events as one text."""
    if not events:
        return
    kept = []
    for event in events[:_MAX_EVENTS]:
        said = _attributes(event.attributes)
        if event.name == "exception":
            for name in ("exception.type", "exception.message"):
                if name in said:
                    attributes.setdefault(name, said[name])
        kept.append({"time": event.time_unix_nano * _NANO, "name": event.name[:MAX_NAME], **said})
    attributes["otel.events"] = bounded(_as_text(kept))


def _add_links(attributes: dict[str, Any], links: Any, to_id: Callable[[Any], str]) -> None:
    if links:
        shown = [f"{to_id(link.trace_id)}:{to_id(link.span_id)}" for link in links[:_MAX_EVENTS]]
        attributes["otel.links"] = bounded(" ".join(shown))
