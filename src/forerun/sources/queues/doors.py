"""How the rest of the platform meets queues: they take messages, are taken from, and keep what others gave up."""

from collections.abc import Callable, Sequence

from forerun.aio import Clock
from forerun.errors import ForerunError, InvalidInput
from forerun.model import DeadLetter, Message
from forerun.sources import Backlog, Pulled
from forerun.sources.queues.contents import Envelopes, read_attributes, write_attributes
from forerun.sources.queues.queue import Queue
from forerun.sources.queues.receipts import from_receipt, to_receipt
from forerun.sources.queues.records import to_record
from forerun.sources.queues.registry import Queues
from forerun.sources.queues.sending import Outgoing, prepare
from forerun.sources.queues.traffic import Traffic
from forerun.storage.queue_messages import NewMessage, QueueMessages, StoredMessage

SERVICE = "sqs"
REASON = "MaxReceiveCount"


class QueueSink:
    """Takes messages for queues, of anybody on the platform: ``forerun.sources.Sink``."""

    service = SERVICE

    def __init__(
        self, queues: Queues, traffic: Traffic, clock: Clock, draw: Callable[[int], int]
    ) -> None:
        """``draw`` gives so many random bits."""
        self._queues = queues
        self._traffic = traffic
        self._clock = clock
        self._draw = draw

    async def policy(self, arn: str) -> str | None:
        """A queue's policy; ``NotFound`` when there is no such queue."""
        return self._queues.by_arn(arn).settings.policy

    async def take(self, messages: Sequence[Message]) -> list[ForerunError | None]:
        """Put them into their queues, all together; what came with the same id within a minute is put once."""
        answers: list[ForerunError | None] = []
        ready: list[tuple[Queue, NewMessage]] = []
        now = self._clock.now()
        for message in messages:
            try:
                queue = self._queues.by_arn(message.target)
                new, _ = prepare(
                    queue,
                    _outgoing(queue, message),
                    number=self._queues.number(),
                    drawn=self._draw(128),
                    now=now,
                )
            except ForerunError as error:
                answers.append(error)
            else:
                answers.append(None)
                ready.append((queue, new))
        try:
            await self._traffic.send(ready)
        except ForerunError as error:
            return [answer or error for answer in answers]
        return answers


class QueuePollable:
    """Gives what waits in queues to event source mappings: ``forerun.sources.Pollable``."""

    service = SERVICE

    def __init__(self, queues: Queues, traffic: Traffic) -> None:
        self._queues = queues
        self._traffic = traffic

    async def receive(
        self, arn: str, *, most: int, wait_s: float, hide_s: float = 0.0
    ) -> list[Pulled]:
        """Up to ``most`` messages, waiting up to ``wait_s`` seconds for the first; hidden for ``hide_s`` seconds."""
        queue = self._queues.by_arn(arn)
        taken = await self._traffic.receive(
            queue, most=most, wait_s=wait_s, hide_s=hide_s or queue.settings.hide_s
        )
        return [_pulled(queue, message) for message in taken]

    async def finish(self, arn: str, receipts: Sequence[str]) -> None:
        """These were processed."""
        queue = self._queues.by_arn(arn)
        await self._traffic.finish(queue, [from_receipt(queue.key, each) for each in receipts])

    async def release(
        self, arn: str, receipts: Sequence[str], *, delay_s: float, begun: bool = True
    ) -> None:
        """These may be taken again after ``delay_s`` seconds; those not ``begun`` as if they had not been taken."""
        queue = self._queues.by_arn(arn)
        marks = [from_receipt(queue.key, each) for each in receipts]
        await self._traffic.release(queue, marks, delay_s=delay_s, begun=begun)

    async def hide_s(self, arn: str) -> float:
        """The queue's visibility timeout."""
        return float(self._queues.by_arn(arn).settings.hide_s)

    async def backlog(self, arn: str) -> Backlog:
        """What waits there now."""
        return await self._traffic.backlog(self._queues.by_arn(arn))


class QueueShelf:
    """Dead letters in queues that other queues give up to: ``forerun.sources.Shelf``. Ids are the messages' numbers."""

    def __init__(self, queues: Queues, messages: QueueMessages, traffic: Traffic) -> None:
        self._queues = queues
        self._messages = messages
        self._traffic = traffic

    async def letters(self, account: str, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Messages of the account's queues that other queues gave up, oldest first."""
        keepers = {queue.id: queue for queue in self._keepers(account)}
        number = _number(after) if after else 0
        if not keepers or number is None:
            return []
        found = await self._messages.moved(list(keepers), after=number, limit=limit)
        return [_letter(keepers[queue], message) for queue, message in found]

    async def letter(self, account: str, letter_id: str) -> DeadLetter | None:
        """One of them."""
        number = _number(letter_id)
        if number is None:
            return None
        letters = await self.letters(account, after=str(number - 1), limit=1)
        return letters[0] if letters and letters[0].id == letter_id else None

    async def remove(self, account: str, letter_id: str) -> bool:
        """Forget one; whether there was one."""
        letter = await self.letter(account, letter_id)
        if letter is None:
            return False
        return await self._traffic.remove(self._queues.by_arn(letter.shelf), [int(letter_id)]) > 0

    def _keepers(self, account: str) -> list[Queue]:
        targets = {
            queue.settings.redrive.target
            for queue in self._queues.of(account)
            if queue.settings.redrive is not None
        }
        return [queue for queue in self._queues.of(account) if queue.arn in targets]


def _outgoing(queue: Queue, message: Message) -> Outgoing:
    try:
        body = message.payload.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"A queue takes text, and this is not UTF-8: {error}") from None
    given = message.attributes
    name = given.get("MessageDeduplicationId") or None
    ordered = queue.settings.ordered
    if ordered and name is None and not queue.settings.by_content:
        name = message.id
    return Outgoing(
        body=body,
        sender=message.account,
        attributes=read_attributes(given.get("MessageAttributes", "")),
        group=given.get("MessageGroupId") or None,
        name=name if ordered else None,
        origin=message.origin,
        once="" if ordered else f"message:{message.id}",
    )


def _pulled(queue: Queue, message: StoredMessage) -> Pulled:
    envelope = Envelopes.decode(message.envelope)
    receipt = to_receipt(queue.key, message.mark)
    record, body = to_record(message, envelope, receipt=receipt, arn=queue.arn)
    return Pulled(
        id=message.id,
        receipt=receipt,
        record=record,
        body=body,
        group=message.group,
        received=message.received,
        sent_at=message.sent_at,
        taken_at=message.taken_at,
        origin=envelope.origin,
    )


def _letter(queue: Queue, message: StoredMessage) -> DeadLetter:
    envelope = Envelopes.decode(message.envelope)
    attributes = {"MessageAttributes": write_attributes(envelope.attributes)}
    if message.group:
        attributes["MessageGroupId"] = message.group
        # A name of its own, since the first one may still be known there.
        attributes["MessageDeduplicationId"] = f"{message.id}-{int(message.moved_at * 1000)}"
    elif envelope.group:
        attributes["MessageGroupId"] = envelope.group
    return DeadLetter(
        id=str(message.seq),
        shelf=queue.arn,
        message=Message(
            # Redriven twice because a server died, it is one; failed again and redriven again, it is another.
            id=f"{message.id}-{message.moved_at:.6f}",
            account=queue.record.account,
            source=queue.arn,
            principal="sqs.amazonaws.com",
            target=message.source,
            payload=message.body.encode(),
            attributes={name: text for name, text in attributes.items() if text},
            origin=envelope.origin,
            occurred_at=message.sent_at,
        ),
        reason=REASON,
        detail=f"It was received from {message.source} as often as that queue allows, and never deleted.",
        attempts=message.tries,
        failed_at=message.moved_at,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
