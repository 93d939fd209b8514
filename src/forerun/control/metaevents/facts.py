"""What the bus tells, and what is stored of invocations, as facts that criteria look at."""

from collections.abc import Callable, Sequence
from typing import Any

from forerun.events import (
    DeadLetterKept,
    ExecutionDetected,
    ExecutionQueued,
    ExecutionSeen,
    ExecutionStarted,
    FindingRaised,
    FunctionChanged,
    HostChanged,
    MetaeventRaised,
    Notice,
    RecursionStopped,
)
from forerun.metaevents import MOST_OUTPUT, OUTPUT, Fact, Value
from forerun.model import InvocationRecord, TraceContext

THROTTLED = "throttled"


def fact_of(notice: Notice) -> Fact:
    """The fact that a notice tells."""
    return _FACTS[type(notice)](notice)


def facts_of_record(record: InvocationRecord) -> list[Fact]:
    """What a stored record of an attempt says has happened, oldest first; what it answered is not stored."""
    facts = []
    if record.timings.started:
        fields: dict[str, Value] = {
            "request_id": record.request_id,
            "version": record.version,
            "attempt": record.attempt,
        }
        facts.append(_fact("execution.started", record, record.timings.started, fields))
    # There are records of what was given up without a run: an execution has a start, or a start type when init failed.
    ran = record.timings.started or record.start_type
    if record.timings.answered and (ran or record.status == THROTTLED):
        facts.append(_ended(record))
    return facts


def _fact(
    kind: str,
    record: InvocationRecord,
    at: float,
    fields: dict[str, Value],
    context: TraceContext | None = None,
) -> Fact:
    return Fact(
        kind=kind,
        account=record.account,
        function=record.name,
        at=at,
        fields=fields,
        request_id=record.request_id,
        execution=context.span_id if context else "",
        cause=context.origin.execution if context else "",
    )


def _ended(
    record: InvocationRecord, context: TraceContext | None = None, output: bytes = b""
) -> Fact:
    timings = record.timings
    fields: dict[str, Value] = {
        "request_id": record.request_id,
        "version": record.version,
        "attempt": record.attempt,
        "qualifier": record.qualifier or "",
        "type": record.invocation_type,
    }
    if record.status == THROTTLED:
        return _fact("execution.throttled", record, timings.answered, fields, context)
    fields |= {
        "status": record.status,
        "error_type": record.error_type or "",
        "start_type": record.start_type or "",
        "cold": record.init_ms is not None,
        "duration_ms": record.duration_ms,
        "init_ms": record.init_ms or 0.0,
        "queued_ms": max(0.0, (timings.started - timings.received) * 1000)
        if timings.started
        else 0.0,
        "memory_mb": record.memory_mb,
        "max_memory_mb": record.max_memory_mb,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "foresight": record.foresight,
        "source": record.source,
        OUTPUT: output[:MOST_OUTPUT].decode("utf-8", "replace"),
    }
    return _fact("execution.ended", record, timings.answered, fields, context)


def _request(kind: str) -> Callable[[Any], Fact]:
    def make(notice: ExecutionDetected | ExecutionQueued) -> Fact:
        fields: dict[str, Value] = {
            "request_id": notice.request_id,
            "qualifier": notice.qualifier or "",
        }
        if isinstance(notice, ExecutionDetected):
            fields["type"] = notice.invocation_type
        return Fact(
            kind=kind,
            account=notice.account,
            function=notice.name,
            at=notice.at,
            fields=fields,
            request_id=notice.request_id,
        )

    return make


def _started(notice: ExecutionStarted) -> Fact:
    return Fact(
        kind="execution.started",
        account=notice.account,
        function=notice.name,
        at=notice.at,
        fields={
            "request_id": notice.request_id,
            "version": notice.version,
            "attempt": notice.attempt,
        },
        request_id=notice.request_id,
        execution=notice.context.span_id,
        cause=notice.context.origin.execution,
    )


def _seen(notice: ExecutionSeen) -> Fact:
    return _ended(notice.ended.record, notice.ended.context, notice.output)


def _plain(kind: str, fields: Sequence[str], function: str = "name") -> Callable[[Any], Fact]:
    """Facts whose fields are those of the notice."""

    def make(notice: Any) -> Fact:
        return Fact(
            kind=kind,
            account=notice.account,
            function=getattr(notice, function),
            at=notice.at,
            fields={name: getattr(notice, name) for name in fields},
            request_id=getattr(notice, "request_id", ""),
        )

    return make


def _host(notice: HostChanged) -> Fact:
    names = ("host", "memory_mb", "booked_mb", "sandboxes", "idle", "busy", "pooled", "waiting")
    counts = ("started", "destroyed", "failed")
    fields: dict[str, Value] = {name: getattr(notice, name) for name in (*names, *counts)}
    fields["booked_percent"] = 100.0 * notice.booked_mb / max(1, notice.memory_mb)
    return Fact(kind="host.changed", account="", function="", at=notice.at, fields=fields)


def _raised(notice: MetaeventRaised) -> Fact:
    return Fact(
        kind="metaevent.raised",
        account=notice.account,
        function=notice.function,
        at=notice.at,
        fields={
            "metaevent": notice.name,
            "depth": len(notice.chain),
            "chain": "/".join(notice.chain),
        },
    )


_FACTS: dict[type, Callable[[Any], Fact]] = {
    ExecutionDetected: _request("execution.detected"),
    ExecutionQueued: _request("execution.queued"),
    ExecutionStarted: _started,
    ExecutionSeen: _seen,
    DeadLetterKept: _plain(
        "deadletter.kept", ("target", "source", "reason", "attempts"), "function"
    ),
    RecursionStopped: _plain("recursion.stopped", ("request_id", "runs")),
    FunctionChanged: _plain("function.changed", ("change",)),
    FindingRaised: _plain("finding.raised", ("version", "finding", "title", "confidence")),
    HostChanged: _host,
    MetaeventRaised: _raised,
}
