"""Two real agents as one host: calls are placed, refused, waited for and lost over the real wire, in real sandboxes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.agents import AgentProcess, Control, authority, call, control, eventually, timings

from forerun.cluster import Authority
from forerun.control.fleet.router import FleetHost
from forerun.errors import HostLost, SetupFailed
from forerun.host import Run
from forerun.model import Outcome, SandboxSpec, Standby, StartType
from forerun.settings import ClusterSettings, HostSettings

pytestmark = pytest.mark.slow

SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
SMALL = {"FORERUN_HOST_MEMORY_MB": "300", "FORERUN_HOST_POOL_MIN": "0"}


@pytest.fixture(scope="module")
def trust() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def agents(
    trust: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[AgentProcess]]:
    """Two with room for two sandboxes of 128 MB each."""
    made = [
        AgentProcess(trust, name, tmp_path_factory.mktemp(name), **SMALL)
        for name in ("one", "other")
    ]
    yield made
    for agent in made:
        assert agent.stop() == 0


@asynccontextmanager
async def fleet_over(plane: Control, *agents: AgentProcess) -> AsyncIterator[FleetHost]:
    fleet = FleetHost(
        plane.links,
        clock=plane.clock,
        settings=ClusterSettings(beat_s=0.1, dead_s=1.5, lease_s=2.0),
        waiting=HostSettings(wait_s=30.0),
    )
    fleet.start()
    await plane.connect(*(agent.info for agent in agents))
    await eventually(lambda: sum(state.open for state in fleet.view) == len(agents))
    yield fleet
    await fleet.close()


@pytest.fixture
async def plane(trust: Authority, tmp_path: Path) -> AsyncIterator[Control]:
    async with control(trust, tmp_path / "control") as plane:
        yield plane


async def run(fleet: FleetHost, spec: SandboxSpec, seconds: float = 0.0) -> Run:
    run = await fleet.run(spec, call(str(seconds).encode()), timings())
    assert isinstance(run.outcome, Outcome), run.outcome
    assert run.outcome.error is None, run.outcome.payload
    return run


async def test_calls_are_warm_where_they_were_and_go_on_where_there_is_room(plane, agents) -> None:
    async with fleet_over(plane, *agents) as fleet:
        spec = plane.deploy(SLEEP, "placed")
        first = await run(fleet, spec)
        again = await run(fleet, spec)
        assert (again.host, again.start_type) == (first.host, StartType.WARM)
        assert f"on {again.host}: " in again.placement
        # More than one host has room for: all at once, none is refused.
        tasks = [asyncio.ensure_future(run(fleet, spec, 2.0)) for _ in range(4)]
        await eventually(lambda: all(state.running == 2 for state in fleet.view))
        # And one more, for which there is room nowhere until one of them ends.
        late = await run(fleet, spec)
        assert late.start_type is StartType.WARM
        done = await asyncio.gather(*tasks)
        assert Counter(each.host for each in done) == {"one": 2, "other": 2}
        with pytest.raises(SetupFailed, match="the largest host of the cluster has 300 MB"):
            await run(fleet, plane.deploy(SLEEP, "large", memory_mb=512))


async def test_a_standby_is_made_on_both_and_used(plane, agents) -> None:
    async with fleet_over(plane, *agents) as fleet:
        spec = plane.deploy(SLEEP, "ahead")
        fleet.stand_by(spec, Standby(idle=2, lease_s=60.0))
        await eventually(lambda: sorted(fleet.view.with_idle(spec.key)) == ["one", "other"])
        assert fleet.standing(spec.key).idle == 2
        assert (await run(fleet, spec)).start_type is StartType.PREWARMED
        fleet.stand_by(spec, Standby())
        assert fleet.drop(lambda key: key == spec.key) >= 1
        await eventually(lambda: not fleet.view.with_idle(spec.key))


async def test_a_killed_host_fails_what_it_ran_and_nothing_else(
    plane, agents, trust, tmp_path
) -> None:
    doomed = AgentProcess(trust, "doomed", tmp_path / "doomed", **SMALL)
    try:
        async with fleet_over(plane, doomed) as fleet:
            spec = plane.deploy(SLEEP, "lost")
            task = asyncio.ensure_future(run(fleet, spec, 3.0))
            await eventually(lambda: any(state.busy for state in fleet.view))
            plane.links.follow([doomed.info, agents[0].info])
            await eventually(lambda: sum(state.open for state in fleet.view) == 2)
            doomed.kill()
            with pytest.raises(HostLost, match="doomed was lost while it may have run the call"):
                await task
            assert {(await run(fleet, spec)).host for _ in range(3)} == {"one"}
    finally:
        doomed.kill()
