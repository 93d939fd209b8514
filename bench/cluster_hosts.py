"""Hosts that come and go: how soon they are of use, and how soon it is known that they are not."""

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from subprocess import check_output

from case import PYTHON, Run
from client import BadAnswer, Connection
from cluster_running import MODE, WITHIN_S, cluster, target, until
from results import Line
from server import HELLO
from tests.planes import Cluster, Joined

PLACED_US = 100.0
GONE_S = 5.0
RERUN_S = 30.0
JOINED_S = 15.0
SLOW = "import time\ndef handler(event, context):\n    time.sleep(120)\n"


def placement(run: Run) -> Iterator[Line]:
    """A decision with a thousand hosts, and with ten; a process of its own, by its processor time."""
    for hosts in (10, 1000):
        idle, calls = run.size(1000, 200), run.size(20_000, 4_000)
        command = [sys.executable, "-m", "bench.placement", "--hosts", str(hosts)]
        rounds = [
            json.loads(check_output([*command, "--idle", str(idle), "--calls", str(calls)]))
            for _ in run.rounds(3, 1)
        ]
        target_us = PLACED_US if hosts == 1000 else None
        for what, name in (("place_us", "a call"), ("place_1_service_us", "one with a service")):
            yield run.median(
                f"{hosts:,} hosts: {name}, p50",
                [each[what]["p50"] for each in rounds],
                "us",
                target_us,
            )
        yield run.median(
            f"{hosts:,} hosts: a call, p99", [each["place_us"]["p99"] for each in rounds], "us"
        )
        yield run.median(f"{hosts:,} hosts: the view", [each["view_mb"] for each in rounds], "MiB")


def death(run: Run) -> Iterator[Line]:
    """An agent that is killed, and one that hangs: seconds until it is no host any more."""
    with cluster("h1", "h2") as fleet:
        killed = [_killed(fleet, _host(fleet, "h1")) for _ in run.rounds(3, 1)]
        hung = [_hung(fleet, _host(fleet, "h2")) for _ in run.rounds(3, 1)]
    yield run.median("killed: out of the view after", killed, "s", GONE_S)
    yield run.median("hangs: out of the view after", hung, "s", GONE_S)


def _host(fleet: Cluster, name: str) -> Joined:
    return next(each for each in fleet.hosts if each.name == name)


def _alive(fleet: Cluster, name: str) -> bool:
    return any(each["Name"] == name and each["Alive"] for each in fleet.told("hosts")["Hosts"])


def _killed(fleet: Cluster, host: Joined) -> float:
    os.kill(host.agent, signal.SIGKILL)
    taken = until(lambda: not _alive(fleet, host.name), "killed and noticed")
    until(lambda: _alive(fleet, host.name), "started again")
    return taken


def _hung(fleet: Cluster, host: Joined) -> float:
    agent = host.agent
    os.kill(agent, signal.SIGSTOP)
    try:
        taken = until(lambda: not _alive(fleet, host.name), "hangs and noticed")
    finally:
        os.kill(agent, signal.SIGCONT)
    until(lambda: _alive(fleet, host.name), "back")
    return taken


def rerun(run: Run) -> Iterator[Line]:
    """Accepted events that a host was running when it lost its power: seconds until each runs again elsewhere."""
    taken = []
    for _ in run.rounds(3, 1):
        with cluster("h1", "h2") as fleet:
            taken.append(_rerun(fleet))
    yield run.median("events of a dead host run again after", taken, "s", RERUN_S)


def _rerun(fleet: Cluster) -> float:
    plane = fleet.first
    name = plane.function(SLOW, runtime=PYTHON, Timeout=300)
    for _ in range(4):
        plane.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")

    def busy(host: str = "") -> list[dict]:
        found = [each for each in plane.sandboxes() if each["state"] == "busy"]
        return [each for each in found if not host or each["host"] == host]

    until(lambda: len(busy()) == 4, "four events run")
    dying = busy()[0]["host"]
    lost = len(busy(dying))
    stays = 4 - lost
    host = _host(fleet, dying)
    other = next(each.name for each in fleet.hosts if each is not host)
    agent = host.agent
    # Neither it nor who would start it again.
    for pid in (host.process.pid, agent):
        os.kill(pid, signal.SIGKILL)
    return until(lambda: len(busy(other)) == stays + lost, "all run again")


def joining(run: Run) -> Iterator[Line]:
    """From the command to the first call that is answered there: without the engine, and with it."""
    yield _joining(run, "none", JOINED_S)
    if importlib.util.find_spec("ray") is None:
        yield run.line("join to first answer, engine ray", None, "s", JOINED_S, note="no ray here")
        return
    yield _joining(run, "ray", JOINED_S)


def _joining(run: Run, engine: str, bound_s: float) -> Line:
    taken = [_joined(engine) for _ in run.rounds(3, 1)]
    return run.median(f"join to first answer, engine {engine}", taken, "s", bound_s)


def _joined(engine: str) -> float:
    with cluster("h0", FORERUN_CLUSTER_ENGINE=engine) as fleet:
        plane = fleet.first
        first = target(plane, plane.function(HELLO, runtime=PYTHON))
        # Calls wait for the next host.
        fleet.do("cordon", {"Host": "h0"})
        began = time.monotonic()
        fleet.hosts.append(Joined(fleet, "h1", MODE))
        until(lambda: _answers(first), "a first answer", 2 * WITHIN_S)
        return time.monotonic() - began


def _answers(call) -> bool:
    connection = Connection(call)
    try:
        connection.once()
    except (BadAnswer, OSError):
        return False
    finally:
        connection.close()
    return True
