"""What subscribers are given: the forms of a notification for functions, queues and URLs, and what of it is signed. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from forerun.sources.topics.publication import Attribute

CERTIFICATE_PATH = "/SimpleNotificationService-"
_AGENT = "Amazon Simple Notification Service Agent"


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One message as one subscriber gets it.

    ``kind`` is ``Notification``, ``SubscriptionConfirmation`` or ``UnsubscribeConfirmation``; the latter two have a
    ``token`` and the ``link`` that uses it. Otherwise the link is that for unsubscribing. ``sequence`` is of FIFO topics.
    """

    kind: str = "Notification"
    id: str
    topic: str
    subscription: str
    message: str
    timestamp: str
    subject: str = ""
    attributes: Mapping[str, Attribute] = {}
    link: str = ""
    token: str = ""
    sequence: str = ""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A signature (base64), its version, and where the certificate is."""

    signature: str
    version: str
    certificate_url: str


def signed_text(notification: Notification) -> bytes:
    """What the signature is over: names and values in lines, in the order of the names."""
    pairs = [("Message", notification.message), ("MessageId", notification.id)]
    if notification.kind != "Notification":
        pairs.append(("SubscribeURL", notification.link))
    elif notification.subject:
        pairs.append(("Subject", notification.subject))
    pairs.append(("Timestamp", notification.timestamp))
    if notification.kind != "Notification":
        pairs.append(("Token", notification.token))
    pairs += [("TopicArn", notification.topic), ("Type", notification.kind)]
    return "".join(f"{name}\n{value}\n" for name, value in pairs).encode()


def json_form(notification: Notification, seal: Seal | None) -> bytes:
    """For queues and URLs."""
    confirming = notification.kind != "Notification"
    content: dict[str, Any] = {"Type": notification.kind, "MessageId": notification.id}
    if notification.sequence:
        content["SequenceNumber"] = notification.sequence
    if confirming:
        content["Token"] = notification.token
    content["TopicArn"] = notification.topic
    if notification.subject:
        content["Subject"] = notification.subject
    content["Message"] = notification.message
    if confirming:
        content["SubscribeURL"] = notification.link
    content["Timestamp"] = notification.timestamp
    if seal is not None:
        content |= {
            "SignatureVersion": seal.version,
            "Signature": seal.signature,
            "SigningCertURL": seal.certificate_url,
        }
    if not confirming:
        content["UnsubscribeURL"] = notification.link
    if notification.attributes:
        content["MessageAttributes"] = _printed(notification.attributes)
    return msgspec.json.encode(content)


def lambda_form(notification: Notification, seal: Seal) -> bytes:
    """The event of a function."""
    record = {
        "Type": notification.kind,
        "MessageId": notification.id,
        "TopicArn": notification.topic,
        "Subject": notification.subject or None,
        "Message": notification.message,
        "Timestamp": notification.timestamp,
        "SignatureVersion": seal.version,
        "Signature": seal.signature,
        "SigningCertUrl": seal.certificate_url,
        "UnsubscribeUrl": notification.link,
        "MessageAttributes": _printed(notification.attributes),
    }
    event = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": notification.subscription,
        "Sns": record,
    }
    return msgspec.json.encode({"Records": [event]})


def http_headers(notification: Notification, *, raw: bool) -> dict[str, str]:
    """What a request to a URL says of its body, as attributes of a ``Message``."""
    headers = {
        "x-amz-sns-message-type": notification.kind,
        "x-amz-sns-message-id": notification.id,
        "x-amz-sns-topic-arn": notification.topic,
        "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": _AGENT,
    }
    if notification.kind != "SubscriptionConfirmation":
        headers["x-amz-sns-subscription-arn"] = notification.subscription
    if raw:
        headers["x-amz-sns-rawdelivery"] = "true"
    return {f"header:{name}": value for name, value in headers.items()}


def queue_attributes(attributes: Mapping[str, Attribute]) -> str:
    """Message attributes in the shape of SQS, as JSON."""
    return msgspec.json.encode(
        {
            name: {
                "DataType": each.type,
                "BinaryValue" if each.type.startswith("Binary") else "StringValue": each.value,
            }
            for name, each in attributes.items()
        }
    ).decode()


def _printed(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, str]]:
    return {name: {"Type": each.type, "Value": each.value} for name, each in attributes.items()}


def confirm_link(base_url: str, topic: str, token: str) -> str:
    """Where a subscription is confirmed; whoever has the link may."""
    return f"{base_url}/?Action=ConfirmSubscription&TopicArn={quote(topic, safe=':')}&Token={token}"


def unsubscribe_link(base_url: str, subscription: str) -> str:
    """Where a subscription is ended."""
    return f"{base_url}/?Action=Unsubscribe&SubscriptionArn={quote(subscription, safe=':')}"


def confirmation_text(topic: str, kind: str) -> str:
    """The message of a confirmation."""
    if kind == "SubscriptionConfirmation":
        return (
            f"You have chosen to subscribe to the topic {topic}.\n"
            "To confirm the subscription, visit the SubscribeURL included in this message."
        )
    return (
        f"You have chosen to deactivate subscription to the topic {topic}.\n"
        "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
    )


def read_attributes(text: str) -> Sequence[tuple[str, str | None, str | None, str | None]]:
    """Message attributes that a ``Message`` brings as JSON in SNS' or SQS' shape: name, type, text, base64."""
    try:
        content = msgspec.json.decode(text, type=dict[str, dict[str, Any]]) if text else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()
    return [
        (
            name,
            _text(each.get("DataType", each.get("Type"))),
            _text(each.get("StringValue", each.get("Value"))),
            _text(each.get("BinaryValue", each.get("Value"))),
        )
        for name, each in content.items()
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
