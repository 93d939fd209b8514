"""What keeps an agent: it is started, found, started again and ended; and what a fleet makes of what is announced and told."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forerun.aio import SystemClock, TaskOwner
from forerun.cluster import launching
from forerun.cluster.contract import Member
from forerun.cluster.detached import Detached
from forerun.cluster.engine.watching import (
    machines_to_request,
    machines_wanted,
    members_of,
    read_nodes,
)
from forerun.cluster.keeper import AgentPlan, Keeper, Kept, read_ready
from forerun.model import HostInfo

# Says who it is, with its process as a label; ends when it is asked to, unless it is to hang.
AGENT = """
import json, os, sys, time
info = dict(name="h", address="127.0.0.1:1", incarnation=str(os.getpid()), version="0",
    protocols=[1, 1], isolation="process", memory_mb=1000, cpus=1, runtimes=[])
print("a word before", flush=True)
print("ready " + json.dumps(info), flush=True)
time.sleep(100)
"""
FAILING = "import sys; sys.exit('it cannot be')"


def plan(program: str) -> AgentPlan:
    return AgentPlan(name="h", command=[sys.executable, "-c", program])


@asynccontextmanager
async def kept(directory, program=AGENT):
    """A keeper at work, whose agent is ended in the end."""
    keeper = Keeper(directory, plan(program), SystemClock())
    owner = TaskOwner("test")
    task = owner.spawn(keeper.run(), name="run")
    try:
        yield keeper, task
    finally:
        await keeper.end(0.5)
        await owner.close()


async def until(probe, within=20.0):
    async with asyncio.timeout(within):
        while not (answer := probe()):
            await asyncio.sleep(0.02)
    return answer


async def test_an_agent_is_started_and_started_again(tmp_path):
    async with kept(tmp_path) as (keeper, _):
        first = (await until(lambda: keeper.report().agent)).incarnation
        os.kill(int(first), signal.SIGKILL)
        await until(lambda: keeper.report().failure)
        assert "the agent has ended" in keeper.report().failure
        second = (await until(lambda: keeper.report().agent)).incarnation
        assert second != first
        assert keeper.report().starts == 2
        assert keeper.report().failure == ""


async def test_an_agent_has_none_of_the_control_planes_secrets(tmp_path, monkeypatch):
    for name in ("FORERUN_CLUSTER_DATABASE", "FORERUN_CLUSTER_TOKEN", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("FORERUN_CLUSTER_BEAT_S", "0.5")
    async with kept(tmp_path) as (keeper, _):
        agent = (await until(lambda: keeper.report().agent)).incarnation
        names = {
            each.partition(b"=")[0]
            for each in Path(f"/proc/{agent}/environ").read_bytes().split(b"\0")
        }
        assert b"FORERUN_CLUSTER_BEAT_S" in names
        assert not names & {
            b"FORERUN_CLUSTER_DATABASE",
            b"FORERUN_CLUSTER_TOKEN",
            b"RAY_AUTH_TOKEN",
        }


async def test_an_agent_outlives_its_keeper_and_the_next_finds_it(tmp_path):
    async with kept(tmp_path) as (first, task):
        info = await until(lambda: first.report().agent)
        task.cancel()
        await asyncio.wait([task])
        async with kept(tmp_path) as (second, _):
            assert await until(lambda: second.report().agent) == info
            assert second.report().starts == 0


async def test_of_two_keepers_one_waits(tmp_path):
    async with kept(tmp_path) as (first, task):
        info = await until(lambda: first.report().agent)
        async with kept(tmp_path) as (second, _):
            await until(lambda: "another keeper" in second.report().failure)
            assert second.report().agent is None
            task.cancel()
            assert await until(lambda: second.report().agent) == info


async def test_what_was_ended_for_good_is_started_by_nobody_until_it_is_welcome(tmp_path):
    async with kept(tmp_path) as (keeper, task):
        pid = await until(lambda: keeper.report().pid)
        other = Keeper(tmp_path, plan(AGENT), SystemClock())
        assert other.observe().pid == pid
        assert not other.gone()
        await other.end(5.0)
        await asyncio.wait_for(task, 10)
        assert keeper.report().dismissed
        assert other.gone()
    keeper = Keeper(tmp_path, plan(AGENT), SystemClock())
    await asyncio.wait_for(keeper.run(), 10)
    keeper.welcome()
    async with kept(tmp_path) as (keeper, _):
        await until(lambda: keeper.report().agent)


async def test_one_that_cannot_start_is_tried_later_and_says_why(tmp_path):
    async with kept(tmp_path, FAILING) as (keeper, _):
        await until(lambda: keeper.report().starts >= 2)
        assert "it cannot be" in keeper.report().failure
        assert keeper.report().agent is None


@pytest.mark.parametrize("group", ["None", "0"], ids=["its group", "one of its own"])
async def test_what_a_process_leaves_behind_ends_with_it(tmp_path, group):
    left = tmp_path / "left"
    program = (
        "import os, subprocess, sys, time\n"
        "program = [sys.executable, '-c', 'import time; time.sleep(100)']\n"
        f"child = subprocess.Popen(program, process_group={group})\n"
        f"open({str(left)!r}, 'w').write(str(child.pid) + '\\n')\n"
        "time.sleep(100)\n"
    )
    running = await Detached(tmp_path, "node").start([sys.executable, "-c", program], env={})
    child = int(await until(lambda: left.exists() and left.read_text().strip()))
    assert launching.start_time(child)
    await running.end_all(5.0)
    await until(lambda: not launching.start_time(child))
    assert not running.alive


async def test_another_process_with_its_number_is_not_taken_for_it(tmp_path):
    (tmp_path / "agent.pid").write_text(f"{os.getpid()} 12345")
    assert Detached(tmp_path, "agent").find() is None
    (tmp_path / "agent.pid").write_text("none at all")
    assert Detached(tmp_path, "agent").find() is None


def test_noise_in_what_an_agent_prints_is_nothing(tmp_path):
    path = tmp_path / "out"
    assert read_ready(path) is None
    path.write_bytes(b'\xff\xfe\nready {"name": 5}\nready [1]\nready\n{}\n')
    assert read_ready(path) is None


# -- what the engine tells -----------------------------------------------------------------------------------------


def node(node_id, name, *, alive=True, **resources):
    return {
        "NodeID": node_id,
        "NodeName": name,
        "NodeManagerAddress": "10.0.0.1",
        "Alive": alive,
        "Resources": resources if alive else {},
    }


OURS = {"forerun_host": 1.0, "forerun_cpus": 4.0, "memory": 2.0 * (1 << 30)}
AGENT_INFO = HostInfo(
    name="h",
    address="10.0.0.1:1",
    incarnation="i",
    version="0",
    protocols=(1, 1),
    isolation="jail",
    memory_mb=1,
    cpus=1,
    runtimes=(),
    labels={"disk": "fast"},
)


def test_only_nodes_with_our_resource_are_members():
    nodes = read_nodes([node("1", "h", **OURS), node("2", "other", CPU=8.0)], {})
    [member] = members_of(nodes, {"1": Kept(name="h", agent=AGENT_INFO)})
    assert (member.name, member.node, member.alive) == ("h", "1", True)
    assert (member.cpus, member.memory_mb, member.labels) == (4.0, 2048, {"disk": "fast"})
    assert member.agent == AGENT_INFO


def test_a_node_that_is_gone_is_told_of_until_one_of_its_name_is_there():
    known = {each.node: each for each in read_nodes([node("1", "h", **OURS)], {})}
    gone = read_nodes([node("1", "h", alive=False), node("0", "x", alive=False)], known)
    [member] = members_of(gone, {"1": Kept(name="h", agent=AGENT_INFO)})
    assert (member.name, member.alive, member.agent) == ("h", False, None)
    again = read_nodes([node("1", "h", alive=False), node("2", "h", **OURS)], known)
    [member] = members_of(again, {})
    assert (member.node, member.alive, member.agent) == ("2", True, None)


def test_why_a_keeper_does_not_work_is_told():
    [member] = members_of(read_nodes([node("1", "h", **OURS)], {}), {"1": "no room"})
    assert member.failure == "no room"


@pytest.mark.parametrize(
    ("hosts", "memory_mb", "wanted"),
    [(0, 0, 0), (3, 0, 3), (1, 2500, 3), (4, 2500, 4), (-1, 0, 0), (10**9, 0, 10_000)],
)
def test_wished_memory_becomes_machines_like_those_there_are(hosts, memory_mb, wanted):
    members = [
        Member(name=str(size), node="", alive=True, cpus=1, memory_mb=size)
        for size in (500, 1000, 4000)
    ]
    assert machines_wanted(hosts, memory_mb, members) == wanted


@pytest.mark.parametrize(
    ("wanted", "kept", "dismissed", "asked"),
    [(3, 2, 0, 3), (2, 2, 0, 0), (1, 3, 0, 0), (2, 2, 1, 0), (3, 2, 1, 4)],
)
def test_a_machine_that_was_dismissed_does_for_none_that_is_wanted(wanted, kept, dismissed, asked):
    assert machines_to_request(wanted, kept, dismissed) == asked
