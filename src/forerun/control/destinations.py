"""What is told of an event that ended: to its destination, to its function's dead-letter queue, or to who looks for it later.

Pure but for its contract: makes the messages and the dead letter, in the forms that AWS gives them.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from forerun.control.delivery.functions import CLIENT_CONTEXT, EXECUTION_ID
from forerun.control.delivery.permission import OWN
from forerun.control.invoke import Reply
from forerun.control.registry import Resolved
from forerun.model import (
    Arn,
    DeadLetter,
    EventInvokeConfig,
    Message,
    Origin,
    function_arn,
    iso_time,
)
from forerun.storage import QueuedEvent
from forerun.storage.dead_letters import SHELF

SUCCESS = "Success"
PRINCIPAL = "lambda.amazonaws.com"
_MOST_MESSAGE = 1024
_MOST_DETAIL = 32 * 1024


class Outlet(Protocol):
    """Where what became of events goes. Both return when it is on disk, and may be told the same thing twice."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Bring these to their targets. ``Throttled``, ``StorageFailed``."""
        ...

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these dead letters. ``StorageFailed``."""
        ...


class Ended(msgspec.Struct, kw_only=True):
    """An event that is over for good.

    ``condition`` is ``Success``, ``RetriesExhausted``, ``EventAgeExceeded`` or ``RecursionDetected``; ``reply`` is what its last
    attempt gave, if that ran; ``detail`` says in a sentence why it did not. ``origin`` is that of what is told; ``at`` is epoch
    seconds.
    """

    event: QueuedEvent
    resolved: Resolved
    condition: str
    reply: Reply | None
    origin: Origin
    at: float
    detail: str = ""


def messages_of(ended: Ended) -> list[Message]:
    """To the destination for how it ended, and to the dead-letter queue; empty when the function has neither."""
    destinations = (ended.resolved.event_config or EventInvokeConfig()).destinations
    succeeded = ended.condition == SUCCESS
    target = destinations.on_success if succeeded else destinations.on_failure
    messages = [_to_destination(ended, target)] if target else []
    queue = ended.resolved.function.dead_letter_arn
    if queue and not succeeded:
        messages.append(_to_dead_letter_queue(ended, queue))
    return messages


def letter_of(ended: Ended) -> DeadLetter:
    """The dead letter of an event that failed and of which nobody else is told."""
    reply, detail = ended.reply, ended.detail
    if reply is not None:
        detail = reply.payload[:_MOST_DETAIL].decode("utf-8", "replace")
    return letter_of_event(
        ended.event,
        ended.resolved.function.region,
        reason=ended.condition,
        detail=detail,
        at=ended.at,
    )


def letter_of_event(
    event: QueuedEvent, region: str, *, reason: str, detail: str, at: float
) -> DeadLetter:
    """The dead letter of an event; sent again, it needs no permission but to be of its function's account."""
    attributes = {} if event.client_context is None else {CLIENT_CONTEXT: event.client_context}
    if EXECUTION_ID in event.headers:
        attributes[EXECUTION_ID] = event.headers[EXECUTION_ID]
    return DeadLetter(
        id=event.id,
        shelf=SHELF,
        message=Message(
            id=event.id,
            account=event.account,
            source=event.source,
            principal=f"lambda{OWN}",
            target=function_arn(region, event.account, event.name, event.qualifier),
            payload=event.payload,
            attributes=attributes,
            origin=event.origin,
            occurred_at=event.accepted_at,
        ),
        reason=reason,
        detail=detail,
        attempts=event.attempt,
        failed_at=at,
    )


def _to_destination(ended: Ended, target: str) -> Message:
    function = ended.resolved.function
    attributes: dict[str, str] = {}
    if Arn.parse(target).service == "events":
        outcome = "Success" if ended.condition == SUCCESS else "Failure"
        attributes = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {outcome}",
            "Resources": msgspec.json.encode([function.qualified_arn, target]).decode(),
        }
    return _message(ended, ended.condition.lower(), target, _document(ended), attributes)


def _to_dead_letter_queue(ended: Ended, queue: str) -> Message:
    shown = {
        "RequestID": {"DataType": "String", "StringValue": ended.event.id},
        # The status of a function's own failure is that of an invocation that was answered.
        "ErrorCode": {"DataType": "Number", "StringValue": "200" if ended.reply else "400"},
        "ErrorMessage": {"DataType": "String", "StringValue": _error_message(ended)},
    }
    attributes = {"MessageAttributes": msgspec.json.encode(shown).decode()}
    return _message(ended, "dead-letter", queue, ended.event.payload or b"{}", attributes)


def _message(
    ended: Ended, what: str, target: str, payload: bytes, attributes: dict[str, str]
) -> Message:
    function, event = ended.resolved.function, ended.event
    return Message(
        id=f"{event.id}-{what}",
        account=function.account,
        source=function.arn,
        principal=PRINCIPAL,
        role=function.role,
        target=target,
        payload=payload,
        attributes=attributes,
        origin=ended.origin,
        occurred_at=ended.at,
    )


def _error_message(ended: Ended) -> str:
    """What went wrong, in at most 1 KB."""
    text = ended.detail or ended.condition
    if ended.reply is not None:
        try:
            error = msgspec.json.decode(ended.reply.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = None
        message = error.get("errorMessage") if isinstance(error, dict) else None
        text = message if isinstance(message, str) and message else ended.condition
    return text.encode("utf-8", "replace")[:_MOST_MESSAGE].decode("utf-8", "ignore")


def _document(ended: Ended) -> bytes:
    """AWS's document for destinations: who was called with what, and what came of it."""
    event, reply, function = ended.event, ended.reply, ended.resolved.function
    document: dict[str, object] = {
        "version": "1.0",
        "timestamp": iso_time(ended.at),
        "requestContext": {
            "requestId": event.id,
            "functionArn": function.qualified_arn,
            "condition": ended.condition,
            "approximateInvokeCount": event.attempt if reply is not None else event.attempt - 1,
        },
        "requestPayload": msgspec.Raw(event.payload or b"{}"),
    }
    if reply is not None:
        context: dict[str, object] = {"statusCode": 200, "executedVersion": function.version}
        if reply.error is not None:
            context["functionError"] = reply.error
        document["responseContext"] = context
        document["responsePayload"] = (
            msgspec.Raw(reply.payload)
            if reply.content_type == "application/json" and reply.payload
            else reply.payload.decode("utf-8", "replace")
        )
    return msgspec.json.encode(document)
