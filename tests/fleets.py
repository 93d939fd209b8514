"""A whole cluster on this machine: PostgreSQL, control planes and hosts, each on a machine of its own in the network (``tests.hosts``).

    with running_fleet(folder, planes=("a", "b"), hosts=("h1", "h2")) as fleet:
        fleet.named("a").call(...)                  # as any server
        fleet.power_off("h1"); fleet.power_on("h1")
        fleet.cut("b", "db"); fleet.heal()

There is no engine; functions run in ``process`` mode unless told otherwise, so that what they do can be seen in files of the test.
Needs root. Everything ends by its own process id.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.hosts import Host, HostNetwork
from tests.planes import JOIN_S, TIMES, Cluster, Joined
from tests.postgres import Postgres, new_folder
from tests.servers import Server, eventually

DATABASE = "db"
DATABASE_PORT = 5432
DOOR, API = 9701, 9700
END_S = 15.0
# Tells that it is there, and waits for a file of the test's.
WAITS = """
import os, time
def handler(event, context):
    with open(event["there"], "a") as there:
        there.write(".")
    while not os.path.exists(event["until"]):
        time.sleep(0.05)
    return "whole"
"""


class Fleet(Cluster):
    """``database`` is its PostgreSQL, on the machine ``db``; ``planes`` and ``hosts`` are as in ``Cluster``."""

    def __init__(
        self,
        folder: Path,
        network: HostNetwork,
        mode: str,
        settings: dict[str, str],
        own: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.network = network
        self._own = own
        self._mode = mode
        self._machines: dict[str, Host] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self.database_server = Postgres(new_folder(), port=DATABASE_PORT, on=self.machine(DATABASE))
        super().__init__(folder, self.database_server.url("fleet"), **settings)

    def machine(self, name: str) -> Host:
        """The machine of that name, which is made when it is new."""
        if name not in self._machines:
            self._machines[name] = self.network.host(name)
        return self._machines[name]

    # -- what is on machines -------------------------------------------------------------------------------------

    def plane(self, name: str, **more: str) -> Server:
        """Start a control plane, or start it again with what it had and ``more``."""
        on = self.machine(name)
        again = name in self._settings
        settings = self._settings.setdefault(name, dict(self._own.get(name, {})))
        settings.update(more)
        given = {
            "FORERUN_CLUSTER_DATABASE": self.database,
            "FORERUN_CLUSTER_NAME": name,
            "FORERUN_CLUSTER_LISTEN": f"{on.address}:{DOOR}",
        }
        if self.planes and not again:
            made = self.do("create-join-token", {"Role": "control"})
            given["FORERUN_CLUSTER_TOKEN"] = made["Token"]
        started = Server.start(
            self.folder / f"plane-{name}",
            settings=TIMES | given | self.more | settings,
            listen=f"{on.address}:{API}",
            elsewhere=on.command,
        )
        self.planes = [each for each in self.planes if each.data != started.data] + [started]
        return started

    def join(self, names: Sequence[str], **more: str) -> None:
        """Have machines join at once, and wait until every control plane is connected to all of them."""
        joined = [
            Joined(
                self, name, self._mode, self.machine(name), **{**self._own.get(name, {}), **more}
            )
            for name in names
        ]
        self.hosts += joined
        for each in joined:
            each.ready()
        for plane in self.planes:
            self.await_hosts(names, plane)

    def await_hosts(self, names: Sequence[str], plane: Server | None = None) -> None:
        """Wait until these are there, as a control plane says."""
        eventually(lambda: set(names) <= self.alive(plane), within=JOIN_S, what=f"{names} there")

    def alive(self, plane: Server | None = None) -> set[str]:
        """The hosts that the holder of the duties hears."""
        return {each["Name"] for each in self.told("hosts", plane)["Hosts"] if each["Alive"]}

    def joined(self, name: str) -> Joined:
        return next(each for each in self.hosts if each.name == name)

    def running(self) -> list[Server]:
        """The control planes that run, or hang."""
        return [plane for plane in self.planes if plane.process.poll() is None]

    # -- what happens to machines --------------------------------------------------------------------------------

    def processes(self, name: str) -> set[int]:
        """All that run on a machine, and all that they have started."""
        return processes_on(self.machine(name))

    def power_off(self, name: str) -> None:
        """A machine stops at once, with everything on it."""
        for _ in range(100):
            found = self.processes(name)
            if not found:
                break
            # None of them sees another one die.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in found:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
            time.sleep(0.01)
        if name != DATABASE:
            self._process(name).wait(END_S)

    def power_on(self, name: str) -> None:
        """It starts again with what it had; nothing waits for it."""
        if name == DATABASE:
            self.database_server.stop(signal.SIGKILL)
            self.database_server.start()
        elif (self.folder / f"plane-{name}").exists():
            self.plane(name)
        else:
            self.joined(name).begin()

    def hang(self, name: str) -> list[int]:
        """What is the platform's on a machine does nothing more until ``resume``; functions go on. The process ids."""
        pids = [self._process(name).pid]
        if any(name == each.name for each in self.hosts) and (agent := self.joined(name).agent):
            pids.append(agent)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return pids

    def resume(self, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        for plane in self.planes:
            if plane.data.name == f"plane-{name}":
                return plane.process
        return self.joined(name).process

    def cut(self, one: str, other: str | None = None, *, both: bool = True) -> None:
        """See ``HostNetwork.cut``; clients outside are cut off only from machines that are cut off from everybody."""
        self.network.cut(self.machine(one), self.machine(other) if other else None, both=both)

    def heal(self) -> None:
        self.network.heal()

    def close(self) -> None:
        self.heal()
        for name in self._machines:
            for pid in self.processes(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        for host in self.hosts:
            if host.process.poll() is None:
                host.process.send_signal(signal.SIGTERM)
        try:
            for host in self.hosts:
                host.end()
            for plane in self.planes:
                plane.stop()
        finally:
            for name in self._machines:
                if name != DATABASE:
                    self._end_rest(name)
            self.database_server.stop()
            shutil.rmtree(self.database_server.folder, ignore_errors=True)

    def _end_rest(self, name: str) -> None:
        for pid in self.processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def processes_on(host: Host) -> set[int]:
    """All in its network, and all that these have started."""
    network = (Path("/run/netns") / host.namespace).stat().st_ino
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        with suppress(OSError, IndexError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state in "ZX":
                continue
            parents[pid] = int(parent)
            if (entry / "ns" / "net").stat().st_ino == network:
                found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@contextmanager
def running_fleet(
    folder: Path,
    *,
    planes: Sequence[str] = ("a",),
    hosts: Sequence[str] = ("h1", "h2"),
    mode: str = "process",
    own: Mapping[str, Mapping[str, str]] | None = None,
    **settings: str,
) -> Iterator[Fleet]:
    """A fleet of control planes and hosts of these names, ended with the block.

    ``settings`` are those of all of them, ``own`` further ones by name.
    """
    with HostNetwork(outside=True) as network:
        fleet = Fleet(folder, network, mode, dict(settings), own or {})
        try:
            fleet.database_server.make()
            fleet.database_server.start()
            fleet.database_server.sql("CREATE DATABASE fleet")
            for name in planes:
                fleet.plane(name)
            fleet.join(hosts)
            yield fleet
        finally:
            fleet.close()


def limits(plane: Server) -> dict[str, Any]:
    """What ``GET /forerun/limits`` says, by function; the account's own is that of the empty name."""
    return {each["FunctionName"]: each for each in plane.platform("/forerun/limits")["Limits"]}
