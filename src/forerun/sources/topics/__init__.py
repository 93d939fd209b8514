"""Topics: what is published goes to all who are subscribed and want it, at least once each, over any crash.

A message that was accepted is in the outbox for every confirmed subscription whose filter policy lets it through. FIFO
topics take a message once within five minutes and hand messages on in the order in which they took them. URLs get
nothing before they have confirmed their subscription; what they and queues and functions get is signed as on AWS.
"""

from forerun.sources.topics.attributes import effective_delivery
from forerun.sources.topics.catalog import Catalog, KnownTopic
from forerun.sources.topics.confirmations import Confirmations
from forerun.sources.topics.fanout import Place, Published
from forerun.sources.topics.naming import (
    InvalidParameter,
    SubscriptionName,
    TooManyFilters,
    TooManySubscriptions,
    TooManyTags,
    TooManyTopics,
    TopicName,
    parse_subscription_arn,
    parse_topic_arn,
)
from forerun.sources.topics.notifications import CERTIFICATE_PATH
from forerun.sources.topics.publication import (
    MAX_BYTES,
    InvalidValue,
    Publication,
    make_attribute,
)
from forerun.sources.topics.publisher import Publisher
from forerun.sources.topics.signatory import Signatory
from forerun.sources.topics.subscriptions import Subscriber, Subscriptions
from forerun.sources.topics.topics import TaggedMissing, Topics, default_policy

__all__ = [
    "CERTIFICATE_PATH",
    "MAX_BYTES",
    "Catalog",
    "Confirmations",
    "InvalidParameter",
    "InvalidValue",
    "KnownTopic",
    "Place",
    "Publication",
    "Published",
    "Publisher",
    "Signatory",
    "Subscriber",
    "SubscriptionName",
    "Subscriptions",
    "TaggedMissing",
    "TooManyFilters",
    "TooManySubscriptions",
    "TooManyTags",
    "TooManyTopics",
    "TopicName",
    "Topics",
    "default_policy",
    "effective_delivery",
    "make_attribute",
    "parse_subscription_arn",
    "parse_topic_arn",
]
