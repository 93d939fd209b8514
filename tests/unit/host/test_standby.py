"""What a host is told to hold ready is there, no more and no longer, and never at the expense of a call."""

import math

import msgspec
import pytest
from tests.fakes.clock import settle
from tests.unit.host.rig import LONG, Rig, hold, kept, spec

from forerun.errors import InvalidInput
from forerun.model import InitFailure, Reason, Standby, StartType


async def test_what_was_prepared_serves_the_first_call(rig: Rig) -> None:
    hold(rig, idle=1, start=StartType.PRELOADED, reason=Reason.CALLER, cause="req-a")
    await settle()
    assert kept(rig) == (1, 0)
    [sandbox] = rig.sandboxes.made
    assert sandbox.calls == [], "it was run"
    [shown] = rig.agent.sandboxes()
    assert (shown.state, shown.calls, shown.cause) == ("idle", 0, "req-a")
    first, second = await rig.run(), await rig.run()
    assert (first.start_type, first.foresight, first.cause) == (
        StartType.PRELOADED,
        "hit",
        "req-a",
    )
    assert first.init is None
    assert (second.start_type, second.foresight, second.cause) == (StartType.WARM, "", "")
    assert second.sandbox_id == first.sandbox_id


async def test_a_call_joins_what_is_loading(rig: Rig) -> None:
    rig.sandboxes.init_s = 1.0
    hold(rig, idle=1, start=StartType.PRELOADED, reason=Reason.CALLER, cause="req-a")
    await rig.clock.advance(0.7)
    first, second = rig.begin("k", "a"), rig.begin("k", "b")
    rig.let("a")
    rig.let("b")
    await rig.clock.advance(0.4)
    run = await first
    assert (run.start_type, run.foresight, run.cause) == (StartType.PRELOADED, "hit", "req-a")
    assert not second.done(), "both joined one sandbox"
    await rig.clock.advance(2.0)
    assert (await second).start_type is StartType.ZYGOTE


async def test_a_call_that_joined_and_left_leaves_the_sandbox(rig: Rig) -> None:
    rig.sandboxes.init_s = 1.0
    hold(rig, idle=1)
    await rig.clock.advance(0.5)
    task = rig.begin("k", "a")
    await settle()
    task.cancel()
    await rig.clock.advance(1.0)
    assert kept(rig) == (1, 0)
    assert (await rig.run()).start_type is StartType.PREWARMED


async def test_a_call_that_joined_in_vain_has_its_own(rig: Rig) -> None:
    rig.sandboxes.init_s = 1.0
    rig.sandboxes.bad_handlers.add("bad")
    hold(rig, idle=1, about={"handler": "bad"})
    await rig.clock.advance(0.5)
    task = rig.begin("k", "a", handler="bad")
    await rig.clock.advance(0.7)
    rig.sandboxes.bad_handlers.clear()
    rig.let("a")
    await rig.clock.advance(1.0)
    assert (await task).outcome.error is None


async def test_a_call_joins_what_is_no_longer_wanted_otherwise(rig: Rig) -> None:
    rig.sandboxes.init_s = 1.0
    hold(rig, idle=1)
    await rig.clock.advance(0.5)
    task = rig.begin("k", "a")
    rig.let("a")
    await settle()
    rig.agent.stand_by(spec(), Standby())
    await rig.clock.advance(0.7)
    assert (await task).foresight == "hit"
    assert kept(rig) == (1, 0)


async def test_as_many_as_memory_is_free_for(rig: Rig) -> None:
    hold(rig, idle=9, about={"memory_mb": 300})
    await rig.clock.advance(0.5)
    # The idle ones give back what they do not hold only after a second.
    assert kept(rig) == (3, 0)
    assert rig.agent.standing("k").failure == "it needs 300 MB, 124 MB are free"
    await rig.clock.advance(20.0)
    assert kept(rig) == (9, 0)
    assert rig.agent.standing("k").failure == ""


async def test_calls_say_whether_anything_was_foreseen(rig: Rig) -> None:
    missed = await rig.run()
    assert (missed.foresight, missed.cause) == ("miss", "")
    assert (await rig.run()).foresight == ""
    hold(rig, idle=1, reason=Reason.PERIOD, cause="3600")
    await rig.clock.advance(700.0)
    found = await rig.run()
    assert (found.start_type, found.foresight, found.cause) == (
        StartType.WARM,
        "hit",
        "period 3600",
    )
    assert found.placement == "idle sandbox of this version, kept because a call was expected"
    assert found.sandbox_id == missed.sandbox_id
    assert (await rig.run()).foresight == ""


async def test_one_that_dies_is_replaced(rig: Rig) -> None:
    hold(rig, idle=1)
    await settle()
    rig.sandboxes.made[0].die()
    await settle()
    assert kept(rig) == (0, 0)
    await rig.clock.advance(2.0)
    assert kept(rig) == (1, 0)
    assert len(rig.sandboxes.made) == 2


async def test_one_that_stays_at_work_is_replaced_and_a_short_call_replaces_none(rig: Rig) -> None:
    hold(rig, idle=1)
    await settle()
    await rig.run()
    await rig.clock.advance(5.0)
    assert len(rig.sandboxes.made) == 1
    working = rig.begin("k", "w")
    await rig.clock.advance(2.0)
    assert kept(rig) == (1, 1)
    rig.let("w")
    await working
    assert kept(rig) == (2, 0)
    await rig.clock.advance(LONG / 2)
    assert kept(rig) == (1, 0)


async def test_the_lease_ends_what_nobody_used(rig: Rig) -> None:
    hold(rig, idle=2, lease_s=30.0)
    await settle()
    await rig.run()
    await rig.clock.advance(29.0)
    assert kept(rig) == (2, 0)
    await rig.clock.advance(2.0)
    assert kept(rig) == (1, 0), "the one that was used has its own keep-alive"
    await rig.clock.advance(100.0)
    assert kept(rig) == (0, 0)


async def test_a_smaller_standby_ends_what_nobody_used(rig: Rig) -> None:
    hold(rig, idle=3)
    await settle()
    await rig.run()
    hold(rig, idle=2)
    await settle()
    assert kept(rig) == (2, 0)
    rig.agent.stand_by(spec(), Standby())
    await settle()
    assert kept(rig) == (1, 0)
    assert (await rig.run()).start_type is StartType.WARM


async def test_what_becomes_too_much_while_it_is_made_is_given_up(rig: Rig) -> None:
    rig.sandboxes.init_s = 1.0
    hold(rig, idle=2)
    await rig.clock.advance(0.5)
    assert rig.agent.standing("k").preparing == 2
    hold(rig, idle=1)
    await rig.clock.advance(2.0)
    assert kept(rig) == (1, 0)
    hold(rig, idle=2)
    await rig.clock.advance(0.5)
    rig.agent.stand_by(spec(), Standby())
    await rig.clock.advance(2.0)
    assert kept(rig) == (0, 0)
    assert rig.states() == {}


@pytest.mark.parametrize("linger_s", [0.0, 5.0])
async def test_lingering_is_as_long_as_it_says(rig: Rig, linger_s: float) -> None:
    hold(rig, linger_s=linger_s)
    await rig.run()
    await settle()
    if linger_s:
        assert kept(rig) == (1, 0)
        await rig.clock.advance(linger_s - 0.3)
        assert kept(rig) == (1, 0)
        await rig.clock.advance(0.6)
    assert kept(rig) == (0, 0)
    assert rig.sandboxes.living == []


async def test_lingering_longer_than_the_hosts_own_rule_is_a_hit(rig: Rig) -> None:
    first = await rig.run()
    hold(rig, linger_s=900.0)
    await rig.clock.advance(890.0)
    again = await rig.run()
    assert (again.sandbox_id, again.foresight) == (first.sandbox_id, "hit")
    await rig.clock.advance(89.0)
    assert kept(rig) == (1, 0)
    rig.agent.stand_by(spec(), Standby())
    await rig.clock.advance(60.0)
    assert kept(rig) == (0, 0)


async def test_scaling_in_ends_those_at_work_after_their_call(rig: Rig) -> None:
    hold(rig, idle=1)
    await settle()
    calls = [rig.begin("k", name) for name in "abc"]
    await rig.clock.advance(3.0)
    assert kept(rig) == (1, 3)
    hold(rig, idle=1, linger_s=0.0)
    for name, task in zip("abc", calls, strict=True):
        rig.let(name)
        assert (await task).outcome.error is None
    await settle()
    assert kept(rig) == (1, 0)
    assert len(rig.sandboxes.living) == 1


async def test_a_failing_init_is_tried_again_later_and_later(rig: Rig) -> None:
    rig.sandboxes.bad_handlers.add("bad")
    hold(rig, idle=1, about={"handler": "bad"})
    await rig.clock.advance(100.0)
    tried = len(rig.sandboxes.made)
    assert 4 <= tried <= 8
    assert rig.agent.standing("k").failure == "Runtime.ImportModuleError: init failed"
    hold(rig, idle=2, about={"handler": "bad"})
    await settle()
    assert len(rig.sandboxes.made) == tried, "told again, it was tried at once"
    rig.sandboxes.bad_handlers.clear()
    await rig.clock.advance(300.0)
    assert kept(rig) == (2, 0)
    assert rig.agent.standing("k").failure == ""


async def test_many_of_a_failing_init_are_no_more_tries(rig: Rig) -> None:
    rig.sandboxes.bad_handlers.add("bad")
    rig.sandboxes.init_s = 0.1
    hold(rig, idle=7, total=7, about={"handler": "bad", "memory_mb": 16})
    await rig.clock.advance(100.0)
    assert len(rig.sandboxes.made) <= 4 * 8


async def test_many_are_made_one_after_the_other_without_a_pause(rig: Rig) -> None:
    rig.sandboxes.init_s = 0.01
    hold(rig, total=40, about={"memory_mb": 16})
    await rig.clock.advance(0.2)
    assert rig.agent.standing("k").provisioned == 40
    stats = rig.agent.stats()
    assert (stats.held, stats.prepared, stats.unused) == (1, 40, 0)
    rig.agent.stand_by(spec(memory_mb=16), Standby())
    assert rig.agent.stats().unused == 40


async def test_one_that_always_dies_while_it_waits_is_not_made_for_ever(rig: Rig) -> None:
    hold(rig, idle=1)
    for _ in range(400):
        await rig.clock.advance(0.25)
        for sandbox in rig.sandboxes.living:
            sandbox.die()
    assert len(rig.sandboxes.made) <= 9
    assert "ended by itself" in rig.agent.standing("k").failure


async def test_sandboxes_that_cannot_be_made_are_told_of(rig: Rig) -> None:
    rig.agent.stand_by(
        msgspec.structs.replace(spec(), runtime="cobol"), Standby(idle=1, lease_s=LONG)
    )
    assert rig.agent.standing("k").failure == "this machine has no interpreter for cobol"
    hold(rig, "big", idle=1, about={"memory_mb": 5000})
    assert "5000 MB" in rig.agent.standing("big").failure
    rig.sandboxes.create_errors.append(OSError("no more"))
    hold(rig, "odd", idle=1)
    await settle()
    assert "no more" in rig.agent.standing("odd").failure
    await rig.clock.advance(5.0)
    assert kept(rig, "odd") == (1, 0)


async def test_a_call_gets_the_memory_that_was_to_be_for_a_preparation(rig: Rig) -> None:
    rig.sandboxes.create_s = 1.0
    hold(rig, idle=1, about={"memory_mb": 1000})
    await rig.clock.advance(0.5)
    task = rig.begin("other", "go", memory_mb=1000)
    rig.let("go")
    await rig.clock.advance(0.6)
    run = await task
    assert run.outcome.error is None
    assert kept(rig) == (0, 0)


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"idle": -1}, "idle"),
        ({"total": 10_001}, "total"),
        ({"idle": 1, "lease_s": math.nan}, "lease_s"),
        ({"idle": 1, "linger_s": -0.5}, "linger_s"),
        ({"idle": 1, "calls_per_s": math.nan}, "calls_per_s"),
    ],
    ids=["idle", "total", "lease", "linger", "calls"],
)
async def test_numbers_that_are_none_are_refused(
    rig: Rig, wanted: dict[str, float], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        rig.agent.stand_by(spec(), Standby(**wanted))


async def test_a_failed_init_of_a_call_is_still_its_answer(rig: Rig) -> None:
    rig.sandboxes.bad_handlers.add("bad")
    hold(rig, idle=1, about={"handler": "bad"})
    await settle()
    assert isinstance((await rig.run(handler="bad")).outcome, InitFailure)
