"""Leases and fences: one holder at a time, and no write of an old one after a new one holds."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.storage.moments import NOW, set_time, with_moments

from forerun.errors import Conflict, DutyLost
from forerun.storage import Statement, open_sqlite
from forerun.storage.leases import FencedDb, Lease, LeaseStore

TTL = 10.0
OWNERS = ("one", "two", "three")


@pytest.fixture
async def db(tmp_path):
    db = await with_moments(await open_sqlite(tmp_path / "forerun.db"))
    await db.write(Statement("CREATE TABLE work (n INTEGER PRIMARY KEY, fence INTEGER)"))
    yield db
    await db.close()


@pytest.fixture
def leases(db):
    return LeaseStore(db, now=NOW)


def fenced(db, lease):
    return FencedDb(db, lease, leases="leases")


def work(n, fence):
    return Statement("INSERT INTO work VALUES ($1, $2)", (n, fence))


async def test_a_lease_that_is_held_is_not_taken(db, leases):
    lease = await leases.take("duties", "one", TTL)
    assert lease == Lease("duties", "one", 1, TTL)
    assert await leases.take("duties", "two", TTL) is None
    assert await leases.take("other", "two", TTL) == Lease("other", "two", 1, TTL)
    await set_time(db, 9.9)
    assert await leases.take("duties", "two", TTL) is None
    holder = await leases.holder("duties")
    assert (holder.owner, holder.fence) == ("one", 1)
    assert holder.remaining_s == pytest.approx(0.1)


async def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_fence(db, leases):
    first = await leases.take("duties", "one", TTL)
    await set_time(db, TTL)
    assert await leases.holder("duties") is None
    second = await leases.take("duties", "two", TTL)
    assert second.fence > first.fence
    assert not await leases.renew(first)
    assert await leases.renew(second)


async def test_a_lease_that_ran_out_and_nobody_took_goes_on(db, leases):
    lease = await leases.take("duties", "one", TTL)
    await set_time(db, 3 * TTL)
    assert await leases.renew(lease)
    assert await leases.take("duties", "two", TTL) is None


async def test_a_lease_that_is_given_back_is_free_at_once_and_writes_no_more(db, leases):
    lease = await leases.take("duties", "one", TTL)
    await leases.release(lease)
    assert await leases.holder("duties") is None
    with pytest.raises(DutyLost):
        await fenced(db, lease).write(work(1, lease.fence))
    assert await leases.take("duties", "two", TTL)
    await leases.release(lease)
    assert (await leases.holder("duties")).owner == "two"


async def test_an_old_holders_write_changes_nothing(db, leases):
    first = await leases.take("duties", "one", TTL)
    await fenced(db, first).write(work(1, 1))
    await set_time(db, TTL)
    second = await leases.take("duties", "two", TTL)
    with pytest.raises(DutyLost):
        await fenced(db, first).write(work(2, 1), work(3, 1))
    assert await fenced(db, second).write(work(2, 2)) == [[]]
    assert await fenced(db, first).fetch("SELECT n, fence FROM work ORDER BY n") == [(1, 1), (2, 2)]


async def test_a_conflict_of_the_holders_own_stays_one(db, leases):
    lease = await leases.take("duties", "one", TTL)
    with pytest.raises(Conflict):
        await fenced(db, lease).write(Statement("DELETE FROM work WHERE n = 7", (), expect=1))


class Holders(RuleBasedStateMachine):
    """Several processes that take, renew, pause with a lease in their hands, and write; against what must be so."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.held: dict[str, Lease] = {}
        self.ends = 0.0
        self.newest = 0
        self.written = 0

    def run(self, work):
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self):
        self.place = tempfile.TemporaryDirectory(prefix="leases-")

        async def begin():
            db = await with_moments(await open_sqlite(Path(self.place.name) / "forerun.db"))
            await db.write(Statement("CREATE TABLE work (n INTEGER PRIMARY KEY, fence INTEGER)"))
            return db

        self.db = self.run(begin())
        self.leases = LeaseStore(self.db, now=NOW)

    @rule(owner=st.sampled_from(OWNERS))
    def take(self, owner):
        lease = self.run(self.leases.take("duties", owner, TTL))
        if self.now < self.ends:
            assert lease is None
            return
        assert lease is not None
        assert lease.fence > self.newest
        self.newest, self.ends, self.held[owner] = lease.fence, self.now + TTL, lease

    @precondition(lambda self: self.held)
    @rule(owner=st.sampled_from(OWNERS))
    def renew(self, owner):
        lease = self.held.get(owner)
        if lease is None:
            return
        renewed = self.run(self.leases.renew(lease))
        assert renewed == (lease.fence == self.newest)
        if renewed:
            self.ends = self.now + TTL

    @precondition(lambda self: self.held)
    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner):
        lease = self.held.pop(owner, None)
        if lease is None:
            return
        self.run(self.leases.release(lease))
        if lease.fence == self.newest:
            self.newest, self.ends = self.newest + 1, 0.0

    @precondition(lambda self: self.held)
    @rule(owner=st.sampled_from(OWNERS))
    def write(self, owner):
        lease = self.held.get(owner)
        if lease is None:
            return
        self.written += 1
        try:
            self.run(fenced(self.db, lease).write(work(self.written, lease.fence)))
        except DutyLost:
            assert lease.fence != self.newest
        else:
            assert lease.fence == self.newest

    @rule(seconds=st.sampled_from((0.5, 4.0, TTL - 0.5, TTL, 3 * TTL)))
    def wait(self, seconds):
        self.now += seconds
        self.run(set_time(self.db, self.now))

    @invariant()
    def fences_never_go_back(self):
        if hasattr(self, "db"):
            fences = [
                row[0] for row in self.run(self.db.fetch("SELECT fence FROM work ORDER BY n"))
            ]
            assert fences == sorted(fences)

    def teardown(self):
        if hasattr(self, "db"):
            self.run(self.db.close())
            self.place.cleanup()
        self.loop.close()


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
