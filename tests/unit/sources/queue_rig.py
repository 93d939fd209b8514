"""Queues on a real database with a clock that stands still."""

import random
from pathlib import Path
from typing import Any

from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.sources.queues import (
    Outgoing,
    Queue,
    QueuePollable,
    Queues,
    QueueShelf,
    QueueSink,
    Sent,
    Traffic,
    prepare,
)
from forerun.storage.db import Db
from forerun.storage.queue_messages import QueueMessages, StoredMessage
from forerun.storage.queues import QueueStore
from forerun.storage.sqlite import MESSAGES

ACCOUNT = "123456789012"
REGION = "us-home-1"


class QueueRig:
    """What ``app.queues`` puts together, without a server. ``begin`` again is a restart."""

    def __init__(self, db: Db, clock: Any) -> None:
        self.db = db
        self.clock = clock
        self.random = random.Random(7)

    @classmethod
    async def open(cls, directory: Path, clock: Any = None) -> "QueueRig":
        db = await open_database(directory / "messages.db", migrations=MESSAGES)
        rig = cls(db, clock or FakeClock())
        await rig.begin()
        return rig

    async def begin(self) -> None:
        self.messages = QueueMessages(self.db)
        self.queues = Queues(QueueStore(self.db), self.messages, self.clock, REGION)
        await self.queues.start()
        self.traffic = Traffic(self.queues, self.messages, self.clock)
        self.sink = QueueSink(self.queues, self.traffic, self.clock, self.random.getrandbits)
        self.pollable = QueuePollable(self.queues, self.traffic)
        self.shelf = QueueShelf(self.queues, self.messages, self.traffic)

    async def close(self) -> None:
        await self.traffic.close()
        await self.db.close()

    async def make(self, name: str, **attributes: str) -> Queue:
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        return await self.queues.create(ACCOUNT, name, attributes, {})

    def arn(self, name: str) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    async def send(self, queue: Queue, body: str, **given: Any) -> Sent:
        message, sent = prepare(
            queue,
            Outgoing(body=body, sender="somebody", **given),
            number=self.queues.number(),
            drawn=self.random.getrandbits(128),
            now=self.clock.now(),
        )
        earlier = await self.traffic.send([(queue, message)])
        return sent if message.seq not in earlier else Sent(
            id=earlier[message.seq][1],
            body_md5=sent.body_md5,
            attributes_md5="",
            trace_md5="",
            sequence="",
        )  # fmt: skip

    async def receive(
        self, queue: Queue, most: int = 10, *, wait_s: float = 0.0, hide_s: float = 30.0
    ) -> list[StoredMessage]:
        return await self.traffic.receive(queue, most=most, wait_s=wait_s, hide_s=hide_s)
