"""Hosts that announce themselves, over a real door: who is believed to be there, and until when."""

import asyncio
import socket
import time

import msgspec
import pytest

from forerun.aio import SystemClock
from forerun.cluster import Announcer, Door, Knocker, StaticFleet
from forerun.cluster.keeper import Kept
from forerun.cluster.trust import make_authority
from forerun.errors import NotFound
from forerun.model import HostInfo

NOW = time.time()
AUTHORITY = make_authority(now=NOW)
INFO = HostInfo(
    name="h",
    address="127.0.0.1:1",
    incarnation="one",
    version="0",
    protocols=(1, 1),
    isolation="jail",
    memory_mb=1000,
    cpus=2,
    runtimes=(),
    labels={"disk": "fast"},
)


class Told:
    """A fleet at a door, and what it has told of its members."""

    def __init__(self):
        self.fleet = StaticFleet(SystemClock())
        self.members = {}

    async def open(self):
        await self.fleet.start(self._changed)
        self.door = Door(AUTHORITY.issue("plane", "control", now=NOW))
        self.door.serve("announce", self.fleet.handle, roles=("host",))
        sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{sock.getsockname()[1]}"
        await self.door.listen(sock)

    def _changed(self, members):
        self.members = {each.name: each for each in members}


@pytest.fixture
async def told():
    told = Told()
    await told.open()
    yield told
    await told.door.close()


def announcer(name, report, end=None):
    async def nothing():
        return None

    knocker = Knocker(AUTHORITY.issue(name, "host", now=NOW))
    return Announcer(SystemClock(), knocker, report, end or nothing)


async def until(probe, within=10.0):
    async with asyncio.timeout(within):
        while not (answer := probe()):
            await asyncio.sleep(0.02)
    return answer


async def test_a_host_is_there_for_as_long_as_it_says_so(told):
    kept = [Kept(name="h", failure="it starts")]
    host = announcer("h", lambda: kept[0])
    host.follow([told.address])
    member = await until(lambda: told.members.get("h"))
    assert (member.alive, member.agent, member.failure) == (True, None, "it starts")
    kept[0] = Kept(name="h", agent=INFO)
    member = await until(lambda: told.members["h"].agent and told.members["h"])
    assert (member.agent, member.cpus, member.memory_mb) == (INFO, 2.0, 1000)
    assert member.labels == {"disk": "fast"}
    host.follow([])
    member = await until(lambda: not told.members["h"].alive and told.members["h"])
    assert member.agent is None
    with pytest.raises(NotFound):
        await told.fleet.dismiss("h")
    await host.close()


async def test_it_is_told_to_end_its_agent(told):
    ended = asyncio.Event()

    async def end():
        ended.set()

    host = announcer("h", lambda: Kept(name="h", agent=INFO), end)
    host.follow([told.address])
    await until(lambda: told.members.get("h"))
    await told.fleet.dismiss("h")
    await asyncio.wait_for(ended.wait(), 10)
    await host.close()


async def test_the_newest_connection_of_a_host_counts(told):
    first = announcer("h", lambda: Kept(name="h", agent=INFO))
    first.follow([told.address])
    await until(lambda: told.members.get("h"))
    await first.close()
    other = msgspec.structs.replace(INFO, incarnation="two")
    second = announcer("h", lambda: Kept(name="h", agent=other))
    second.follow([told.address])
    await until(lambda: (m := told.members["h"]).alive and m.agent.incarnation == "two")
    await second.close()


LIES = {
    "another name": Kept(name="other"),
    "another's agent": Kept(name="h", agent=msgspec.structs.replace(INFO, name="other")),
}


@pytest.mark.parametrize("name", LIES)
async def test_nobody_announces_another(told, name):
    good = announcer("other", lambda: Kept(name="other"))
    good.follow([told.address])
    await until(lambda: told.members.get("other"))
    found = await Knocker(AUTHORITY.issue("h", "host", now=NOW)).knock(told.address, "announce")
    reader, writer = found.streams()
    writer.write(msgspec.json.encode(LIES[name]) + b"\n")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert told.members["other"].alive
    assert told.members["other"].agent is None
    assert "h" not in told.members
    await good.close()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[1]\n", b'{"name": 5}\n', b"\xff\xfe\n", b"x" * 200_000 + b"\n"],
    ids=range(6),
)
async def test_noise_ends_the_connection_and_nothing_else(told, line):
    found = await Knocker(AUTHORITY.issue("h", "host", now=NOW)).knock(told.address, "announce")
    reader, writer = found.streams()
    writer.write(line)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert "h" not in told.members
    host = announcer("h", lambda: Kept(name="h"))
    host.follow([told.address])
    await until(lambda: told.members.get("h"))
    await host.close()
