"""What sources of events and the rest of the platform promise each other."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from forerun.errors import ForerunError
from forerun.model import DeadLetter, Message, Origin


class Outbox(Protocol):
    """Takes messages from sources and brings them to their targets, at least once."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when all are on disk; raises ``StorageFailed`` or ``Throttled`` and then none may be counted on.

        Targets are not asked here: whether one exists and lets the source is found out on the way.
        """
        ...


class Sink(Protocol):
    """A source that also takes messages from others: queues, topics, buses."""

    service: str
    """The service in the ARNs of its targets: ``sqs``, ``sns``, ``events``."""

    async def policy(self, arn: str) -> str | None:
        """The policy of one of its resources, as JSON; ``None`` for none, ``NotFound`` for no such resource.

        Who delivers asks it whether the message's source may send; ``take`` need not.
        """
        ...

    async def take(self, messages: Sequence[Message]) -> Sequence[ForerunError | None]:
        """Accept messages for targets of this service; they are on disk when this returns.

        For each one ``None``, or why not: ``NotFound``, ``AccessDenied``, ``InvalidInput`` are for good, others are tried
        again. What a message brings twice (by ``id``) within five minutes may be taken once.
        """
        ...


class Pulled(msgspec.Struct, kw_only=True):
    """A message taken from a source for an event source mapping; hidden from others until finished or released.

    ``record`` is what the function is given, as JSON, one of ``Records``; ``body`` is the part a filter looks at, by
    name (``{"body": ...}`` of a queue). ``receipt`` is needed to finish it. ``group``: messages of one group go in order,
    one batch of a group at a time; empty where order does not matter. ``received`` counts how often it was taken,
    this time included. Times are epoch seconds.
    """

    id: str
    receipt: str
    record: bytes
    body: bytes
    group: str = ""
    received: int = 1
    sent_at: float = 0.0
    taken_at: float = 0.0
    origin: Origin = Origin()


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits at a source: messages visible, hidden and delayed, and the age of the oldest visible one in seconds."""

    visible: int = 0
    hidden: int = 0
    delayed: int = 0
    oldest_s: float = 0.0


class Pollable(Protocol):
    """A source that event source mappings take from. What is sent into it wakes who waits in ``receive``."""

    service: str
    """The service in its ARNs: ``sqs``."""

    async def receive(
        self, arn: str, *, most: int, wait_s: float, hide_s: float = 0.0
    ) -> list[Pulled]:
        """Up to ``most`` messages; waits up to ``wait_s`` seconds for the first one.

        They are hidden for ``hide_s`` seconds, 0 for what the source is set to. ``NotFound`` when there is no such source.
        """
        ...

    async def finish(self, arn: str, receipts: Sequence[str]) -> None:
        """These were processed; they never come again."""
        ...

    async def release(
        self, arn: str, receipts: Sequence[str], *, delay_s: float, begun: bool = True
    ) -> None:
        """These were not processed; they may be taken again after ``delay_s`` seconds.

        What was not even ``begun``, because there was no room for it, counts as if it had not been taken (``Pulled.received``).
        """
        ...

    async def hide_s(self, arn: str) -> float:
        """Seconds for which the source hides what is taken, by its own setting; ``NotFound`` when there is none."""
        ...

    async def backlog(self, arn: str) -> Backlog:
        """What waits there now."""
        ...


class Shelf(Protocol):
    """Keeps dead letters: the platform's own store, or queues that others send their failures to."""

    async def letters(self, account: str, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Those of an account, oldest first, later than the one with the id ``after``."""
        ...

    async def letter(self, account: str, letter_id: str) -> DeadLetter | None:
        """One of them."""
        ...

    async def remove(self, account: str, letter_id: str) -> bool:
        """Forget one: it was redriven or is not wanted; whether there was one."""
        ...
