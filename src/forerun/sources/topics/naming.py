"""Names of topics and subscriptions, what may be subscribed, and what else is refused by name. Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from forerun.errors import InvalidInput, NotFound, Unsupported
from forerun.model import Arn, parse_function_ref

MAX_ENDPOINT = 2048
FIFO = ".fifo"
HTTP = ("http", "https")
SERVED = ("http", "https", "lambda", "sqs")
_KNOWN = ("email", "email-json", "sms", "application", "firehose")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")
_SUBSCRIPTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class InvalidParameter(InvalidInput):
    """A parameter is not acceptable."""

    def __init__(self, what: str) -> None:
        """``what`` follows AWS's ``Invalid parameter: ``."""
        super().__init__(f"Invalid parameter: {what}")


class TooManyTopics(InvalidInput):
    """Topic limit exceeded"""


class TooManySubscriptions(InvalidInput):
    """The topic has as many subscriptions as it may have."""


class TooManyFilters(InvalidInput):
    """The topic has as many filter policies as it may have."""


class TooManyTags(InvalidInput):
    """Could not complete request: tag quota of per resource exceeded"""


class TopicName(NamedTuple):
    """Which topic: whose, and its name."""

    account: str
    name: str

    def arn(self, region: str) -> str:
        """``arn:aws:sns:REGION:ACCOUNT:NAME``."""
        return f"arn:aws:sns:{region}:{self.account}:{self.name}"


class SubscriptionName(NamedTuple):
    """Which subscription: the topic's account and name, and its own id."""

    account: str
    topic: str
    id: str


def require_topic_name(name: str, *, fifo: bool) -> None:
    """``InvalidInput`` unless a topic may be called so."""
    if fifo and not _FIFO_NAME.fullmatch(name):
        raise InvalidParameter(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, "
            "numbers, underscores, and hyphens, and must be between 1 and 256 characters long."
        )
    if not fifo and not _NAME.fullmatch(name):
        raise InvalidParameter("Topic Name")


def parse_topic_arn(text: str, region: str, member: str = "TopicArn") -> TopicName:
    """Read a topic's ARN. ``InvalidInput`` when it is none, ``NotFound`` for another region."""
    arn = _parse(text, member)
    if ":" in arn.resource:
        raise InvalidParameter(f"{member} Reason: An ARN must have at most 6 elements")
    _require_here(arn, region)
    return TopicName(arn.account, arn.resource)


def parse_subscription_arn(text: str, region: str) -> SubscriptionName:
    """Read a subscription's ARN. ``InvalidInput`` when it is none."""
    arn = _parse(text, "SubscriptionArn")
    topic, colon, found = arn.resource.partition(":")
    if not colon:
        elements = len(text.split(":"))
        raise InvalidParameter(
            f"SubscriptionArn Reason: An ARN must have at least 7 elements, not {elements}"
        )
    _require_here(arn, region, "Subscription does not exist")
    if not _SUBSCRIPTION.fullmatch(found):
        raise InvalidParameter("SubscriptionId")
    return SubscriptionName(arn.account, topic, found)


def _parse(text: str, member: str) -> Arn:
    try:
        arn = Arn.parse(text)
    except InvalidInput:
        elements = len(text.split(":"))
        raise InvalidParameter(
            f"{member} Reason: An ARN must have at least 6 elements, not {elements}"
        ) from None
    if arn.service != "sns" or not arn.account or not arn.resource:
        raise InvalidParameter(member)
    return arn


def _require_here(arn: Arn, region: str, missing: str = "Topic does not exist") -> None:
    if arn.region != region:
        raise NotFound(missing)


def require_endpoint(protocol: str, endpoint: str | None, *, fifo: bool) -> str:
    """The endpoint to be subscribed; ``InvalidInput`` unless it fits the protocol and the kind of topic."""
    if protocol in _KNOWN:
        raise Unsupported(
            f"The protocol {protocol} is not served here; there are: {', '.join(SERVED)}"
        )
    if protocol not in SERVED:
        raise InvalidParameter(f"Amazon SNS does not support this protocol string: {protocol}")
    if not endpoint:
        raise InvalidParameter("Endpoint")
    if len(endpoint) > MAX_ENDPOINT:
        raise InvalidParameter(f"Endpoint Reason: it has more than {MAX_ENDPOINT} characters")
    if fifo and protocol != "sqs":
        raise InvalidParameter(f"Invalid protocol type: {protocol}")
    _ENDPOINTS[protocol](protocol, endpoint)
    if protocol == "sqs" and endpoint.endswith(FIFO) and not fifo:
        raise InvalidParameter(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )
    return endpoint


def _require_url(protocol: str, endpoint: str) -> None:
    if not endpoint.startswith(f"{protocol}://"):
        raise InvalidParameter("Endpoint must match the specified protocol")
    try:
        url = urlsplit(endpoint)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or any(ord(letter) <= 32 or ord(letter) > 126 for letter in endpoint):
        raise InvalidParameter("Unsupported endpoint or host")


def _require_queue(_protocol: str, endpoint: str) -> None:
    if not is_queue(endpoint):
        raise InvalidParameter("SQS endpoint ARN")


def _require_function(_protocol: str, endpoint: str) -> None:
    try:
        parse_function_ref(endpoint)
    except InvalidInput:
        raise InvalidParameter("Lambda endpoint ARN") from None
    if not endpoint.startswith("arn:"):
        raise InvalidParameter("Lambda endpoint ARN")


def is_queue(text: str) -> bool:
    """Whether it is the ARN of a queue."""
    try:
        arn = Arn.parse(text)
    except InvalidInput:
        return False
    return arn.service == "sqs" and bool(arn.account) and bool(arn.resource)


_ENDPOINTS = {
    "http": _require_url,
    "https": _require_url,
    "lambda": _require_function,
    "sqs": _require_queue,
}


def require_tags(tags: Mapping[str, str], most: int = 50) -> None:
    """``InvalidInput`` for too many tags, or one that may not be."""
    if len(tags) > most:
        raise TooManyTags
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.startswith("aws:"):
            raise InvalidParameter(f"Tags Reason: '{key[:128]}'")
