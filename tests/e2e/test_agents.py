"""Agents as processes of their own, with real sandboxes, and control planes that call them over the wire."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.agents import (
    ACCOUNT,
    AgentProcess,
    Control,
    authority,
    call,
    control,
    eventually,
    timings,
)

from forerun.cluster import NOT_IDLE, SHARE, Authority, RemoteAgent
from forerun.errors import HostUnreachable, NoSuchRuntime, SetupFailed, Throttled
from forerun.model import (
    InitFailure,
    Origin,
    Outcome,
    SandboxSpec,
    Share,
    Standby,
    StartType,
    TraceContext,
)

pytestmark = pytest.mark.slow

ECHO = "def handler(event, context):\n    print('seen')\n    return event\n"
SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
ASK = """
import boto3
def handler(event, context):
    boto3.client("lambda").get_account_settings()
    answer = boto3.client("lambda").invoke(FunctionName="other", Payload=b"{}")
    return answer["Payload"].read().decode()
"""


@pytest.fixture(scope="module")
def trust() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def agent(trust: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    agent = AgentProcess(trust, "host-1", tmp_path_factory.mktemp("host-1"))
    yield agent
    assert agent.stop() == 0


@pytest.fixture
async def plane(trust: Authority, tmp_path: Path) -> AsyncIterator[Control]:
    async with control(trust, tmp_path / "control") as plane:
        yield plane


@pytest.fixture
async def host(plane: Control, agent: AgentProcess) -> RemoteAgent:
    return (await plane.connect(agent.info))[0]


async def outcome(host: RemoteAgent, spec: SandboxSpec, event: object, **about) -> Outcome:
    run = await host.run(spec, call(json.dumps(event).encode(), **about), timings())
    assert isinstance(run.outcome, Outcome), run.outcome
    return run.outcome


async def test_first_call_brings_code_and_next_ones_are_warm(plane, host) -> None:
    spec, moments = plane.deploy(ECHO + "# nobody had it\n", "warm"), timings()
    sent = plane.clock.now()
    first = await host.run(spec, call(b'{"a": [1]}'), moments)
    answered = plane.clock.now()
    second = await host.run(spec, call(b'"b"'), timings())
    assert json.loads(first.outcome.payload) == {"a": [1]}
    assert [line.text for line in first.outcome.logs] == ["seen"]
    assert first.init is not None
    assert first.start_type is not StartType.WARM
    assert (second.start_type, second.init, second.host) == (StartType.WARM, None, "host-1")
    steps = [moments.acquired, moments.loaded, moments.started, moments.ended]
    assert [sent, *steps, answered] == sorted([sent, *steps, answered])
    assert plane.sent_trees == [Path(spec.code_dir).name]


async def test_what_functions_do_and_what_hosts_cannot_are_told_apart(plane, host) -> None:
    fails = await outcome(host, plane.deploy("def handler(e, c):\n    raise KeyError(e)\n"), 1)
    assert (fails.error, fails.error_type) == ("Unhandled", "KeyError")
    slow = await outcome(host, plane.deploy(SLEEP, timeout_s=1), 9)
    assert (slow.status, slow.alive) == ("timeout", False)
    unloaded = await host.run(plane.deploy("import nowhere\n"), call(), timings())
    assert isinstance(unloaded.outcome, InitFailure)
    assert unloaded.outcome.error_type == "Runtime.ImportModuleError"
    with pytest.raises(NoSuchRuntime, match=r"python2\.7"):
        await outcome(host, plane.deploy(ECHO, runtime="python2.7", key="old"), 1)
    with pytest.raises(SetupFailed, match="1000000 MB"):
        await outcome(host, plane.deploy(ECHO, memory_mb=1_000_000, key="huge"), 1)
    nowhere = str(plane.trees / ("0" * 64))
    missing = msgspec.structs.replace(plane.deploy(ECHO), key="gone", code_dir=nowhere)
    with pytest.raises(HostUnreachable, match="cannot be brought"):
        await outcome(host, missing, 1)


async def test_long_payloads_let_short_ones_pass(plane, host) -> None:
    spec = plane.deploy(ECHO, "long")
    host.stand_by(spec, Standby(idle=3, lease_s=60, linger_s=60))
    await eventually(lambda: host.standing(spec.key).idle == 3, what="three are ready")
    done: list[str] = []

    async def run(name: str, event: str) -> None:
        assert json.loads((await outcome(host, spec, event)).payload) == event
        done.append(name)

    long = asyncio.gather(*(run("long", "x" * 5_900_000) for _ in range(2)))
    await asyncio.sleep(0)
    await run("short", "x")
    await long
    assert done == ["short", "long", "long"]


async def test_a_call_that_nobody_waits_for_is_ended(plane, host) -> None:
    spec = plane.deploy(SLEEP, "left", timeout_s=60)
    waiting = asyncio.ensure_future(outcome(host, spec, 50))
    await eventually(lambda: host.stats().states.get("busy"), what="it runs")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: not host.stats().states.get("busy"), what="its sandbox has ended")
    assert not [one for one in await host.fetch_sandboxes() if one.key == spec.key]


async def test_what_is_for_an_idle_sandbox_only_starts_none(plane, host) -> None:
    spec = plane.deploy(ECHO, "idle-only")
    with pytest.raises(Throttled) as refused:
        await outcome(host, spec, 1, idle_only=True)
    assert refused.value.reason == NOT_IDLE
    assert not [one for one in await host.fetch_sandboxes() if one.key == spec.key]
    await outcome(host, spec, 1)
    assert (await outcome(host, spec, 2, idle_only=True)).payload == b"2"


async def test_a_share_is_kept_to(plane, host) -> None:
    spec = plane.deploy(SLEEP, "shared")
    share = Share(ACCOUNT, 1, 1)
    first = asyncio.ensure_future(outcome(host, spec, 0.5, share=share))
    await eventually(lambda: host.beat.running or plane.beats[-1].running == {ACCOUNT: 1})
    with pytest.raises(Throttled) as refused:
        await outcome(host, spec, 0, share=share)
    assert refused.value.reason == SHARE
    assert await host.keep_to([Share(ACCOUNT, 0, 2)]) == {}
    await first
    assert await host.keep_to([Share(ACCOUNT, 0, 2)]) == {ACCOUNT: 2}
    with pytest.raises(Throttled):
        await outcome(host, spec, 0, share=share)
    await outcome(host, spec, 0, share=Share(ACCOUNT, 1, 3))


async def test_standbys_pools_and_drops_reach_the_host(plane, host) -> None:
    spec = plane.deploy(ECHO, "held")
    host.stand_by(spec, Standby(idle=1, lease_s=60, linger_s=60))
    await eventually(lambda: host.standing(spec.key).idle == 1, what="one is ready")
    run = await host.run(spec, call(), timings())
    assert run.start_type is StartType.PREWARMED
    assert host.drop(lambda key: key == spec.key) >= 0
    await eventually(lambda: not host.standing(spec.key).idle, what="it is given up")
    host.hold_pool("python3.11", 3)
    await eventually(lambda: host.stats().pools.get("python3.11", (0, 0))[0] >= 3)
    with pytest.raises(NoSuchRuntime):
        host.hold_pool("cobol", 1)


async def test_a_cordoned_host_refuses_and_comes_back(plane, host) -> None:
    spec = plane.deploy(ECHO, "cordoned")
    host.cordon(True)
    await eventually(lambda: host.beat.phase == "cordoned")
    with pytest.raises(HostUnreachable, match="takes no calls"):
        await outcome(host, spec, 1)
    host.cordon(False)
    await eventually(lambda: host.beat.phase == "active")
    assert (await outcome(host, spec, 1)).payload == b"1"


async def test_functions_reach_the_platform_as_who_they_are(plane, host) -> None:
    spec = plane.deploy(ASK, "asking", uses_sdk=True, timeout_s=30)
    for number in range(2):
        span = f"{number:016x}"
        context = TraceContext(trace_id="0" * 32, span_id=span, origin=Origin(), header="")
        answer = json.loads(json.loads((await outcome(host, spec, 1, context=context)).payload))
        # Whose execution asks is known by its credentials, for as long as it runs.
        assert answer == {"path": "/2015-03-31/functions/other/invocations", "execution": span}
    jailed = host.info.isolation == "jail"
    assert set(plane.accounts) == {ACCOUNT if jailed else ""}
    # What proves whose sandbox it is: its own credentials.
    assert {(key[:4], token) for key, token in plane.proofs} == {
        ("ASIA", "token") if jailed else ("", "")
    }
    assert host.running("ASIA0000000000000001") is None


TRACE = """
import os, socket
def handler(event, context):
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"segment", (host, int(port)))
"""


async def test_traces_that_functions_send_come_to_a_control_plane(plane, host) -> None:
    await outcome(host, plane.deploy(TRACE, "traced"), 1)
    await eventually(lambda: plane.datagrams)
    known = "traced" if host.info.isolation == "jail" else ""
    assert plane.datagrams == [(b"segment", known)]


@pytest.mark.root
async def test_snapshots_are_taken_and_copied_there(plane, host) -> None:
    source = "import uuid\nME = str(uuid.uuid4())\ndef handler(event, context):\n    return ME\n"
    spec = plane.deploy(source, "snapped", version="1", snap_start=True)
    await host.take_snapshot(spec)
    run = await host.run(spec, call(), timings())
    assert run.init is not None
    assert run.init.restored
    # Each sandbox has credentials of its own: the template, and those that are copied.
    assert plane.issued >= 2
    with pytest.raises(NoSuchRuntime):
        await host.take_snapshot(plane.deploy(source, runtime="cobol", key="other"))


async def test_two_control_planes_share_a_host(plane, host, agent, trust, tmp_path) -> None:
    spec = plane.deploy(SLEEP, "both", timeout_s=60)
    async with control(trust, tmp_path / "second", "control-2") as second:
        (same,) = await second.connect(agent.info)
        theirs = second.deploy(SLEEP, "both", timeout_s=60)
        mine = asyncio.ensure_future(outcome(host, spec, 9))
        other = asyncio.ensure_future(outcome(same, theirs, 40))
        await eventually(lambda: host.stats().states.get("busy") == 2)
        # One does not renew any more, whatever else it says: what it asked for ends, and nothing else.
        second.renew = False
        with pytest.raises(Exception, match="lease was over") as lost:
            await other
        assert type(lost.value).__name__ == "HostLost"
        await eventually(lambda: host.stats().states.get("busy") == 1)
        with pytest.raises(HostUnreachable, match="no lease"):
            await outcome(same, theirs, 0)
        second.renew = True
        await eventually(lambda: same.alive)
        assert (await mine).payload == b"9"
        count = len(second.beats)
        await eventually(lambda: len(second.beats) > count + 1)
        assert (await outcome(same, theirs, 0)).payload == b"0"


async def test_code_comes_once_and_from_a_host_that_has_it(
    plane, host, agent, trust, tmp_path
) -> None:
    peer = AgentProcess(trust, "host-2", tmp_path / "host-2")
    try:
        (_, other) = await plane.connect(agent.info, peer.info)
        spec = plane.deploy(ECHO + "# shared\n", "travelling")
        digest = os.path.basename(spec.code_dir)
        await asyncio.gather(*(outcome(host, spec, each) for each in range(6)))
        await eventually(lambda: digest in host.trees, what="it says that it has the code")
        await asyncio.gather(*(outcome(other, spec, each) for each in range(6)))
        assert plane.sent_trees == [digest]
        assert f"{digest} is here, " in (log := peer.log.read_text())
        assert "from host-1" in log
    finally:
        assert peer.stop() == 0
