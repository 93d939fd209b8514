"""Attributes of queues: what AWS calls them, what they may be, what they mean. Pure."""

import re
from collections.abc import Callable, Mapping

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Arn
from forerun.sources.queues.faults import BadAttributeName, BadAttributeValue

MOST_BYTES = 1_048_576
MOST_SOURCES = 10
FIFO = ".fifo"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ORDERED_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)

# What is told of a queue beyond what was set.
OBSERVED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)


class Redrive(msgspec.Struct, frozen=True):
    """What was received ``most`` times without being deleted goes to the queue ``target`` (ARN)."""

    target: str
    most: int


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue behaves, read from its attributes; seconds and bytes.

    ``ordered``: it is a FIFO queue. ``by_content``: a message without a name for deduplication gets one from its body.
    ``by_group``: such names count in their group only.
    """

    delay_s: int = 0
    max_bytes: int = MOST_BYTES
    retention_s: int = 345_600
    wait_s: int = 0
    hide_s: int = 30
    redrive: Redrive | None = None
    policy: str | None = None
    ordered: bool = False
    by_content: bool = False
    by_group: bool = False


class _Redrive(msgspec.Struct, rename="camel"):
    dead_letter_target_arn: str
    max_receive_count: int | str


class _Allow(msgspec.Struct, rename="camel"):
    redrive_permission: str
    source_queue_arns: list[str] = []


def check_name(name: str, *, ordered: bool) -> None:
    """``InvalidInput`` unless a queue may be called so; those with order end in ``.fifo``."""
    if ordered and not _ORDERED_NAME.fullmatch(name):
        raise InvalidInput(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
            "must end with .fifo suffix and be 1 to 80 in length."
        )
    if not ordered and not _NAME.fullmatch(name):
        raise InvalidInput(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        )


def normalized(given: Mapping[str, str], *, ordered: bool, new: bool) -> dict[str, str]:
    """The attributes to store; an empty value is one to be dropped.

    Raises ``BadAttributeName`` for one that a queue does not have, ``BadAttributeValue`` for one that it cannot have so.
    """
    stored = {}
    for name, value in given.items():
        check = _CHECKS.get(name)
        if (
            check is None
            or (name in _ORDERED_ONLY and not ordered)
            or (name == "FifoQueue" and not new)
        ):
            raise BadAttributeName(f"Unknown Attribute {name[:256]}.")
        stored[name] = check(name, value)
    return stored


def settings_of(attributes: Mapping[str, str]) -> QueueSettings:
    """What stored attributes mean; those that are not set have AWS's defaults."""
    redrive = None
    if text := attributes.get("RedrivePolicy"):
        wanted = msgspec.json.decode(text, type=_Redrive)
        redrive = Redrive(wanted.dead_letter_target_arn, int(wanted.max_receive_count))
    return QueueSettings(
        delay_s=int(attributes.get("DelaySeconds", 0)),
        max_bytes=int(attributes.get("MaximumMessageSize", MOST_BYTES)),
        retention_s=int(attributes.get("MessageRetentionPeriod", 345_600)),
        wait_s=int(attributes.get("ReceiveMessageWaitTimeSeconds", 0)),
        hide_s=int(attributes.get("VisibilityTimeout", 30)),
        redrive=redrive,
        policy=attributes.get("Policy") or None,
        ordered=attributes.get("FifoQueue") == "true",
        by_content=attributes.get("ContentBasedDeduplication") == "true",
        by_group=attributes.get("DeduplicationScope") == "messageGroup",
    )


def shown(attributes: Mapping[str, str]) -> dict[str, str]:
    """All attributes of a queue that can be set and have a value, with the defaults of those that were not."""
    known = {**_DEFAULTS, **attributes}
    if known.get("FifoQueue") == "true":
        known = {**_ORDERED_DEFAULTS, **known}
    if known.get("KmsMasterKeyId"):
        known = {"KmsDataKeyReusePeriodSeconds": "300", **known, "SqsManagedSseEnabled": "false"}
    return {name: value for name, value in known.items() if value}


def allows_redrive(attributes: Mapping[str, str], source: str) -> bool:
    """Whether the queue with these attributes takes what the queue ``source`` (ARN) gives up."""
    text = attributes.get("RedriveAllowPolicy")
    if not text:
        return True
    allow = msgspec.json.decode(text, type=_Allow)
    if allow.redrive_permission == "byQueue":
        return source in allow.source_queue_arns
    return allow.redrive_permission == "allowAll"


def wrong(name: str) -> BadAttributeValue:
    """The error for an attribute's value."""
    return BadAttributeValue(f"Invalid value for the parameter {name}.")


def _number(low: int, high: int) -> Callable[[str, str], str]:
    def check(name: str, value: str) -> str:
        if not _NUMBER.fullmatch(value) or not low <= int(value) <= high:
            raise BadAttributeValue(
                f"Invalid value for the parameter {name}. Reason: Must be an integer from {low} to {high}."
            )
        return str(int(value))

    return check


def _flag(name: str, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise wrong(name)
    return value.lower()


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def check(name: str, value: str) -> str:
        if value not in allowed:
            raise wrong(name)
        return value

    return check


def _only_true(name: str, value: str) -> str:
    if value.lower() != "true":
        raise BadAttributeName(f"Unknown Attribute {name}.")
    return "true"


def _text(name: str, value: str) -> str:
    if len(value) > 2048:
        raise wrong(name)
    return value


def _policy(name: str, value: str) -> str:
    if not value.strip():
        return ""
    try:
        msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        raise wrong(name) from None
    return value


def _redrive_policy(name: str, value: str) -> str:
    if not value.strip():
        return ""
    try:
        wanted = msgspec.json.decode(value, type=_Redrive)
        most = int(wanted.max_receive_count)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise BadAttributeValue(
            f"Value {value[:1024]} for parameter {name} is invalid. Reason: Redrive policy does not contain mandatory "
            "attribute: maxReceiveCount or deadLetterTargetArn."
        ) from None
    if not 1 <= most <= 1000:
        raise BadAttributeValue(
            f"Value {value[:1024]} for parameter {name} is invalid. Reason: Invalid value for maxReceiveCount: {most}, "
            "valid values are from 1 to 1000 both inclusive."
        )
    try:
        service = Arn.parse(wanted.dead_letter_target_arn).service
    except InvalidInput:
        service = ""
    if service != "sqs":
        raise BadAttributeValue(
            f"Value {value[:1024]} for parameter {name} is invalid. Reason: Invalid value for deadLetterTargetArn."
        )
    document = {"deadLetterTargetArn": wanted.dead_letter_target_arn, "maxReceiveCount": most}
    return msgspec.json.encode(document).decode()


def _allow_policy(name: str, value: str) -> str:
    if not value.strip():
        return ""
    try:
        allow = msgspec.json.decode(value, type=_Allow)
    except (msgspec.DecodeError, RecursionError):
        raise wrong(name) from None
    sources = len(allow.source_queue_arns)
    by_queue = allow.redrive_permission == "byQueue"
    if allow.redrive_permission not in ("allowAll", "denyAll", "byQueue") or by_queue != bool(
        sources
    ):
        raise wrong(name)
    if sources > MOST_SOURCES:
        raise BadAttributeValue(
            f"Invalid value for the parameter {name}. Reason: sourceQueueArns can hold at most {MOST_SOURCES} queues."
        )
    return value


_CHECKS: dict[str, Callable[[str, str], str]] = {
    "DelaySeconds": _number(0, 900),
    "MaximumMessageSize": _number(1024, MOST_BYTES),
    "MessageRetentionPeriod": _number(60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": _number(0, 20),
    "VisibilityTimeout": _number(0, 43_200),
    "KmsDataKeyReusePeriodSeconds": _number(60, 86_400),
    "KmsMasterKeyId": _text,
    "SqsManagedSseEnabled": _flag,
    "Policy": _policy,
    "RedrivePolicy": _redrive_policy,
    "RedriveAllowPolicy": _allow_policy,
    "FifoQueue": _only_true,
    "ContentBasedDeduplication": _flag,
    "DeduplicationScope": _one_of("queue", "messageGroup"),
    "FifoThroughputLimit": _one_of("perQueue", "perMessageGroupId"),
}
_ORDERED_ONLY = frozenset(
    {"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"}
)
SETTABLE = tuple(_CHECKS)
_DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": str(MOST_BYTES),
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
_ORDERED_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
