"""Speaking with the Python runtime in a sandbox: ASSIGN and INVOKE out, INITED, RESULT, LOG and SPAN back."""

import asyncio
import contextlib
import json
import re
from socket import socket
from typing import Any, Protocol

from forerun.aio import Awake, Clock
from forerun.errors import SandboxDead
from forerun.model import Call, InitFailure, InitReport, Outcome
from forerun.runtime.wire import (
    INITED,
    INVOKE,
    LOG,
    RESULT,
    SPAN,
    WireClosed,
    pack_headed,
    split_headed,
    split_log,
)
from forerun.sandbox.imports import read_imports
from forerun.sandbox.link import Link
from forerun.sandbox.outgoing import MAX_CALLS, OutgoingCalls
from forerun.sandbox.runtime_messages import name_of_error

# The limit of a response, with room for an error that is wrapped around one.
_MAX_PAYLOAD = 6 * 1024 * 1024 + 1024
_LATEST = 1e11
_MAX_CPU_MS = 1e9
_CONTENT_TYPE = re.compile(r"[\x20-\x7e]{1,256}")


class Dialogue(Protocol):
    """One way of speaking with what runs in a sandbox. ``Outcome.logs`` and memory are filled in by the caller."""

    async def open(self, sock: socket) -> None:
        """Take over a listening socket inside; for programs that speak the Runtime API."""
        ...

    async def init(self) -> InitReport | InitFailure:
        """Wait for the end of init."""
        ...

    async def run(self, call: Call) -> Outcome:
        """Run one invocation."""
        ...

    def handle(self, kind: int, body: bytes) -> None:
        """A frame from the sandbox; raises ``WireClosed`` when it makes no sense."""
        ...

    def end(self, outcome: Outcome, failure: InitFailure) -> None:
        """The sandbox ended: whoever waits gets the one or the other."""
        ...

    async def close(self) -> None:
        """Let go of sockets."""
        ...


class WireDialogue:
    """Frames, one invocation at a time, no task and no copy beyond the frame."""

    def __init__(self, link: Link, awake: Awake, clock: Clock, max_calls: int = MAX_CALLS) -> None:
        self._link = link
        self._awake = awake
        self._clock = clock
        self._max_calls = max_calls
        self._loop = asyncio.get_running_loop()
        self._init: asyncio.Future[InitReport | InitFailure] = self._loop.create_future()
        self._call: asyncio.Future[Outcome] | None = None
        self._outgoing: OutgoingCalls | None = None

    async def open(self, sock: socket) -> None:
        """The wire needs none."""
        sock.close()

    async def init(self) -> InitReport | InitFailure:
        """Wait for INITED."""
        return await self._init

    async def run(self, call: Call) -> Outcome:
        """Send INVOKE and wait for RESULT. ``SandboxDead`` while another invocation runs: callers must not overlap."""
        if self._call is not None:
            raise SandboxDead("The sandbox runs an invocation already.")
        done: asyncio.Future[Outcome] = self._loop.create_future()
        self._call = done
        head: dict[str, Any] = {
            "request_id": call.request_id,
            "invoked_arn": call.invoked_arn,
            "deadline_ms": call.deadline_ms,
        }
        if call.trace_id:
            head["trace_id"] = call.trace_id
        if call.client_context is not None:
            head["client_context"] = call.client_context
        if call.monitored:
            self._outgoing = OutgoingCalls(self._clock.now(), self._max_calls)
            head["monitored"] = True
            if call.tracestate:
                head["tracestate"] = call.tracestate
            if call.baggage:
                head["baggage"] = call.baggage
        self._link.send(pack_headed(INVOKE, head, call.payload))
        try:
            with self._awake:
                return await done
        finally:
            self._call = self._outgoing = None

    def handle(self, kind: int, body: bytes) -> None:
        """INITED, RESULT, LOG or SPAN."""
        if kind == RESULT:
            self._answered(body)
        elif kind == LOG:
            time_ms, text = split_log(body)
            self._link.output.event(time_ms, text)
        elif kind == SPAN:
            self._called(body)
        elif kind == INITED and not self._init.done():
            self._init.set_result(_init_result(body))
        else:
            raise WireClosed(f"frame of kind {kind}")

    def end(self, outcome: Outcome, failure: InitFailure) -> None:
        """Nothing will come any more."""
        if not self._init.done():
            self._init.set_result(failure)
        if self._call is not None and not self._call.done():
            if self._outgoing is not None:
                self._outgoing.tell(outcome)
            self._call.set_result(outcome)

    async def close(self) -> None:
        """Nothing is held here."""

    def _answered(self, body: bytes) -> None:
        if self._call is None or self._call.done():
            raise WireClosed("RESULT without INVOKE")
        outcome = read_result(body)
        if self._outgoing is not None:
            cpu_ms = outcome.cpu_ms
            self._outgoing.tell(outcome)
            outcome.cpu_ms = cpu_ms
        self._call.set_result(outcome)

    def _called(self, body: bytes) -> None:
        """One that nobody asked for or that makes no sense is left out: the invocation is not to suffer."""
        if self._outgoing is not None:
            with contextlib.suppress(ValueError):
                self._outgoing.add(self._outgoing.checked(body, self._clock.now()))


def read_result(body: bytes) -> Outcome:
    """The outcome in a RESULT frame; ``WireClosed`` for what the runtime cannot have sent.

    The user's code shares its process with the runtime and can write to the wire, so nothing is taken on trust: what
    is said here ends up in headers, logs and sums.
    """
    head, payload = split_headed(body)
    try:
        started, ended = float(head["started"]), float(head["ended"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WireClosed(f"RESULT: {error}") from None
    content_type = head.get("content_type", "application/json")
    if not (0 <= started <= _LATEST and 0 <= ended <= _LATEST) or len(payload) > _MAX_PAYLOAD:
        raise WireClosed("RESULT out of bounds")
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise WireClosed("RESULT with a strange content type")
    outcome = Outcome(
        payload=payload, content_type=content_type, started=started, ended=max(started, ended)
    )
    if "error" in head:
        outcome.error = "Unhandled"
        outcome.error_type = name_of_error(head["error"])
        outcome.status = "error"
    cpu_ms = head.get("cpu_ms")
    if isinstance(cpu_ms, (int, float)) and 0 <= cpu_ms <= _MAX_CPU_MS:
        outcome.cpu_ms = float(cpu_ms)
    outcome.alive = "exit" not in head
    return outcome


def _init_result(body: bytes) -> InitReport | InitFailure:
    try:
        report = json.loads(body)
        duration = float(report["ms"])
        if "error" not in report:
            return InitReport(
                duration_ms=duration,
                restored=bool(report.get("restored")),
                imports=read_imports(report.get("imports")),
            )
        return InitFailure(
            payload=json.dumps(report["error"]).encode(),
            error_type=name_of_error(report.get("error_type") or report["error"]["errorType"]),
            duration_ms=duration,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise WireClosed(f"INITED: {error}") from None
