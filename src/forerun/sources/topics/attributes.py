"""Which attributes topics and subscriptions have, and what they may be. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from forerun.errors import Unsupported
from forerun.model import RetryPolicy
from forerun.patterns.filter_policies import (
    FilterPolicy,
    FilterScope,
    InvalidFilterPolicy,
    compile_filter_policy,
)
from forerun.sources.topics.naming import HTTP, InvalidParameter, is_queue

DELIVERY_DEFAULTS: Mapping[str, Any] = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
# AWS tries functions and queues so often, for so long; endpoints that are URLs an hour at most.
AWS_RETRIES = RetryPolicy(retries=100_015, max_age_s=23 * 86_400.0)
HTTP_AGE_S = 3_600.0
_MAX_RETRIES = 100
_JSON_BYTES = 30_720


def require_topic_attribute(name: str, value: str, *, fifo: bool) -> None:
    """``InvalidInput`` unless a topic may have this attribute; ``Policy`` is not looked into here."""
    if name in _FEEDBACK or name in _NOT_SERVED:
        raise Unsupported(f"The topic attribute {name} is not served here")
    check = _TOPIC.get(name)
    if check is None or (name in _FIFO_ONLY and not fifo):
        raise InvalidParameter("AttributeName")
    if not check(value):
        raise InvalidParameter(f"{name} Reason: '{value[:100]}'")


def _is_flag(value: str) -> bool:
    return value in ("true", "false")


def _is_display_name(value: str) -> bool:
    return len(value) <= 100 and value.isprintable()


def _is_delivery_policy(value: str) -> bool:
    retry_policy(value)
    return True


_FIFO_ONLY = frozenset({"ContentBasedDeduplication", "FifoThroughputScope"})
_FEEDBACK = frozenset(
    f"{service}{kind}"
    for service in ("HTTP", "Firehose", "Lambda", "Application", "SQS")
    for kind in ("SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn")
)
_NOT_SERVED = frozenset({"KmsMasterKeyId", "ArchivePolicy", "DataProtectionPolicy"})
_TOPIC: Mapping[str, Callable[[str], bool]] = {
    "DisplayName": _is_display_name,
    "Policy": bool,
    "DeliveryPolicy": _is_delivery_policy,
    "SignatureVersion": lambda value: value in ("1", "2"),
    "TracingConfig": lambda value: value in ("Active", "PassThrough"),
    "ContentBasedDeduplication": _is_flag,
    "FifoThroughputScope": lambda value: value in ("Topic", "MessageGroup"),
}


def require_subscription_attributes(
    attributes: Mapping[str, str], protocol: str, *, changed: str = ""
) -> None:
    """``InvalidInput`` unless a subscription may have them all.

    ``changed`` names the one that is being set, when not all are: the sentence is another then, as on AWS.
    """
    prefix = "" if changed else "Attributes Reason: "
    for name, value in attributes.items():
        if name == "ReplayPolicy":
            raise Unsupported("The subscription attribute ReplayPolicy is not served here")
        if name not in SUBSCRIPTION_ATTRIBUTES:
            raise InvalidParameter("AttributeName" if changed else f"Attributes Reason: {name}")
        if name == "RawMessageDelivery":
            _require_raw(value, protocol, prefix)
        elif name == "FilterPolicyScope" and value not in tuple(FilterScope):
            raise InvalidParameter(f"{prefix}FilterPolicyScope: Invalid value [{value[:100]}].")
        elif name == "RedrivePolicy":
            dead_letter_queue(value, prefix)
        elif name == "DeliveryPolicy":
            if protocol not in HTTP:
                raise InvalidParameter(f"{prefix}DeliveryPolicy: it is for http and https only")
            retry_policy(value)
    try:
        filter_of(attributes)
    except InvalidFilterPolicy as error:
        raise InvalidParameter(f"{prefix}FilterPolicy: {error.message}") from None


SUBSCRIPTION_ATTRIBUTES = frozenset(
    {"FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy"}
)


def _require_raw(value: str, protocol: str, prefix: str) -> None:
    if value.lower() not in ("true", "false"):
        raise InvalidParameter(
            f"{prefix}RawMessageDelivery: Invalid value [{value[:100]}]. Must be true or false."
        )
    if value.lower() == "true" and protocol == "lambda":
        raise InvalidParameter(
            f"{prefix}RawMessageDelivery: This attribute is not supported for the protocol {protocol}"
        )


def filter_of(attributes: Mapping[str, str]) -> FilterPolicy | None:
    """The compiled filter policy of a subscription; ``None`` when it wants everything. Raises ``InvalidFilterPolicy``."""
    text = attributes.get("FilterPolicy", "")
    if not text or text == "{}":
        return None
    return compile_filter_policy(
        text, FilterScope(attributes.get("FilterPolicyScope", FilterScope.ATTRIBUTES))
    )


def dead_letter_queue(policy: str, prefix: str = "") -> str:
    """The ARN of the queue that a redrive policy names; ``""`` for an empty policy."""
    if not policy or policy == "{}":
        return ""
    content = _object(policy, f"{prefix}RedrivePolicy: failed to parse JSON.")
    arn = content.get("deadLetterTargetArn")
    if not isinstance(arn, str) or not is_queue(arn):
        raise InvalidParameter(f"{prefix}RedrivePolicy: deadLetterTargetArn is an invalid arn")
    return arn


def retry_policy(policy: str) -> RetryPolicy:
    """How often a URL is tried by a delivery policy (a subscription's, or the part ``http`` of a topic's)."""
    merged = effective_delivery(policy)
    return RetryPolicy(retries=int(merged["numRetries"]), max_age_s=HTTP_AGE_S)


def effective_delivery(policy: str) -> dict[str, Any]:
    """The healthy retry policy that results from a delivery policy, ``""`` for none. Raises ``InvalidInput``."""
    if not policy:
        return dict(DELIVERY_DEFAULTS)
    if len(policy) > _JSON_BYTES:
        raise InvalidParameter(f"DeliveryPolicy: it has more than {_JSON_BYTES} characters")
    content = _object(policy, "DeliveryPolicy: failed to parse JSON.")
    for step in ("http", "defaultHealthyRetryPolicy"):
        content = content.get(step, content) if isinstance(content, dict) else content
    if isinstance(content, dict) and "healthyRetryPolicy" in content:
        content = content["healthyRetryPolicy"] or {}
    if not isinstance(content, dict):
        raise InvalidParameter("DeliveryPolicy: the retry policy must be an object")
    given = {name: value for name, value in content.items() if name in DELIVERY_DEFAULTS}
    retries = given.get("numRetries", 0)
    if (
        isinstance(retries, bool)
        or not isinstance(retries, int)
        or not 0 <= retries <= _MAX_RETRIES
    ):
        raise InvalidParameter(
            f"DeliveryPolicy: healthyRetryPolicy.numRetries must be between 0 and {_MAX_RETRIES}"
        )
    return {**DELIVERY_DEFAULTS, **given}


def _object(text: str, wrong: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidParameter(wrong) from None
    return content


def same_attributes(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether two sets of attributes say the same."""
    return {name: value for name, value in first.items() if value} == {
        name: value for name, value in second.items() if value
    }
