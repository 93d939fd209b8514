"""Hands what is published to all who want it: a message for each subscription, through the outbox."""

import asyncio
import uuid
from collections.abc import Sequence
from weakref import WeakValueDictionary

from forerun.aio import Clock
from forerun.errors import ForerunError, InvalidInput
from forerun.model import Message, Origin
from forerun.sources import Outbox
from forerun.sources.topics.catalog import Catalog, KnownTopic
from forerun.sources.topics.fanout import FanOut, Place, Published
from forerun.sources.topics.naming import TopicName, parse_topic_arn
from forerun.sources.topics.notifications import read_attributes
from forerun.sources.topics.publication import (
    Publication,
    deduplication_of,
    make_attribute,
    require_ordering,
    require_publication,
    sequence_text,
)
from forerun.sources.topics.signatory import Signatory
from forerun.storage.topics import TopicStore

DEDUPLICATED_S = 300.0
# So many messages at once are handed to the outbox in one transaction.
AT_ONCE = 500
AT_ONCE_BYTES = 16 * 1024 * 1024
COUNTED = 100_000
_NAMESPACE = uuid.UUID("6f8c3b0e-2a44-4f5f-9c7a-0d2d6a3f8f11")


class Publisher:
    """Publishes, and is the sink of those who send to topics."""

    service = "sns"

    def __init__(
        self,
        store: TopicStore,
        catalog: Catalog,
        outbox: Outbox,
        signatory: Signatory,
        *,
        clock: Clock,
        place: Place,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._outbox = outbox
        self._signatory = signatory
        self._clock = clock
        self._place = place
        self._sent: dict[str, int] = {}
        self._in_order: WeakValueDictionary[TopicName, asyncio.Lock] = WeakValueDictionary()

    async def publish(
        self, name: TopicName, publication: Publication, origin: Origin, *, message_id: str = ""
    ) -> Published:
        """Return when the messages for all who are subscribed are on disk.

        ``message_id`` makes it a repetition of what was published under that id. Raises ``NotFound``, ``InvalidInput``.
        """
        known = await self._catalog.find(name)
        require_publication(publication)
        require_ordering(publication, fifo=known.topic.fifo)
        message_id = message_id or str(uuid.uuid4())
        if known.topic.fifo:
            return await self._publish_in_order(name, known, publication, origin, message_id)
        await self._send(known, publication, origin, Published(message_id))
        return Published(message_id)

    async def _publish_in_order(
        self,
        name: TopicName,
        known: KnownTopic,
        publication: Publication,
        origin: Origin,
        message_id: str,
    ) -> Published:
        """Once within five minutes; numbers are given in the order in which messages are handed on."""
        topic = known.topic
        by_content = topic.attributes.get("ContentBasedDeduplication") == "true"
        deduplication = deduplication_of(publication, by_content=by_content)
        lock = self._in_order.get(name)
        if lock is None:
            lock = self._in_order[name] = asyncio.Lock()
        async with lock:
            now = self._clock.now()
            scope = deduplication
            if topic.attributes.get("FifoThroughputScope") == "MessageGroup":
                scope = f"{publication.group}\n{deduplication}"
            taken = await self._store.take(
                topic, scope, message_id, now=now, until=now + DEDUPLICATED_S
            )
            published = Published(taken.message, sequence_text(taken.sequence))
            if not taken.sent:
                await self._send(known, publication, origin, published, deduplication)
                await self._store.handed_on(topic, scope)
        return published

    async def _send(
        self,
        known: KnownTopic,
        publication: Publication,
        origin: Origin,
        published: Published,
        deduplication: str = "",
    ) -> None:
        subscribers = known.subscribers
        if not subscribers:
            return
        await self._signatory.ready()
        forms = FanOut(
            known, publication, published, self._signatory, self._place.base_url, self._clock.now()
        )
        messages: list[Message] = []
        size = 0
        for each in subscribers:
            if each.wants is None or forms.wanted(each):
                messages.append(forms.message(each, origin, deduplication))
                size += len(messages[-1].payload)
            if len(messages) >= AT_ONCE or size >= AT_ONCE_BYTES:
                await self._hand_over(messages)
                messages, size = [], 0
        if messages:
            await self._hand_over(messages)

    async def _hand_over(self, messages: Sequence[Message]) -> None:
        await self._outbox.send(messages)
        if len(self._sent) > COUNTED:
            self._sent.clear()
        for each in messages:
            subscription = each.id.rpartition("/")[2]
            self._sent[subscription] = self._sent.get(subscription, 0) + 1

    def sent(self, subscription_id: str) -> int:
        """Messages for a subscription since the server began."""
        return self._sent.get(subscription_id, 0)

    # As a sink

    async def policy(self, arn: str) -> str | None:
        """The policy of a topic."""
        known = await self._catalog.find(parse_topic_arn(arn, self._place.region))
        return known.topic.policy or None

    async def take(self, messages: Sequence[Message]) -> Sequence[ForerunError | None]:
        """Publish what others send to topics; the same message twice has the same id twice."""
        return [await self._take(each) for each in messages]

    async def _take(self, message: Message) -> ForerunError | None:
        try:
            publication = _publication_of(message)
            name = parse_topic_arn(message.target, self._place.region)
            await self.publish(
                name,
                publication,
                message.origin,
                message_id=str(uuid.uuid5(_NAMESPACE, message.id)),
            )
        except ForerunError as error:
            return error
        return None


def _publication_of(message: Message) -> Publication:
    given = message.attributes
    try:
        text = message.payload.decode()
    except UnicodeDecodeError:
        raise InvalidInput("A topic takes text in UTF-8, and this message is none") from None
    fifo = message.target.endswith(".fifo")
    return Publication(
        message=text,
        subject=given.get("Subject", ""),
        attributes={
            each[0]: make_attribute(*each)
            for each in read_attributes(given.get("MessageAttributes", ""))
        },
        group=given.get("MessageGroupId", ""),
        deduplication=(given.get("MessageDeduplicationId") or _hashed(message.id)) if fifo else "",
    )


def _hashed(message_id: str) -> str:
    return uuid.uuid5(_NAMESPACE, message_id).hex
