"""Waiting for messages: woken by what is sent, by time, in order; given up without losing anything."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.sources.queue_rig import QueueRig

from forerun.aio import SystemClock
from forerun.errors import Throttled
from forerun.sources.queues import NoSuchQueue, Queue


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[QueueRig]:
    rig = await QueueRig.open(tmp_path, SystemClock())
    yield rig
    await rig.close()


async def settled(rig: QueueRig, queue, waiters: int) -> None:
    async with asyncio.timeout(5):
        while len(queue.line.waiters) != waiters:
            await asyncio.sleep(0)


async def test_what_is_sent_wakes_who_waits(rig):
    queue = await rig.make("q")
    waiting = asyncio.ensure_future(rig.receive(queue, wait_s=20))
    await settled(rig, queue, 1)
    began = time.monotonic()
    await rig.send(queue, "now")
    [message] = await waiting
    assert message.body == "now"
    assert time.monotonic() - began < 2


async def test_those_who_wait_are_served_in_their_order(rig):
    queue = await rig.make("q")
    served: list[int] = []

    async def wait(number: int) -> None:
        if await rig.receive(queue, 1, wait_s=20):
            served.append(number)

    tasks = []
    for number in range(5):
        tasks.append(asyncio.ensure_future(wait(number)))
        await settled(rig, queue, number + 1)
    for number in range(5):
        await rig.send(queue, f"{number}")
        await tasks[number]
    assert served == [0, 1, 2, 3, 4]


async def test_many_messages_wake_as_many_as_they_are_for(rig):
    queue = await rig.make("q")
    tasks = [asyncio.ensure_future(rig.receive(queue, 1, wait_s=20)) for _ in range(6)]
    await settled(rig, queue, 6)
    await asyncio.gather(*(rig.send(queue, f"{number}") for number in range(6)))
    got = await asyncio.gather(*tasks)
    assert sorted(message.body for [message] in got) == [str(number) for number in range(6)]


async def test_a_delayed_message_wakes_when_it_is_due(rig):
    queue = await rig.make("q")
    waiting = asyncio.ensure_future(rig.receive(queue, wait_s=20))
    await settled(rig, queue, 1)
    began = time.monotonic()
    await rig.send(queue, "later", delay_s=1)
    assert [message.body for message in await waiting] == ["later"]
    assert 0.9 < time.monotonic() - began < 4


async def test_what_is_given_back_and_what_times_out_wakes(rig):
    queue = await rig.make("q")
    await rig.send(queue, "again")
    [first] = await rig.receive(queue)
    waiting = asyncio.ensure_future(rig.receive(queue, wait_s=20, hide_s=1))
    await settled(rig, queue, 1)
    await rig.traffic.release(queue, [first.mark], delay_s=0)
    [second] = await waiting
    assert second.received == 2
    [third] = await rig.receive(queue, wait_s=20)
    assert third.received == 3


async def test_the_next_of_a_group_wakes_when_the_first_is_finished(rig):
    queue = await rig.make("q.fifo", ContentBasedDeduplication="true")
    await rig.send(queue, "one", group="g")
    await rig.send(queue, "two", group="g")
    [one] = await rig.receive(queue, 1)
    waiting = asyncio.ensure_future(rig.receive(queue, wait_s=20))
    await settled(rig, queue, 1)
    await rig.traffic.finish(queue, [one.mark])
    assert [message.body for message in await waiting] == ["two"]


@pytest.mark.databases
async def test_who_leaves_while_he_takes_has_it_given_back_as_never_taken(rig):
    queue = await rig.make("q")
    await rig.send(queue, "kept")
    task = asyncio.ensure_future(rig.receive(queue, hide_s=1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [message] = await rig.receive(queue, wait_s=10)
    assert message.received == 1


async def test_who_leaves_the_line_wakes_the_next(rig):
    queue = await rig.make("q")
    first = asyncio.ensure_future(rig.receive(queue, wait_s=20))
    await settled(rig, queue, 1)
    second = asyncio.ensure_future(rig.receive(queue, wait_s=20))
    await settled(rig, queue, 2)
    await rig.send(queue, "soon", delay_s=1)
    first.cancel()
    assert [message.body for message in await second] == ["soon"]


async def test_nothing_is_asked_of_the_database_while_nothing_can_be_had(rig, monkeypatch):
    queue = await rig.make("q")
    assert await rig.receive(queue) == []

    async def fail(*_args, **_kwargs):
        raise AssertionError("it looked")

    monkeypatch.setattr(rig.messages, "take", fail)
    assert await rig.receive(queue) == []
    assert await rig.receive(queue, wait_s=0.05) == []
    monkeypatch.undo()
    await rig.send(queue, "now")
    assert len(await rig.receive(queue)) == 1


@pytest.mark.databases
async def test_waiting_ends_with_its_time_with_the_queue_and_with_the_server(rig):
    queue, other = await rig.make("q"), await rig.make("other")
    assert await rig.receive(queue, wait_s=0.05) == []
    gone = asyncio.ensure_future(rig.receive(queue, wait_s=20))
    guest = asyncio.ensure_future(
        rig.traffic.receive(other, most=1, wait_s=20, hide_s=1, guest=True)
    )
    own = asyncio.ensure_future(rig.receive(other, wait_s=20))
    await settled(rig, queue, 1)
    await settled(rig, other, 2)
    await rig.queues.delete(queue)
    with pytest.raises(NoSuchQueue):
        await gone
    rig.traffic.dismiss()
    assert await guest == []
    assert not own.done()
    await rig.traffic.close()
    assert await own == []


async def test_only_so_many_guests_wait_and_they_keep_nobody_else_from_it(rig, monkeypatch):
    monkeypatch.setattr(rig.traffic, "_most_guests", 1)
    queue, other = await rig.make("q"), await rig.make("other")
    strangers = await rig.queues.create("999999999999", "q", {}, {})

    def wait(queue: Queue, *, guest: bool) -> asyncio.Future[object]:
        return asyncio.ensure_future(
            rig.traffic.receive(queue, most=1, wait_s=20, hide_s=1, guest=guest)
        )

    waiting = [wait(queue, guest=True), wait(queue, guest=False), wait(strangers, guest=True)]
    await settled(rig, queue, 2)
    await settled(rig, strangers, 1)
    with pytest.raises(Throttled):
        await wait(other, guest=True)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await rig.traffic.receive(other, most=1, wait_s=0.01, hide_s=1, guest=True) == []
