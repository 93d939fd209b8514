"""Leases on a real PostgreSQL, asked for and written under by several processes' connections at once."""

import asyncio

import asyncpg
import pytest
from tests.unit.storage.moments import NOW, set_time, with_moments

from forerun.errors import Conflict, DutyLost, StorageFailed
from forerun.storage import Statement
from forerun.storage.dialect import for_postgresql
from forerun.storage.leases import FencedDb, LeaseStore
from forerun.storage.postgresql import open_postgresql

HOLDERS = 4


@pytest.fixture
async def dbs(postgres_url):
    """A database, and the same seen by each holder, and by the messages of one."""
    opened = [await open_postgresql(postgres_url, sessions=2) for _ in range(HOLDERS)]
    opened.append(await open_postgresql(postgres_url, schema="messages", sessions=2))
    await with_moments(opened[0])
    await opened[0].write(Statement("CREATE TABLE work (n BIGSERIAL PRIMARY KEY, fence BIGINT)"))
    yield opened
    for db in opened:
        await db.close()


async def test_of_many_who_ask_at_once_one_gets_it(dbs):
    for turn in range(5):
        await set_time(dbs[0], 100.0 * turn)
        taken = await asyncio.gather(
            *(
                LeaseStore(db, now=NOW).take("duties", f"owner-{n}", 10)
                for n, db in enumerate(dbs[:HOLDERS] * 4)
            )
        )
        [lease] = [lease for lease in taken if lease]
        assert lease.fence == turn + 1


async def test_the_databases_own_time_ends_a_lease(dbs):
    store = LeaseStore(dbs[0])
    lease = await store.take("duties", "one", 0.2)
    assert 0 < (await store.holder("duties")).remaining_s <= 0.2
    async with asyncio.timeout(10):
        while not (second := await store.take("duties", "two", 60)):
            await asyncio.sleep(0.02)
    assert second.fence == lease.fence + 1
    assert 50 < (await store.holder("duties")).remaining_s <= 60


async def test_fences_of_what_is_written_never_go_back(dbs):
    """Holders that take over from each other all the time and write on with whatever fence they have."""
    over = asyncio.Event()
    lost = 0

    async def hold(n, db):
        nonlocal lost
        store = LeaseStore(db, now=NOW)
        while not over.is_set():
            lease = await store.take("duties", f"owner-{n}", 1)
            if lease is None:
                await asyncio.sleep(0)
                continue
            fenced = FencedDb(db, lease)
            try:
                while True:
                    await fenced.write(
                        Statement("INSERT INTO work (fence) VALUES ($1)", (lease.fence,))
                    )
            except DutyLost:
                lost += 1

    async def pass_time():
        for moment in range(1, 25):
            await asyncio.sleep(0.02)
            await set_time(dbs[0], moment * 10.0)
        over.set()
        # The last holder learns that it is over like all others.
        await LeaseStore(dbs[0], now="1e9").take("duties", "end", 1)

    async with asyncio.timeout(50):
        await asyncio.gather(pass_time(), *(hold(n, db) for n, db in enumerate(dbs[:HOLDERS])))
    fences = [row[0] for row in await dbs[0].fetch("SELECT fence FROM work ORDER BY n")]
    assert fences == sorted(fences)
    assert lost >= 5
    assert len(set(fences)) >= 5


async def test_a_fence_holds_for_other_databases_of_the_cluster(dbs):
    store, messages = LeaseStore(dbs[0], now=NOW), dbs[-1]
    first = await store.take("duties", "one", 1)
    mark = Statement("INSERT INTO queue_trash (queue) VALUES ($1)", (1,))
    await FencedDb(messages, first).write(mark)
    with pytest.raises(Conflict):
        await FencedDb(messages, first).write(
            Statement("DELETE FROM queue_trash WHERE queue = 2", (), expect=1)
        )
    await set_time(dbs[0], 10)
    await store.take("duties", "two", 1)
    with pytest.raises(DutyLost):
        await FencedDb(messages, first).write(Statement("DELETE FROM queue_trash"))
    assert await messages.fetch("SELECT queue FROM queue_trash") == [(1,)]


async def test_who_was_paused_in_the_middle_of_a_write_holds_nobody_up(dbs, postgres_url):
    store = LeaseStore(dbs[0], now=NOW)
    lease = await store.take("duties", "one", 1)
    paused = await asyncpg.connect(postgres_url, server_settings={"search_path": "forerun"})
    begun = for_postgresql(FencedDb(dbs[0], lease)._proof.sql)
    await paused.execute("BEGIN")
    await paused.fetch(begun, "duties", lease.fence)
    await paused.execute("INSERT INTO work (fence) VALUES (1)")
    await set_time(dbs[0], 10)
    async with asyncio.timeout(15):
        assert (await store.take("duties", "two", 1)).fence == 2
    with pytest.raises(
        (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    ):
        await paused.execute("COMMIT")
    paused.terminate()
    assert await dbs[0].fetch("SELECT count(*) FROM work") == [(0,)]


async def test_without_the_database_nothing_is_held(postgres_url):
    db = await open_postgresql(postgres_url)
    await db.close()
    with pytest.raises(StorageFailed):
        await LeaseStore(db).take("duties", "one", 1)
