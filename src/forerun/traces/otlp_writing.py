"""Segments as OpenTelemetry's collectors take them: an ``ExportTraceServiceRequest`` in protobuf. Pure.

Names are those of OpenTelemetry's semantic conventions; span ids are the platform's own, so that both sides agree.
"""

from collections.abc import Sequence
from typing import Any

from forerun.model import Attribute, Segment, Span, SpanStatus, function_arn
from forerun.traces.otlp_messages import new_request

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS_ERROR = 2
_NANOS = 1_000_000_000
_MICROS = 1_000_000
_SCOPE = "forerun"
_MANY = 1 << 63


def write_protobuf(segments: Sequence[Segment], region: str) -> bytes:
    """One request for all of them, a resource for each function version."""
    request = new_request()
    scopes: dict[tuple[str, str, str, str], Any] = {}
    for segment in segments:
        for span in segment.spans:
            service = segment.function or span.service
            key = (segment.account, segment.function, segment.version, service)
            scope = scopes.get(key)
            if scope is None:
                of_resource = request.resource_spans.add()
                _put(of_resource.resource.attributes, _resource(segment, service, region))
                scope = scopes[key] = of_resource.scope_spans.add()
                scope.scope.name = _SCOPE
            _write(scope.spans.add(), span, segment.spans[0].ended)
    return bytes(request.SerializeToString())


def _resource(segment: Segment, service: str, region: str) -> dict[str, Attribute]:
    said: dict[str, Attribute] = {
        "service.name": service or "unknown_service",
        "cloud.provider": "forerun",
        "cloud.platform": "forerun_functions",
        "cloud.region": region,
        "cloud.account.id": segment.account,
    }
    if segment.function:
        arn = function_arn(region, segment.account, segment.function, segment.version or None)
        said["faas.name"] = segment.function
        said["faas.version"] = segment.version
        said["cloud.resource_id"] = arn
    return said


def _write(target: Any, span: Span, end: float) -> None:
    target.trace_id = bytes.fromhex(span.trace_id)
    target.span_id = bytes.fromhex(span.span_id)
    if span.parent_id:
        target.parent_span_id = bytes.fromhex(span.parent_id)
    target.name = span.name
    target.kind = _KINDS.get(span.kind, 0)
    target.start_time_unix_nano = _nanos(span.started)
    # What nobody saw the end of was over at the latest with what it belongs to.
    target.end_time_unix_nano = _nanos(span.ended or max(end, span.started))
    if span.status is not SpanStatus.OK:
        target.status.code = _STATUS_ERROR
        target.status.message = str(span.attributes.get("error.type", span.status.value))
    _put(target.attributes, span.attributes)


def _nanos(seconds: float) -> int:
    """Float seconds resolve a quarter of a microsecond: digits below would be made up."""
    return max(0, round(seconds * _MICROS)) * (_NANOS // _MICROS)


def _put(target: Any, values: dict[str, Attribute]) -> None:
    for key, value in values.items():
        pair = target.add()
        pair.key = key
        if isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, int) and -_MANY <= value < _MANY:
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        else:
            pair.value.string_value = str(value)
