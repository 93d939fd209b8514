"""Topics as their owners manage them."""

from collections.abc import Mapping, Sequence

import msgspec

from forerun.aio import Clock
from forerun.errors import AlreadyExists, NotFound
from forerun.sources.topics.attributes import require_topic_attribute, same_attributes
from forerun.sources.topics.catalog import Catalog, KnownTopic, missing_topic
from forerun.sources.topics.naming import (
    FIFO,
    InvalidParameter,
    TooManyTopics,
    TopicName,
    require_tags,
    require_topic_name,
)
from forerun.storage.topics import Topic, TopicStore

MAX_TOPICS = 100_000


class Topics:
    """Creates, changes and deletes topics. Those of one account are named within it."""

    def __init__(self, store: TopicStore, catalog: Catalog, *, clock: Clock, region: str) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._region = region

    async def create(
        self, account: str, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
    ) -> Topic:
        """A topic of that name: a new one, or the one that there is, if it has these attributes and tags."""
        wanted_fifo = attributes.get("FifoTopic", "false")
        if wanted_fifo not in ("true", "false"):
            raise InvalidParameter(f"Attributes Reason: FifoTopic: '{wanted_fifo[:100]}'")
        fifo = wanted_fifo == "true"
        if name.endswith(FIFO) and not fifo:
            raise InvalidParameter("Topic Name")
        require_topic_name(name, fifo=fifo)
        given = {
            key: value for key, value in attributes.items() if key not in ("FifoTopic", "Policy")
        }
        for key, value in given.items():
            require_topic_attribute(key, value, fifo=fifo)
        require_tags(tags)
        topic = Topic(
            account=account,
            name=name,
            arn=TopicName(account, name).arn(self._region),
            attributes=given,
            policy=attributes.get("Policy", ""),
            tags=dict(tags),
            created=self._clock.now(),
        )
        found = await self._store.find(account, name)
        if found is None:
            if await self._store.count(account) >= MAX_TOPICS:
                raise TooManyTopics
            try:
                await self._store.add(topic)
            except AlreadyExists:
                found = await self._store.find(account, name)
        self._catalog.forget(TopicName(account, name))
        if found is None:
            return topic
        _require_same(found, topic)
        return found

    async def delete(self, name: TopicName) -> None:
        """Delete it with its subscriptions; nothing when there is none."""
        await self._store.remove(*name)
        self._catalog.forget(name)

    async def get(self, name: TopicName) -> KnownTopic:
        """A topic and who is subscribed; ``NotFound``."""
        return await self._catalog.find(name)

    async def page(self, account: str, after: str, limit: int) -> list[Topic]:
        """An account's topics by name."""
        return await self._store.page(account, after, limit)

    async def set(self, name: TopicName, attribute: str, value: str) -> None:
        """Change an attribute; an empty value of one that can be empty takes it away."""
        topic = (await self._catalog.find(name)).topic
        if value or attribute == "DisplayName":
            require_topic_attribute(attribute, value, fifo=topic.fifo)
        elif attribute != "DeliveryPolicy":
            raise InvalidParameter(f"{attribute} Reason: it is empty")
        attributes = {**topic.attributes, attribute: value}
        await self._replace(msgspec.structs.replace(topic, attributes=attributes))

    async def set_policy(self, name: TopicName, policy: str) -> None:
        """Change who may do what with it; the policy was found to be one, ``""`` is AWS's default one."""
        topic = (await self._catalog.find(name)).topic
        await self._replace(msgspec.structs.replace(topic, policy=policy))

    async def tag(
        self, name: TopicName, add: Mapping[str, str], remove: Sequence[str] = ()
    ) -> None:
        """Add tags and take some away; ``NotFound``."""
        try:
            topic = (await self._catalog.find(name)).topic
        except NotFound:
            raise TaggedMissing from None
        tags = {key: value for key, value in {**topic.tags, **add}.items() if key not in remove}
        require_tags(tags)
        await self._replace(msgspec.structs.replace(topic, tags=tags))

    async def tags(self, name: TopicName) -> dict[str, str]:
        """A topic's tags; ``NotFound``."""
        try:
            return (await self._catalog.find(name)).topic.tags
        except NotFound:
            raise TaggedMissing from None

    async def _replace(self, topic: Topic) -> None:
        name = TopicName(topic.account, topic.name)
        if await self._store.find(*name) is None:
            raise missing_topic()
        await self._store.replace(topic)
        self._catalog.forget(name)


class TaggedMissing(NotFound):
    """Resource does not exist"""


def _require_same(found: Topic, wanted: Topic) -> None:
    if wanted.tags and wanted.tags != found.tags:
        raise InvalidParameter("Tags Reason: Topic already exists with different tags")
    given = wanted.attributes | ({"Policy": wanted.policy} if wanted.policy else {})
    have = found.attributes | {"Policy": found.policy}
    if not same_attributes(given, {key: value for key, value in have.items() if key in given}):
        raise InvalidParameter("Attributes Reason: Topic already exists with different attributes")


def default_policy(topic: Topic) -> str:
    """AWS's policy of a topic that was given none: its account may do everything."""
    actions = (
        "GetTopicAttributes",
        "SetTopicAttributes",
        "AddPermission",
        "RemovePermission",
        "DeleteTopic",
        "Subscribe",
        "ListSubscriptionsByTopic",
        "Publish",
    )
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{each}" for each in actions],
        "Resource": topic.arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": topic.account}},
    }
    return msgspec.json.encode(
        {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
    ).decode()
