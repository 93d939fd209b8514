"""How many hosts there should be: more ahead of need, fewer without aborting anything, and never to and fro."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import settle
from tests.fakes.hosts import FakeHost, spec

from forerun.control.fleet.capacity import FleetCapacity
from forerun.control.fleet.sizing import HostLoad, Sizer, Sizing
from forerun.model import Phase, Standby

SIZING = Sizing(low=0.3, high=0.7, quiet_s=60.0)


def loads(*used: int, memory_mb: int = 1000) -> list[HostLoad]:
    return [
        HostLoad(name=f"h{number}", memory_mb=memory_mb, used_mb=each)
        for number, each in enumerate(used)
    ]


def test_what_is_expected_is_asked_for_before_it_comes() -> None:
    wish = Sizer(SIZING).decide(loads(300, 300), expected_mb=1500, refused=0, now=0.0)
    assert (wish.hosts, wish.leave) == (3, "")
    wish = Sizer(SIZING).decide(loads(300, 300), expected_mb=700, refused=0, now=0.0)
    assert wish.hosts == 2


def test_refusals_ask_for_one_more_at_least() -> None:
    wish = Sizer(SIZING).decide(loads(100, 100), expected_mb=0, refused=1, now=0.0)
    assert wish.hosts == 3


def test_without_any_host_one_is_asked_for() -> None:
    wish = Sizer(SIZING).decide([], expected_mb=512, refused=3, now=0.0)
    assert wish.hosts == 1
    assert wish.memory_mb >= 512


def test_hosts_are_let_go_one_at_a_time_and_only_after_a_while() -> None:
    sizer = Sizer(SIZING)
    left = []
    for second in range(0, 200, 10):
        wish = sizer.decide(loads(50, 0, 20, 30), expected_mb=0, refused=0, now=float(second))
        left.append(wish.leave)
    assert [bool(name) for name in left] == [
        second in (60, 120, 180) for second in range(0, 200, 10)
    ]
    # The one with the least to do, though it runs something.
    assert set(left) == {"", "h1"}


def test_with_a_low_of_nothing_no_host_is_let_go() -> None:
    sizer = Sizer(Sizing())
    for second in range(0, 1000, 10):
        wish = sizer.decide(loads(0, 0), expected_mb=0, refused=0, now=float(second))
        assert (wish.hosts, wish.leave) == (2, "")


def test_one_that_is_leaving_stays_before_another_is_asked_for() -> None:
    leaving = HostLoad(name="old", memory_mb=1000, used_mb=10, leaving=True)
    wish = Sizer(SIZING).decide([*loads(900), leaving], expected_mb=0, refused=0, now=0.0)
    assert (wish.keep, wish.hosts) == (("old",), 2)


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.floats(0, 1)), min_size=1, max_size=8),
    st.integers(0, 4000),
)
def test_what_lets_a_host_go_does_not_ask_for_one_in_the_next_moment(hosts, expected_mb) -> None:
    sizer = Sizer(SIZING)
    known = [
        HostLoad(name=f"h{number}", memory_mb=memory_mb, used_mb=int(memory_mb * part))
        for number, (memory_mb, part) in enumerate(hosts)
    ]
    for second in (0.0, 60.0):
        wish = sizer.decide(known, expected_mb=expected_mb, refused=0, now=second)
    assert wish.hosts >= 1
    if wish.leave:
        after = [
            HostLoad(
                name=each.name,
                memory_mb=each.memory_mb,
                used_mb=each.used_mb,
                leaving=each.name == wish.leave,
            )
            for each in known
        ]
        again = sizer.decide(after, expected_mb=expected_mb, refused=0, now=61.0)
        assert (again.hosts, again.keep, again.leave) == (len(known) - 1, (), "")


class Engine:
    """Implements as much of ``Fleet`` as is asked here."""

    def __init__(self) -> None:
        self.scaled: list[tuple[int, int]] = []

    async def scale(self, hosts: int, memory_mb: int) -> None:
        self.scaled.append((hosts, memory_mb))


@pytest.fixture
def sized(fleet_of):
    """A fleet and who sees to its size; what is wished of hosts is shown by them at once."""

    def make(*hosts: FakeHost):
        fleet, engine = fleet_of(*hosts), Engine()

        async def wish(name: str, phase: Phase) -> None:
            host = fleet.links.hosts[name]
            host.cordon(on=phase is not Phase.ACTIVE)
            host.info = msgspec.structs.replace(host.info, phase=phase)

        capacity = FleetCapacity(
            fleet.host,
            engine,
            wish=wish,
            sizing=Sizing(low=0.3, high=0.7, quiet_s=10.0),
            clock=fleet.clock,
        )
        return fleet, engine, capacity

    return make


async def test_a_standby_that_is_foreseen_asks_for_hosts(sized) -> None:
    fleet, engine, capacity = sized(FakeHost("one"))
    await capacity.turn()
    assert engine.scaled == [(1, 1024)]
    fleet.host.stand_by(spec(), Standby(idle=12, lease_s=600.0))
    await capacity.turn()
    assert engine.scaled[-1] == (2, 2048)


async def test_a_host_that_is_let_go_ends_what_it_runs_and_gets_nothing_new(sized) -> None:
    one, other = FakeHost("one", memory_mb=4096), FakeHost("other", memory_mb=4096)
    fleet, engine, capacity = sized(one, other)
    for host in (one, other):
        host.gates["*"] = asyncio.Event()
    tasks = [fleet.begin() for _ in range(2)]
    await settle()
    assert (one.busy, other.busy) == (1, 1)
    fleet.links.beat()
    for _ in range(4):
        await capacity.turn()
        await fleet.pass_s(5.0)
    leaving, staying = (one, other) if one.cordoned else (other, one)
    assert leaving.cordoned
    assert not staying.cordoned
    assert engine.scaled[-1] == (1, 4096)
    # It still runs, and nothing else comes to it, though it has more room.
    more = [fleet.begin() for _ in range(4)]
    await settle()
    assert (leaving.busy, staying.busy) == (1, 5)
    for host in (one, other):
        host.gates["*"].set()
    assert {run.host for run in await asyncio.gather(*tasks)} == {"one", "other"}
    assert {run.host for run in await asyncio.gather(*more)} == {staying.name}


async def test_one_that_is_leaving_is_kept_when_there_is_more_to_do(sized) -> None:
    one, other = FakeHost("one"), FakeHost("other")
    fleet, engine, capacity = sized(one, other)
    for _ in range(4):
        await capacity.turn()
        await fleet.pass_s(5.0)
    (leaving,) = (host for host in (one, other) if host.cordoned)
    fleet.host.stand_by(spec(), Standby(idle=10, lease_s=600.0))
    await capacity.turn()
    assert not leaving.cordoned
    assert engine.scaled[-1] == (2, 2048)
