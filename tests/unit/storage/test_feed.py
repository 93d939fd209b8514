"""The feed of changes on a real PostgreSQL: order, what was missed, and when memory may be relied on."""

import asyncio
import contextlib

import pytest

from forerun.aio import SystemClock
from forerun.errors import StorageFailed
from forerun.storage import Statement
from forerun.storage.feed import EVERYTHING, Feed
from forerun.storage.postgresql import open_postgresql


async def until(probe, seconds=20.0):
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.01)


class Still(SystemClock):
    """A clock that a test sets forward."""

    ahead = 0.0

    def monotonic(self):
        return SystemClock.monotonic() + self.ahead


@pytest.fixture
async def db(postgres_url):
    db = await open_postgresql(postgres_url, schema="forerun")
    yield db
    await db.close()


@contextlib.asynccontextmanager
async def reading(url, db, name, *, clock=None, lease_s=5.0):
    """A feed that runs, and what it told."""
    feed = Feed(url, db, clock or SystemClock(), name=name, lease_s=lease_s)
    told = []
    feed.listen(told.append)
    await feed.start()
    try:
        yield feed, told
    finally:
        await feed.close()


async def cut_off(db, feed):
    """End its connection, as the database would."""
    if feed.connected:
        pid = feed._connection.get_server_pid()
        await db.fetch("SELECT pg_terminate_backend($1)", pid)


async def test_changes_are_told_in_one_order_to_everybody(postgres_url, db):
    async with (
        reading(postgres_url, db, "one") as (one, first),
        reading(postgres_url, db, "two") as (_, second),
    ):
        await asyncio.gather(*(db.write(one.tell("function", f"f{n}")) for n in range(40)))
        await one.settle()
        assert [change.number for change in first] == list(range(1, 41))
        assert {change.key for change in first} == {f"f{n}" for n in range(40)}
        assert second == first


async def test_what_is_undone_is_not_told(postgres_url, db):
    async with reading(postgres_url, db, "one") as (feed, told):
        with pytest.raises(StorageFailed):
            await db.write(feed.tell("function", "f"), Statement("SELECT no_such_function()"))
        await db.write(feed.tell("function", "g"))
        await feed.settle()
        assert told == [(1, "function", "g")]


async def test_a_change_is_answered_after_everybody_acted_on_it(postgres_url, db):
    async with (
        reading(postgres_url, db, "one") as (one, _),
        reading(postgres_url, db, "two") as (_, told),
    ):
        for n in range(20):
            await db.write(one.tell("function", f"f{n}"))
            await one.settle()
            assert len(told) == n + 1


async def test_after_it_was_cut_off_it_tells_what_was_missed(postgres_url, db):
    async with (
        reading(postgres_url, db, "one") as (one, _),
        reading(postgres_url, db, "two") as (two, told),
    ):
        await db.write(one.tell("function", "f"))
        await one.settle()
        await cut_off(db, two)
        await db.write(one.tell("function", "g"), one.tell("alias", "h"))
        await one.settle()
        assert [(change.topic, change.key) for change in told] == [
            ("function", "f"),
            ("function", "g"),
            ("alias", "h"),
        ]
        await until(lambda: two.connected and not two.behind)


async def test_what_is_not_kept_any_more_is_told_as_everything(postgres_url, db):
    feed = Feed(postgres_url, db, SystemClock(), name="one")
    told = []
    feed.listen(told.append)
    await feed._connect()
    feed._drop()
    for n in range(5):
        await db.write(feed.tell("function", f"f{n}"))
    await db.write(Statement("DELETE FROM changes WHERE number < 3"))
    await feed._connect()
    assert told == [(5, EVERYTHING, "")]
    assert not feed.behind
    await feed.close()


async def test_a_database_that_went_back_has_changed_in_everything(postgres_url, db):
    async with reading(postgres_url, db, "one") as (feed, told):
        await db.write(feed.tell("function", "f"), feed.tell("function", "g"))
        await feed.settle()
        await db.write(Statement("UPDATE feed SET number = 1"), Statement("DELETE FROM changes"))
        await until(lambda: told[-1] == (1, EVERYTHING, ""))


async def test_it_is_behind_when_the_lease_is_over(postgres_url, db):
    clock = Still()
    feed = Feed(postgres_url, db, clock, name="one", lease_s=60)
    assert feed.behind
    await feed.start()
    assert not feed.behind
    feed._owner._tasks.copy().pop().cancel()
    clock.ahead += 59
    assert not feed.behind
    clock.ahead += 1
    assert feed.behind
    await feed.close()


async def test_nobody_waits_for_a_reader_that_ended_nor_longer_than_its_lease(postgres_url, db):
    async with reading(postgres_url, db, "one") as (one, _):
        async with reading(postgres_url, db, "two"):
            pass
        await db.write(one.tell("function", "f"))
        await one.settle()
        # One that was killed: it said that it was there 6.9 s ago, and so is waited for a moment.
        await db.write(
            Statement(
                "INSERT INTO feed_readers VALUES ('killed', 0, extract(epoch FROM clock_timestamp()) - 6.5)"
            )
        )
        waiting = asyncio.ensure_future(one.settle())
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        async with asyncio.timeout(20):
            await waiting


async def test_who_does_not_act_relies_on_nothing_any_more_when_a_change_is_answered(
    postgres_url, db
):
    async with (
        reading(postgres_url, db, "one", lease_s=1) as (one, _),
        reading(postgres_url, db, "frozen", lease_s=1) as (frozen, told),
    ):
        [task] = frozen._owner._tasks
        task.cancel()
        await db.write(one.tell("function", "f"))
        await one.settle()
        assert told == []
        assert frozen.behind


async def test_after_each_answer_nobody_knows_less_however_often_all_are_cut_off(postgres_url, db):
    """Readers that remember a number; whoever asks one that is not behind gets the latest that was answered."""
    async with contextlib.AsyncExitStack() as open_:
        readers = [
            await open_.enter_async_context(reading(postgres_url, db, f"reader-{n}"))
            for n in range(3)
        ]
        author, _ = readers[0]
        for n in range(15):
            if n % 2:
                await cut_off(db, readers[n % 3][0])
            await db.write(author.tell("number", str(n)))
            await author.settle()
            for feed, told in readers:
                assert feed.behind or told[-1].key == str(n)
        for _, told in readers:
            numbers = [change.number for change in told]
            assert numbers == sorted(numbers)
            assert set(numbers) == set(range(1, 16))


async def test_a_listener_that_fails_is_told_again(postgres_url, db, caplog):
    async with reading(postgres_url, db, "one") as (feed, told):
        failures = [RuntimeError("once")]

        def fail(_):
            if failures:
                raise failures.pop()

        feed.listen(fail)
        await db.write(feed.tell("function", "f"))
        await feed.settle()
        assert told == [(1, "function", "f")] * 2
    assert "a change was not acted on" in caplog.text


async def test_a_database_that_cannot_be_reached_is_said():
    feed = Feed("postgresql://forerun@/x?host=/nowhere", None, SystemClock(), name="one")
    with pytest.raises(StorageFailed, match="listened"):
        await feed.start()


class _Deaf(Feed):
    """One that hears of what changed, and does not act on it while it is told to wait."""

    waits = False

    async def _read(self):
        return False if self.waits else await super()._read()


async def test_what_was_read_is_told_when_nobody_relies_on_what_was_before(postgres_url, db):
    slow = _Deaf(postgres_url, db, SystemClock(), name="slow")
    async with reading(postgres_url, db, "one") as (one, _):
        await slow.start()
        try:
            await db.write(one.tell("function", "a:f"))
            await one.agreed("function", "a:f")
            slow.waits = True
            await db.write(one.tell("function", "a:g"))
            for other in (("function", "a:f"), ("hosts", "a:g"), ("function", "a")):
                await asyncio.wait_for(one.agreed(*other), 5)
            waiting = asyncio.ensure_future(one.agreed("function", "a:g"))
            await asyncio.wait({waiting}, timeout=0.5)
            assert not waiting.done()
            slow.waits = False
            await asyncio.wait_for(waiting, 10)
            assert slow.number == one.number == 2
        finally:
            await slow.close()
