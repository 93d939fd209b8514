"""The credentials of a sandbox name the monitored execution that runs in it: while it runs, and no longer."""

import asyncio

import pytest
from tests.fakes.clock import settle
from tests.fakes.sandboxes import FakeSandboxes
from tests.unit.host.rig import call, spec

from forerun.aio import SystemClock
from forerun.host import HostAgent
from forerun.model import Credentials, Origin, Timings, TraceContext
from forerun.settings import HostSettings


@pytest.fixture
async def host():
    """An agent, its sandboxes, and the credentials it gave out."""
    given: list[Credentials] = []

    def issue(_spec):
        given.append(Credentials(f"ASIA{len(given)}", "secret", "token"))
        return given[-1]

    sandboxes = FakeSandboxes(SystemClock())
    settings = HostSettings(memory_mb=1024, pool_min=0, pool_max=0)
    agent = HostAgent(
        sandboxes,
        clock=SystemClock(),
        settings=settings,
        available_mb=lambda: 1 << 20,
        credentials=issue,
    )
    sandboxes.on_exit = agent.exited
    await agent.start()
    yield agent, sandboxes, given
    for gate in sandboxes.gates.values():
        gate.set()
    await agent.close(grace_s=1.0)


def context(name: str) -> TraceContext:
    return TraceContext(trace_id="ab" * 16, span_id=name, origin=Origin(), header="", weight=1)


def begin(host, request_id: str, about: TraceContext | None):
    """A call that is held until its gate is opened."""
    agent, sandboxes, _ = host
    sandboxes.gates[request_id] = asyncio.Event()
    made = call(request_id)
    made.context = about
    return asyncio.get_running_loop().create_task(agent.run(spec("k"), made, Timings()))


async def test_each_of_several_is_known_while_it_runs(host):
    agent, sandboxes, given = host
    runs = [begin(host, name, context(name)) for name in ("r1", "r2")]
    await settle()
    assert {agent.running(each.access_key_id).span_id for each in given} == {"r1", "r2"}
    sandboxes.gates["r1"].set()
    await runs[0]
    known = [agent.running(each.access_key_id) for each in given]
    assert sorted(each.span_id if each else "" for each in known) == ["", "r2"]
    assert agent.running("ASIAOTHER") is None
    assert agent.running("") is None


async def test_a_call_that_is_not_monitored_is_nobody(host):
    agent, _, given = host
    begin(host, "r1", None)
    await settle()
    assert [agent.running(each.access_key_id) for each in given] == [None]


async def test_the_next_call_in_the_sandbox_is_another_execution(host):
    agent, sandboxes, given = host
    for name in ("r1", "r2", "r3"):
        run = begin(host, name, None if name == "r2" else context(name))
        await settle()
        [credentials] = given
        known = agent.running(credentials.access_key_id)
        assert (known.span_id if known else "r2") == name
        sandboxes.gates[name].set()
        await run


async def test_a_call_that_was_given_up_is_forgotten(host):
    agent, _, given = host
    run = begin(host, "r1", context("r1"))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [agent.running(each.access_key_id) for each in given] == [None]
