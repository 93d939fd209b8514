"""What was written is read by nobody before everybody knows of it."""

import asyncio

import pytest

from forerun.errors import StorageFailed
from forerun.storage import Statement
from forerun.storage.settled import SettledDb

WRITE = Statement("UPDATE one")


class Fake:
    """A database with one number, and who remembers it: ``known`` is what they go by."""

    def __init__(self):
        self.number = self.known = 0
        self.settling = asyncio.Event()
        self.settling.set()
        self.settles = 0
        self.failure = None

    async def fetch(self, _sql, *_args):
        return [(self.number,)]

    async def write(self, *_statements, durable=True):
        self.number += 1
        if self.failure is not None:
            raise self.failure
        return [[(durable,)]]

    async def settle(self):
        number = self.number
        self.settles += 1
        await self.settling.wait()
        self.known = max(self.known, number)


@pytest.fixture
async def made():
    fake = Fake()
    db = SettledDb(fake, fake.settle)
    await db.fetch("SELECT number")
    return fake, db


async def test_what_another_has_written_is_settled_before_it_is_read_once():
    fake = Fake()
    fake.number = 7
    db = SettledDb(fake, fake.settle)
    assert await db.fetch("SELECT number") == [(7,)]
    assert fake.known == 7
    await db.fetch("SELECT number")
    assert fake.settles == 1


async def test_reads_wait_for_what_is_being_written(made):
    fake, db = made
    fake.settling.clear()
    writing = asyncio.ensure_future(db.write(WRITE))
    await asyncio.sleep(0)
    reading = asyncio.ensure_future(db.fetch("SELECT number"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert (fake.number, fake.known) == (1, 0)
    assert not writing.done()
    assert not reading.done()
    fake.settling.set()
    assert await reading == [(1,)]
    assert fake.known == 1
    await writing
    before = fake.settles
    await db.fetch("SELECT number")
    assert fake.settles == before


async def test_what_failed_may_be_there_and_is_settled_when_it_is_read(made):
    fake, db = made
    fake.failure = StorageFailed("gone")
    with pytest.raises(StorageFailed):
        await db.write(WRITE)
    assert fake.known == 0
    assert await db.fetch("SELECT number") == [(1,)]
    assert fake.known == 1


async def test_what_need_not_be_known_is_not_waited_for(made):
    fake, db = made
    fake.settling.clear()
    assert await db.write(WRITE, durable=False) == [[(False,)]]
    assert await db.fetch("SELECT number") == [(1,)]
    assert fake.known == 0
