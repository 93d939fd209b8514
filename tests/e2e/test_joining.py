"""``forerun join``, a real process with a real agent, at a control plane's door that the test keeps."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.databases import open_database

from forerun.aio import SystemClock
from forerun.cluster import (
    ENROL_ROLES,
    Door,
    Engine,
    Enroller,
    StaticFleet,
    make_token,
    open_trust,
)
from forerun.storage.trust import TrustStore

pytestmark = pytest.mark.slow
FORERUN = [sys.executable, "-c", "from forerun.cli import main; main()"]


class Nobody:
    """A register of a cluster without engine, in which nobody is yet."""

    async def engine(self):
        return Engine()

    async def doors(self):
        return []

    async def taken(self, name, role):
        return name == "taken"


class Plane:
    """The door of a control plane, and the fleet that announces itself there."""

    def __init__(self, directory):
        self.directory = directory
        self.clock = SystemClock()
        self.fleet = StaticFleet(self.clock)

    async def open(self):
        self.db = await open_database(self.directory / "forerun.db")
        self.store = TrustStore(self.db)
        self.authority, _, key = await open_trust(
            self.store, self.directory / "sealing.key", self.clock
        )
        enroller = Enroller(
            self.authority, self.store, self.clock, sealing_key=key, register=Nobody()
        )
        self.door = Door(self.authority.issue("plane", "control", now=self.clock.now()))
        self.door.serve("enrol", enroller.handle, roles=ENROL_ROLES)
        self.door.serve("announce", self.fleet.handle, roles=("host",))
        sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{sock.getsockname()[1]}"
        await self.door.listen(sock)

    async def close(self):
        await self.door.close()
        await self.db.close()

    async def token(self):
        token, kept = make_token(
            self.authority.hash, "host", ttl_s=600, uses=1, now=self.clock.now()
        )
        await self.store.add_token(kept)
        return str(token)

    def agent(self, name):
        """Who a member's agent says it is; ``None`` while there is none."""
        found = [each for each in self.fleet.members() if each.name == name]
        return found[0].agent if found and found[0].alive else None


@asynccontextmanager
async def joined(plane, data, *more):
    """The process, and where its log is; killed in the end, with its agent."""
    with (data.parent / f"{data.name}.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *(*FORERUN, "join", plane.address, "--data", str(data), *more),
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if (pid := agent_pid(data)) is not None:
            os.kill(pid, signal.SIGKILL)


def agent_pid(data: Path) -> int | None:
    """The agent's process, if it runs: its own file says which, and its command line that it is one."""
    try:
        pid = int((data / "keeper" / "agent.pid").read_text().split()[0])
        running = str(data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if running else None


async def until(probe, within=30.0):
    async with asyncio.timeout(within):
        while not (answer := probe()):
            await asyncio.sleep(0.05)
    return answer


@pytest.fixture
async def plane(tmp_path):
    plane = Plane(tmp_path)
    await plane.open()
    yield plane
    await plane.close()


async def test_a_machine_joins_stays_and_is_dismissed(plane, tmp_path):
    data = tmp_path / "h"
    named = ("--name", "h-1", "--zone", "east", "--label", "disk=fast", "--listen", "127.0.0.1:0")
    async with joined(plane, data, *named, "--token", await plane.token()) as process:
        ready = (await asyncio.wait_for(process.stdout.readline(), 40)).decode()
        assert ready.startswith("ready host h-1 at 127.0.0.1:")
        info = await until(lambda: plane.agent("h-1"))
        assert (info.zone, info.labels) == ("east", {"disk": "fast"})
        assert (data / "identity.json").stat().st_mode & 0o77 == 0

        # It is killed, agent and all: with what it has kept it needs no token.
        os.kill(agent_pid(data), signal.SIGKILL)
        again = await until(lambda: (now := plane.agent("h-1")) and now != info and now)
        process.kill()
        await process.wait()
        await until(lambda: plane.agent("h-1") is None)
        assert agent_pid(data) is not None
    async with joined(plane, data, "--listen", "127.0.0.1:0") as process:
        other = await until(lambda: plane.agent("h-1"))
        assert other.incarnation != again.incarnation

        # Dismissed, its agent ends, and so does what kept it.
        await plane.fleet.dismiss("h-1")
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert agent_pid(data) is None
        assert plane.agent("h-1") is None


async def test_told_to_stop_it_leaves_nothing(plane, tmp_path):
    data = tmp_path / "h"
    named = ("--name", "h-2", "--listen", "127.0.0.1:0", "--token", await plane.token())
    async with joined(plane, data, *named) as process:
        await until(lambda: plane.agent("h-2"))
        await asyncio.wait_for(process.stdout.readline(), 40)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert agent_pid(data) is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--name", "a"], "give a token"),
        (["--name", "a", "--token", "nonsense"], "fr1.SECRET.AUTHORITY"),
        (["--name", "taken", "--token", "TOKEN"], "There is a host taken already"),
        (["--name", "No Name", "--token", "TOKEN"], "name must be"),
        (["--name", "a", "--token", "FOREIGN"], "another cluster"),
    ],
    ids=["no token", "no sense", "taken", "name", "foreign"],
)
async def test_why_it_cannot_join_is_said(plane, tmp_path, more, said):
    token = await plane.token()
    words = {"TOKEN": token, "FOREIGN": token[:-32] + "0" * 32}
    data = tmp_path / "h"
    async with joined(plane, data, *(words.get(word, word) for word in more)) as process:
        assert await asyncio.wait_for(process.wait(), 30) == 1
        assert said in (tmp_path / "h.log").read_text()
        assert not (data / "identity.json").exists()
