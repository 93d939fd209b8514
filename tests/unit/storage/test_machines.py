"""Names of hosts and control planes: one machine each at a time."""

import msgspec
import pytest
from tests.databases import open_database
from tests.unit.storage.moments import NOW, set_time, with_moments

from forerun.errors import AlreadyExists, NotFound
from forerun.model import HostInfo, Phase
from forerun.storage.machines import ControlPlaneStore, HostStore, KnownPlane

pytestmark = pytest.mark.databases

GONE = 3.0
HOST = HostInfo(
    name="east-1",
    address="10.0.0.1:9702",
    incarnation="a",
    version="1.0",
    protocols=(1, 1),
    isolation="jail",
    memory_mb=2048,
    cpus=2,
    runtimes=("python3.11",),
    zone="east",
    labels={"disk": "fast"},
)
OTHER = msgspec.structs.replace(HOST, incarnation="b", address="10.0.0.2:9702")
PLANE = KnownPlane("first", "a", "10.0.0.1:9701", "http://10.0.0.1:4566", "1.0")


@pytest.fixture
async def db(tmp_path):
    db = await with_moments(await open_database(tmp_path / "forerun.db"))
    await set_time(db, 100)
    yield db
    await db.close()


@pytest.fixture
def hosts(db):
    return HostStore(db, now=NOW)


@pytest.fixture
def planes(db):
    return ControlPlaneStore(db, now=NOW)


async def test_a_host_is_known_as_it_announced_itself(db, hosts):
    await hosts.announce(HOST, node="node-7", gone_s=GONE)
    await set_time(db, 101)
    [known] = await hosts.all()
    assert known == (HOST, "node-7", 100.0, 1.0)
    await hosts.see([HOST])
    assert (await hosts.get("east-1")).seen_s == 0


async def test_a_second_machine_of_that_name_is_refused_until_the_first_is_gone(db, hosts):
    await hosts.announce(HOST, gone_s=GONE)
    await set_time(db, 100 + GONE)
    with pytest.raises(AlreadyExists, match="east-1"):
        await hosts.announce(OTHER, gone_s=GONE)
    await set_time(db, 100.1 + GONE)
    await hosts.announce(OTHER, gone_s=GONE)
    await hosts.see([HOST])
    assert (await hosts.get("east-1")).info == OTHER


async def test_an_agent_that_starts_again_at_its_address_is_the_same_host_with_the_same_wish(hosts):
    await hosts.announce(HOST, gone_s=GONE)
    await hosts.wish("east-1", Phase.CORDONED)
    again = msgspec.structs.replace(HOST, incarnation="c")
    await hosts.announce(again, gone_s=GONE)
    assert (await hosts.get("east-1")).info == msgspec.structs.replace(again, phase=Phase.CORDONED)


async def test_a_host_that_was_removed_is_not_known(hosts):
    await hosts.announce(HOST, gone_s=GONE)
    await hosts.remove("east-1")
    with pytest.raises(NotFound):
        await hosts.get("east-1")
    with pytest.raises(NotFound):
        await hosts.wish("east-1", Phase.DRAINING)
    assert await hosts.all() == []


async def test_a_host_that_was_expelled_stays_so_whoever_it_says_it_is(hosts):
    await hosts.announce(HOST, gone_s=GONE)
    for host in (HOST, msgspec.structs.replace(HOST, name="never-seen")):
        await hosts.expel(host.name)
        assert (await hosts.get(host.name)).info.phase is Phase.EXPELLED
        with pytest.raises(AlreadyExists):
            await hosts.announce(host, gone_s=0)
        with pytest.raises(NotFound, match="expelled"):
            await hosts.wish(host.name, Phase.ACTIVE)
        await hosts.see([host])


async def test_two_control_planes_cannot_have_one_name(db, planes):
    await planes.announce(PLANE, gone_s=GONE)
    second = PLANE._replace(incarnation="b", door="10.0.0.2:9701")
    with pytest.raises(AlreadyExists, match="first"):
        await planes.announce(second, gone_s=GONE)
    await set_time(db, 102)
    assert await planes.see("first", "a")
    assert await planes.all() == [PLANE._replace(started=100.0, seen_s=0.0)]
    await set_time(db, 110)
    await planes.announce(second, gone_s=GONE)
    assert not await planes.see("first", "a")
    await planes.remove("first", "a")
    assert [plane.incarnation for plane in await planes.all()] == ["b"]
