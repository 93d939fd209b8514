"""Messages: sent, received, deleted, hidden; one or ten."""

from collections.abc import Callable
from typing import Any

from forerun.aio import ClientLeft, Clock, while_connected
from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.sqs.batches import failed, require_batch, require_together
from forerun.api.sqs.naming import queue_of
from forerun.api.sqs.shapes import Wanted, attributes_of, printed_message, printed_sent, trace_of
from forerun.errors import ForerunError, InvalidInput
from forerun.model import Origin
from forerun.sources.queues import (
    BadReceipt,
    NotInFlight,
    Outgoing,
    Queue,
    Queues,
    Sent,
    Traffic,
    from_receipt,
    prepare,
    to_sequence,
)
from forerun.storage.queue_messages import NewMessage, StoredMessage

MOST_RECEIVED = 10
LONGEST_WAIT_S = 20
LONGEST_HIDDEN_S = 43_200


class MessageRoutes:
    """Answers the operations of ``sqs`` that are about messages.

    ``draw`` gives so many random bits, ``sender_of`` the unique id of a principal, ``origin_of`` what a trace header says.
    """

    def __init__(
        self,
        queues: Queues,
        traffic: Traffic,
        clock: Clock,
        *,
        draw: Callable[[int], int],
        sender_of: Callable[[str], str],
        origin_of: Callable[[str, str], Origin],
    ) -> None:
        self._queues = queues
        self._traffic = traffic
        self._clock = clock
        self._draw = draw
        self._sender_of = sender_of
        self._origin_of = origin_of

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "SendMessage": self.send,
            "SendMessageBatch": self.send_batch,
            "ReceiveMessage": self.receive,
            "DeleteMessage": self.delete,
            "DeleteMessageBatch": self.delete_batch,
            "ChangeMessageVisibility": self.change,
            "ChangeMessageVisibilityBatch": self.change_batch,
        }

    async def send(self, caller: Caller, request: Any) -> Members:
        """SendMessage: on disk when it is answered."""
        queue = queue_of(self._queues, request.QueueUrl)
        message, sent = self._prepared(caller, queue, request)
        earlier = await self._traffic.send([(queue, message)])
        return printed_sent(_known(sent, earlier.get(message.seq)))

    async def send_batch(self, caller: Caller, request: Any) -> Members:
        """SendMessageBatch: what is not acceptable is told beside what was sent."""
        queue = queue_of(self._queues, request.QueueUrl)
        entries = require_batch(request.Entries)
        require_together(
            (entry.MessageBody or "", attributes_of(entry.MessageAttributes)) for entry in entries
        )
        ready: list[tuple[str, NewMessage, Sent]] = []
        refused = []
        for entry in entries:
            try:
                message, sent = self._prepared(caller, queue, entry)
            except ForerunError as error:
                refused.append(failed(entry.Id, error))
            else:
                ready.append((entry.Id, message, sent))
        earlier = await self._traffic.send([(queue, message) for _, message, _ in ready])
        done = [
            {"Id": entry_id, **printed_sent(_known(sent, earlier.get(message.seq)))}
            for entry_id, message, sent in ready
        ]
        return _both(done, refused)

    def _prepared(self, caller: Caller, queue: Queue, request: Any) -> tuple[NewMessage, Sent]:
        trace = trace_of(request.MessageSystemAttributes)
        origin = caller.origin
        if trace and not origin.execution:
            origin = self._origin_of(trace, caller.account)
        outgoing = Outgoing(
            body=request.MessageBody,
            sender=self._sender_of(caller.principal_arn),
            attributes=attributes_of(request.MessageAttributes),
            delay_s=request.DelaySeconds,
            group=request.MessageGroupId,
            name=request.MessageDeduplicationId,
            trace=trace,
            origin=origin,
        )
        return prepare(
            queue,
            outgoing,
            number=self._queues.number(),
            drawn=self._draw(128),
            now=self._clock.now(),
        )

    async def receive(self, caller: Caller, request: Any) -> Members:
        """ReceiveMessage; who waits and leaves loses nothing."""
        queue = queue_of(self._queues, request.QueueUrl)
        settings = queue.settings
        most = _within("MaxNumberOfMessages", request.MaxNumberOfMessages, 1, MOST_RECEIVED)
        wait = _within("WaitTimeSeconds", request.WaitTimeSeconds, 0, LONGEST_WAIT_S)
        hide = _within("VisibilityTimeout", request.VisibilityTimeout, 0, LONGEST_HIDDEN_S)
        wanted = Wanted.of(
            (*(request.AttributeNames or ()), *(request.MessageSystemAttributeNames or ())),
            request.MessageAttributeNames or (),
        )
        taken = await self._taken(
            caller,
            queue,
            most=1 if most is None else most,
            wait_s=settings.wait_s if wait is None else wait,
            hide_s=settings.hide_s if hide is None else hide,
        )
        if not taken:
            return {}
        return {"Messages": [printed_message(queue.key, each, wanted) for each in taken]}

    async def _taken(
        self, caller: Caller, queue: Queue, *, most: int, wait_s: float, hide_s: float
    ) -> list[StoredMessage]:
        if wait_s and caller.receive is not None:
            if not queue.line.waiters:
                taken = await self._traffic.receive(queue, most=most, wait_s=0.0, hide_s=hide_s)
                if taken:
                    return taken
            waiting = self._traffic.receive(
                queue, most=most, wait_s=wait_s, hide_s=hide_s, guest=True
            )
            try:
                return await while_connected(caller.receive, waiting)
            except ClientLeft:
                return []
        return await self._traffic.receive(
            queue, most=most, wait_s=wait_s, hide_s=hide_s, guest=True
        )

    async def delete(self, _caller: Caller, request: Any) -> Members:
        """DeleteMessage: also of one that is gone; in a queue with order only while it is in flight."""
        queue = queue_of(self._queues, request.QueueUrl)
        mark = from_receipt(queue.key, request.ReceiptHandle)
        await self._delete(queue, [(request.ReceiptHandle, mark)])
        return {}

    async def delete_batch(self, _caller: Caller, request: Any) -> Members:
        """DeleteMessageBatch."""
        queue = queue_of(self._queues, request.QueueUrl)
        entries = require_batch(request.Entries)
        marks, refused = _marks(queue, entries)
        done = []
        if queue.settings.ordered:
            for entry, mark in marks:
                try:
                    await self._delete(queue, [(entry.ReceiptHandle, mark)])
                except ForerunError as error:
                    refused.append(failed(entry.Id, error))
                else:
                    done.append({"Id": entry.Id})
        else:
            await self._delete(queue, [(entry.ReceiptHandle, mark) for entry, mark in marks])
            done = [{"Id": entry.Id} for entry, _ in marks]
        return _both(done, refused)

    async def _delete(self, queue: Queue, wanted: list[tuple[str, int]]) -> None:
        ordered = queue.settings.ordered
        marks = [mark for _, mark in wanted]
        gone = await self._traffic.finish(queue, marks, in_flight=ordered)
        for receipt, mark in wanted if ordered else ():
            if mark not in gone and await self._traffic.find(queue, mark) is not None:
                raise InvalidInput(
                    f"Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
                )

    async def change(self, _caller: Caller, request: Any) -> Members:
        """ChangeMessageVisibility."""
        queue = queue_of(self._queues, request.QueueUrl)
        mark = from_receipt(queue.key, request.ReceiptHandle)
        seconds = _hidden_for(request.VisibilityTimeout)
        [done] = await self._traffic.hide(queue, [(mark, seconds)])
        if not done:
            raise await self._why_not(queue, request.ReceiptHandle, mark, seconds)
        return {}

    async def change_batch(self, _caller: Caller, request: Any) -> Members:
        """ChangeMessageVisibilityBatch."""
        queue = queue_of(self._queues, request.QueueUrl)
        marks, refused = _marks(queue, require_batch(request.Entries))
        changes = []
        for entry, mark in marks:
            try:
                changes.append((entry, mark, _hidden_for(entry.VisibilityTimeout)))
            except InvalidInput as error:
                refused.append(failed(entry.Id, error))
        answers = await self._traffic.hide(queue, [(mark, secs) for _, mark, secs in changes])
        done = []
        for (entry, mark, secs), hidden in zip(changes, answers, strict=True):
            if hidden:
                done.append({"Id": entry.Id})
            else:
                reason = await self._why_not(queue, entry.ReceiptHandle, mark, secs)
                refused.append(failed(entry.Id, reason))
        return _both(done, refused)

    async def _why_not(
        self, queue: Queue, receipt: str, mark: int, seconds: int
    ) -> InvalidInput | NotInFlight:
        """Why a message could not be hidden for so long."""
        found = await self._traffic.find(queue, mark)
        if found is None:
            return InvalidInput(
                f"Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not "
                "available for visibility timeout change."
            )
        if found[0] <= self._clock.now():
            return NotInFlight()
        return InvalidInput(
            f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the "
            f"message is beyond the limit [{LONGEST_HIDDEN_S} seconds]."
        )


def _known(sent: Sent, earlier: tuple[int, str] | None) -> Sent:
    """What the sender is told of a message that had been sent before."""
    if earlier is None:
        return sent
    number, message_id = earlier
    return Sent(
        id=message_id,
        body_md5=sent.body_md5,
        attributes_md5=sent.attributes_md5,
        trace_md5=sent.trace_md5,
        sequence=to_sequence(number),
    )


def _marks(queue: Queue, entries: list[Any]) -> tuple[list[tuple[Any, int]], list[Members]]:
    """Entries with what their receipts mean, and those whose receipts mean nothing."""
    marks, refused = [], []
    for entry in entries:
        try:
            marks.append((entry, from_receipt(queue.key, entry.ReceiptHandle)))
        except BadReceipt as error:
            refused.append(failed(entry.Id, error))
    return marks, refused


def _within(parameter: str, value: int | None, low: int, high: int) -> int | None:
    if value is not None and not low <= value <= high:
        raise InvalidInput(
            f"Value {value} for parameter {parameter} is invalid. Reason: Must be between {low} and {high}, if provided."
        )
    return value


def _hidden_for(seconds: int | None) -> int:
    if seconds is None or not 0 <= seconds <= LONGEST_HIDDEN_S:
        raise InvalidInput(
            f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer "
            f"between 0 and {LONGEST_HIDDEN_S}."
        )
    return seconds


def _both(done: list[Members], refused: list[Members]) -> Members:
    answer: Members = {}
    if done:
        answer["Successful"] = done
    if refused:
        answer["Failed"] = refused
    return answer
