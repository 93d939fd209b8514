"""The engine on machines of its own: agents placed, kept, found again, dismissed, and machines asked for. Real Ray, mutual TLS, token.

One story, since the engine takes long to start: each part of it stands on the one before.
"""

import json
import os
import queue
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from tests.hosts import Host, HostNetwork
from tests.servers import eventually

from forerun.cluster.engine.node import session_directory
from forerun.cluster.trust import make_authority

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.root]

SECRET = "0123456789abcdef" * 4
AUTHORITY = make_authority(now=time.time())
ROOT = Path(__file__).parents[2]


class Machine:
    """A host with a process that keeps the engine there, and what that says."""

    def __init__(self, host: Host, directory: Path, *, name: str = "", **more: object) -> None:
        self.host = host
        self.name = name or host.name
        self.directory = directory / self.name
        self.directory.mkdir()
        identity = AUTHORITY.issue(self.name, "host", addresses=[host.address], now=time.time())
        order = {
            "directory": str(self.directory),
            "ip": host.address,
            "identity": msgspec.to_builtins(identity),
            "secret": SECRET,
            **more,
        }
        with (self.directory / "fleet.log").open("w") as log:
            self.process = host.popen(
                [sys.executable, "-m", "tests.engine_fleet"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        self.said: queue.Queue[dict] = queue.Queue()
        self.members: dict[str, dict] = {}
        self.head = ""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.tell(order)

    def tell(self, what: object) -> None:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.said.put(json.loads(line))

    def look(self) -> dict[str, dict]:
        while not self.said.empty():
            said = self.said.get()
            self.head = said.get("head", self.head)
            if "members" in said:
                self.members = {each["name"]: each for each in said["members"]}
        return self.members

    def agent(self, name: str) -> int:
        """The process of a member's agent, as the fleet tells of it; 0 while there is none."""
        agent = (self.look().get(name) or {}).get("agent")
        return int(agent["labels"]["pid"]) if agent else 0

    def pids(self, what: str) -> list[int]:
        """Processes of this machine with this in their command line."""
        listed = self.host.run(["ip", "netns", "pids", self.host.namespace]).split()
        found = []
        for pid in map(int, listed):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if what in command:
                found.append(pid)
        return found

    def close(self) -> None:
        self.process.wait(20)
        self.process.stdin.close()
        self.listener.join(20)
        self.process.stdout.close()

    def logs(self) -> str:
        files = [*self.directory.glob("*.log"), *self.directory.glob("*/*.log")]
        return "\n".join(f"{path}: {path.read_text()[-1500:]}" for path in files)


@contextmanager
def machines(directory: Path):
    """Starts machines, and ends all that ran on them."""
    made: list[Machine] = []

    def start(host: Host, **more: object) -> Machine:
        made.append(Machine(host, directory, **more))
        return made[-1]

    with HostNetwork() as network:
        try:
            yield network, start
        except BaseException:
            for each in made:
                print(each.logs())
            raise
        finally:
            for each in made:
                for pid in each.pids(""):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                each.close()
                shutil.rmtree(session_directory(each.directory / "engine"), ignore_errors=True)


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")[:200]
    return ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def strangers_are_refused(host: Host, address: str) -> bool:
    """Whether the engine's head hangs up on who shows no certificate."""
    name, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=AUTHORITY.pem)
    context.set_alpn_protocols(["h2"])
    with host.connect((name, int(port))) as plain:
        try:
            with context.wrap_socket(plain) as sock:
                sock.settimeout(5)
                # TLS 1.3: it is told that its certificate was missed when it reads.
                sock.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                return sock.recv(100) == b""
        except (ssl.SSLError, ConnectionError):
            return True


@pytest.mark.timeout(240)
def test_agents_are_kept_on_all_machines(tmp_path):
    wished = tmp_path / "wished"
    wished.mkdir()
    command = tmp_path / "machines"
    command.write_text(f'#!/bin/sh\necho "$1" > "{wished}/$2"\n')
    command.chmod(0o755)
    with machines(tmp_path) as (network, start):
        a = start(network.host("a"), scale_command=str(command), scale_max=1)
        eventually(lambda: a.look() and a.head, within=60, what="the head")

        # A second machine is wished for: the engine's autoscaler has it started, and it joins.
        a.tell({"scale": 2})
        [b] = eventually(lambda: [each.name for each in wished.iterdir()], within=30, what="a wish")
        far = start(network.host("b"), name=b, attach=a.head)

        # An agent on each, without the engine's secrets in its environment (it checks).
        eventually(lambda: a.agent("a") and a.agent(b), within=60, what="both agents")
        assert a.agent("a") in a.pids("ready ")
        assert a.agent(b) in far.pids("ready ")
        assert (wished / b).read_text() == "start\n"
        assert strangers_are_refused(far.host, a.head)

        # One that is killed comes back.
        first = a.agent(b)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: a.agent(b) not in (0, first), within=30, what="another agent")

        # The engine's node ends: the member is gone, its agent is not.
        second = a.agent(b)
        [raylet] = far.pids("raylet/raylet")
        os.kill(raylet, signal.SIGKILL)
        eventually(lambda: not a.look()[b]["alive"], within=20, what="the second machine is gone")
        assert a.agent(b) == 0
        assert alive(second)

        # The process beside the control plane dies, too: another goes on where it was, and with the next node finds the agent again.
        [engine] = a.pids("forerun.cluster.engine\0")
        os.kill(engine, signal.SIGKILL)
        eventually(lambda: a.pids("forerun.cluster.engine\0"), within=20, what="another process")
        a.members.clear()
        eventually(lambda: a.agent("a") and a.agent(b), within=60, what="both again")
        assert a.agent(b) == second

        # Dismissed: its agent ends, and none is started again, by no keeper.
        a.tell({"dismiss": b})
        eventually(lambda: not alive(second), within=20, what="the agent has ended")
        eventually(lambda: not a.agent(b), within=20)
        assert not far.pids("ready ")
        assert a.agent("a")

        # Told to stop: neither engine nor agent is left on either, nor what the engine has written elsewhere.
        for each in (far, a):
            assert session_directory(each.directory / "engine").exists()
            each.tell({"leave": True})
        for each in (far, a):
            each.process.wait(40)
            assert {pid: command_of(pid) for pid in each.pids("") if alive(pid)} == {}
            assert not session_directory(each.directory / "engine").exists()
