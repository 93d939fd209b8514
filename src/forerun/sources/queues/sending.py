"""From what somebody wants to send to the message that is stored: checked, named, dated. Pure."""

from uuid import UUID

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Origin
from forerun.sources.queues.contents import (
    Attribute,
    Envelope,
    attributes_md5,
    check_attributes,
    check_body,
    check_name,
    md5,
    name_of,
    pack,
    size_of,
)
from forerun.sources.queues.faults import MissingParameter
from forerun.sources.queues.queue import Queue
from forerun.storage.queue_messages import ONCE_S, NewMessage

LONGEST_DELAY_S = 900
# For how long what the platform itself delivers is known: as long as it takes to start after a crash and deliver again.
DELIVERED_ONCE_S = 60
_NOT_HERE = "The request include parameter that is not valid for this queue type"


class Outgoing(msgspec.Struct, kw_only=True):
    """What somebody wants to send; ``once`` is a name it is sent under once only, beside what SQS knows."""

    body: str | None
    sender: str
    attributes: dict[str, Attribute] = {}
    delay_s: int | None = None
    group: str | None = None
    name: str | None = None
    trace: str = ""
    origin: Origin = Origin()
    once: str = ""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender is told. Digests are empty where there is nothing; ``sequence`` is that of ordered queues."""

    id: str
    body_md5: str
    attributes_md5: str
    trace_md5: str
    sequence: str


def prepare(
    queue: Queue, outgoing: Outgoing, *, number: int, drawn: int, now: float
) -> tuple[NewMessage, Sent]:
    """The message to store; ``drawn`` are 128 random bits for its id.

    Raises ``InvalidInput`` and its kin as SQS does.
    """
    body = check_body(outgoing.body)
    check_attributes(outgoing.attributes)
    settings = queue.settings
    if size_of(body, outgoing.attributes) > settings.max_bytes:
        raise InvalidInput(
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{settings.max_bytes} bytes."
        )
    group, name = _placed(queue, outgoing, body)
    delay = _delay(queue, outgoing.delay_s)
    trace = {"AWSTraceHeader": Attribute(DataType="String", StringValue=outgoing.trace)}
    sent = Sent(
        id=str(UUID(int=drawn, version=4)),
        body_md5=md5(body),
        attributes_md5=attributes_md5(outgoing.attributes),
        trace_md5=attributes_md5(trace) if outgoing.trace else "",
        sequence=to_sequence(number) if settings.ordered else "",
    )
    envelope = Envelope(
        sender=outgoing.sender,
        md5=sent.body_md5,
        attributes=outgoing.attributes,
        attributes_md5=sent.attributes_md5,
        trace=outgoing.trace,
        group="" if settings.ordered else group,
        name=name,
        origin=outgoing.origin,
    )
    message = NewMessage(
        seq=number,
        queue=queue.id,
        visible_at=now + delay,
        sent_at=now,
        group=group if settings.ordered else "",
        id=sent.id,
        body=body,
        envelope=pack(envelope),
        scope=group if settings.ordered and settings.by_group else "",
        name=name or outgoing.once,
        once_s=ONCE_S if name else DELIVERED_ONCE_S,
    )
    return message, sent


def to_sequence(number: int) -> str:
    """A message's number as clients see it."""
    return f"{number:020d}"


def _placed(queue: Queue, outgoing: Outgoing, body: str) -> tuple[str, str]:
    """The message's group, and the name it is deduplicated by."""
    group, name = outgoing.group, outgoing.name
    if group is not None:
        check_name("MessageGroupId", group)
    if not queue.settings.ordered:
        if name is not None:
            raise InvalidInput(
                f"Value {name[:256]} for parameter MessageDeduplicationId is invalid. Reason: {_NOT_HERE}"
            )
        return group or "", ""
    if group is None:
        raise MissingParameter("The request must contain the parameter MessageGroupId.")
    if name is not None:
        return group, check_name("MessageDeduplicationId", name)
    if not queue.settings.by_content:
        raise InvalidInput(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )
    return group, name_of(body)


def _delay(queue: Queue, seconds: int | None) -> int:
    if seconds is None or (seconds == 0 and queue.settings.ordered):
        return queue.settings.delay_s
    if queue.settings.ordered:
        raise InvalidInput(
            f"Value {seconds} for parameter DelaySeconds is invalid. Reason: {_NOT_HERE}."
        )
    if not 0 <= seconds <= LONGEST_DELAY_S:
        raise InvalidInput(
            f"Value {seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= "
            f"{LONGEST_DELAY_S}."
        )
    return seconds
