"""One invocation of a resolved function: admission, a sandbox, the run, and the record of it.

The same way serves synchronous calls, function URLs and the attempts of asynchronous ones. What the user's code does
(raise, exit, time out, fail to load) is an answer; only the platform's own refusals are raised.
"""

import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

import msgspec

from forerun.aio import Clock
from forerun.control.ahead.contract import Ahead
from forerun.control.monitoring import Monitor, with_w3c
from forerun.control.noticing import note_call, note_queued, start_noted, tell_end
from forerun.control.recorder import Recorder
from forerun.control.registry import Resolved
from forerun.control.run_logs import log_of_failed_init, log_of_run
from forerun.control.specs import Specs
from forerun.errors import RecursionDetected, SandboxError, Throttled
from forerun.events import Bus, ExecutionBegan, ExecutionEnded, RecursionStopped
from forerun.host import Host, Run
from forerun.model import (
    RECURSION_LIMIT,
    Call,
    FunctionVersion,
    InitFailure,
    InitReport,
    InvocationRecord,
    LogLine,
    Origin,
    Outcome,
    ResponseSink,
    Timings,
    TraceContext,
    occurrences,
)
from forerun.scheduling import Admission
from forerun.storage import QueuedEvent
from forerun.traces import NOTHING, unsigned

log = logging.getLogger("forerun.invoke")

MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100


class Invocation(msgspec.Struct, kw_only=True):
    """What a caller asks for. ``sink`` takes a streamed response; ``deferred_s`` is how many seconds a deferrable event has
    waited. ``source`` is the ARN of what sent the event that it is for, empty for calls; ``dequeued`` is when that was taken
    from its queue or source, 0.0 for calls. Times are epoch seconds. ``execution_id`` names the wish: it succeeds no more often
    than wanted. ``accepted`` says of an answer that is no error whether it is a success.
    """

    request_id: str
    payload: bytes
    received: float
    invocation_type: str = "RequestResponse"
    client_context: str | None = None
    origin: Origin = NOTHING
    attempt: int = 1
    sink: ResponseSink | None = None
    deferred_s: float = 0.0
    source: str = ""
    dequeued: float = 0.0
    execution_id: str = ""
    accepted: Callable[[bytes], bool] | None = None


class Reply(msgspec.Struct, kw_only=True):
    """What the caller gets. ``error`` is ``None``, ``Handled`` or ``Unhandled``; ``log()`` gives all lines of the run.

    The lines are put together when first asked for: few callers want them, and they are stored behind the answer.
    ``executed`` is false for what was not run, since it had been before, and ``None`` where nobody asked about that;
    ``result_kept`` is false where the result of that time is not known any more.
    """

    payload: bytes
    content_type: str
    error: str | None
    error_type: str | None
    record: InvocationRecord
    context: TraceContext
    log: Callable[[], list[LogLine]]
    streamed: bool = False
    executed: bool | None = None
    result_kept: bool = True


class Guard(Protocol):
    """Stands before invocations that may not need to be run."""

    def run(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """As ``Invoker.run``; it calls ``Invoker.execute`` for what is needed."""


class Invoker:
    """Runs resolved invocations and records them."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        admission: Admission,
        host: Host,
        recorder: Recorder,
        monitor: Monitor,
        bus: Bus,
        specs: Specs,
        clock: Clock,
        foresight: Ahead | None = None,
    ) -> None:
        self._admission = admission
        self._host = host
        self._recorder = recorder
        self._monitor = monitor
        self._bus = bus
        self._specs = specs
        self._clock = clock
        self._foresight = foresight
        self._guard: Guard | None = None
        self.stopped_loops = 0

    def connect(self, guard: Guard | None) -> None:
        """Let it decide about invocations that have an execution id, and functions that run once, from now on."""
        self._guard = guard

    def run(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """Run it, unless that is not needed, and answer; else as ``execute``. Also raises ``StorageFailed``."""
        if (resolved.once is not None or invocation.execution_id) and self._guard is not None:
            return self._guard.run(resolved, invocation, on_stored)
        return self.execute(resolved, invocation, on_stored)

    async def execute(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None = None,
    ) -> Reply:
        """Run it and answer; ``on_stored`` is called once its record is in the store.

        Raises ``Throttled`` when concurrency or memory lacks, ``SandboxError`` when no sandbox could be made, and
        ``RecursionDetected`` when the function has run too often in this chain; that is recorded as well.
        """
        function = resolved.function
        if invocation.origin.lineage and resolved.recursion != "Allow":
            self._stop_loop(resolved, invocation, on_stored)
        now = self._clock.now()
        context = self._monitor.begin(function, invocation.origin, now)
        record = record_of(resolved, invocation, unsigned(context.header))
        note_call(self._bus, record, now)
        try:
            with self._admission.admit(function.account, function.name, resolved.reserved):
                record.timings.admitted = self._clock.now()
                if context.monitored:
                    self._began(record, context, now)
                run = await self._run(resolved, invocation, context, record)
        except (Throttled, SandboxError) as error:
            record.status = "throttled" if isinstance(error, Throttled) else "error"
            record.error_type = type(error).__name__
            if isinstance(error, SandboxError):
                log.warning(
                    "%s got no sandbox for %s: %s",
                    function.qualified_arn,
                    invocation.request_id,
                    error.message,
                )
            record.timings.answered = self._clock.now()
            self._recorder.add(record)
            tell_end(
                self._bus,
                ExecutionEnded(record=record, context=context, region=function.region),
            )
            raise
        return self._finish(function, record, context, run, on_stored)

    async def _run(
        self,
        resolved: Resolved,
        invocation: Invocation,
        context: TraceContext,
        record: InvocationRecord,
    ) -> Run:
        """Have the host run it; who looks ahead is told."""
        spec, timings = self._specs.of(resolved.function), record.timings
        call = self._call(resolved, invocation, context)
        call.began = start_noted(self._bus, record, context, self._clock)
        foresight, run = self._foresight, None
        if foresight is None:
            return await self._host.run(spec, call, timings)
        traffic = foresight.began(resolved, context, call.request_id, timings)
        try:
            run = await self._host.run(spec, call, timings)
        finally:
            foresight.ended(traffic, resolved, context, run, timings)
        return run

    async def prepare(self, function: FunctionVersion) -> None:
        """Take the snapshot of a version with SnapStart ahead of its first call. Raises ``ForerunError`` when it cannot."""
        await self._host.take_snapshot(self._specs.of(function))

    def record(self, record: InvocationRecord, on_stored: Callable[[], None] | None) -> None:
        """Keep the record of an invocation that was never run."""
        self._recorder.add(record, on_stored=on_stored)

    def queued(self, events: Iterable[QueuedEvent]) -> None:
        """Events for functions are on disk: whoever watches those is told."""
        note_queued(self._bus, events)

    def _stop_loop(
        self, resolved: Resolved, invocation: Invocation, on_stored: Callable[[], None] | None
    ) -> None:
        """Raise when the function was run ``RECURSION_LIMIT`` times in this chain, and keep a record of it."""
        function, origin = resolved.function, invocation.origin
        runs = occurrences(origin.lineage, function.account, function.name)
        if runs < RECURSION_LIMIT:
            return
        now = self._clock.now()
        self.stopped_loops += 1
        record = record_of(resolved, invocation)
        record.status, record.error_type = "error", "RecursionDetected"
        record.timings.answered = now
        self._recorder.add(record, on_stored=on_stored)
        self._bus.note(
            RecursionStopped(
                account=function.account,
                name=function.name,
                request_id=invocation.request_id,
                runs=runs,
                at=now,
            )
        )
        log.warning(
            "%s has run %d times in one chain and is not run again in it; %s is stopped",
            function.arn,
            runs,
            invocation.request_id,
        )
        raise RecursionDetected(
            f"The function {function.name} was invoked {runs} times in one chain of requests, through other functions or "
            "through queues, topics, buses and the like; it is not run again in it. If that is meant, allow it with: "
            f"aws lambda put-function-recursion-config --function-name {function.name} --recursive-loop Allow"
        )

    def _finish(
        self,
        function: FunctionVersion,
        record: InvocationRecord,
        context: TraceContext,
        run: Run,
        on_stored: Callable[[], None] | None,
    ) -> Reply:
        timings = record.timings
        timings.answered = self._clock.now()
        record.start_type = run.start_type.value
        record.sandbox, record.host = run.sandbox_id, run.host or self._host.name
        record.placement, record.placed = run.placement, run.placed
        record.isolation = run.isolation
        if record.deferred_s:
            record.placement = f"{run.placement}; deferred {record.deferred_s:.1f} s"
        record.foresight = run.foresight
        record.cause = run.cause
        record.idle_mb_s = run.idle_mb_s
        outcome = run.outcome
        if isinstance(outcome, InitFailure):
            reply = _init_failed(function, outcome, record, context)
            ended = ExecutionEnded(record=record, context=context, region=function.region)
        else:
            reply = _ran(function, outcome, run.init, record, context)
            ended = ExecutionEnded(
                record=record,
                context=context,
                region=function.region,
                calls=outcome.calls,
                dropped=outcome.calls_dropped,
                cpu_ms=outcome.cpu_ms,
            )
        record.response_bytes = len(reply.payload)
        self._recorder.add(record, function.logging.group, run.log_stream, reply.log, on_stored)
        tell_end(self._bus, ended, reply.payload)
        return reply

    def _began(self, record: InvocationRecord, context: TraceContext, now: float) -> None:
        self._bus.tell(
            ExecutionBegan(
                account=record.account,
                name=record.name,
                version=record.version,
                request_id=record.request_id,
                context=context,
                at=now,
            )
        )

    def _call(self, resolved: Resolved, invocation: Invocation, context: TraceContext) -> Call:
        origin = context.origin
        monitored = context.monitored
        client_context = invocation.client_context
        if monitored or origin.w3c:
            client_context = with_w3c(client_context, resolved.function.runtime, context)
        return Call(
            request_id=invocation.request_id,
            payload=invocation.payload or b"{}",
            invoked_arn=resolved.invoked_arn,
            deadline_ms=0,
            trace_id=context.header,
            client_context=client_context,
            monitored=monitored,
            tracestate=origin.tracestate,
            baggage=origin.baggage,
            context=context,
            sink=invocation.sink,
            reserved=resolved.reserved,
        )


def record_of(resolved: Resolved, invocation: Invocation, trace_id: str = "") -> InvocationRecord:
    """The record of an invocation of which nothing has come yet."""
    function = resolved.function
    return InvocationRecord(
        request_id=invocation.request_id,
        account=function.account,
        name=function.name,
        version=function.version,
        qualifier=resolved.qualifier,
        invocation_type=invocation.invocation_type,
        attempt=invocation.attempt,
        memory_mb=function.memory_mb,
        request_bytes=len(invocation.payload),
        trace_id=trace_id,
        timings=Timings(received=invocation.received, dequeued=invocation.dequeued),
        deferred_s=invocation.deferred_s,
        source=invocation.source,
    )


def _init_failed(
    function: FunctionVersion, failure: InitFailure, record: InvocationRecord, context: TraceContext
) -> Reply:
    record.init_ms = failure.duration_ms
    record.status = failure.status
    record.error_type = failure.error_type
    return Reply(
        payload=failure.payload,
        content_type="application/json",
        error="Unhandled",
        error_type=failure.error_type,
        record=record,
        context=context,
        log=lambda: log_of_failed_init(function, failure, record),
    )


def _ran(
    function: FunctionVersion,
    outcome: Outcome,
    init: InitReport | None,
    record: InvocationRecord,
    context: TraceContext,
) -> Reply:
    if len(outcome.payload) > MAX_RESPONSE_BYTES and not outcome.streamed:
        _refuse_size(outcome)
    record.duration_ms = max(0.0, (outcome.ended - outcome.started) * 1000)
    record.max_memory_mb = outcome.max_memory_mb
    record.status = outcome.status
    record.error_type = outcome.error_type
    if init is not None:
        record.init_ms = init.duration_ms
    return Reply(
        payload=outcome.payload,
        content_type=outcome.content_type,
        error=outcome.error,
        error_type=outcome.error_type,
        record=record,
        context=context,
        log=lambda: log_of_run(function, outcome, init, record),
        streamed=outcome.streamed,
    )


def _refuse_size(outcome: Outcome) -> None:
    outcome.error, outcome.error_type = "Unhandled", "Function.ResponseSizeTooLarge"
    outcome.status = "error"
    message = (
        f"Response payload size ({len(outcome.payload)} bytes) exceeded maximum allowed payload size "
        f"({MAX_RESPONSE_BYTES} bytes)."
    )
    outcome.payload = msgspec.json.encode(
        {"errorMessage": message, "errorType": outcome.error_type}
    )
