"""The calls that a monitored execution makes: begun, described, ended, and told to the host as they go.

A sandbox runs one execution at a time, so there is one ``current``, for all threads of the function; it is ``None`` while
nothing is monitored, and everything that watches asks that first. What is told is ``forerun.model.OutgoingCall`` as a
JSON array, in a SPAN frame when a call begins and again when it ends.
"""

from __future__ import annotations

import os
import sys
import time
from contextvars import ContextVar
from json import dumps

from forerun.runtime import describing
from forerun.runtime.injection import AUTHORIZATION, CONSIDERED, Carrier
from forerun.runtime.wire import SPAN, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    class Sender(Protocol):
        """Where frames go; ``forked`` says that this process is none of the host's."""

        @property
        def forked(self) -> bool:
            """Whether this is a child that the user's code forked."""
            ...

        def send(self, frame: bytes) -> None:
            """Write a frame."""
            ...


# What a client has to show of a request's headers, by lower-case name.
HEADERS = CONSIDERED | {"x-amz-target", "content-length"}
_HASHED = 65536
_MAX_HOST = 256
_MAX_NAME = 32
_JOIN_S = 1.0
# Where struct tcp_info has the smoothed round trip, in microseconds.
_TCP, _TCP_INFO, _RTT = 6, 11, 68
_POSITIVE = (1 << 63) - 1
_now = time.time
_cpu = time.process_time

current: Execution | None = None
# The call that this thread or task is making: a connection that is opened for it is a part of it.
inside: ContextVar[Call | None] = ContextVar("forerun_call", default=None)


def begin(outlet: Sender, head: Mapping[str, Any]) -> None:
    """Monitor from now on; ``head`` is that of the INVOKE frame."""
    global current  # noqa: PLW0603  one for the process: see the module
    current = Execution(outlet, head)


def end() -> float:
    """Monitor no more; the CPU time of this process since ``begin``, in milliseconds."""
    global current  # noqa: PLW0603  as above
    spent = current.close() if current is not None else 0.0
    current = None
    return spent


class Execution:
    """One monitored execution.

    ``opened`` are connections of which nobody has said yet what they are for, by descriptor.
    """

    __slots__ = ("_cpu_began", "_outlet", "_salt", "_unfinished", "carrier", "opened")

    def __init__(self, outlet: Sender, head: Mapping[str, Any]) -> None:
        self._outlet = outlet
        self.carrier = Carrier(
            head.get("trace_id") or "", head.get("tracestate") or "", head.get("baggage") or ""
        )
        self.opened: dict[int, Call] = {}
        self._unfinished: dict[str, Call] = {}
        self._salt = os.urandom(8)
        self._cpu_began = _cpu()

    def close(self) -> float:
        """The execution ended: a response that was never read ended with its headers."""
        spent = (_cpu() - self._cpu_began) * 1000
        for call in list(self._unfinished.values()):
            if call.answered:
                call.end(at=call.answered)
        return spent

    @staticmethod
    def within() -> bool:
        """Whether this thread or task is making a call already; one that is over may still be in its context."""
        call = inside.get()
        return call is not None and not (call.answered or call.ended)

    def connection(self, host: str) -> Call:
        """A connection to ``host`` (``name:port``) is about to be opened."""
        call = Call(self, "connection", host)
        call.tell()
        return call

    def request(self, method: str, host: str, target: str, given: Mapping[str, str]) -> Call:
        """A request is about to be made, with headers ``given`` among ``HEADERS``; it is told of by ``Call.tell``."""
        call = Call(self, "http", host)
        authorization = given.get(AUTHORIZATION, "")
        call.method = method[:_MAX_NAME]
        call.path = describing.masked_path(target)
        call.service = describing.signing_name(authorization, target)
        call.operation = describing.operation_of(
            call.service, method, target, given.get("x-amz-target", "")
        )
        call.hashed = hash((self._salt, method, host, target))
        return call

    def tell(self, call: Call) -> None:
        """Tell the host what is known of ``call``."""
        if call.ended:
            self._unfinished.pop(call.span_id, None)
        else:
            self._unfinished[call.span_id] = call
        if self is current and not self._outlet.forked:
            self._outlet.send(pack(SPAN, dumps(call.as_list()).encode()))


class Call:
    """One outgoing call. No method of it raises."""

    __slots__ = (
        "_execution",
        "_hash_left",
        "answered",
        "busy",
        "closing",
        "ended",
        "error",
        "hashed",
        "host",
        "injected",
        "kind",
        "method",
        "operation",
        "path",
        "received",
        "rtt_ms",
        "sent",
        "service",
        "span_id",
        "started",
        "status",
        "unsent_head",
    )

    def __init__(self, execution: Execution, kind: str, host: str) -> None:
        self._execution = execution
        self.span_id = os.urandom(8).hex()
        self.kind = kind
        self.host = host[:_MAX_HOST]
        self.started = _now()
        self.ended = self.answered = 0.0
        self.method = self.path = self.service = self.operation = self.error = ""
        self.status = self.sent = self.received = self.hashed = 0
        self.injected = False
        self.rtt_ms = 0.0
        self._hash_left = _HASHED
        # For clients that are watched at several places: one of them is at work; it has closed the response
        # meanwhile; the head of the request has not been sent.
        self.busy = self.closing = False
        self.unsent_head = True

    def tell(self) -> None:
        """Tell the host; a call that nobody hears of is no reason to fail."""
        quietly(self._execution.tell, self)

    def follow(self, opening: Call) -> None:
        """Be the call that the connection ``opening`` was opened for: it began with that, and replaces it."""
        self.span_id = opening.span_id
        if self.started - opening.ended < _JOIN_S:
            self.started = opening.started
        if opening.host.startswith("unix:"):
            self.host = opening.host
        self.rtt_ms = opening.rtt_ms

    def measure(self, sock: Any) -> None:
        """Ask the kernel for the round trip of the connection that it is made on. Raises where ``sock`` is none of TCP."""
        told = sock.getsockopt(_TCP, _TCP_INFO, _RTT + 4)
        self.rtt_ms = int.from_bytes(told[_RTT:], sys.byteorder) / 1000

    def edit(self, given: Mapping[str, str]) -> tuple[list[str], list[tuple[str, str]]]:
        """The headers to take away and to add, see ``Carrier.edit``."""
        taken, added = self._execution.carrier.edit(self.span_id, given)
        self.injected = bool(added)
        return taken, added

    def body(self, data: bytes) -> None:
        """Bytes of the request's body."""
        if not data:
            return
        if self.service and not self.operation and not self.sent and data[:7] == b"Action=":
            self.operation = describing.action_in(data[:256].decode("latin-1"))
        self.sent += len(data)
        if self._hash_left > 0:
            part = bytes(data[: self._hash_left])
            self._hash_left -= len(part)
            self.hashed = hash((self.hashed, part))

    def answer(self, status: int) -> None:
        """The head of the response came."""
        self.answered = _now()
        self.status = status
        self.error = ""

    def fail(self, error: BaseException) -> None:
        """It ended with ``error``."""
        self.error = type(error).__name__[:_MAX_HOST]
        self.end()

    def end(self, *, at: float = 0.0) -> None:
        """It ended, now or ``at`` a time; only the first time counts."""
        if not self.ended:
            self.ended = at or _now()
            self.tell()

    def as_list(self) -> list[Any]:
        """In the order of ``forerun.model.OutgoingCall``."""
        return [
            self.span_id,
            self.started,
            self.ended,
            self.kind,
            self.method,
            self.service,
            self.operation,
            self.host,
            self.path,
            self.status,
            self.error,
            self.sent,
            self.received,
            self.hashed & _POSITIVE,
            self.injected,
            self.rtt_ms,
        ]


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns, or ``None`` when it fails: the user's code must not notice that it is watched."""
    try:
        return function(*arguments)
    except Exception:  # noqa: BLE001  see above
        return None
