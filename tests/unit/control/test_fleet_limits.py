"""Variable limits over many hosts: they grow in steps without throttling, shrink when little is used, and hold whatever happens."""

import asyncio
from collections import Counter

import pytest
from tests.fakes.clock import settle
from tests.unit.control.ledger import ACCOUNT
from tests.unit.control.sharing import World

from forerun.errors import StorageFailed, Throttled


async def made(**given):
    world = World(**{"reserved": (), "planes": 1, "hosts": 6, **given})
    await world.calm(1.0)
    world.at_once = True
    return world


async def pass_time(world, seconds, *, planes=None):
    """As a cluster spends it: beats and looks; calls of hosts without a lease end."""
    world.at_once = False
    await world.calm(seconds, planes=planes)
    world.at_once = True


def steps(world, function=""):
    return {
        host: row.amount
        for (name, host), row in world.ledger.rows.items()
        if name == function and row.amount
    }


async def load(world, calls, function="", plane=0):
    ran = await asyncio.gather(*(world.run(world.planes[plane], function) for _ in range(calls)))
    return Counter(ran)


async def test_a_load_grows_the_limit_in_steps_and_only_what_exceeds_the_maximum_is_throttled():
    world = await made()
    assert await load(world, 3) == Counter({next(iter(steps(world))): 3})
    grown = [len(steps(world))]
    for _ in range(32):
        await load(world, 1)
        grown.append(len(steps(world)))
    assert world.running() == 35
    assert sorted(set(grown)) == [1, 2, 3, 4]
    assert set(steps(world).values()) == {10}
    await load(world, 5)
    with pytest.raises(Throttled, match=r"is 40 .* maximum 40") as refused:
        await world.run(world.planes[0])
    assert refused.value.reason == "ConcurrentInvocationLimitExceeded"
    assert refused.value.retry_after_s > 0


async def test_a_burst_grows_by_no_more_than_it_needs():
    world = await made()
    await load(world, 35)
    assert world.running() == 35
    assert len(steps(world)) == 4
    assert world.planes[0].asked.count("change") == 4


async def test_of_a_burst_above_the_maximum_exactly_the_maximum_runs():
    world = await made()
    ran = await asyncio.gather(
        *(world.run(world.planes[0]) for _ in range(60)), return_exceptions=True
    )
    assert sum(isinstance(each, Throttled) for each in ran) == 20
    assert world.running() == 40
    asked = len(world.planes[0].asked)
    for _ in range(10):
        with pytest.raises(Throttled):
            await world.run(world.planes[0])
    assert len(world.planes[0].asked) == asked, "the database was asked again at once"


async def test_a_reservation_is_a_limit_of_its_own():
    world = await made(reserved=[("f", 15)])
    await load(world, 15, "f")
    with pytest.raises(Throttled, match=r"function f is 15 .* maximum 15") as refused:
        await world.run(world.planes[0], "f")
    assert refused.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    await load(world, 25)
    with pytest.raises(Throttled, match="maximum 25"):
        await world.run(world.planes[0])


async def test_a_limit_that_is_little_used_shrinks_to_one_step_after_the_period():
    world = await made()
    await load(world, 35)
    plane = world.planes[0]
    for machine in world.machines.values():
        machine.end_calls(len(machine.calls))
    await load(world, 3)
    for _ in range(5):
        await pass_time(world, 2.0)
        plane.shrinking.sample()
    await plane.shrinking.shrink()
    await pass_time(world, 2.0)
    assert list(steps(world).values()) == [10]
    # What ran elsewhere counts until it is over.
    for name in world.machines.keys() - steps(world).keys():
        world.machines[name].end_calls(3)
    await pass_time(world, 2.0)
    assert sum(row.counted for row in world.ledger.rows.values()) == 10
    await load(world, 40 - world.running())
    assert len(steps(world)) == 4


async def test_a_limit_that_is_used_keeps_its_steps():
    world = await made()
    await load(world, 35)
    await pass_time(world, 2.0)
    world.planes[0].shrinking.sample()
    await world.planes[0].shrinking.shrink()
    assert len(steps(world)) == 4


async def test_a_quiet_client_leaves_nothing_behind():
    world = await made()
    await load(world, 12)
    for machine in world.machines.values():
        machine.end_calls(100)
    plane = world.planes[0]
    for _ in range(20):
        await pass_time(world, 6.0)
        plane.shrinking.sample()
        await plane.shrinking.shrink()
    assert world.ledger.rows == {}
    await load(world, 12)


async def test_when_a_host_dies_its_calls_to_come_go_to_the_next():
    world = await made(limit=100)
    await load(world, 35)
    [dead, *_] = steps(world)
    world.restart(dead)
    world.planes[0].disconnect(dead)
    ran = await load(world, 10)
    assert ran.total() == 10
    assert dead not in ran


async def test_what_a_silent_host_had_is_given_to_others_once_its_work_is_surely_over():
    world = await made()
    plane = world.planes[0]
    await load(world, 40)
    [silent, *_] = steps(world)
    plane.disconnect(silent)
    with pytest.raises(Throttled):
        await world.run(plane)
    await pass_time(world, plane.limits.over_s - 2)
    with pytest.raises(Throttled):
        await world.run(plane)
    await pass_time(world, 14)
    assert not world.machines[silent].calls
    assert await load(world, 10)
    assert world.running() == 40


async def test_a_host_that_only_another_control_plane_hears_is_not_taken_for_over():
    world = await made(planes=2)
    first, second = world.planes
    await load(world, 40)
    await pass_time(world, 2)
    [kept, *_] = steps(world)
    # Calls of the second run there on and on; the first cannot tell.
    world.machines[kept].end_calls(10)
    for _ in range(10):
        share = second.limits.hosts(ACCOUNT, "", None)
        assert share == {} or kept in share
        assert await world.run(second) == kept
    first.disconnect(kept)
    with pytest.raises(Throttled):
        await world.run(first)
    await pass_time(world, 2 * first.limits.over_s)
    assert len(world.machines[kept].calls) == 10
    with pytest.raises(Throttled):
        await world.run(first)
    world.machines[kept].end_calls(10)
    await pass_time(world, 3)
    assert (await load(world, 10)).total() == 10


async def test_a_control_plane_without_the_database_lets_its_calls_end_before_others_get_their_part():
    world = await made(planes=2)
    first, second = world.planes
    await load(world, 40, plane=1)
    await pass_time(world, 2)
    [cut, *_] = steps(world)
    first.disconnect(cut)
    second.cut_off = True
    with pytest.raises(Throttled):
        await world.run(first)
    await pass_time(world, second.limits.valid_s - 2)
    assert world.running() == 40
    for _ in range(60):
        # Nobody ever runs more than counts, and what was cut off is used in the end.
        await pass_time(world, 1)
        try:
            await world.run(first)
        except Throttled:
            continue
        if sum(name != cut for name in steps(world)) == 4:
            break
    assert cut not in steps(world)
    assert not world.machines[cut].calls


async def test_a_host_that_was_told_less_refuses_what_somebody_remembers():
    world = await made(planes=2)
    first, second = world.planes
    await load(world, 40)
    with pytest.raises(Throttled):
        await world.run(second)
    old = second.limits.hosts(ACCOUNT, "", None)
    for machine in world.machines.values():
        machine.end_calls(100)
    first.shrinking.sample()
    await first.shrinking.shrink()
    await pass_time(world, 2, planes=[first])
    assert sum(row.counted for row in world.ledger.rows.values()) == 10
    taken = [world.machines[host].shares.take(share) for host, share in old.items()]
    assert taken.count(True) == 1


async def test_what_is_remembered_of_a_host_before_it_was_started_again_is_not_used():
    world = await made(planes=2)
    first, second = world.planes
    await load(world, 40)
    await load(world, 0, plane=1)
    with pytest.raises(Throttled):
        await world.run(second)
    assert len(second.limits.hosts(ACCOUNT, "", None)) == 4
    for machine in world.machines.values():
        machine.end_calls(100)
    first.shrinking.sample()
    await first.shrinking.shrink()
    await pass_time(world, 2, planes=[first])
    for name in steps(world) | {
        held.host: 0 for held in second.limits._clients.get((ACCOUNT, "")).book.held
    }:
        world.restart(name)
        for plane in world.planes:
            plane.connect(name)
        world.machines[name].beat()
    # No call goes to a host before its first beat has come.
    for connection in second.connections.values():
        world.deliver(connection, to_host=False, most=10)
    assert second.limits.hosts(ACCOUNT, "", None) == {}
    await pass_time(world, 1, planes=[])
    await load(world, 10)
    world.check()


async def test_a_new_reservation_takes_from_the_account_and_gets_it_when_it_is_free():
    world = await made()
    plane = world.planes[0]
    await load(world, 40)
    world.reserve("f", 15)
    plane.shrinking.changed(ACCOUNT, "f")
    await settle()
    assert sum(steps(world).values()) == 25
    with pytest.raises(Throttled, match="maximum 15"):
        await world.run(plane, "f")
    for machine in world.machines.values():
        machine.end_calls(5)
    await pass_time(world, 2)
    ran = await asyncio.gather(*(world.run(plane, "f") for _ in range(15)), return_exceptions=True)
    assert 5 <= sum(isinstance(each, str) for each in ran) <= 15
    for machine in world.machines.values():
        machine.end_calls(100)
    await pass_time(world, 2)
    await load(world, 15 - world.running("f"), "f")
    await load(world, 25)
    with pytest.raises(Throttled, match="maximum 25"):
        await world.run(plane)


async def test_a_smaller_reservation_and_a_deleted_function_give_back():
    world = await made(reserved=[("f", 30)])
    await load(world, 30, "f")
    world.reserve("f", 12)
    await world.planes[0].limits.changed(ACCOUNT, "f")
    assert sum(steps(world, "f").values()) == 12
    del world.ledger.reserved["f"]
    await world.planes[0].limits.changed(ACCOUNT, "f")
    assert steps(world, "f") == {}
    for machine in world.machines.values():
        machine.end_calls(100)
    await pass_time(world, 2)
    await load(world, 40)


async def test_steps_on_hosts_without_room_go_to_others_at_the_maximum():
    world = await made()
    plane = world.planes[0]
    await load(world, 40)
    full = set(steps(world))
    for name in full:
        world.machines[name].end_calls(4)
    await pass_time(world, 2)
    ran = [await world.run(plane, full=full) for _ in range(16)]
    assert not full.intersection(ran)
    assert world.running() == 40
    with pytest.raises(Throttled):
        await world.run(plane, full=full)


async def test_without_another_host_nothing_is_taken_from_a_full_one():
    world = await made(hosts=2)
    await load(world, 30)
    with pytest.raises(Throttled, match="no host has room"):
        await world.run(world.planes[0], full={"a", "b"})
    assert sum(steps(world).values()) == 30


async def test_several_control_planes_use_one_limit():
    world = await made(planes=2)
    await asyncio.gather(load(world, 20, plane=0), load(world, 20, plane=1))
    assert world.running() == 40
    for plane in world.planes:
        with pytest.raises(Throttled):
            await world.run(plane)


async def test_without_the_database_what_is_remembered_is_used_for_a_while():
    world = await made()
    plane = world.planes[0]
    await load(world, 5)
    assert plane.limits.may_renew()

    plane.cut_off = True
    world.advance(plane.limits.valid_s - 2)
    assert plane.limits.may_renew()
    assert plane.limits.hosts(ACCOUNT, "", None)
    with pytest.raises(StorageFailed):
        await plane.limits.look()
    world.advance(3)
    assert not plane.limits.may_renew()
    assert plane.limits.hosts(ACCOUNT, "", None) == {}


async def test_limits_are_shown_with_their_hosts():
    world = await made(reserved=[("f", 15), ("idle", 2)])
    await load(world, 13)
    await load(world, 2, "f")
    await pass_time(world, 1)
    shown = {each.function: each for each in await world.planes[0].limits.list(ACCOUNT)}
    assert list(shown) == ["", "f", "idle"]
    assert (shown[""].maximum, shown[""].current, shown[""].running) == (23, 20, 13)
    assert (shown["f"].maximum, shown["f"].current, shown["f"].running) == (15, 10, 2)
    assert (shown["idle"].maximum, shown["idle"].current, shown["idle"].hosts) == (2, 0, ())
    assert sorted(part.limit for part in shown[""].hosts) == [10, 10]
