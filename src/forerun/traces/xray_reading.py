"""X-Ray's segment documents, read: to spans of the same trace. Pure."""

import re
from typing import Any

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Attribute, Segment, Span, SpanStatus
from forerun.traces.bounds import MAX_ATTRIBUTES, MAX_KEY, MAX_NAME, OWN, bounded, plausible
from forerun.traces.xray_names import ANNOTATION, HTTP, METADATA, SQL, from_xray_id

MAX_DOCUMENT = 64 * 1024
MAX_SPANS = 1000

_ID = re.compile(r"[0-9a-f]{16}\Z")
_NO_ID = "0" * 16


def read_document(text: str | bytes, account: str, *, service: str = "") -> Segment:
    """The spans of one segment or subsegment document.

    ``service`` is who did the work of a subsegment that comes alone. Raises ``InvalidInput`` saying which field of it is
    wrong; more than ``MAX_SPANS`` subsegments are left out.
    """
    if len(text) > MAX_DOCUMENT:
        raise InvalidInput(f"A segment document has at most {MAX_DOCUMENT} bytes")
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidInput(f"The segment document is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput("A segment document is a JSON object")
    trace_id = from_xray_id(str(document.get("trace_id", "")))
    subsegment = document.get("type") == "subsegment"
    if not subsegment:
        service = _name(document)
    first = _span(document, trace_id, service, str(document.get("parent_id") or ""))
    if not subsegment:
        first.kind = "server"
    spans = [first]
    waiting = [(document, first.span_id)]
    while waiting and len(spans) < MAX_SPANS:
        outer, parent = waiting.pop()
        inner = outer.get("subsegments")
        for each in inner if isinstance(inner, list) else ():
            if isinstance(each, dict) and len(spans) < MAX_SPANS:
                span = _span(each, trace_id, service, parent)
                spans.append(span)
                waiting.append((each, span.span_id))
    return Segment(account=account, trace_id=trace_id, spans=spans)


def _name(document: dict[str, Any]) -> str:
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput("name of a segment must be a text that is not empty")
    return name[:MAX_NAME]


def _span(document: dict[str, Any], trace_id: str, service: str, parent: str) -> Span:
    span_id = document.get("id")
    if not isinstance(span_id, str) or not _ID.match(span_id) or span_id == _NO_ID:
        raise InvalidInput(f"id must be 16 hexadecimal digits, not '{str(span_id)[:64]}'")
    started = _time(document, "start_time")
    if started == 0.0:
        raise InvalidInput(f"start_time of {span_id} must be epoch seconds")
    ended = 0.0 if document.get("in_progress") is True else _time(document, "end_time")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent if _ID.match(parent) and parent != span_id else "",
        name=_name(document),
        kind="client" if document.get("namespace") in ("aws", "remote") else "internal",
        service=service,
        started=started,
        ended=max(ended, started) if ended else 0.0,
        status=_status(document),
        source="xray",
        attributes=_attributes(document),
    )


def _time(document: dict[str, Any], member: str) -> float:
    value = document.get(member)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    # An integer of JSON may be longer than any float.
    return float(value) if abs(value) < 1 << 40 and plausible(value) else 0.0


def _status(document: dict[str, Any]) -> SpanStatus:
    for member in ("throttle", "fault", "error"):
        if document.get(member) is True:
            return SpanStatus(member)
    return SpanStatus.OK


def _attributes(document: dict[str, Any]) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    http = _block(document, "http")
    for part, member, name in HTTP:
        _put(found, name, _block(http, part).get(member))
    sql = _block(document, "sql")
    for member, name in SQL:
        _put(found, name, sql.get(member))
    if document.get("namespace") == "aws":
        _put(found, "aws.service", str(document.get("name", "")).lower())
    for member, value in _block(document, "aws").items():
        _put(found, f"aws.{member}", value)
    for member, name in (("user", "enduser.id"), ("origin", "xray.origin")):
        _put(found, name, document.get(member))
    _put(found, "service.version", _block(document, "service").get("version"))
    for key, value in _block(document, "annotations").items():
        _put(found, ANNOTATION + key, value)
    for space, content in _block(document, "metadata").items():
        _put(found, METADATA + space, msgspec.json.encode(content).decode())
    _put_cause(found, document.get("cause"))
    return found


def _put_cause(found: dict[str, Attribute], cause: Any) -> None:
    exceptions = cause.get("exceptions") if isinstance(cause, dict) else None
    first = exceptions[0] if isinstance(exceptions, list) and exceptions else None
    if isinstance(first, dict):
        _put(found, "exception.type", first.get("type"))
        _put(found, "exception.message", first.get("message"))


def _block(document: dict[str, Any], member: str) -> dict[str, Any]:
    block = document.get(member)
    return block if isinstance(block, dict) else {}


def _put(found: dict[str, Attribute], name: str, value: Any) -> None:
    """One attribute, if it is one and there is room."""
    if len(found) >= MAX_ATTRIBUTES or len(name) > MAX_KEY or name.startswith(OWN):
        return
    if isinstance(value, str):
        found[name] = bounded(value)
    elif isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 63):
        found[name] = value
