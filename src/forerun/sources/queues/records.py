"""A message as functions and filters are shown it. Pure."""

import base64
from typing import Any

import msgspec

from forerun.model import Arn
from forerun.sources.queues.contents import Attribute, Envelope
from forerun.sources.queues.sending import to_sequence
from forerun.storage.queue_messages import StoredMessage

_encode = msgspec.json.Encoder().encode


class _Record(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    message_id: str
    receipt_handle: str
    body: Any
    attributes: dict[str, str]
    message_attributes: dict[str, Any]
    md5_of_message_attributes: str = ""
    md5_of_body: str
    event_source: str
    event_source_arn: str = msgspec.field(name="eventSourceARN")
    aws_region: str


def system_attributes(message: StoredMessage, envelope: Envelope) -> dict[str, str]:
    """What SQS itself knows of a message, by the names of its API."""
    found = {
        "ApproximateReceiveCount": str(message.received),
        "SentTimestamp": str(int(message.sent_at * 1000)),
        "SenderId": envelope.sender,
        "ApproximateFirstReceiveTimestamp": str(int(message.first_at * 1000)),
    }
    if message.group:
        found["SequenceNumber"] = to_sequence(message.seq)
        found["MessageGroupId"] = message.group
        found["MessageDeduplicationId"] = envelope.name
    elif envelope.group:
        found["MessageGroupId"] = envelope.group
    if envelope.trace:
        found["AWSTraceHeader"] = envelope.trace
    if message.source:
        found["DeadLetterQueueSourceArn"] = message.source
    return found


def to_record(
    message: StoredMessage, envelope: Envelope, *, receipt: str, arn: str
) -> tuple[bytes, bytes]:
    """The record a function is given, and what a filter looks at: the same, with a body that is a JSON object opened."""
    record = _Record(
        message_id=message.id,
        receipt_handle=receipt,
        body=message.body,
        attributes=system_attributes(message, envelope),
        message_attributes={
            name: _shown(attribute) for name, attribute in envelope.attributes.items()
        },
        md5_of_message_attributes=envelope.attributes_md5,
        md5_of_body=envelope.md5,
        event_source="aws:sqs",
        event_source_arn=arn,
        aws_region=Arn.parse(arn).region,
    )
    encoded = _encode(record)
    if not message.body.lstrip().startswith("{"):
        return encoded, encoded
    try:
        record.body = msgspec.json.decode(message.body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return encoded, encoded
    return encoded, _encode(record)


def _shown(attribute: Attribute) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    if attribute.StringValue is not None:
        shown["stringValue"] = attribute.StringValue
    if attribute.BinaryValue is not None:
        shown["binaryValue"] = base64.b64encode(attribute.BinaryValue).decode()
    return {**shown, "dataType": attribute.DataType}
