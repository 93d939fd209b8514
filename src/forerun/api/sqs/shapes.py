"""Messages and their attributes between the shapes of SQS's API and what queues keep."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from forerun.errors import InvalidInput
from forerun.sources.queues import (
    TRACE_HEADER,
    Attribute,
    BadAttributeName,
    Envelopes,
    Sent,
    attributes_md5,
    system_attributes,
    to_receipt,
)
from forerun.storage.queue_messages import StoredMessage

SYSTEM = frozenset(
    {
        "All",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "AWSTraceHeader",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
        "SqsManagedSseEnabled",
    }
)


class Wanted(NamedTuple):
    """Which attributes a receiver wants to see; ``prefixes`` of names of the message's own ones."""

    system: frozenset[str]
    names: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, system: Sequence[str], own: Sequence[str]) -> "Wanted":
        """``BadAttributeName`` for a system attribute that is none."""
        for name in system:
            if name not in SYSTEM:
                raise BadAttributeName(f"Unknown Attribute {name[:256]}.")
        prefixes = tuple(
            name[:-2] + "." if name != ".*" else "" for name in own if name.endswith(".*")
        )
        if "All" in own:
            prefixes = ("",)
        return cls(frozenset(system), frozenset(own), prefixes)

    def shows(self, name: str) -> bool:
        """Whether an attribute of the message's own is wanted."""
        return name in self.names or name.startswith(self.prefixes)


def attributes_of(given: Mapping[str, Any] | None) -> dict[str, Attribute]:
    """Attributes as sent by a client."""
    if not given:
        return {}
    return {
        name: Attribute(
            DataType=each.DataType,
            StringValue=each.StringValue,
            BinaryValue=_binary(name, each.BinaryValue),
        )
        for name, each in given.items()
    }


def _binary(name: str, value: object) -> bytes | None:
    """The query dialect's values are still in base64."""
    if value is None or isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(
            f"The value of message attribute '{name[:256]}' is not valid base64."
        ) from None


def trace_of(given: Mapping[str, Any] | None) -> str:
    """The trace header among the system attributes, of which there is no other to send."""
    if not given:
        return ""
    for name in given:
        if name != TRACE_HEADER:
            raise InvalidInput(
                f"Message system attribute name '{name[:256]}' is invalid. Only {TRACE_HEADER} can be sent."
            )
    attribute = given[TRACE_HEADER]
    if attribute.DataType != "String" or not attribute.StringValue:
        raise InvalidInput(f"Message system attribute {TRACE_HEADER} must be a non-empty String.")
    return str(attribute.StringValue)


def printed_sent(sent: Sent) -> dict[str, Any]:
    """What the sender is told."""
    return {
        "MessageId": sent.id,
        "MD5OfMessageBody": sent.body_md5,
        "MD5OfMessageAttributes": sent.attributes_md5 or None,
        "MD5OfMessageSystemAttributes": sent.trace_md5 or None,
        "SequenceNumber": sent.sequence or None,
    }


def printed_message(queue: int, message: StoredMessage, wanted: Wanted) -> dict[str, Any]:
    """A message as it is received; ``queue`` is what receipts name its queue by."""
    envelope = Envelopes.decode(message.envelope)
    printed: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": to_receipt(queue, message.mark),
        "MD5OfBody": envelope.md5,
        "Body": message.body,
    }
    if wanted.system:
        known = system_attributes(message, envelope)
        if "All" not in wanted.system:
            known = {name: value for name, value in known.items() if name in wanted.system}
        if known:
            printed["Attributes"] = known
    own = {name: each for name, each in envelope.attributes.items() if wanted.shows(name)}
    if own:
        printed["MD5OfMessageAttributes"] = attributes_md5(own)
        printed["MessageAttributes"] = {
            name: {
                "DataType": each.DataType,
                "StringValue": each.StringValue,
                "BinaryValue": each.BinaryValue,
            }
            for name, each in own.items()
        }
    return printed
