"""What X-Ray says of a trace as a whole. Pure."""

from typing import NamedTuple

from forerun.model import Attribute, Span, SpanStatus
from forerun.traces.xray_names import ANNOTATION, begins_segment, service_of

_MAX_ANNOTATIONS = 100


class TraceFacts(NamedTuple):
    """What traces are found by: times in seconds, whether anything in it failed, who took part.

    ``response_s`` is what the first segment took, ``duration_s`` reaches to the end of what it caused. ``services`` are
    names and types, the entry's first. ``partial``: something has not ended, or was lost.
    """

    trace_id: str
    started: float
    ended: float
    duration_s: float
    response_s: float
    statuses: frozenset[SpanStatus]
    partial: bool
    services: tuple[tuple[str, str], ...]
    annotations: dict[str, Attribute]
    http: dict[str, Attribute]
    users: tuple[str, ...]


def facts_of(spans: list[Span]) -> TraceFacts:
    """Sum up the spans of one trace, of which there is at least one."""
    ordered = sorted(spans, key=lambda span: span.started)
    known = {span.span_id for span in ordered}
    tops = [span for span in ordered if begins_segment(span) or span.parent_id not in known]
    entry = next((span for span in tops if begins_segment(span)), tops[0] if tops else ordered[0])
    ended = max(max(span.ended, span.started) for span in ordered)
    started = ordered[0].started
    services = dict.fromkeys([service_of(entry), *(service_of(span) for span in tops)])
    annotations: dict[str, Attribute] = {}
    users: dict[str, None] = {}
    for span in ordered:
        for name, value in span.attributes.items():
            if name.startswith(ANNOTATION) and len(annotations) < _MAX_ANNOTATIONS:
                annotations.setdefault(name.removeprefix(ANNOTATION), value)
            elif name == "enduser.id":
                users[str(value)] = None
    return TraceFacts(
        trace_id=entry.trace_id,
        started=started,
        ended=ended,
        duration_s=ended - started,
        response_s=max(0.0, entry.ended - entry.started),
        statuses=frozenset(span.status for span in ordered),
        partial=any(span.ended == 0.0 and begins_segment(span) for span in ordered),
        services=tuple(services),
        annotations=annotations,
        http=entry.attributes,
        users=tuple(users),
    )
