"""What a control plane without the duties has done by the one that has them: messages on their way, and runs that happen once.

The holder's ``Desk`` answers what the others' ``ElsewhereOutlet`` and ``ElsewhereGuard`` ask. Both sides speak msgpack.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from forerun import errors
from forerun.control.destinations import Outlet
from forerun.control.invoke import Invocation, Reply
from forerun.control.registry import Registry, Resolved
from forerun.control.relaying import Distant, WatchedElsewhere, unpacked
from forerun.errors import ForerunError, HostLost, InvalidInput, StorageFailed, Throttled
from forerun.events import Watched
from forerun.model import DeadLetter, InvocationRecord, LogLine, Message, Origin, TraceContext

Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Has the holder of the duties answer something, by its name. Raises ``ForerunError``: its own, or that there is none."""

SEND: Final = "send"
KEEP: Final = "keep"
RUN: Final = "run"
RELAY: Final = "relay"


class RunWish(msgspec.Struct, kw_only=True):
    """An invocation as it came, resolved again where it is run. ``own`` are memory (MB) and timeout (s) that it is run with."""

    account: str
    name: str
    qualifier: str | None
    version: str
    own: tuple[int, int]
    sandbox_key: str
    request_id: str
    payload: bytes
    received: float
    invocation_type: str
    client_context: str | None
    origin: Origin
    attempt: int
    deferred_s: float
    source: str
    dequeued: float
    execution_id: str


class RunAnswer(msgspec.Struct, kw_only=True):
    """What came of it."""

    payload: bytes
    content_type: str
    error: str | None
    error_type: str | None
    record: InvocationRecord
    context: TraceContext
    lines: list[LogLine]
    executed: bool | None
    result_kept: bool


class Failure(msgspec.Struct, kw_only=True):
    """Why something was refused: the name of the error, and what a throttle says, or when a lost host's work is over."""

    error: str
    message: str
    reason: str = ""
    retry_after_s: float = 1.0

    @classmethod
    def of(cls, error: ForerunError) -> "Failure":
        """As it is told to the other side."""
        made = cls(error=type(error).__name__, message=error.message)
        if isinstance(error, Throttled):
            made.reason, made.retry_after_s = error.reason, error.retry_after_s
        if isinstance(error, HostLost):
            made.retry_after_s = error.over_in_s
        return made

    def raised(self) -> ForerunError:
        """As it is raised there."""
        if self.error == "Throttled":
            return Throttled(self.message, reason=self.reason, retry_after_s=self.retry_after_s)
        if self.error == "HostLost":
            return HostLost(self.message, over_in_s=self.retry_after_s)
        kind = getattr(errors, self.error, None)
        if isinstance(kind, type) and issubclass(kind, ForerunError):
            return kind(self.message)
        return StorageFailed(self.message)


_encode = msgspec.msgpack.Encoder().encode
_messages = msgspec.msgpack.Decoder(list[Message]).decode
_letters = msgspec.msgpack.Decoder(list[DeadLetter]).decode
_wish = msgspec.msgpack.Decoder(RunWish).decode
_answer = msgspec.msgpack.Decoder(RunAnswer).decode


class ElsewhereOutlet:
    """``control.destinations.Outlet`` of a control plane that has not the duties."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``Outlet``."""
        await self._ask(SEND, _encode(list(messages)))

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """See ``Outlet``."""
        await self._ask(KEEP, _encode(list(letters)))


class ElsewhereGuard:
    """``control.invoke.Guard`` of a control plane that has not the duties. What it runs is not streamed."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def run(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None = None,
    ) -> Reply:
        """As ``Invoker.run``."""
        function = resolved.function
        wish = RunWish(
            account=function.account,
            name=function.name,
            qualifier=resolved.qualifier,
            version=function.version,
            own=(function.memory_mb, function.timeout_s),
            sandbox_key=function.sandbox_key,
            request_id=invocation.request_id,
            payload=invocation.payload,
            received=invocation.received,
            invocation_type=invocation.invocation_type,
            client_context=invocation.client_context,
            origin=invocation.origin,
            attempt=invocation.attempt,
            deferred_s=invocation.deferred_s,
            source=invocation.source,
            dequeued=invocation.dequeued,
            execution_id=invocation.execution_id,
        )
        answer = _answer(await self._ask(RUN, _encode(wish)))
        if on_stored is not None:
            on_stored()
        lines = answer.lines
        return Reply(
            payload=answer.payload,
            content_type=answer.content_type,
            error=answer.error,
            error_type=answer.error_type,
            record=answer.record,
            context=answer.context,
            log=lambda: lines,
            executed=answer.executed,
            result_kept=answer.result_kept,
        )


Run = Callable[[Resolved, Invocation, Callable[[], None] | None], Coroutine[Any, Any, Reply]]


class Desk:
    """On the holder: does what others ask for. ``watched`` tells what the holder's listeners watch."""

    def __init__(
        self,
        *,
        outlet: Outlet,
        run: Run,
        registry: Registry,
        distant: Distant,
        watched: Callable[[], Watched],
    ) -> None:
        self._outlet = outlet
        self._run = run
        self._registry = registry
        self._distant = distant
        self._watched = watched
        self._does: dict[str, Callable[[bytes], Awaitable[bytes]]] = {
            SEND: self._send,
            KEEP: self._keep,
            RUN: self._execute,
            RELAY: self._relay,
        }

    async def answer(self, name: str, body: bytes) -> bytes:
        """Raises ``ForerunError``; ``InvalidInput`` for what cannot be read."""
        does = self._does.get(name)
        if does is None:
            raise InvalidInput(f"nobody here does {name[:40]!r}")
        try:
            return await does(body)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"{name}: {error}") from error

    async def _send(self, body: bytes) -> bytes:
        await self._outlet.send(_messages(body))
        return b""

    async def _keep(self, body: bytes) -> bytes:
        await self._outlet.keep(_letters(body))
        return b""

    async def _relay(self, body: bytes) -> bytes:
        await self._distant.take(unpacked(body))
        return _encode(WatchedElsewhere.of(self._watched()))

    async def _execute(self, body: bytes) -> bytes:
        wish = _wish(body)
        found = await self._registry.resolve(wish.account, wish.name, wish.version, 0.0)
        memory_mb, timeout_s = wish.own
        function = msgspec.structs.replace(
            found.function,
            memory_mb=memory_mb,
            timeout_s=timeout_s,
            sandbox_key=wish.sandbox_key,
        )
        called = await self._registry.resolve(wish.account, wish.name, wish.qualifier, 0.0)
        resolved = msgspec.structs.replace(called, function=function)
        given = {field: getattr(wish, field) for field in _GIVEN}
        reply = await self._run(resolved, Invocation(**given), None)
        return _encode(
            RunAnswer(
                payload=reply.payload,
                content_type=reply.content_type,
                error=reply.error,
                error_type=reply.error_type,
                record=reply.record,
                context=reply.context,
                lines=reply.log(),
                executed=reply.executed,
                result_kept=reply.result_kept,
            )
        )


_GIVEN: Final = (
    "request_id",
    "payload",
    "received",
    "invocation_type",
    "client_context",
    "origin",
    "attempt",
    "deferred_s",
    "source",
    "dequeued",
    "execution_id",
)
