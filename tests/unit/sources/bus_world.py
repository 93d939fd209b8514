"""Buses over a database of their own, with a clock that stands and an outbox that keeps: what tests of them share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox

from forerun.model import Message
from forerun.sources.buses import (
    Answer,
    Books,
    Buses,
    BusName,
    BusSink,
    Entry,
    Firer,
    Rules,
    RuleWish,
    Sender,
)
from forerun.storage.buses import BusStore
from forerun.storage.sqlite import MESSAGES

OWN, OTHER, REGION = "1" * 12, "2" * 12, "us-home-1"
FUNCTION = f"arn:aws:lambda:{REGION}:{OWN}:function:f"
QUEUE = f"arn:aws:sqs:{REGION}:{OWN}:q"
# 2023-11-14T22:13:20Z
START = 1_700_000_000.0


def bus_arn(name: str, account: str = OWN) -> str:
    return f"arn:aws:events:{REGION}:{account}:event-bus/{name}"


@dataclass
class World:
    """All of it; ``rule`` and ``put`` are the short way to a rule with a target and to an event."""

    store: BusStore
    outbox: FakeOutbox
    clock: FakeClock
    firer: Firer
    rules: Rules
    buses: Buses
    sender: Sender
    sink: BusSink

    async def rule(
        self, name: str, pattern: object, arn: str = FUNCTION, *, bus: str = "default", **more: Any
    ) -> None:
        wish = RuleWish(pattern=msgspec.json.encode(pattern).decode())
        await self.rules.put(OWN, bus, name, wish)
        refused = await self.rules.put_targets(OWN, bus, name, [{"Id": "t", "Arn": arn, **more}])
        assert refused == []

    async def put(self, detail: object, *, bus: str = "default", **more: Any) -> Answer:
        values: dict[str, Any] = {"source": "shop", "detail_type": "Order", "account": OWN}
        text = msgspec.json.encode(detail).decode()
        [answer] = await self.sender.put(
            [Entry(bus=BusName(OWN, bus), detail=text, **(values | more))]
        )
        return answer

    def sent(self) -> list[Message]:
        """What was sent since this was asked last."""
        sent, self.outbox.sent = self.outbox.sent, []
        return sent


@asynccontextmanager
async def world(path: Path, clock: FakeClock | None = None) -> AsyncIterator[World]:
    """The same path gives what an earlier world left."""
    db = await open_database(path, migrations=MESSAGES)
    clock = clock or FakeClock(START)
    store, outbox = BusStore(db), FakeOutbox()
    books = Books(store, region=REGION)
    firer = Firer(store, outbox, clock, region=REGION)
    sender = Sender(books, outbox, clock, region=REGION)
    try:
        yield World(
            store=store,
            outbox=outbox,
            clock=clock,
            firer=firer,
            rules=Rules(store, books, firer, clock, region=REGION),
            buses=Buses(store, books, clock, region=REGION),
            sender=sender,
            sink=BusSink(sender, books, clock, region=REGION),
        )
    finally:
        await firer.close()
        await db.close()
