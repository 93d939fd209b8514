"""Several servers claim from one queue, and from one outbox, at the same time: no event has two owners, and none is lost."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.databases import open_database

from forerun.model import Message
from forerun.storage.outbox import OutboxStore, Settlement, Waiting
from forerun.storage.queue import EventQueue, QueuedEvent
from forerun.storage.sqlite import MESSAGES

pytestmark = pytest.mark.postgresql

OWNERS = 3
LEASE_S = 10.0
FEW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# What each owner does in a round: how many it claims, and what becomes of every third of them.
ROUNDS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 8), min_size=OWNERS, max_size=OWNERS),
        st.sampled_from(["finish", "retry", "die"]),
    ),
    min_size=2,
    max_size=6,
)


class Servers:
    """Owners with databases of their own, as processes have, and what each holds until when."""

    def __init__(self, queues: list[EventQueue]) -> None:
        self.queues = queues
        self.now = 1000.0
        self.held: dict[str, tuple[int, float]] = {}
        self.finished: list[str] = []

    async def claim(self, owner: int, limit: int) -> None:
        claimed = await self.queues[owner].claim(limit, now=self.now, lease_s=LEASE_S)
        assert len(claimed) <= limit
        for each in claimed:
            holder = self.held.get(each.id)
            assert holder is None or holder[1] <= self.now, "an event with two owners"
            assert each.id not in self.finished
            self.held[each.id] = (owner, self.now + LEASE_S)

    async def end(self, owner: int, what: str) -> None:
        mine = sorted(name for name, (holder, _) in self.held.items() if holder == owner)
        done = [name for number, name in enumerate(mine) if what == "finish" or number % 3]
        gone = await self.queues[owner].finish(done)
        assert sorted(gone) == sorted(done)
        self.finished += gone
        for name in gone:
            del self.held[name]
        if what == "retry":
            for name in mine:
                if name in self.held:
                    del self.held[name]
                    assert await self.queues[owner].retry(name, at=self.now, attempt=2)


@FEW
@given(rounds=ROUNDS, events=st.integers(1, 30))
async def test_an_event_has_one_owner_and_is_finished_once(tmp_path: Path, rounds, events):
    dbs = [await open_database(tmp_path / "forerun.db") for _ in range(OWNERS)]
    servers = Servers([EventQueue(db) for db in dbs])
    names = [f"{id(dbs)}-{number}" for number in range(events)]
    await asyncio.gather(
        *(
            servers.queues[number % OWNERS].put(
                QueuedEvent(id=name, account="1" * 12, name="f", payload=b"{}", accepted_at=1.0)
            )
            for number, name in enumerate(names)
        )
    )
    for limits, what in rounds:
        await asyncio.gather(*(servers.claim(owner, limits[owner]) for owner in range(OWNERS)))
        await asyncio.gather(*(servers.end(owner, what) for owner in range(OWNERS)))
        servers.now += LEASE_S if what == "die" else 1.0
    # Whoever claimed and died loses what it held when its lease ends, and not before.
    servers.now += LEASE_S
    for _ in range(events):
        await asyncio.gather(*(servers.claim(owner, 7) for owner in range(OWNERS)))
        await asyncio.gather(*(servers.end(owner, "finish") for owner in range(OWNERS)))
    assert sorted(servers.finished) == sorted(names)
    assert await servers.queues[0].due_at() is None
    for db in dbs:
        await db.close()


async def test_who_claims_does_not_wait_for_who_claims(tmp_path: Path):
    dbs = [await open_database(tmp_path / "forerun.db") for _ in range(2)]
    queues = [EventQueue(db) for db in dbs]
    await queues[0].put(
        *(
            QueuedEvent(id=str(number), account="1" * 12, name="f", payload=b"", accepted_at=1.0)
            for number in range(400)
        )
    )
    claimed: list[str] = []
    # Once more when all of them have their connections.
    for most in (1, 10, 10):
        found = await asyncio.gather(
            *(queues[turn % 2].claim(most, now=2.0, lease_s=5.0) for turn in range(16))
        )
        claimed += [each.id for events in found for each in events]
    assert len(claimed) == len(set(claimed))
    while rest := await queues[0].claim(20, now=2.0, lease_s=5.0):
        claimed += [each.id for each in rest]
    assert len(claimed) == len(set(claimed)) == 400
    taken_over = [each.id for each in await queues[1].claim(400, now=8.0, lease_s=5.0)]
    assert len(taken_over) == 400
    assert await queues[0].finish(taken_over) == []
    for db in dbs:
        await db.close()


async def test_a_message_has_one_owner(tmp_path: Path):
    dbs = [await open_database(tmp_path / "messages.db", migrations=MESSAGES) for _ in range(2)]
    stores = [OutboxStore(db, max_messages=1000, max_bytes=1 << 30) for db in dbs]
    message = Message(
        id="m", account="1" * 12, source="s", principal="p", target="t", payload=b"{}"
    )
    await stores[0].put(
        [
            Waiting(id=str(number), lane="l", message=message, accepted_at=1.0)
            for number in range(200)
        ]
    )
    found = await asyncio.gather(
        *(stores[turn % 2].claim("l", 15, now=2.0) for turn in range(40)),
    )
    claimed = [each.id for waiting in found for each in waiting]
    assert len(claimed) == len(set(claimed))
    for turn, waiting in enumerate(found):
        await stores[1 - turn % 2].settle(Settlement(done=waiting))
    [[left]] = await dbs[0].fetch("SELECT count(*) FROM outbox")
    assert left == 200
    for turn, waiting in enumerate(found):
        await stores[turn % 2].settle(Settlement(done=waiting))
    [[left]] = await dbs[0].fetch("SELECT count(*) FROM outbox")
    assert left == 200 - len(claimed)
    for db in dbs:
        await db.close()
