"""What is held ready on many hosts: divided among them, and again when they come and go."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import settle
from tests.fakes.hosts import FakeHost, FakeLimits, spec
from tests.unit.control.fleet.fleeting import near

from forerun.control.fleet.dividing import among, by_size
from forerun.model import Likely, Standby, StartType


def held(*hosts: FakeHost, key: str = "f-1") -> list[int]:
    return [host.held[key].idle if key in host.held else 0 for host in hosts]


async def test_a_standby_is_divided_and_moves_when_a_host_goes(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    fleet.host.stand_by(spec(), Standby(idle=4, lease_s=100.0, calls_per_s=2.0))
    assert held(one, other) == [2, 2]
    assert one.held["f-1"].calls_per_s == 1.0
    await fleet.pass_s(10.0)
    one.cordon(on=True)
    fleet.links.beat()
    assert held(one, other) == [0, 4]
    assert other.held["f-1"].lease_s == pytest.approx(90.0)
    fleet.host.stand_by(spec(), Standby())
    assert not other.held


async def test_a_standby_stays_where_it_is_when_it_grows_and_shrinks(fleet_of) -> None:
    hosts = [FakeHost(f"h{n}") for n in range(4)]
    fleet = fleet_of(*hosts)
    fleet.host.stand_by(spec(), Standby(idle=1, lease_s=100.0))
    (first,) = (host for host in hosts if host.held)
    fleet.host.stand_by(spec(), Standby(idle=3, lease_s=100.0))
    assert first.held["f-1"].idle == 1
    assert sum(held(*hosts)) == 3
    fleet.host.stand_by(spec(), Standby(idle=1, lease_s=100.0))
    assert sum(held(*hosts)) == 1


async def test_a_standby_goes_where_its_calls_would(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    one.channels["s:80"], other.channels["s:80"] = near(51.0), near(1.0)
    services = {"f": [Likely(service="s:80", likelihood=0.99, executions=500)]}
    fleet = fleet_of(one, other, services=services)
    fleet.host.stand_by(spec(), Standby(idle=3, total=2, lease_s=100.0))
    assert held(one, other) == [0, 3]
    assert other.held["f-1"].total == 2


async def test_what_a_running_execution_may_call_is_held_where_it_runs(fleet_of) -> None:
    hosts = [FakeHost(f"h{n}") for n in range(6)]
    fleet = fleet_of(*hosts)
    for host in hosts:
        host.gates["caller"] = asyncio.Event()
    task = fleet.begin("a", request="caller")
    await settle()
    (where,) = (host for host in hosts if host.busy)
    fleet.host.stand_by(
        spec("b"), Standby(idle=1, lease_s=100.0, start=StartType.PRELOADED, cause="caller")
    )
    assert where.held["b-1"].start is StartType.PRELOADED
    where.gates["caller"].set()
    await task


async def test_a_standby_without_hosts_is_held_when_one_comes(fleet_of) -> None:
    fleet = fleet_of()
    fleet.host.stand_by(spec(), Standby(idle=2, lease_s=100.0))
    new = FakeHost("new")
    fleet.links.join(new)
    assert held(new) == [2]


async def test_how_long_to_keep_is_told_where_calls_go(fleet_of) -> None:
    one = FakeHost("one")
    fleet = fleet_of(one)
    fleet.host.stand_by(spec(), Standby(linger_s=0.0, lease_s=100.0))
    assert not one.held
    await fleet.run()
    assert one.held["f-1"].linger_s == 0.0


async def test_a_restarted_agent_is_told_anew(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    fleet.host.hold_pool("python3.11", 2)
    fleet.host.stand_by(spec(), Standby(idle=2, lease_s=100.0))
    one.held.clear()
    one.pools.clear()
    one.info = msgspec.structs.replace(one.info, incarnation="2")
    fleet.links.beat("one")
    assert sum(held(one, other)) == 2
    assert one.pools == {"python3.11": 2}


async def test_what_changed_is_held_no_more(fleet_of) -> None:
    one = FakeHost("one")
    fleet = fleet_of(one)
    fleet.host.stand_by(spec(), Standby(idle=2, lease_s=100.0))
    fleet.host.drop(lambda key: key == "f-1")
    new = FakeHost("new")
    fleet.links.join(new)
    fleet.links.lose("one")
    assert not new.held


async def test_pools_are_divided_by_size(fleet_of) -> None:
    one, other = FakeHost("one", memory_mb=3000), FakeHost("other", memory_mb=1000)
    fleet = fleet_of(one, other)
    fleet.host.hold_pool("python3.11+sdk", 4)
    assert (one.pools, other.pools) == ({"python3.11+sdk": 6}, {"python3.11+sdk": 2})
    new = FakeHost("new", memory_mb=4000)
    fleet.links.join(new)
    assert [host.pools["python3.11+sdk"] for host in (one, other, new)] == [5, 1, 6]
    fleet.host.hold_ready("python3.11")
    assert new.ready == ["python3.11"]
    fleet.links.lose("new")
    assert one.pools["python3.11+sdk"] == 6


async def test_an_accounts_pool_is_where_its_calls_may_run(fleet_of) -> None:
    hosts = [FakeHost(f"h{n}") for n in range(3)]
    fleet = fleet_of(*hosts, limits=FakeLimits(["h1", "h0", "h2"], most=40, step=10))
    await fleet.run()
    pool = f"python3.11@{'1' * 12}"
    fleet.host.hold_pool(pool, 2, borrow=False)
    assert [host.pools.get(pool) for host in hosts] == [None, 2, None]


async def test_the_whole_is_the_sum_of_its_hosts(fleet_of) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet = fleet_of(one, other)
    for host in (one, other):
        host.idle["f-1"], host.idle_mb["f-1"] = 2, 100
    fleet.links.beat()
    stats = fleet.host.stats()
    assert (stats.memory_mb, stats.booked_mb, stats.states["idle"]) == (2048, 400, 4)
    assert fleet.host.standing("f-1").idle == 4
    assert {info.host for info in fleet.host.sandboxes()} == {"one", "other"}
    await fleet.host.take_snapshot(spec())
    assert one.snapshots == other.snapshots == ["f-1"]
    assert fleet.host.drop(lambda key: key == "f-1") == 2


names = st.sampled_from("abcdef")
counts = st.dictionaries(names, st.integers(0, 9))


@given(st.integers(0, 1000), st.dictionaries(names, st.integers(0, 1 << 20), min_size=1))
def test_parts_by_size_are_all_of_it_and_near_to_the_share(total, sizes) -> None:
    parts = by_size(total, sizes)
    whole = sum(sizes.values())
    assert parts.keys() == sizes.keys()
    assert sum(parts.values()) == (total if whole else 0)
    assert all(abs(parts[name] - total * size / max(1, whole)) < 1 for name, size in sizes.items())


@given(
    st.integers(0, 40),
    st.lists(names, unique=True, min_size=1).flatmap(
        lambda order: st.integers(0, len(order)).map(lambda cut: [order[:cut], order[cut:]])
    ),
    counts,
    counts,
)
def test_what_is_divided_is_all_there_and_stays_where_it_was(total, groups, before, room) -> None:
    groups = [group for group in groups if group]
    given_to = among(total, groups, before, room)
    known = [name for group in groups for name in group]
    assert sum(given_to.values()) == total
    assert all(count > 0 for count in given_to.values())
    assert set(given_to) <= set(known)
    if total >= sum(before.get(name, 0) for name in known):
        assert all(given_to.get(name, 0) >= before.get(name, 0) for name in known)
    # Only the first ones get more than they have room for.
    for name in known[len(groups[0]) :]:
        assert given_to.get(name, 0) <= max(before.get(name, 0), room.get(name, 0))
