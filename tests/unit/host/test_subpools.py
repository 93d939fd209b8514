"""Sub-pools: who is served from them, what happens when they are empty, and what they survive."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.fakes.clock import settle
from tests.unit.host.rig import Rig, call, finish, spec

from forerun.errors import InvalidInput, NoSuchRuntime, SetupFailed, Throttled
from forerun.host import Run
from forerun.model import StartType, Timings

OURS, THEIRS = "1" * 12, "2" * 12
SUBPOOL = f"python3.11@{OURS}"


@pytest.fixture
async def full() -> AsyncIterator[Rig]:
    """Room for four sandboxes, and none in the shared pool."""
    rig = Rig(max_sandboxes=4, pool_max=4, wait_s=1.0)
    await rig.agent.start()
    yield rig
    await finish(rig)


def begin(rig: Rig, key: str, account: str, **about) -> asyncio.Task[Run]:
    """A call that lasts until ``finish``."""
    rig.sandboxes.gates.setdefault("held", asyncio.Event())
    wanted = msgspec.structs.replace(spec(key, **about), account=account)
    running = rig.agent.run(wanted, call("held"), Timings())
    task = asyncio.get_running_loop().create_task(running)
    rig.tasks.append(task)
    return task


async def hold(rig: Rig, pool: str, floor: int, *, borrow: bool = True) -> None:
    rig.agent.hold_pool(pool, floor, borrow=borrow)
    await rig.clock.advance(1.0)


def waiting(rig: Rig, pool: str = SUBPOOL) -> int:
    return rig.agent.stats().pools[pool][0]


@pytest.mark.parametrize("borrow", [True, False], ids=["borrow", "throttle"])
async def test_what_is_reserved_is_there_when_nothing_else_is(full: Rig, borrow: bool) -> None:
    await hold(full, SUBPOOL, 2, borrow=borrow)
    for key in "abc":
        begin(full, key, THEIRS)
    await full.clock.advance(5.0)
    assert waiting(full) == 2, "given to another account, or evicted for it"
    assert full.states() == {"busy": 2, "pooled": 2}
    ours = [begin(full, key, OURS) for key in "ab"]
    await settle()
    assert full.states() == {"busy": 4}
    third = begin(full, "c", OURS)
    await settle()
    if borrow:
        assert not third.done(), "it waits for what all share"
        await full.clock.advance(2.0)
    with pytest.raises(Throttled, match="in time" if borrow else SUBPOOL):
        await third
    full.let("held")
    assert [(await task).start_type for task in ours] == [StartType.POOL] * 2


async def test_it_is_not_behind_others_that_wait_for_memory() -> None:
    rig = Rig(memory_mb=640, pool_max=4)
    await rig.agent.start()
    await hold(rig, SUBPOOL, 1)
    begin(rig, "a", THEIRS, memory_mb=500)
    blocked = begin(rig, "b", THEIRS, memory_mb=500)
    await settle()
    ours = begin(rig, "c", OURS)
    await settle()
    assert rig.states() == {"busy": 2}
    larger = begin(rig, "d", OURS, memory_mb=129)
    await settle()
    rig.let("held")
    await settle()
    runs = [await task for task in (blocked, ours, larger)]
    assert [run.outcome.error for run in runs] == [None] * 3
    assert runs[1].start_type is StartType.POOL
    await finish(rig)


async def test_an_empty_one_borrows_from_what_all_share(rig: Rig) -> None:
    await hold(rig, SUBPOOL, 1)
    rig.sandboxes.create_s = 60.0
    begin(rig, "a", OURS)
    await settle()
    assert waiting(rig) == 0
    rig.sandboxes.create_s = 0.0
    await rig.clock.advance(0.1)
    second = begin(rig, "b", OURS)
    await settle()
    rig.let("held")
    await settle()
    assert (await second).outcome.error is None


async def test_a_call_waits_for_what_is_being_made_for_its_account(rig: Rig) -> None:
    await hold(rig, SUBPOOL, 1, borrow=False)
    rig.sandboxes.create_s = 0.5
    begin(rig, "a", OURS)
    await rig.clock.advance(0.3)
    second = begin(rig, "b", OURS)
    await settle()
    assert not second.done()
    await rig.clock.advance(0.5)
    rig.let("held")
    assert (await second).start_type is StartType.ZYGOTE


async def test_the_own_account_may_use_up_the_memory_of_its_own(full: Rig) -> None:
    await hold(full, SUBPOOL, 2)
    big = begin(full, "big", OURS, memory_mb=1020)
    await full.clock.advance(0.9)
    full.let("held")
    assert (await big).outcome.error is None


async def test_idle_sandboxes_of_the_version_serve_before_any_pool(rig: Rig) -> None:
    first = await rig.run()
    await hold(rig, SUBPOOL, 1, borrow=False)
    await rig.clock.advance(5.0)
    again = await rig.run()
    assert again.sandbox_id == first.sandbox_id
    assert waiting(rig) == 1


async def test_a_runtimes_sub_pool_serves_functions_that_want_more_imported(rig: Rig) -> None:
    await hold(rig, SUBPOOL, 1)
    wanted = msgspec.structs.replace(spec(), uses_sdk=True)
    run = await rig.agent.run(wanted, call(), Timings())
    assert run.start_type is StartType.POOL


async def test_floors_are_set_anew(rig: Rig) -> None:
    await hold(rig, "python3.11", 3)
    assert rig.agent.stats().pools["python3.11"] == (3, 3)
    await hold(rig, "python3.11", 0)
    assert rig.agent.stats().pools["python3.11"][1] == 0
    await rig.clock.advance(10.0)
    assert waiting(rig, "python3.11") == 0
    await hold(rig, SUBPOOL, 2)
    await hold(rig, SUBPOOL, 0)
    assert SUBPOOL not in rig.agent.stats().pools
    assert rig.states() == {}


async def test_what_comes_late_for_a_sub_pool_that_is_gone_goes_too(rig: Rig) -> None:
    rig.sandboxes.create_s = 1.0
    rig.agent.hold_pool(SUBPOOL, 1)
    rig.agent.hold_pool(SUBPOOL, 0)
    await rig.clock.advance(2.0)
    assert rig.states() == {}


async def test_many_calls_let_more_wait(rig: Rig) -> None:
    rig = Rig(pool_max=8, memory_mb=4096)
    await rig.agent.start()
    await hold(rig, SUBPOOL, 1)
    for number in range(30):
        await rig.run(f"f{number}")
    assert rig.agent.stats().pools[SUBPOOL][1] > 1
    await rig.clock.advance(1.0)
    assert waiting(rig) > 1
    await rig.clock.advance(120.0)
    assert waiting(rig) <= 2
    await finish(rig)


@pytest.mark.parametrize(
    ("pool", "floor", "error"),
    [
        ("python3.11@12", 1, InvalidInput),
        ("python3.11@", 1, InvalidInput),
        ("python3.11", -1, InvalidInput),
        ("python3.11", 10_001, InvalidInput),
        ("cobol", 1, NoSuchRuntime),
        (f"cobol+sdk@{OURS}", 1, NoSuchRuntime),
    ],
)
async def test_what_is_no_pool_is_refused(
    rig: Rig, pool: str, floor: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        rig.agent.hold_pool(pool, floor)


async def test_the_settings_hold_them_from_the_start() -> None:
    rig = Rig(account_pools=(f"{OURS}:python3.11:2:throttle",), pool_max=4)
    await rig.agent.start()
    await rig.clock.advance(1.0)
    assert rig.agent.stats().pools == {SUBPOOL: (2, 2)}
    await finish(rig)
    rig = Rig(account_pools=(f"{OURS}:cobol:2:throttle",))
    with pytest.raises(SetupFailed, match=r"account_pools: .*cobol"):
        await rig.agent.start()
