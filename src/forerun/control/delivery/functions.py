"""Messages to functions: each becomes an event of the durable queue, which is run like any other."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from forerun.aio import Clock
from forerun.control.deferring import patience_s
from forerun.control.delivery.permission import Permission, sender_of
from forerun.control.delivery.undeliverable import message_key
from forerun.control.monitoring import Monitor
from forerun.errors import ForerunError, InvalidInput, RequestTooLarge
from forerun.model import Message
from forerun.scheduling import due_at
from forerun.storage import QueuedEvent

EVENT_BYTES = 1024 * 1024
CLIENT_CONTEXT = "ClientContext"
"""Attribute of a message to a function: what ``context.client_context`` shall be, as JSON."""
EXECUTION_ID = "ExecutionId"
"""Attribute of a message to a function, and of its event: the execution id that it was accepted with."""

_RAW = msgspec.json.Decoder(msgspec.Raw)


class Unparsable(InvalidInput):
    """The payload is not JSON."""


class Events(Protocol):
    """Takes events that are to be run."""

    async def enqueue(self, events: Sequence[QueuedEvent]) -> None:
        """Return when all are on disk; an id that is queued already changes nothing. ``Throttled``, ``StorageFailed``."""
        ...


class FunctionTargets:
    """Makes the events. ``prepared`` asks the function's policy, ``enqueue`` takes what it gave."""

    service = "lambda"

    def __init__(
        self, *, permission: Permission, events: Events, monitor: Monitor, clock: Clock
    ) -> None:
        self._permission = permission
        self._monitor = monitor
        self._clock = clock
        self.enqueue: Callable[[Sequence[QueuedEvent]], Awaitable[None]] = events.enqueue

    async def prepared(
        self, message: Message, *, memory_mb: int = 0, timeout_s: int = 0
    ) -> QueuedEvent:
        """The event for a message, run with another memory and timeout where they are given.

        Raises ``NotFound``, ``AccessDenied``, ``RequestTooLarge``, ``Unparsable``, ``StorageFailed``.
        """
        if len(message.payload) > EVENT_BYTES:
            raise RequestTooLarge(
                f"The message has {len(message.payload)} bytes; a function takes {EVENT_BYTES} bytes"
            )
        if message.payload:
            try:
                _RAW.decode(message.payload)
            except (msgspec.DecodeError, RecursionError) as error:
                raise Unparsable(f"The message is not JSON: {error}") from error
        resolved = await self._permission.function(sender_of(message), message.target)
        function, now = resolved.function, self._clock.now()
        patience = patience_s(resolved, None)
        return QueuedEvent(
            id=message_key(message),
            account=function.account,
            name=function.name,
            qualifier=resolved.qualifier,
            payload=message.payload,
            client_context=message.attributes.get(CLIENT_CONTEXT),
            headers=_headers(message),
            origin=self._monitor.rooted(message.origin, now),
            accepted_at=now,
            due_at=due_at(now, patience),
            latest_start=now + patience if patience else 0.0,
            source=message.source,
            memory_mb=memory_mb,
            timeout_s=timeout_s,
        )

    async def deliver(self, _target: str, messages: Sequence[Message]) -> list[ForerunError | None]:
        """Messages that could not be prepared at once, tried again; for each ``None`` or why not."""
        answers: list[ForerunError | None] = []
        for message in messages:
            try:
                await self.enqueue([await self.prepared(message)])
            except ForerunError as error:
                answers.append(error)
            else:
                answers.append(None)
        return answers


def _headers(message: Message) -> dict[str, str]:
    identifier = message.attributes.get(EXECUTION_ID)
    return {EXECUTION_ID: identifier} if identifier else {}
