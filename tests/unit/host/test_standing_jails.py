"""With real sandboxes: what is held ready has loaded its code and run nothing, and ends without hurting anybody."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.aio import SystemClock
from forerun.host import HostAgent, Run, Standing
from forerun.model import SandboxSpec, Standby, StartType, Timings
from forerun.sandbox import JailSandboxes, JailSettings, own_interpreter
from forerun.settings import HostSettings

pytestmark = [pytest.mark.root, pytest.mark.slow]

LONG = 1000.0
TELLING = """
import os, pathlib, time, uuid
me = uuid.uuid4().hex
runs = 0
def handler(event, context):
    global runs
    runs += 1
    time.sleep(event.get("s", 0))
    return {"me": me, "runs": runs, "init": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""
SLOW = "import time\ntime.sleep(0.5)\ndef handler(event, context):\n    return {}\n"


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[HostAgent]:
    interpreters = {RUNTIME: own_interpreter()}
    jails = JailSandboxes(JailSettings(data_dir=tmp_path / "data", interpreters=interpreters))
    settings = HostSettings(memory_mb=2048, pool_min=0, pool_max=0, machine_floor_percent=0)
    agent = HostAgent(jails, clock=SystemClock(), settings=settings)
    await agent.start()
    yield agent
    await agent.close(grace_s=5)


@pytest.fixture
def telling(tmp_path: Path) -> SandboxSpec:
    return make_spec(write_code(tmp_path / "code", TELLING), key="k", memory_mb=128, timeout_s=20)


async def until(
    agent: HostAgent, reached: Callable[[Standing], bool], key: str = "k", within_s: float = 10.0
) -> Standing:
    async with asyncio.timeout(within_s):
        while not reached(agent.standing(key)):
            await asyncio.sleep(0.02)
    return agent.standing(key)


async def invoke(agent: HostAgent, spec: SandboxSpec, **event: float) -> tuple[Run, dict]:
    call = make_call(event, seconds=20.0)
    run = await agent.run(spec, call, Timings())
    assert run.outcome.error is None, run.outcome
    return run, json.loads(run.outcome.payload)


async def test_it_is_initialised_and_not_run(agent: HostAgent, telling: SandboxSpec) -> None:
    agent.stand_by(telling, Standby(idle=1, lease_s=LONG, start=StartType.PRELOADED))
    await until(agent, lambda standing: standing.idle == 1)
    [sandbox] = agent.sandboxes()
    assert (sandbox.key, sandbox.state, sandbox.calls) == ("k", "idle", 0)
    run, told = await invoke(agent, telling)
    assert (run.start_type, run.foresight) == (StartType.PRELOADED, "hit")
    assert (told["runs"], told["init"]) == (1, "on-demand")


async def test_the_provisioned_know_that_they_are(agent: HostAgent, telling: SandboxSpec) -> None:
    agent.stand_by(telling, Standby(total=1, lease_s=LONG))
    await until(agent, lambda standing: standing.provisioned == 1)
    (first, told), (second, other) = await asyncio.gather(
        invoke(agent, telling, s=0.5), invoke(agent, telling, s=0.5)
    )
    assert (first.provisioned, told["init"]) == (True, "provisioned-concurrency")
    assert (second.provisioned, other["init"]) == (False, "on-demand")


async def test_what_is_prepared_starts_without_its_init(agent: HostAgent, tmp_path: Path) -> None:
    slow = make_spec(write_code(tmp_path / "slow", SLOW), key="slow", memory_mb=128)
    agent.stand_by(slow, Standby(idle=1, lease_s=LONG))
    await until(agent, lambda standing: standing.idle == 1, "slow")
    timings = Timings()
    began = SystemClock().now()
    await agent.run(slow, make_call(), timings)
    assert timings.started - began < 0.5
    cold = make_spec(write_code(tmp_path / "cold", SLOW), key="cold", memory_mb=128)
    timings, began = Timings(), SystemClock().now()
    await agent.run(cold, make_call(), timings)
    assert timings.started - began > 0.5


async def test_scaling_in_aborts_no_run_and_leaves_fewer(
    agent: HostAgent, telling: SandboxSpec
) -> None:
    agent.stand_by(telling, Standby(idle=4, lease_s=LONG))
    await until(agent, lambda standing: standing.idle == 4)
    calls = [asyncio.ensure_future(invoke(agent, telling, s=1.5)) for _ in range(4)]
    await until(agent, lambda standing: standing.working == 4)
    agent.stand_by(telling, Standby(idle=1, lease_s=LONG, linger_s=0.0))
    assert agent.standing("k").working == 4
    runs = await asyncio.gather(*calls)
    assert {told["runs"] for _, told in runs} == {1}
    await until(agent, lambda standing: (standing.idle, standing.working) == (1, 0))
    async with asyncio.timeout(10):
        while len(agent.sandboxes()) > 1:
            await asyncio.sleep(0.02)
    left = agent.sandboxes()[0].id
    after, _ = await invoke(agent, telling)
    assert after.sandbox_id == left


async def test_copies_of_a_snapshot_are_held_ready(agent: HostAgent, tmp_path: Path) -> None:
    spec = make_spec(
        write_code(tmp_path / "snap", TELLING),
        key="snap",
        memory_mb=128,
        version="1",
        snap_start=True,
    )
    agent.stand_by(spec, Standby(idle=2, lease_s=LONG))
    await until(agent, lambda standing: standing.idle == 2, "snap")
    run, told = await invoke(agent, spec)
    assert (run.start_type, told["init"]) == (StartType.PREWARMED, "snap-start")
