"""What is held ready is worth as much as is expected of it, what is provisioned more than all; and what waiting costs."""

import asyncio

import msgspec
from tests.fakes.clock import settle
from tests.unit.host.rig import LONG, Rig, hold, kept, spec

from forerun.model import Reason, Standby, StartType


async def test_what_nobody_used_gives_way_before_all_others(rig: Rig) -> None:
    await rig.run("old", memory_mb=400)
    await rig.clock.advance(30.0)
    hold(rig, idle=1, calls_per_s=100.0, about={"memory_mb": 500})
    await settle()
    assert kept(rig) == (1, 0)
    rig.sandboxes.made[0].memory_bytes = lambda: 400 << 20
    rig.sandboxes.made[1].memory_bytes = lambda: 500 << 20
    await rig.run("new", memory_mb=600)
    await settle()
    assert kept(rig, "old") == (1, 0)
    assert kept(rig) == (0, 0)


async def test_what_is_expected_often_is_worth_more_than_what_was_called_often(rig: Rig) -> None:
    for _ in range(20):
        await rig.run("busy", memory_mb=400)
    await rig.run("awaited", memory_mb=400)
    hold(rig, "awaited", idle=1, calls_per_s=50.0, about={"memory_mb": 400})
    for sandbox in rig.sandboxes.made:
        sandbox.memory_bytes = lambda: 400 << 20
    await rig.run("new", memory_mb=600)
    await settle()
    assert (kept(rig, "awaited"), kept(rig, "busy")) == ((1, 0), (0, 0))


async def test_the_provisioned_stay_whatever_happens(rig: Rig) -> None:
    hold(rig, total=2, about={"memory_mb": 400}, reason=Reason.PROVISIONED)
    await settle()
    standing = rig.agent.standing("k")
    assert (standing.idle, standing.provisioned) == (2, 2)
    assert all(sandbox.spec.provisioned for sandbox in rig.sandboxes.living)
    rig.available_mb = 0
    await rig.clock.advance(5.0)
    rig.available_mb = 1 << 20
    blocked = rig.begin("other", "go", memory_mb=500)
    rig.let("go")
    await rig.clock.advance(20.0)
    assert blocked.exception() is not None
    assert kept(rig) == (2, 0)
    first = await rig.run(memory_mb=400)
    assert (first.start_type, first.foresight, first.provisioned) == (
        StartType.PREWARMED,
        "hit",
        True,
    )
    await rig.clock.advance(LONG / 2)
    assert kept(rig) == (2, 0)
    hold(rig, total=1, about={"memory_mb": 400})
    await settle()
    assert rig.agent.standing("k").provisioned == 1
    assert kept(rig) == (1, 0), "the one that was never used"
    rig.agent.stand_by(spec(memory_mb=400), Standby())
    await rig.clock.advance(700.0)
    assert kept(rig) == (0, 0)


async def test_more_calls_than_are_provisioned_get_ordinary_sandboxes(rig: Rig) -> None:
    hold(rig, total=1)
    await settle()
    tasks = [rig.begin("k", name) for name in "ab"]
    await rig.clock.advance(3.0)
    assert kept(rig) == (0, 2), "total counts those at work"
    rig.let("a")
    rig.let("b")
    runs = await asyncio.gather(*tasks)
    assert sorted(run.provisioned for run in runs) == [False, True]
    assert {run.foresight for run in runs} == {"hit", "miss"}


async def test_a_provisioned_one_that_dies_is_replaced(rig: Rig) -> None:
    hold(rig, total=2)
    await settle()
    rig.sandboxes.lethal.add("kill")
    await rig.run(request_id="kill")
    await rig.clock.advance(2.0)
    standing = rig.agent.standing("k")
    assert (standing.idle, standing.provisioned) == (2, 2)


async def test_an_outdated_version_is_held_no_more(rig: Rig) -> None:
    hold(rig, idle=1, total=1)
    await settle()
    rig.agent.drop(lambda key: key == "k")
    await rig.clock.advance(5.0)
    assert rig.states() == {}
    hold(rig, idle=1)
    await rig.clock.advance(5.0)
    assert rig.states() == {}, "told again by somebody who did not know"


async def test_copies_are_prepared_of_versions_with_snapshots(rig: Rig) -> None:
    wanted = msgspec.structs.replace(spec(), snap_start=True, version="1")
    rig.agent.stand_by(wanted, Standby(idle=2, lease_s=LONG))
    await rig.clock.advance(1.0)
    assert kept(rig) == (2, 0)
    copies = [one for one in rig.sandboxes.living if one.origin is not None and one.spec]
    assert len(copies) == 2
    rig.sandboxes.bad_handlers.add("bad")
    rig.agent.stand_by(
        msgspec.structs.replace(wanted, key="bad", handler="bad"),
        Standby(idle=1, lease_s=LONG),
    )
    await rig.clock.advance(1.0)
    assert rig.agent.standing("bad").failure.startswith("Runtime.ImportModuleError")


async def test_idle_sandboxes_cost_what_they_book(rig: Rig) -> None:
    assert (await rig.run()).idle_mb_s == 0.0
    rig.clock.jump(0.5)
    assert (await rig.run()).idle_mb_s == 128 * 0.5
    # Slim after a second, it books 8 MB.
    await rig.clock.advance(21.0)
    slim = (await rig.run()).idle_mb_s
    assert 128 * 1.0 + 8 * 19.7 <= slim <= 128 * 1.5 + 8 * 20
    hold(rig, idle=2, lease_s=10.0)
    await rig.clock.advance(30.0)
    unused = (await rig.run()).idle_mb_s
    assert unused > slim, "the one that was prepared and given up counts"
