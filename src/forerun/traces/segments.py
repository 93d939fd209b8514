"""What is kept of an execution: a span of its own, one of its init, and one for each call that it made. Pure.

Attributes have the names of OpenTelemetry's semantic conventions where there is one, else they begin with ``forerun.``.
"""

import re
from hashlib import blake2b
from urllib.parse import unquote

from forerun.events import ExecutionEnded
from forerun.model import (
    Attribute,
    Channel,
    InvocationRecord,
    OutgoingCall,
    Segment,
    Span,
    SpanStatus,
    StartType,
    Timings,
)

STEPS = {
    "admitted": "forerun.step.admit_ms",
    "dequeued": "forerun.step.queue_ms",
    "acquired": "forerun.step.sandbox_ms",
    "loaded": "forerun.step.load_ms",
    "started": "forerun.step.enter_ms",
    "ended": "forerun.step.run_ms",
    "answered": "forerun.step.answer_ms",
}
"""Attribute of each step of ``Timings``: milliseconds since the step before."""

_BAD, _BROKEN, _TOO_MANY = 400, 500, 429
_MB = 1 << 20
_STATUS = {"success": SpanStatus.OK, "throttled": SpanStatus.THROTTLE}
_INVOKED = re.compile(
    r"/20\d\d-\d\d-\d\d/functions/([^/]+)/"
    r"(?:invocations|invoke-async|response-streaming-invocations)/?\Z"
)


def segment_of(ended: ExecutionEnded) -> Segment:
    """The segment of an execution: first its server span, whose id is that of its context."""
    record, context = ended.record, ended.context
    spans = [_execution(ended)]
    if (init := _init(record, spans[0])) is not None:
        spans.append(init)
    spans += [_call(call, spans[0]) for call in ended.calls]
    return Segment(
        account=record.account,
        trace_id=context.trace_id,
        function=record.name,
        version=record.version,
        request_id=record.request_id,
        spans=spans,
    )


def _execution(ended: ExecutionEnded) -> Span:
    record, context, timings = ended.record, ended.context, ended.record.timings
    # An event waits in its queue, and between its attempts; none of that is part of this attempt.
    queued = record.invocation_type == "Event"
    over = timings.answered or timings.ended
    started = (timings.admitted or over) if queued else timings.received
    attributes: dict[str, Attribute] = {
        "faas.name": record.name,
        "faas.version": record.version,
        "faas.invocation_id": record.request_id,
        "cloud.region": ended.region,
        "forerun.invocation_type": record.invocation_type,
        "forerun.status": record.status,
        "forerun.attempt": record.attempt,
        "forerun.weight": context.weight,
        "forerun.depth": context.depth,
        "forerun.memory_mb": record.memory_mb,
        "http.request.body.size": record.request_bytes,
        "http.response.body.size": record.response_bytes,
    }
    attributes |= _placed(record)
    attributes |= _caused(ended)
    if ended.cpu_ms:
        attributes["forerun.cpu_ms"] = round(ended.cpu_ms, 3)
    if ended.dropped:
        attributes["forerun.dropped_calls"] = ended.dropped
    if record.error_type:
        attributes["error.type"] = record.error_type
    attributes |= _steps(timings)
    return Span(
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_id=context.origin.parent_id,
        name=record.name,
        kind="server",
        service=record.name,
        started=started,
        ended=max(over, started),
        status=_STATUS.get(record.status, SpanStatus.FAULT),
        attributes=attributes,
    )


def _placed(record: InvocationRecord) -> dict[str, Attribute]:
    """Where it ran, and how it came there; nothing of what was refused."""
    attributes: dict[str, Attribute] = {}
    if record.start_type:
        attributes["forerun.start_type"] = record.start_type
        attributes["faas.coldstart"] = record.start_type not in (
            StartType.WARM,
            StartType.PREWARMED,
        )
    if record.max_memory_mb:
        attributes["forerun.max_memory_mb"] = record.max_memory_mb
    if record.init_ms is not None:
        attributes["forerun.init_ms"] = round(record.init_ms, 3)
    for name in ("qualifier", "host", "sandbox", "isolation", "placement"):
        if value := getattr(record, name):
            attributes[f"forerun.{name}"] = value
    return attributes


def _caused(ended: ExecutionEnded) -> dict[str, Attribute]:
    origin = ended.context.origin
    attributes: dict[str, Attribute] = {}
    if origin.channel is not Channel.NONE:
        attributes["forerun.channel"] = origin.channel.value
    if origin.execution:
        attributes["forerun.caused_by"] = origin.execution
    return attributes


def _steps(timings: Timings) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {}
    before = timings.received
    for step, name in STEPS.items():
        at = getattr(timings, step)
        if at and before:
            attributes[name] = round(max(at - before, 0.0) * 1000, 3)
            before = max(at, before)
    return attributes


def _init(record: InvocationRecord, execution: Span) -> Span | None:
    """Between taking a sandbox and entering the handler; ``None`` when the sandbox had been initialised before."""
    timings = record.timings
    if record.init_ms is None or not timings.loaded:
        return None
    failed = not timings.started
    return Span(
        trace_id=execution.trace_id,
        span_id=_part_of(execution.span_id, b"init"),
        parent_id=execution.span_id,
        name="init",
        service=record.name,
        started=max(timings.acquired, timings.loaded - record.init_ms / 1000),
        ended=timings.loaded,
        status=SpanStatus.FAULT if failed else SpanStatus.OK,
        attributes={"error.type": record.error_type} if failed and record.error_type else {},
    )


def _part_of(span_id: str, name: bytes) -> str:
    """The same id whenever the same execution is told, so that telling it twice does not show it twice."""
    return blake2b(span_id.encode(), digest_size=8, key=name).hexdigest()


def _call(call: OutgoingCall, execution: Span) -> Span:
    http = call.kind == "http"
    attributes = _address(call.host)
    if http:
        attributes["http.request.method"] = call.method
        attributes["url.path"] = call.path
        attributes["http.request.body.size"] = call.sent_bytes
        attributes["http.response.body.size"] = call.received_bytes
        attributes["forerun.fingerprint"] = f"{call.fingerprint & (1 << 64) - 1:016x}"
        attributes["forerun.injected"] = call.injected
    if call.status:
        attributes["http.response.status_code"] = call.status
    if call.service:
        attributes["aws.service"] = call.service
        attributes["aws.operation"] = call.operation
        if invoked := _INVOKED.match(call.path):
            attributes["faas.invoked_name"] = unquote(invoked[1])
    if call.error:
        attributes["error.type"] = call.error
    if not call.ended:
        attributes["forerun.unfinished"] = True
    return Span(
        trace_id=execution.trace_id,
        span_id=call.span_id,
        parent_id=execution.span_id,
        name=_name(call, http=http),
        kind="client",
        service=execution.service,
        started=call.started,
        ended=max(call.ended, call.started) if call.ended else 0.0,
        status=_status(call),
        attributes=attributes,
    )


def _name(call: OutgoingCall, *, http: bool) -> str:
    if call.service and call.operation:
        return f"{call.service}.{call.operation}"
    if http:
        return f"{call.method} {call.path}".strip() or "http"
    return f"connect {call.host}"


def _address(host: str) -> dict[str, Attribute]:
    """``name:port``, ``[address]:port`` or ``unix:PATH`` as OpenTelemetry writes them."""
    if host.startswith("unix:"):
        return {"server.address": host.removeprefix("unix:"), "network.transport": "unix"}
    name, _, port = host.rpartition(":")
    if name and port.isdecimal():
        return {"server.address": name.strip("[]"), "server.port": int(port)}
    return {"server.address": host}


def _status(call: OutgoingCall) -> SpanStatus:
    if call.error or call.status >= _BROKEN:
        return SpanStatus.FAULT
    if call.status == _TOO_MANY:
        return SpanStatus.THROTTLE
    return SpanStatus.ERROR if call.status >= _BAD else SpanStatus.OK
