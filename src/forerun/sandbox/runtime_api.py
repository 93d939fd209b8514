"""AWS's Lambda Runtime API (2018-06-01) for one sandbox, as an ASGI application.

The program in the sandbox polls ``invocation/next`` and posts what came of it; the host gives it calls with ``submit``
and gets outcomes. One invocation at a time. Init ends with the first poll, or with ``init/error``; under SnapStart with
``restore/next``, and ``restore`` then lets the program go on.

The host owns the process: it enforces deadlines by ending it and tells this class with ``fail``. The application does
not know who connects; whoever listens must let only the sandbox reach the socket, and set ``TCP_NODELAY`` on it:
head and body are two writes, and without it each call waits 40 ms for an acknowledgement.

Beside AWS's paths there is ``POST /forerun/runtime/{request id}/calls``: what outgoing calls a monitored invocation began
and ended (see ``outgoing``), which the platform's own bootstrap tells. The last of it may come in headers of the answer.

Not served: extensions, telemetry, several invocations at once.
"""

import asyncio
import logging
import re
from dataclasses import dataclass

from forerun.aio.clock import Clock, SystemClock
from forerun.aio.http import BodyTooLarge, BodyTooSlow, Receive, Scope, Send, read_body
from forerun.errors import SandboxDead, SandboxError
from forerun.model import Call, InitFailure, InitReport, Outcome
from forerun.runtime import faults
from forerun.sandbox.outgoing import MAX_CALLS, MAX_REPORT_BYTES, OutgoingCalls
from forerun.sandbox.runtime_answers import Refused, accepted, offer, park, reply
from forerun.sandbox.runtime_messages import (
    error_json,
    error_type_of,
    next_headers,
    timed_out,
    trailer_body,
    unrestored,
)

log = logging.getLogger("forerun.sandbox")

_PREFIX = "/2018-06-01/runtime/"
_INVOCATION = re.compile(r"invocation/([^/]+)/(response|error)\Z")
_CALLS = re.compile(r"/forerun/runtime/([^/]+)/calls\Z")
_NAMES = ("invocation/next", "restore/next", "init/error", "restore/error")
_GRACE_S = 5.0
_MAX_ERROR = 1024 * 1024


@dataclass(slots=True)
class _Flight:
    """The invocation under way; ``fence`` tells its answers from those of an earlier one."""

    call: Call
    fence: str
    done: asyncio.Future[Outcome]
    started: float = 0.0
    answered: bool = False
    outgoing: OutgoingCalls | None = None


class RuntimeApi:
    """The API of one sandbox; make it inside the running loop."""

    def __init__(self, *, clock: Clock | None = None, max_calls: int = MAX_CALLS) -> None:
        self._clock: Clock = clock or SystemClock()
        self._max_calls = max_calls
        loop = asyncio.get_running_loop()
        self._init: asyncio.Future[InitReport | InitFailure] = loop.create_future()
        self._restored: asyncio.Future[InitReport | InitFailure] | None = None
        self._began = self._clock.monotonic()
        self._polls: list[Send] = []
        self._restore_polls: list[Send] = []
        self._flight: _Flight | None = None
        self._delivered = True
        self._count = 0
        self._dead: Outcome | None = None

    # For the host

    async def wait_init(self, timeout: float) -> InitReport | InitFailure:  # noqa: ASYNC109
        """How init ended, measured from this call; after ``timeout`` seconds a failure of status ``timeout``."""
        self._began = self._clock.monotonic()
        return await self._phase(self._init, timeout)

    async def restore(self, timeout: float) -> InitReport | InitFailure:  # noqa: ASYNC109
        """Let a program that waits in ``restore/next`` go on; returns when it polls for work, or failed."""
        if not self._restore_polls:
            raise SandboxError("The program does not wait to be restored.")
        self._began = self._clock.monotonic()
        self._restored = asyncio.get_running_loop().create_future()
        await reply(self._restore_polls.pop(), 200, b"")
        return await self._phase(self._restored, timeout)

    async def submit(self, call: Call) -> Outcome:
        """Run one invocation. Logs and memory are left to the caller to fill in.

        A program that still waits in ``restore/next`` is let go first; should that fail, its error is the outcome.
        Raises ``SandboxError`` while another one runs and ``SandboxDead`` after ``fail``. When nobody has ended the
        program some seconds after the call's deadline, the outcome says ``timeout``.
        """
        if self._dead is not None:
            raise SandboxDead
        if self._flight is not None:
            raise SandboxError("The sandbox runs an invocation already.")
        remaining_s = call.deadline_ms / 1000 - self._clock.now() + _GRACE_S
        if self._restore_polls:
            restored = await self.restore(remaining_s)
            if isinstance(restored, InitFailure):
                return unrestored(restored, self._clock.now())
        self._count += 1
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        flight = _Flight(call, f"{call.request_id}-{self._count}", done)
        self._flight = flight
        self._delivered = False
        try:
            if self._polls:
                await self._deliver(self._polls.pop())
            async with asyncio.timeout(remaining_s):
                outcome = await done
        except TimeoutError:
            outcome = timed_out(call, flight.started, self._clock.now())
        finally:
            self._flight = None
        if flight.outgoing is not None:
            flight.outgoing.tell(outcome)
        return outcome

    def fail(self, outcome: Outcome) -> None:
        """The program ended: whoever waits gets ``outcome``; nothing can be submitted any more.

        A call that the program never took (it left after its last answer) gets ``SandboxDead``: it may run elsewhere.
        """
        self._dead = outcome
        failure = InitFailure(
            payload=outcome.payload,
            error_type=outcome.error_type or faults.EXIT,
            duration_ms=self._elapsed_ms(),
            status=outcome.status,
        )
        for phase in (self._init, self._restored):
            if phase is not None and not phase.done():
                phase.set_result(failure)
        if self._flight is not None and not self._flight.done.done():
            outcome.started = outcome.started or self._flight.started
            if self._delivered or outcome.status == "timeout":
                self._flight.done.set_result(outcome)
            else:
                self._flight.done.set_exception(SandboxDead())

    async def _phase(
        self, phase: asyncio.Future[InitReport | InitFailure], limit_s: float
    ) -> InitReport | InitFailure:
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(phase)
        except TimeoutError:
            message = f"Error: Task timed out after {limit_s:.2f} seconds"
            return InitFailure(
                payload=error_json("Sandbox.Timedout", message),
                error_type="Sandbox.Timedout",
                duration_ms=self._elapsed_ms(),
                status="timeout",
            )

    def _elapsed_ms(self) -> float:
        return round((self._clock.monotonic() - self._began) * 1000, 3)

    def _end_init(self, result: InitReport | InitFailure | None = None) -> None:
        if self._restored is not None:
            if not self._restored.done():
                self._restored.set_result(
                    result or InitReport(duration_ms=self._elapsed_ms(), restored=True)
                )
        elif not self._init.done():
            self._init.set_result(result or InitReport(duration_ms=self._elapsed_ms()))

    # For the program in the sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except Refused as refused:
            await reply(send, refused.status, error_json(refused.error_type, refused.message))
        except BodyTooSlow:
            await reply(send, 408, error_json("RequestTimeout", "The body did not arrive."))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if report := _CALLS.match(path):
            await self._take_report(report[1], scope, receive, send)
            return
        if not path.startswith(_PREFIX):
            raise Refused(404, "NotFound", f"No such path: {path}")
        name = path[len(_PREFIX) :]
        match = _INVOCATION.match(name)
        method = "GET" if name in ("invocation/next", "restore/next") else "POST"
        if match is None and name not in _NAMES:
            raise Refused(404, "NotFound", f"No such path: {path}")
        if scope["method"] != method:
            raise Refused(405, "MethodNotAllowed", f"Use {method} for {path}")
        if match is not None:
            await self._answer(match[1], match[2], scope, receive, send)
        elif name == "invocation/next":
            await self._next(receive, send)
        elif name == "restore/next":
            await self._restore_next(receive, send)
        else:
            await self._phase_error(name, scope, receive, send)

    async def _next(self, receive: Receive, send: Send) -> None:
        self._end_init()
        if self._flight is not None and not self._delivered:
            await self._deliver(send)
            return
        # ``submit`` answers in its own task; this one only learns that the poll was answered or has gone.
        await park(self._polls, receive, send)

    async def _restore_next(self, receive: Receive, send: Send) -> None:
        if self._init.done():
            raise Refused(403, "InvalidStateTransition", "The sandbox is initialised already.")
        self._end_init()
        await park(self._restore_polls, receive, send)

    async def _deliver(self, send: Send) -> None:
        flight = self._flight
        if flight is None:
            return
        self._delivered = True
        flight.started = self._clock.now()
        if flight.call.monitored:
            flight.outgoing = OutgoingCalls(flight.started, self._max_calls)
        await reply(send, 200, flight.call.payload, next_headers(flight.call, flight.fence))

    async def _phase_error(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        phase = self._init if name == "init/error" else self._restored
        if phase is None or phase.done():
            raise Refused(403, "InvalidStateTransition", f"No {name} at this point.")
        body = await self._body(receive, _MAX_ERROR)
        error_type = error_type_of(scope["headers"], body)
        self._end_init(
            InitFailure(payload=body, error_type=error_type, duration_ms=self._elapsed_ms())
        )
        await accepted(send)

    def _flight_of(self, request_id: str, headers: dict[bytes, bytes]) -> _Flight:
        flight = self._flight
        fence = headers.get(b"lambda-runtime-invocation-id")
        if (
            flight is None
            or not self._delivered
            or flight.call.request_id != request_id
            or (fence is not None and fence != flight.fence.encode())
        ):
            raise Refused(400, "InvalidRequestID", "Invalid request ID")
        return flight

    async def _take_report(
        self, request_id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["method"] != "POST":
            raise Refused(405, "MethodNotAllowed", f"Use POST for {scope['path']}")
        flight = self._flight_of(request_id, dict(scope["headers"]))
        try:
            body = await self._body(receive, MAX_REPORT_BYTES)
            if flight.outgoing is not None:
                flight.outgoing.report(body, self._clock.now())
        except BodyTooLarge:
            message = f"More than {MAX_REPORT_BYTES} bytes."
            raise Refused(413, "RequestEntityTooLarge", message) from None
        except ValueError as error:
            raise Refused(400, "InvalidCalls", str(error)) from None
        await accepted(send)

    def _take_last_report(self, flight: _Flight, headers: dict[bytes, bytes]) -> None:
        """What came with the answer; it is not refused for a report that is no good."""
        report = headers.get(b"forerun-calls")
        if report is not None and flight.outgoing is not None:
            try:
                flight.outgoing.report(report, self._clock.now())
            except ValueError as error:
                log.info("a report of calls beside an answer: %s", error)

    async def _answer(
        self, request_id: str, kind: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = dict(scope["headers"])
        flight = self._flight_of(request_id, headers)
        if flight.answered:
            raise Refused(
                403, "InvalidStateTransition", "This invocation has been answered already."
            )
        flight.answered = True
        self._take_last_report(flight, headers)
        try:
            if kind == "error":
                outcome = await self._read_error(flight, scope, receive)
            elif headers.get(b"lambda-runtime-function-response-mode", b"").lower() == b"streaming":
                outcome = await self._read_stream(flight, scope, receive)
            else:
                content_type = headers.get(b"content-type", b"application/json").decode("latin-1")
                body = await self._body(receive, faults.MAX_RESPONSE)
                outcome = self._outcome(flight, body, content_type=content_type)
        except BodyTooLarge:
            self._settle(flight, self._too_large(flight))
            raise Refused(
                413,
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({faults.MAX_RESPONSE} bytes).",
            ) from None
        except BodyTooSlow:
            # The connection broke inside the answer: the program may try again, or end.
            flight.answered = False
            raise
        self._settle(flight, outcome)
        await accepted(send)

    def _settle(self, flight: _Flight, outcome: Outcome) -> None:
        if not flight.done.done():
            flight.done.set_result(outcome)

    def _outcome(
        self,
        flight: _Flight,
        payload: bytes,
        *,
        content_type: str = "application/json",
        error_type: str | None = None,
        streamed: bool = False,
    ) -> Outcome:
        return Outcome(
            payload=payload,
            content_type=content_type,
            error=None if error_type is None else "Unhandled",
            error_type=error_type,
            status="success" if error_type is None else "error",
            started=flight.started,
            ended=self._clock.now(),
            streamed=streamed,
        )

    def _too_large(self, flight: _Flight) -> Outcome:
        error = faults.too_large(flight.call.request_id)
        payload = error_json(error["errorType"], error["errorMessage"])
        return self._outcome(flight, payload, error_type=faults.TOO_LARGE)

    async def _read_error(self, flight: _Flight, scope: Scope, receive: Receive) -> Outcome:
        body = await self._body(receive, faults.MAX_RESPONSE)
        return self._outcome(flight, body, error_type=error_type_of(scope["headers"], body))

    async def _read_stream(self, flight: _Flight, scope: Scope, receive: Receive) -> Outcome:
        """Pass a response on as it comes; the next chunk is read when the client took the last one."""
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
        sink = flight.call.sink
        parts: list[bytes] = []
        size = 0
        # A client that left does not end the invocation: the rest of the response is read and dropped.
        listening = sink is not None and await offer(sink.start(content_type))
        more = True
        while more:
            chunk, more = await self._chunk(receive)
            if sink is None:
                size += len(chunk)
                if size > faults.MAX_RESPONSE:
                    raise BodyTooLarge
                parts.append(chunk)
            elif chunk and listening:
                listening = await offer(sink.write(chunk))
        outcome = self._outcome(
            flight, b"".join(parts), content_type=content_type, streamed=sink is not None
        )
        # Trailers are appended to the headers of the request when its body has ended.
        trailers = dict(scope["headers"])
        if trailer := trailers.get(b"lambda-runtime-function-error-type"):
            outcome.error, outcome.status = "Unhandled", "error"
            outcome.error_type = trailer.decode("latin-1")
            outcome.payload = trailer_body(trailers, outcome.error_type)
        return outcome

    async def _chunk(self, receive: Receive) -> tuple[bytes, bool]:
        try:
            async with asyncio.timeout(self._remaining_s()):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow from None
        if message["type"] == "http.disconnect":
            raise BodyTooSlow
        return message["body"], message["more_body"]

    async def _body(self, receive: Receive, limit: int) -> bytes:
        return await read_body(receive, limit=limit, timeout_s=self._remaining_s())

    def _remaining_s(self) -> float:
        if self._flight is None:
            return _GRACE_S
        return max(0.0, self._flight.call.deadline_ms / 1000 - self._clock.now()) + _GRACE_S
