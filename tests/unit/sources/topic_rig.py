"""Topics on a real database, with an outbox that is looked into and a clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox

from forerun.model import Message, Origin
from forerun.sources.topics import (
    Catalog,
    Confirmations,
    Place,
    Publication,
    Publisher,
    Signatory,
    Subscriber,
    SubscriptionName,
    Subscriptions,
    TopicName,
    Topics,
)
from forerun.storage import Sealer
from forerun.storage.sqlite import MESSAGES
from forerun.storage.topics import TopicStore

ACCOUNT, OTHER = "123456789012", "999999999999"
REGION = "us-home-1"
BASE = "http://127.0.0.1:1"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
URL = "http://example.com/hook"
WHO = Subscriber(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")


class Rig:
    """Everything about topics over one database; ``restart`` forgets what is in memory alone."""

    def __init__(self, store: TopicStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.outbox = FakeOutbox()
        self.restart()

    def restart(self) -> None:
        place = Place(REGION, BASE)
        self.signatory = Signatory(self.store, BASE, self.clock)
        catalog = Catalog(self.store)
        confirmations = Confirmations(
            self.outbox, self.signatory, clock=self.clock, place=place, key=b"k"
        )
        self.topics = Topics(self.store, catalog, clock=self.clock, region=REGION)
        self.subscriptions = Subscriptions(self.store, catalog, confirmations, self.clock)
        self.publisher = Publisher(
            self.store, catalog, self.outbox, self.signatory, clock=self.clock, place=place
        )

    async def topic(self, name: str = "t", **attributes: str) -> TopicName:
        if name.endswith(".fifo"):
            attributes["FifoTopic"] = "true"
        await self.topics.create(ACCOUNT, name, attributes, {})
        return TopicName(ACCOUNT, name)

    async def subscribe(
        self, topic: TopicName, protocol: str, endpoint: str, **attributes: str
    ) -> SubscriptionName:
        made = await self.subscriptions.subscribe(topic, WHO, protocol, endpoint, attributes)
        return SubscriptionName(*topic, made.id)

    async def publish(self, topic: TopicName, message: str = "m", **given: Any) -> str:
        publication = Publication(message=message, **given)
        return (await self.publisher.publish(topic, publication, Origin())).id

    def sent(self) -> list[Message]:
        found, self.outbox.sent = self.outbox.sent, []
        return found


@asynccontextmanager
async def topics(folder: Path) -> AsyncIterator[Rig]:
    db = await open_database(folder / "messages.db", migrations=MESSAGES)
    try:
        yield Rig(TopicStore(db, Sealer(b"k" * 32)))
    finally:
        await db.close()
