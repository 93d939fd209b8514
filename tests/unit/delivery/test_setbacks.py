"""The clock on the wall is set back: what waits does not wait until the old time comes again."""

import asyncio

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.unit.delivery.outboxed import Rig, message

from forerun.aio import SystemClock
from forerun.control.delivery.setbacks import Setbacks
from forerun.errors import StorageFailed, Throttled
from forerun.storage import EventQueue, QueuedEvent
from forerun.storage.sqlite import MESSAGES

HOUR = 3600.0


class Wall(SystemClock):
    """The machine's clock, set by hand."""

    def __init__(self):
        self.off = 0.0

    def now(self):
        return SystemClock.now() + self.off


@pytest.fixture
async def db(tmp_path):
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    yield db
    await db.close()


@pytest.fixture
async def rig(db):
    made = Rig(db)
    made.clock = made.outbox._clock = Wall()
    yield made
    await made.outbox.close()


def set_back(rig):
    watch = Setbacks(rig.clock, (rig.outbox.set_back,))
    rig.clock.off -= HOUR
    return watch


async def test_messages_that_wait_and_that_come_afterwards_are_delivered_in_order(rig):
    await rig.outbox.recover()
    await rig.outbox.send([message("a"), message("b")])
    watch = set_back(rig)
    await rig.outbox.send([message("c")])
    await watch.look()
    await rig.outbox.send([message("d")])
    rig.outbox.start()
    await rig.emptied()
    assert [each.id for each in rig.queues.taken] == ["a", "b", "c", "d"]


async def test_a_message_that_was_refused_is_tried_again(rig):
    await rig.outbox.recover()
    rig.queues.script = [Throttled("busy", reason="x") for _ in range(8)]
    rig.outbox.start()
    await rig.outbox.send([message("a")])
    async with asyncio.timeout(10):
        while len(rig.queues.tries) < 5:
            await asyncio.sleep(0.001)
    await set_back(rig).look()
    await rig.emptied()
    assert [each.id for each in rig.queues.taken] == ["a"]


@pytest.mark.databases
async def test_what_an_earlier_server_left_by_a_later_clock_is_not_forgotten(rig):
    rig.clock.off = HOUR
    await rig.outbox.send([message("a")])
    rig.clock.off = 0.0
    await rig.outbox.recover()
    rig.outbox.start()
    await rig.emptied()
    assert [each.id for each in rig.queues.taken] == ["a"]


async def test_queued_events_are_due_as_before_but_those_that_may_wait_keep_their_time(tmp_path):
    db = await open_database(tmp_path / "forerun.db")
    queue = EventQueue(db)
    await queue.recover(0.0)

    def event(name, due_at, latest_start=0.0):
        given = {"account": "1", "name": "f", "payload": b"{}", "accepted_at": 5000.0}
        return QueuedEvent(id=name, due_at=due_at, latest_start=latest_start, **given)

    await queue.put(event("now", 5000.0), event("soon", 5060.0), event("idle", 5100.0, 5105.0))
    await queue.hasten(1400.0, HOUR)
    assert [each.id for each in await queue.claim(9, now=1400.0, lease_s=999)] == ["now"]
    assert [each.id for each in await queue.claim(9, now=1460.0, lease_s=999)] == ["soon"]
    await EventQueue(db, owner="next").recover(1400.0)
    await db.close()


async def test_only_what_is_no_slowing_down_is_told_and_what_could_not_be_is_told_later():
    clock, told = FakeClock(), []
    fails = True

    async def tell(seconds):
        if fails:
            raise StorageFailed("full")
        told.append(round(seconds))

    watch = Setbacks(clock, (tell,))
    for step in (0.4, -0.4, 7200.0):
        clock._epoch += step
        clock.jump(1.0)
        await watch.look()
    assert told == []
    clock._epoch -= 60
    await watch.look()
    clock._epoch -= 30
    await watch.look()
    fails = False
    await watch.look()
    await watch.look()
    assert told == [90]
