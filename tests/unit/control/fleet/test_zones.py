"""Functions that may run in one zone, or in jails alone: their calls, shares, standbys and snapshots keep to it, and errors say so."""

import asyncio

import pytest
from tests.fakes.clock import settle
from tests.fakes.hosts import FakeHost, FakeLimits, spec
from tests.unit.control.fleet.fleeting import Fleet

from forerun.errors import HostUnreachable, SetupFailed, Throttled
from forerun.model import Standby


def west_and_east(fleet_of, **about) -> tuple[Fleet, FakeHost, FakeHost]:
    west, east = FakeHost("west-1", zone="west"), FakeHost("east-1", zone="east")
    return fleet_of(west, east, FakeHost("nowhere"), **about), west, east


async def test_calls_keep_to_the_zone_even_where_others_are_warm(fleet_of) -> None:
    fleet, west, _ = west_and_east(fleet_of)
    west.idle["f-1"] = 4
    fleet.links.beat()
    assert await fleet.where(20, zone="east") == {"east-1": 20}


async def test_of_many_hosts_those_of_a_small_zone_are_found_and_the_warm_one_first(
    fleet_of,
) -> None:
    few = [FakeHost(f"few-{number}", zone="few") for number in range(20)]
    fleet = fleet_of(*[FakeHost(f"many-{number}", zone="many") for number in range(100)], *few)
    few[11].idle["f-1"] = 1
    fleet.links.beat()
    assert await fleet.where(10, zone="few") == {"few-11": 10}
    hosts = await fleet.where(20, "other", zone="few")
    assert all(name.startswith("few-") for name in hosts)


async def test_a_zone_that_nobody_has_joined_is_refused_at_once_by_name(fleet_of) -> None:
    fleet, *_ = west_and_east(fleet_of, wait_s=0.0)
    with pytest.raises(SetupFailed, match=r"in the zone 'north'.*--zone north.*: east, west"):
        await fleet.run(zone="north")
    with pytest.raises(SetupFailed, match="zone 'north'"):
        await fleet.host.take_snapshot(spec(zone="north"))


async def test_a_zone_whose_hosts_are_away_is_waited_for_and_then_named(fleet_of) -> None:
    fleet, _, east = west_and_east(fleet_of)
    east.alive = False
    running = fleet.begin(zone="east")
    await fleet.pass_s(1.5)
    assert not running.done()
    await fleet.pass_s(3.0)
    with pytest.raises(HostUnreachable, match=r"no host of the zone 'east'.*forerun hosts"):
        await running


async def test_a_full_zone_is_no_reason_to_leave_it(fleet_of) -> None:
    fleet, _, east = west_and_east(fleet_of, wait_s=1.0)
    east.gates["*"] = asyncio.Event()
    running = fleet.begin(zone="east", memory_mb=1024)
    await settle()
    late = fleet.begin(zone="east", memory_mb=1024)
    await fleet.pass_s(3.0)
    with pytest.raises(Throttled, match="any host of the zone 'east' in time"):
        await late
    east.gates.pop("*").set()
    assert (await running).host == "east-1"


async def test_an_account_is_given_shares_on_hosts_of_the_zone(fleet_of) -> None:
    hosts = ["west-1", "nowhere", "east-1"]
    fleet, *_ = west_and_east(fleet_of, limits=FakeLimits(hosts, most=20, step=10))
    assert await fleet.where(5) == {"west-1": 5}
    assert await fleet.where(5, zone="east") == {"east-1": 5}


async def test_without_hosts_of_the_zone_no_share_is_given_and_the_error_names_it(fleet_of) -> None:
    limits = FakeLimits(["west-1", "nowhere", "east-1"], most=20, step=10)
    fleet, _, east = west_and_east(fleet_of, limits=limits, wait_s=1.0)
    with pytest.raises(SetupFailed, match="zone 'north'"):
        await fleet.run(zone="north")
    east.alive = False
    running = fleet.begin(zone="east")
    await fleet.pass_s(8.0)
    with pytest.raises(HostUnreachable, match="zone 'east'"):
        await running
    assert set(limits.hosts("1" * 12, "f", None)) <= {"east-1"}


async def test_standbys_and_snapshots_keep_to_the_zone(fleet_of) -> None:
    limits = FakeLimits(["west-1", "nowhere", "east-1"], most=20, step=10)
    fleet, west, east = west_and_east(fleet_of, limits=limits)
    await fleet.run()
    kept = spec(zone="east")
    fleet.host.stand_by(kept, Standby(idle=6, lease_s=60.0))
    assert east.held[kept.key].idle == 6
    assert kept.key not in west.held
    await fleet.host.take_snapshot(kept)
    assert (east.snapshots, west.snapshots) == ([kept.key], [])


async def test_what_asks_for_a_jail_gets_one(fleet_of) -> None:
    plain, jail = FakeHost("plain", isolation="process"), FakeHost("jail")
    plain.idle["f-1"] = 1
    fleet = fleet_of(plain, jail)
    assert await fleet.where(5, isolation="jail") == {"jail": 5}
    alone = fleet_of(FakeHost("plain", isolation="process"))
    with pytest.raises(SetupFailed, match=r"forerun:isolation.*as root"):
        await alone.run(isolation="jail")
