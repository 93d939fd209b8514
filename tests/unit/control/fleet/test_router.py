"""Many hosts as one: where calls go, and what happens when hosts refuse, fail and go."""

import asyncio

import pytest
from tests.fakes.clock import settle
from tests.fakes.hosts import FakeHost, FakeLimits, call, spec
from tests.unit.control.fleet.fleeting import Fleet, near

from forerun.errors import HostLost, HostUnreachable, NoSuchRuntime, SetupFailed, Throttled
from forerun.model import Likely, StartType, Timings

SURE = [Likely(service="s:80", likelihood=0.99, executions=500)]
RARE = [Likely(service="s:80", likelihood=0.05, executions=500)]
NEW = [Likely(service="s:80", likelihood=1.0, executions=19)]


def two(fleet_of, services: list[Likely], **about) -> tuple[Fleet, FakeHost, FakeHost]:
    """Two hosts whose ways to a service differ by 50 ms."""
    one, other = FakeHost("one", **about), FakeHost("other", **about)
    one.channels["s:80"], other.channels["s:80"] = near(51.0), near(1.0)
    return fleet_of(one, other, services={"f": services}), one, other


def hold(*hosts: FakeHost) -> None:
    for host in hosts:
        host.gates["*"] = asyncio.Event()


def let(*hosts: FakeHost) -> None:
    for host in hosts:
        host.gates.pop("*").set()


async def test_what_calls_a_service_runs_near_to_it_and_moves_when_the_ways_change(
    fleet_of,
) -> None:
    fleet, one, other = two(fleet_of, SURE)
    assert await fleet.where(20) == {"other": 20}
    one.channels["s:80"], other.channels["s:80"] = near(1.0), near(51.0)
    await fleet.pass_s(1.0)
    moved = await fleet.where(20)
    # Some stay with the warm sandbox, until that has cost as much as the start elsewhere.
    assert 2 <= moved["other"] <= 11
    assert await fleet.where(20) == {"one": 20}


async def test_what_starts_slowly_stays_where_it_is_warm_and_what_starts_at_once_moves(
    fleet_of,
) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    one.channels["s:80"], other.channels["s:80"] = near(51.0), near(1.0)
    one.idle |= {"heavy-1": 1, "light-1": 1}
    for host in (one, other):
        host.trees |= {"heavy", "light"}
        host.pools["python3.11"] = 1
    fleet = fleet_of(
        one,
        other,
        services={"heavy": SURE, "light": SURE},
        starts_ms={"heavy": 2000.0, "light": 5.0},
    )
    assert await fleet.where(20, "light") == {"other": 20}
    assert await fleet.where(20, "heavy") == {"one": 20}
    assert (await fleet.where(40, "heavy"))["other"] >= 15


async def test_its_record_says_why(fleet_of) -> None:
    fleet, *_ = two(fleet_of, SURE)
    run = await fleet.run()
    placed = run.placed
    assert placed is not None
    assert (placed.host, placed.service, placed.likelihood) == ("other", "s:80", 0.99)
    assert placed.scores["one"] - placed.scores["other"] == pytest.approx(0.99 * 50)
    assert "on other: nearest to s:80: 1.0 ms, elsewhere up to 50.5 ms" in run.placement
    assert "likelihood 0.99" in run.placement


@pytest.mark.parametrize("services", [RARE, NEW, []], ids=["rare", "new", "nothing known"])
async def test_what_hardly_calls_it_is_spread_as_usual(fleet_of, services) -> None:
    fleet, one, other = two(fleet_of, services, cpus=8, memory_mb=4096)
    hold(one, other)
    tasks = [fleet.begin() for _ in range(16)]
    await settle()
    assert abs(one.busy - other.busy) <= 2
    let(one, other)
    await asyncio.gather(*tasks)


async def test_one_that_was_not_measured_is_not_excluded(fleet_of) -> None:
    fleet, one, other = two(fleet_of, SURE)
    fleet.links.join(FakeHost("unknown"))
    one.failing = other.failing = HostUnreachable("no")
    assert (await fleet.run()).host == "unknown"


async def test_without_room_at_the_best_the_next_takes_it_at_once(fleet_of) -> None:
    fleet, _, other = two(fleet_of, SURE, memory_mb=256)
    hold(other)
    tasks = [fleet.begin() for _ in range(2)]
    await settle()
    assert (await fleet.run()).host == "one"
    assert fleet.clock.monotonic() == 0.0
    let(other)
    await asyncio.gather(*tasks)


async def test_a_host_that_refuses_for_want_of_memory_is_passed_over_at_once(fleet_of) -> None:
    """Its last beat says that it has room."""
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    one.busy_mb = one.info.memory_mb
    assert await fleet.where(10) == {"other": 10}
    assert fleet.clock.monotonic() == 0.0
    assert one.refused <= 1


async def test_a_warm_sandbox_is_used_wherever_it_is(fleet_of) -> None:
    fleet = fleet_of(*(FakeHost(f"h{n}") for n in range(5)))
    first = await fleet.run()
    await fleet.pass_s(1.0)
    assert await fleet.where(20) == {first.host: 20}
    assert (await fleet.run()).start_type is StartType.WARM


async def test_idle_sandboxes_that_others_were_quicker_to_take_start_none_while_there_are_more(
    fleet_of,
) -> None:
    hosts = [FakeHost(name) for name in ("a", "b", "c", "d")]
    for host in hosts:
        host.idle[spec().key] = 2
    fleet = fleet_of(*hosts)
    for host in hosts[:3]:
        host.idle.clear()
    run = await fleet.run()
    assert (run.host, run.start_type) == ("d", StartType.WARM)
    refused = sum(host.refused for host in hosts)
    # Who refused is known to have none, so calls that follow do not ask in vain again.
    assert {(await fleet.run()).host for _ in range(5)} == {"d"}
    assert sum(host.refused for host in hosts) <= max(3, refused)


async def test_the_last_that_seemed_to_have_an_idle_sandbox_starts_one(fleet_of) -> None:
    hosts = [FakeHost("a"), FakeHost("b")]
    for host in hosts:
        host.idle[spec().key] = 1
    fleet = fleet_of(*hosts)
    for host in hosts:
        host.idle.clear()
    run = await fleet.run()
    assert run.start_type is not StartType.WARM
    assert sum(host.refused for host in hosts) == 1


async def test_calls_beyond_what_was_said_are_counted_before_the_next_beat(fleet_of) -> None:
    one, other = FakeHost("one", cpus=1), FakeHost("other", cpus=1)
    fleet = fleet_of(one, other)
    hold(one, other)
    tasks = [fleet.begin() for _ in range(8)]
    await settle()
    assert (one.busy, other.busy) == (4, 4)
    let(one, other)
    await asyncio.gather(*tasks)


async def test_one_that_cannot_be_reached_is_passed_over(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    one.failing = HostUnreachable("cut off")
    assert await fleet.where(10) == {"other": 10}


async def test_a_call_that_may_have_run_is_not_run_again(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    hold(one, other)
    task = fleet.begin()
    await settle()
    holder, left = (one, other) if one.busy else (other, one)
    fleet.links.lose(holder.name, error=HostLost("gone", over_in_s=6.0))
    with pytest.raises(HostLost, match=rf"{holder.name} was lost.*retry") as caught:
        await task
    assert caught.value.over_in_s == 6.0
    let(left)
    assert left.served == []
    assert (await fleet.run()).host == left.name


async def test_silent_hosts_get_no_calls_until_they_are_heard_again(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    for _ in range(8):
        await fleet.clock.advance(0.5)
        fleet.links.beat("other")
    assert await fleet.where(10) == {"other": 10}
    other.failing = HostUnreachable("now this one")
    fleet.links.beat("one")
    assert await fleet.where(2) == {"one": 2}


async def test_cordoned_hosts_get_no_calls(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    one.cordon(on=True)
    fleet.links.beat()
    assert await fleet.where(10) == {"other": 10}
    one.cordon(on=False)
    other.cordon(on=True)
    fleet.links.beat()
    assert await fleet.where(10) == {"one": 10}


async def test_what_has_room_nowhere_waits_and_then_is_throttled(fleet_of) -> None:
    one = FakeHost("one", memory_mb=128)
    fleet = fleet_of(one)
    hold(one)
    held = fleet.begin()
    await settle()
    waiting = fleet.begin("g")
    await fleet.pass_s(1.0)
    assert not waiting.done()
    let(one)
    await held
    await fleet.pass_s(0.5)
    assert (await waiting).host == "one"
    hold(one)
    held = fleet.begin()
    await settle()
    late = fleet.begin("g")
    await fleet.pass_s(3.0)
    with pytest.raises(Throttled, match="no memory became free on any host"):
        await late
    let(one)
    await held


async def test_waiting_calls_are_bounded_in_number(fleet_of) -> None:
    one = FakeHost("one", memory_mb=128)
    fleet = fleet_of(one, waiting_calls=1)
    hold(one)
    held = fleet.begin()
    await settle()
    waiting = fleet.begin("g")
    await settle()
    with pytest.raises(Throttled, match="too many"):
        await fleet.run("h")
    let(one)
    await held
    await fleet.pass_s(1.0)
    await waiting


async def test_what_no_host_could_ever_run_is_refused_at_once(fleet_of) -> None:
    fleet = fleet_of(FakeHost("one", memory_mb=512), FakeHost("other", memory_mb=256))
    with pytest.raises(SetupFailed, match="1024 MB, the largest host of the cluster has 512 MB"):
        await fleet.run(memory_mb=1024)
    with pytest.raises(NoSuchRuntime, match=r"no host .* for cobol; there are: python3\.11"):
        await fleet.run(runtime="cobol")
    with pytest.raises(NoSuchRuntime):
        await fleet.host.take_snapshot(spec(runtime="cobol"))
    with pytest.raises(NoSuchRuntime):
        fleet.host.hold_pool("cobol", 1)
    assert (await fleet.run(memory_mb=500)).host == "one"


async def test_runtimes_are_those_of_any_host(fleet_of) -> None:
    fleet = fleet_of(FakeHost("one"), FakeHost("other", runtimes=("nodejs20.x",)))
    assert fleet.host.runtimes() == ["nodejs20.x", "python3.11"]
    assert await fleet.where(5, runtime="nodejs20.x") == {"other": 5}


async def test_without_any_host_a_call_waits_for_one(fleet_of) -> None:
    fleet = fleet_of()
    task = fleet.begin()
    await fleet.pass_s(1.0)
    fleet.links.join(FakeHost("new"))
    await fleet.pass_s(0.5)
    assert (await task).host == "new"
    lonely = fleet_of()
    task = lonely.begin()
    await lonely.pass_s(3.0)
    with pytest.raises(HostUnreachable, match="no host of the cluster is connected"):
        await task


async def test_times_of_a_host_that_refused_are_forgotten(fleet_of) -> None:
    fleet = fleet_of(FakeHost("one", memory_mb=128))
    fleet.links.hosts["one"].failing = Throttled("full", reason="x")
    timings = Timings(received=1.0, acquired=5.0)
    task = asyncio.get_running_loop().create_task(fleet.host.run(spec(), call(), timings))
    await fleet.pass_s(3.0)
    with pytest.raises(Throttled):
        await task
    assert (timings.received, timings.acquired) == (1.0, 0.0)


async def test_a_cancelled_call_is_counted_no_more(fleet_of) -> None:
    one = FakeHost("one")
    fleet = fleet_of(one)
    hold(one)
    task = fleet.begin()
    await settle()
    state = fleet.host.view.get("one")
    assert (state.running, state.free_mb) == (1, 1024 - 128)
    task.cancel()
    await settle()
    assert task.cancelled()
    assert (state.running, state.free_mb) == (0, 1024)


async def test_a_limit_grows_host_by_host_without_a_throttle_up_to_the_maximum(fleet_of) -> None:
    hosts = [FakeHost(f"h{n}", memory_mb=1 << 16) for n in range(6)]
    limits = FakeLimits([host.name for host in hosts], most=40, step=10)
    fleet = fleet_of(*hosts, limits=limits)
    hold(*hosts)
    tasks = [fleet.begin() for _ in range(40)]
    await settle(100)
    assert sorted(host.busy for host in hosts) == [0, 0, 10, 10, 10, 10]
    with pytest.raises(Throttled, match="Rate Exceeded"):
        await fleet.run()
    assert sum(host.busy for host in hosts) == 40
    let(*hosts)
    await asyncio.gather(*tasks)


async def test_a_lost_host_of_the_set_loses_no_call_that_has_not_begun(fleet_of) -> None:
    hosts = [FakeHost(f"h{n}") for n in range(3)]
    limits = FakeLimits([host.name for host in hosts], most=40, step=10)
    fleet = fleet_of(*hosts, limits=limits)
    assert await fleet.where(3) == {"h0": 3}
    fleet.links.lose("h0")
    assert await fleet.where(3) == {"h1": 3}


async def test_a_reservation_is_limited_by_itself(fleet_of) -> None:
    hosts = [FakeHost(f"h{n}") for n in range(3)]
    limits = FakeLimits([host.name for host in hosts], most=40, step=10)
    fleet = fleet_of(*hosts, limits=limits)
    hold(hosts[0])
    tasks = [fleet.begin(reserved=2) for _ in range(2)]
    await settle()
    with pytest.raises(Throttled, match="Rate Exceeded"):
        await fleet.run(reserved=2)
    let(hosts[0])
    await asyncio.gather(*tasks)


async def test_hosts_that_may_run_it_and_are_all_away_are_no_lack_of_memory(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other, limits=FakeLimits(["one"], most=40, step=10))
    assert await fleet.where(1) == {"one": 1}
    one.failing = HostUnreachable("cut off")
    task = fleet.begin()
    await fleet.pass_s(3.0)
    with pytest.raises(HostUnreachable, match="cannot be reached, so nothing was run"):
        await task
