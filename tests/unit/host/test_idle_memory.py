"""The agent and what idle sandboxes hold: more of them fit, and calls find their memory again."""

import asyncio
import logging

import pytest
from tests.fakes.clock import settle
from tests.unit.host.rig import Rig, finish

from forerun.host.subpools import POOLED_MB
from forerun.model import StartType


async def test_many_more_stay_than_could_work_at_once() -> None:
    rig = Rig(memory_mb=1280)
    await rig.agent.start()
    ids = {}
    for number in range(60):
        ids[number] = (await rig.run(f"f{number}")).sandbox_id
        await rig.clock.advance(0.3)
    await rig.clock.advance(1.5)
    assert rig.states() == {"idle": 60}
    assert rig.agent.stats().booked_mb == 60 * POOLED_MB
    assert {info.booked_mb for info in rig.agent.sandboxes()} == {POOLED_MB}
    run = await rig.run("f0")
    assert (run.start_type, run.sandbox_id) == (StartType.WARM, ids[0])
    assert rig.agent.stats().booked_mb == 59 * POOLED_MB + 128
    await finish(rig)


async def test_a_working_one_keeps_what_it_may_use(rig: Rig) -> None:
    working = rig.begin("a", "hold", memory_mb=512)
    await rig.clock.advance(5)
    assert rig.agent.stats().booked_mb == 512
    rig.let("hold")
    await working
    await rig.clock.advance(0.5)
    assert rig.agent.stats().booked_mb == 512
    await rig.clock.advance(1)
    assert rig.agent.stats().booked_mb == POOLED_MB


async def test_a_call_waits_until_its_sandbox_has_its_memory_again() -> None:
    rig = Rig(memory_mb=256)
    await rig.agent.start()
    first = await rig.run("a", memory_mb=200)
    await rig.clock.advance(2)
    holder = rig.begin("b", "hold", memory_mb=200)
    await settle()
    waiting = rig.begin("a", "go", memory_mb=200)
    await rig.clock.advance(5)
    assert not waiting.done()
    assert rig.agent.stats().waiting == 1
    rig.let("go")
    rig.let("hold")
    await holder
    run = await waiting
    assert (run.start_type, run.sandbox_id) == (StartType.WARM, first.sandbox_id)
    assert run.placement == "idle sandbox of this version, after a wait for memory"
    await finish(rig)


async def test_a_call_that_waits_in_vain_leaves_its_sandbox_idle() -> None:
    rig = Rig(memory_mb=256)
    await rig.agent.start()
    await rig.run("a", memory_mb=200)
    await rig.clock.advance(2)
    holder = rig.begin("b", "hold", memory_mb=200)
    await settle()
    impatient = rig.begin("a", "go", memory_mb=200)
    await settle()
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    assert rig.states() == {"idle": 1, "busy": 1}
    rig.let("hold")
    await holder
    await finish(rig)


async def test_slim_ones_that_died_are_left_behind_however_many(rig: Rig) -> None:
    tasks = [rig.begin("a", "go", memory_mb=64) for _ in range(8)]
    rig.let("go")
    await asyncio.gather(*tasks)
    await rig.clock.advance(2)
    assert rig.states() == {"idle": 8}
    for sandbox in rig.sandboxes.made:
        sandbox.die(silently=True)
    run = await rig.run("a", memory_mb=64)
    assert run.start_type is StartType.ZYGOTE
    assert run.outcome.error is None


async def test_an_unreadable_weight_changes_nothing(rig: Rig) -> None:
    await rig.run()
    rig.sandboxes.made[0].memory_bytes = lambda: 0
    await rig.clock.advance(3)
    assert rig.agent.stats().booked_mb == 128


async def test_a_machine_short_of_memory_loses_idle_sandboxes(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.run("a")
    working = rig.begin("b", "hold")
    rig.available_mb = None
    await rig.clock.advance(3)
    assert rig.states() == {"idle": 1, "busy": 1}
    with caplog.at_level(logging.WARNING, "forerun.host"):
        rig.available_mb = 0
        await rig.clock.advance(3)
    assert rig.states() == {"busy": 1}
    (record,) = caplog.records
    assert "0 MB left" in record.message
    rig.let("hold")
    await working


async def test_a_call_that_was_on_its_way_leaves_no_outdated_sandbox() -> None:
    rig = Rig(memory_mb=128)
    await rig.agent.start()
    holder = rig.begin("other", "hold")
    await settle()
    late = rig.begin("old", "go")
    await settle()
    assert rig.agent.drop(lambda key: key == "old") == 0
    rig.let("go")
    rig.let("hold")
    await holder
    assert (await late).outcome.error is None
    await settle()
    assert rig.states() == {}
    await finish(rig)
