"""Agents that die, hang or are cut off while calls run: callers hear of it, and what ran is over when it is said to be."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.agents import (
    TERMS,
    AgentProcess,
    Control,
    authority,
    call,
    control,
    eventually,
    timings,
)
from tests.delays import forwarding

from forerun.cluster import Authority, RemoteAgent, split_address
from forerun.errors import HostLost, HostUnreachable
from forerun.model import SandboxSpec

pytestmark = pytest.mark.slow

# It works, visibly from outside, until it is ended.
WORK = """
import time
def handler(event, context):
    for turn in range(3000):
        with open(event, "a") as file:
            file.write(".")
        time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def trust() -> Authority:
    return authority()


@pytest.fixture
def agent(trust: Authority, tmp_path: Path) -> Iterator[AgentProcess]:
    agent = AgentProcess(trust, "host-1", tmp_path / "host-1", "--sandbox", "process")
    yield agent
    agent.kill()


@pytest.fixture
async def plane(trust: Authority, tmp_path: Path) -> AsyncIterator[Control]:
    async with control(trust, tmp_path / "control") as plane:
        yield plane


class Work:
    """A call that works on and on, and the file that shows it."""

    def __init__(self, plane: Control, host: RemoteAgent, file: Path) -> None:
        self._file = file
        self._clock = plane.clock
        spec: SandboxSpec = plane.deploy(WORK, "work", timeout_s=60)
        self.run = asyncio.ensure_future(
            host.run(spec, call(json.dumps(str(file)).encode()), timings())
        )

    @property
    def turns(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0

    async def begun(self) -> None:
        await eventually(lambda: self.turns > 2, what="it works")

    async def lost(self, within_s: float, *, at_once: bool = False) -> HostLost:
        """Its caller hears that it is lost, and it is over when that says, at the latest; or long before that, ``at_once``."""
        done, _ = await asyncio.wait({self.run}, timeout=within_s)
        assert done, f"its caller has heard nothing for {within_s} s"
        error = self.run.exception()
        assert isinstance(error, HostLost), error
        assert error.over_in_s <= TERMS.lease_s * 1.1 + 2
        await asyncio.sleep(error.over_in_s / 2 if at_once else error.over_in_s)
        before = self.turns
        await asyncio.sleep(0.2)
        assert self.turns == before, "it works on"
        return error


async def test_a_host_that_is_killed(plane, agent, tmp_path) -> None:
    (host,) = await plane.connect(agent.info)
    work = Work(plane, host, tmp_path / "work")
    await work.begun()
    agent.kill()
    await work.lost(within_s=10, at_once=True)
    assert plane.lost == ["host-1"]
    assert not host.alive
    with pytest.raises(HostUnreachable):
        await host.run(plane.deploy(WORK), call(), timings())


async def test_a_host_that_hangs_is_ended_with_what_it_runs(plane, agent, tmp_path) -> None:
    (host,) = await plane.connect(agent.info)
    work = Work(plane, host, tmp_path / "work")
    await work.begun()
    agent.pause()
    # Its sandbox goes on, for a while.
    turns = work.turns
    await eventually(lambda: work.turns > turns)
    error = await work.lost(within_s=15)
    assert "no heartbeat" in error.message
    assert agent.process.wait(10) == -9


async def test_a_host_that_is_cut_off_ends_its_work_and_comes_back(plane, agent, tmp_path) -> None:
    with forwarding(split_address(agent.info.address)) as way:
        address = "{}:{}".format(*way.address)
        (host,) = await plane.connect(msgspec.structs.replace(agent.info, address=address))
        work = Work(plane, host, tmp_path / "work")
        await work.begun()
        way.cut()
        error = await work.lost(within_s=15)
        assert "no heartbeat" in error.message
        assert agent.process.poll() is None
        assert not host.alive
        way.heal()
        await eventually(lambda: host.alive, what="it is connected again")
        short = plane.deploy("def handler(e, c):\n    return e\n", "short")
        run = await host.run(short, call(b"1"), timings())
        assert run.outcome.payload == b"1"


async def test_a_connection_that_breaks_ends_what_was_asked_over_it(plane, agent, tmp_path) -> None:
    with forwarding(split_address(agent.info.address)) as way:
        address = "{}:{}".format(*way.address)
        (host,) = await plane.connect(msgspec.structs.replace(agent.info, address=address))
        work = Work(plane, host, tmp_path / "work")
        await work.begun()
        way.reset()
        await work.lost(within_s=10, at_once=True)
        await eventually(lambda: host.alive, what="it is connected again")


async def test_a_host_that_ends_lets_calls_finish(plane, agent, tmp_path) -> None:
    (host,) = await plane.connect(agent.info)
    spec = plane.deploy(
        "import time\ndef handler(e, c):\n    time.sleep(e)\n    return e\n", "slow"
    )
    running = asyncio.ensure_future(host.run(spec, call(b"1.5"), timings()))
    await eventually(lambda: host.stats().states.get("busy"), what="it runs")
    stopped = asyncio.get_running_loop().run_in_executor(None, agent.stop)
    await eventually(lambda: host.beat and host.beat.phase == "draining")
    with pytest.raises(HostUnreachable):
        await host.run(spec, call(b"0"), timings())
    assert (await running).outcome.payload == b"1.5"
    assert await stopped == 0
