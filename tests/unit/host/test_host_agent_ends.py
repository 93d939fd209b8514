"""The agent when things end: callers that leave, and a host that closes."""

import asyncio

import pytest
from tests.fakes.clock import settle
from tests.unit.host.rig import Rig, finish

from forerun.errors import SandboxDead, Throttled


async def test_cancelled_callers_leave_nothing_behind(rig: Rig) -> None:
    rig.sandboxes.create_s = rig.sandboxes.init_s = 1.0
    making, loading, running = (rig.begin(key, key, memory_mb=64) for key in ("a", "b", "c"))
    await settle()
    making.cancel()
    await rig.clock.advance(1.1)
    loading.cancel()
    await rig.clock.advance(1.1)
    running.cancel()
    await rig.clock.advance(2)
    assert rig.agent.stats().waiting == 0
    assert rig.agent.stats().booked_mb == 0
    assert rig.sandboxes.living == []


async def test_cancelled_while_waiting_for_memory() -> None:
    rig = Rig(memory_mb=128)
    await rig.agent.start()
    holder = rig.begin("a", "a")
    await settle()
    impatient, patient = rig.begin("b", "b"), rig.begin("c", "c")
    await settle()
    impatient.cancel()
    rig.let("a")
    rig.let("c")
    await holder
    await patient
    with pytest.raises(asyncio.CancelledError):
        await impatient
    await finish(rig)


async def test_close_lets_calls_finish_and_refuses_new_ones(rig: Rig) -> None:
    working = rig.begin("a", "a")
    await rig.run("b")
    await settle()
    closing = asyncio.get_running_loop().create_task(rig.agent.close(grace_s=30))
    await rig.clock.advance(5)
    assert not closing.done()
    with pytest.raises(Throttled, match="shutting down"):
        await rig.run("c")
    rig.let("a")
    assert (await working).outcome.error is None
    await closing
    assert rig.sandboxes.living == []


async def test_close_does_not_wait_for_ever() -> None:
    rig = Rig(memory_mb=128)
    await rig.agent.start()
    stuck = rig.begin("a", "a")
    await settle()
    waiting = rig.begin("b", "b")
    await settle()
    closing = asyncio.get_running_loop().create_task(rig.agent.close(grace_s=3))
    await rig.clock.advance(3.1)
    await closing
    with pytest.raises(Throttled):
        await waiting
    rig.let("a")
    assert not (await stuck).outcome.alive
    assert rig.sandboxes.closed
    assert rig.states() == {}


async def test_close_while_sandboxes_are_made_and_loaded() -> None:
    rig = Rig()
    rig.sandboxes.create_s, rig.sandboxes.init_s = 2.0, 20.0
    await rig.agent.start()
    loading = rig.begin("a", "a")
    await rig.clock.advance(2.5)
    making = rig.begin("b", "b")
    await settle()
    closing = asyncio.get_running_loop().create_task(rig.agent.close(grace_s=1))
    await rig.clock.advance(30)
    await closing
    with pytest.raises(SandboxDead):
        await loading
    with pytest.raises(Throttled):
        await making
    assert rig.sandboxes.living == []
    assert rig.agent.stats().booked_mb == 0
