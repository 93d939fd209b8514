"""SnapStart on a host: who is copied, when the template goes, and what serves a version that has none."""

import asyncio

import msgspec
from tests.fakes.sandboxes import FakeSandbox
from tests.unit.host.rig import Rig, call, finish, spec

from forerun.errors import SetupFailed
from forerun.host import Run
from forerun.model import InitFailure, StartType, Timings

COPIED = "copied from this version's snapshot"


async def run(rig: Rig, key: str = "k", request_id: str = "r", **about) -> Run:
    wanted = msgspec.structs.replace(spec(key, **about), snap_start=True, version="1")
    return await rig.agent.run(wanted, call(request_id), Timings())


def templates(rig: Rig) -> list[FakeSandbox]:
    return [one for one in rig.sandboxes.made if one.spec and not one.calls and not one.origin]


async def test_every_sandbox_is_a_copy_of_one_template(rig: Rig) -> None:
    gates = [rig.sandboxes.gates.setdefault(name, asyncio.Event()) for name in "abc"]
    tasks = [asyncio.create_task(run(rig, request_id=name)) for name in "abc"]
    await rig.clock.advance(0.1)
    for gate in gates:
        gate.set()
    runs = await asyncio.gather(*tasks)
    assert [one.placement for one in runs] == [COPIED] * 3
    assert {one.start_type for one in runs} <= {StartType.ZYGOTE, StartType.POOL}
    assert all(one.init and one.init.restored for one in runs)
    assert len({one.log_stream for one in runs}) == 3
    [template] = templates(rig)
    assert all(one.origin is template for one in rig.sandboxes.made if one.calls)
    warm = await run(rig)
    assert (warm.start_type, warm.init) == (StartType.WARM, None)


async def test_latest_takes_no_snapshot(rig: Rig) -> None:
    first = await rig.run()
    assert first.init is not None
    assert not first.init.restored
    assert len(rig.sandboxes.made) == 1


async def test_preparing_none_takes_the_snapshot(rig: Rig) -> None:
    wanted = msgspec.structs.replace(spec("k"), snap_start=True)
    await rig.agent.take_snapshot(wanted)
    [template] = templates(rig)
    first = await run(rig)
    assert first.placement == COPIED
    assert templates(rig) == [template]


async def test_copies_wait_and_go_with_their_template() -> None:
    rig = Rig(pool_min=2, pool_max=8, keep_alive_min_s=20.0, keep_alive_max_s=20.0)
    await rig.agent.start()
    await run(rig)
    await rig.clock.advance(1.0)
    assert rig.agent.stats().pools["copies of k"] == (2, 2)
    listed = rig.agent.sandboxes()
    assert sum(one.key == "k" for one in listed) == 2, "the template and the one that was called"
    await rig.clock.advance(30.0)
    assert "copies of k" not in rig.agent.stats().pools
    assert all(one.destroyed for one in rig.sandboxes.made if one.spec or one.origin)
    assert (await run(rig)).placement == COPIED
    assert len(templates(rig)) == 2
    await finish(rig)


async def test_dropping_a_version_drops_its_template(rig: Rig) -> None:
    await run(rig)
    [template] = templates(rig)
    assert rig.agent.drop(lambda key: key == "k") == 2
    await rig.clock.advance(0.1)
    assert template.destroyed
    assert rig.agent.sandboxes() == []


async def test_a_failing_init_is_the_answer_and_is_tried_again(rig: Rig) -> None:
    rig.sandboxes.bad_handlers.add("bad")
    failed = await run(rig, handler="bad")
    assert isinstance(failed.outcome, InitFailure)
    assert failed.placement == "template of this version's sandboxes"
    assert failed.log_stream.startswith("2023/11/14/[1]")
    rig.sandboxes.bad_handlers.clear()
    assert (await run(rig, handler="bad")).placement == COPIED


async def test_what_cannot_be_copied_is_served_by_others_for_a_while(rig: Rig) -> None:
    rig.sandboxes.unfit_handlers.add("threads")
    plain = await run(rig, handler="threads")
    assert not isinstance(plain.outcome, InitFailure)
    assert plain.placement != COPIED
    rig.sandboxes.restore_errors.append(SetupFailed("no"))
    plain = await run(rig, "other")
    assert plain.placement != COPIED
    again = await run(rig, "other")
    assert again.start_type is StartType.WARM
    await rig.clock.advance(0.1)
    assert all(one.destroyed for one in templates(rig))


async def test_a_template_that_died_is_made_anew(rig: Rig) -> None:
    first = await run(rig)
    [template] = templates(rig)
    template.die()
    gate = rig.sandboxes.gates.setdefault("held", asyncio.Event())
    held = asyncio.create_task(run(rig, request_id="held"))
    await rig.clock.advance(0.1)
    second = await run(rig)
    gate.set()
    assert (await held).sandbox_id == first.sandbox_id
    assert second.placement == COPIED
    assert len(templates(rig)) == 2


async def test_without_snapshots_versions_run_plain(rig: Rig) -> None:
    rig.sandboxes.snapshots = False
    first = await run(rig)
    assert first.init is not None
    assert not first.init.restored
