"""Topics with their subscribers as publishing needs them, remembered: a message costs no reading."""

from collections import OrderedDict

import msgspec

from forerun.errors import NotFound
from forerun.model import RetryPolicy
from forerun.patterns.filter_policies import FilterPolicy
from forerun.sources.topics.attributes import (
    AWS_RETRIES,
    dead_letter_queue,
    filter_of,
    retry_policy,
)
from forerun.sources.topics.naming import HTTP, TopicName
from forerun.storage.topics import Subscription, Topic, TopicStore

REMEMBERED = 1024


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """A confirmed subscription, compiled."""

    subscription: Subscription
    arn: str
    wants: FilterPolicy | None
    raw: bool
    retry: RetryPolicy
    dead_letter: str


class KnownTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic, who is subscribed, and how many are to confirm it."""

    topic: Topic
    subscribers: tuple[Subscriber, ...]
    pending: int


class Catalog:
    """Finds topics; whoever changes one says so with ``forget``."""

    def __init__(self, store: TopicStore) -> None:
        self._store = store
        self._known: OrderedDict[TopicName, KnownTopic] = OrderedDict()
        self._changes = 0

    async def find(self, name: TopicName) -> KnownTopic:
        """The topic; ``NotFound`` when there is none."""
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            return known
        changes = self._changes
        topic = await self._store.find(*name)
        if topic is None:
            raise missing_topic()
        known = _known(topic, await self._store.subscriptions(*name))
        if changes == self._changes:
            # What was changed while it was read is not kept.
            self._known[name] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    def forget(self, name: TopicName) -> None:
        """It was changed: the next one to ask reads it again."""
        self._changes += 1
        self._known.pop(name, None)


def missing_topic() -> NotFound:
    """The error for a topic that is not there."""
    return NotFound("Topic does not exist")


def subscription_arn(topic: Topic, subscription: Subscription) -> str:
    """A subscription's ARN: the topic's and its own id."""
    return f"{topic.arn}:{subscription.id}"


def _known(topic: Topic, subscriptions: list[Subscription]) -> KnownTopic:
    return KnownTopic(
        topic=topic,
        subscribers=tuple(_compiled(topic, each) for each in subscriptions if not each.pending),
        pending=sum(each.pending for each in subscriptions),
    )


def _compiled(topic: Topic, subscription: Subscription) -> Subscriber:
    attributes = subscription.attributes
    retry = AWS_RETRIES
    if subscription.protocol in HTTP:
        retry = retry_policy(
            attributes.get("DeliveryPolicy", "") or topic.attributes.get("DeliveryPolicy", "")
        )
    return Subscriber(
        subscription=subscription,
        arn=subscription_arn(topic, subscription),
        wants=filter_of(attributes),
        raw=attributes.get("RawMessageDelivery", "").lower() == "true",
        retry=retry,
        dead_letter=dead_letter_queue(attributes.get("RedrivePolicy", "")),
    )
