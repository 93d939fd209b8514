"""The agent: which sandbox serves, what is kept, and what becomes of failures."""

import asyncio
import itertools

import msgspec
import pytest
from tests.fakes.clock import settle
from tests.unit.host.rig import Rig, call, finish, spec

from forerun.errors import NoSuchRuntime, SetupFailed, Throttled
from forerun.host import HostAgent
from forerun.model import Credentials, InitFailure, SandboxSpec, StartType, Timings
from forerun.settings import HostSettings


async def test_the_cheapest_sandbox_serves(rig: Rig) -> None:
    cold = await rig.run()
    warm = await rig.run()
    forked = await rig.run("other")
    assert (cold.start_type, warm.start_type, forked.start_type) == (
        StartType.COLD,
        StartType.WARM,
        StartType.ZYGOTE,
    )
    assert cold.sandbox_id == warm.sandbox_id != forked.sandbox_id
    assert cold.init is not None
    assert warm.init is None
    assert warm.log_stream == cold.log_stream != forked.log_stream
    assert cold.log_stream.startswith("2023/11/14/[$LATEST]")
    assert warm.placement == "idle sandbox of this version"


async def test_the_most_recently_used_serves_first(rig: Rig) -> None:
    first, second = rig.begin("k", "a"), rig.begin("k", "b")
    await settle()
    rig.let("a")
    await first
    rig.let("b")
    await second
    run = await rig.run()
    assert run.sandbox_id == second.result().sandbox_id


async def test_a_waiting_sandbox_takes_the_code() -> None:
    rig = Rig(pool_min=2, pool_max=8)
    await rig.agent.start()
    rig.agent.hold_ready("python3.11")
    rig.agent.hold_ready("cobol")
    await rig.clock.advance(0.5)
    assert rig.agent.stats().pools == {"python3.11": (2, 2)}
    run = await rig.run()
    assert run.start_type is StartType.POOL
    assert run.placement == "warming pool"
    await rig.clock.advance(0.5)
    assert rig.agent.stats().pools["python3.11"][0] >= 2
    await finish(rig)


async def test_timings_and_the_deadline_leave_the_start_out(rig: Rig) -> None:
    rig.sandboxes.create_s, rig.sandboxes.init_s, rig.sandboxes.run_s = 1.0, 2.0, 0.5
    timings, request = Timings(), call()
    began = rig.clock.now()
    task = asyncio.get_running_loop().create_task(rig.agent.run(spec(), request, timings))
    await rig.clock.advance(4)
    run = await task
    assert [timings.acquired, timings.loaded, timings.started, timings.ended] == [
        began + 1,
        began + 3,
        began + 3,
        began + 3.5,
    ]
    assert request.deadline_ms == int((began + 3 + 3) * 1000)
    assert run.init.duration_ms == 2000


async def test_each_sandbox_gets_credentials_of_its_own(rig: Rig) -> None:
    numbers = itertools.count()
    agent = HostAgent(
        rig.sandboxes,
        clock=rig.clock,
        settings=HostSettings(memory_mb=512, pool_min=0, pool_max=0),
        credentials=lambda spec: Credentials(
            access_key_id=f"ASIA{next(numbers)}", secret_access_key=spec.key, session_token="t"
        ),
    )
    await agent.start()
    for key in ("a", "b", "a"):
        await agent.run(spec(key), call(), Timings())
    issued = [sandbox.spec.credentials for sandbox in rig.sandboxes.made]
    assert [(item.access_key_id, item.secret_access_key) for item in issued] == [
        ("ASIA0", "a"),
        ("ASIA1", "b"),
    ]
    await agent.close(grace_s=0)


async def test_credentials_that_cannot_be_issued_cost_no_sandbox(rig: Rig) -> None:
    def refuse(_: SandboxSpec) -> Credentials:
        raise SetupFailed("no key")

    agent = HostAgent(
        rig.sandboxes,
        clock=rig.clock,
        settings=HostSettings(pool_min=0, pool_max=0),
        credentials=refuse,
    )
    await agent.start()
    with pytest.raises(SetupFailed, match="no key"):
        await agent.run(spec(), call(), Timings())
    await settle()
    assert rig.sandboxes.living == []
    await agent.close(grace_s=0)


async def test_a_failed_init_is_an_answer_and_ends_the_sandbox(rig: Rig) -> None:
    rig.sandboxes.bad_handlers.add("bad.handler")
    run = await rig.run(handler="bad.handler")
    assert isinstance(run.outcome, InitFailure)
    await settle()
    assert rig.sandboxes.living == []
    assert (await rig.run(handler="bad.handler")).sandbox_id != run.sandbox_id


async def test_a_sandbox_that_died_working_is_destroyed(rig: Rig) -> None:
    rig.sandboxes.lethal.add("kill")
    run = await rig.run(request_id="kill")
    assert run.outcome.error == "Unhandled"
    await settle()
    assert rig.sandboxes.living == []
    assert rig.states() == {}


@pytest.mark.parametrize("silently", [True, False])
async def test_a_sandbox_that_died_idle_is_never_seen(rig: Rig, silently: bool) -> None:
    await rig.run()
    rig.sandboxes.made[0].die(silently=silently)
    run = await rig.run()
    assert run.start_type is StartType.ZYGOTE
    assert run.outcome.error is None
    await settle()
    assert rig.sandboxes.made[0].destroyed


async def test_a_pool_of_dead_sandboxes_is_left_behind() -> None:
    rig = Rig(pool_min=2, pool_max=2)
    await rig.agent.start()
    rig.agent.hold_ready("python3.11")
    await rig.clock.advance(0.5)
    for sandbox in rig.sandboxes.made:
        sandbox.die(silently=True)
    run = await rig.run()
    assert run.outcome.error is None
    await finish(rig)


async def test_failures_to_make_one_reach_the_caller(rig: Rig) -> None:
    rig.sandboxes.create_errors = [SetupFailed("unshare: EPERM"), OSError(24, "too many files")]
    with pytest.raises(SetupFailed, match="unshare"):
        await rig.run()
    with pytest.raises(SetupFailed, match="too many files"):
        await rig.run()
    assert (await rig.run()).outcome.error is None


async def test_what_this_host_cannot_do_is_refused_at_once(rig: Rig) -> None:
    with pytest.raises(SetupFailed, match="2048 MB"):
        await rig.run(memory_mb=2048)
    with pytest.raises(NoSuchRuntime):
        await rig.agent.run(msgspec.structs.replace(spec(), runtime="cobol"), call(), Timings())
    with pytest.raises(NoSuchRuntime):
        await rig.agent.take_snapshot(msgspec.structs.replace(spec(), runtime="cobol"))


async def test_idle_sandboxes_give_way(rig: Rig) -> None:
    for key in ("a", "b", "c", "d"):
        await rig.run(key, memory_mb=256)
    for _ in range(5):
        await rig.run("b", memory_mb=256)
    run = await rig.run("big", memory_mb=1010)
    assert run.placement.endswith("after a wait for memory")
    await settle()
    assert {info.key for info in rig.agent.sandboxes()} == {"b", "big"}


async def test_a_call_without_patience_is_refused_at_once_where_memory_lacks(rig: Rig) -> None:
    """Idle sandboxes give way to it all the same: that is a matter of a moment."""
    impatient = call()
    impatient.wait_s = 0.0
    for key in ("a", "b", "c", "d"):
        await rig.run(key, memory_mb=256)
    run = await rig.agent.run(spec("big", memory_mb=1010), impatient, Timings())
    assert run.placement.endswith("after a wait for memory")
    rig.begin("busy", "held", memory_mb=512)
    await settle()
    with pytest.raises(Throttled, match="no memory free"):
        await rig.agent.run(spec("big", memory_mb=1010), impatient, Timings())
    assert rig.clock.monotonic() == 0.0
    await rig.agent.run(spec("small"), impatient, Timings())
    rig.let("held")


async def test_waiting_for_memory_is_bounded_in_number_and_time() -> None:
    rig = Rig(memory_mb=256, waiting_calls=2)
    await rig.agent.start()
    holder = rig.begin("a", "a", memory_mb=256)
    await settle()
    waiting = [rig.begin(f"w{i}", "w") for i in range(2)]
    await settle()
    with pytest.raises(Throttled, match="too many"):
        await rig.run("late")
    await rig.clock.advance(9.7)
    assert not any(task.done() for task in waiting)
    await rig.clock.advance(0.6)
    for task in waiting:
        with pytest.raises(Throttled, match="memory"):
            await task
    rig.let("a")
    await holder
    assert (await rig.run("late")).outcome.error is None
    await finish(rig)


async def test_the_line_is_served_in_order_and_not_overtaken_for_ever() -> None:
    rig = Rig(memory_mb=256)
    await rig.agent.start()
    first = rig.begin("busy", "hold", memory_mb=256)
    await settle()
    order: list[str] = []
    other = rig.begin("other", "go", memory_mb=256)
    other.add_done_callback(lambda _: order.append("other"))
    rig.let("go")
    await settle()
    for number in range(40):
        rig.begin("busy", "go").add_done_callback(lambda _, n=number: order.append(f"busy{n}"))
    await settle()
    rig.let("hold")
    await first
    await settle(400)
    assert sorted(order) == sorted(["other", *(f"busy{n}" for n in range(40))])
    assert order.index("other") <= 20
    await finish(rig)


async def test_a_burst_of_strangers_is_forked_in_order_up_to_a_bound() -> None:
    rig = Rig(memory_mb=200 * 128, concurrent_creations=8)
    rig.sandboxes.create_s = 0.005
    await rig.agent.start()
    done: list[int] = []
    tasks = []
    for number in range(200):
        task = asyncio.get_running_loop().create_task(rig.run(f"f{number}", "go"))
        task.add_done_callback(lambda _, n=number: done.append(n))
        tasks.append(task)
    await rig.clock.advance(200 / 8 * 0.005 + 0.01)
    assert done == sorted(done)
    assert len(done) == 200
    assert rig.sandboxes.creating_max == 8
    assert all(task.result().outcome.error is None for task in tasks)
    await finish(rig)


async def test_keep_alive_ends(rig: Rig) -> None:
    await rig.run("rare")
    for _ in range(200):
        await rig.run("busy")
    await rig.clock.advance(300)
    assert [info.key for info in rig.agent.sandboxes()] == ["busy"]
    await rig.clock.advance(400)
    assert rig.agent.sandboxes() == []
    assert rig.sandboxes.living == []


async def test_even_the_busiest_sandbox_ends_before_its_credentials(rig: Rig) -> None:
    first = await rig.run()
    for _ in range(11 * 60):
        rig.clock.jump(60)
        run = await rig.run()
    assert run.sandbox_id == first.sandbox_id
    assert (await rig.run()).sandbox_id != first.sandbox_id


async def test_outdated_sandboxes_go_now_or_after_their_call(rig: Rig) -> None:
    await rig.run("old")
    working = rig.begin("old", "w")
    also = rig.begin("old", "v")
    await rig.run("new")
    await settle()
    rig.let("v")
    await also
    assert rig.agent.drop(lambda key: key == "old") == 2
    await settle()
    assert rig.states() == {"idle": 1, "busy": 1}
    rig.let("w")
    assert (await working).outcome.error is None
    await settle()
    assert [info.key for info in rig.agent.sandboxes()] == ["new"]
