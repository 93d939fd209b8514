"""A cluster for tests: control planes and hosts in processes of their own, over one real PostgreSQL, without an engine."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hosts import Host
from tests.servers import FORERUN, Server, eventually, server_environment

from forerun.cluster import keeper_directory

TIMES = {
    "FORERUN_CLUSTER_BEAT_S": "0.2",
    "FORERUN_CLUSTER_DEAD_S": "2",
    "FORERUN_CLUSTER_LEASE_S": "3",
    "FORERUN_CLUSTER_DUTY_S": "3",
    "FORERUN_CLUSTER_ENGINE": "none",
    "FORERUN_CLUSTER_HOST": "false",
}
JOIN_S = 45.0
END_S = 20.0


class Joined:
    """One ``forerun join``, maybe ``on`` a machine of its own; ``end`` it by its own process id."""

    def __init__(
        self, cluster: "Cluster", name: str, mode: str, on: Host | None = None, **more: str
    ) -> None:
        self.name = name
        self.data = cluster.folder / f"host-{name}"
        made = cluster.do("create-join-token", {"Role": "host"})
        self.log = cluster.folder / f"host-{name}.log"
        self._command = [
            *(FORERUN, "join", made["Address"], "--token", made["Token"], "--name", name),
            *("--data", self.data),
        ]
        if on is None:
            self._command += ["--listen", "127.0.0.1:0"]
        else:
            self._command = on.command(self._command)
        self._environment = (
            server_environment(cluster.folder)
            | TIMES
            | {"FORERUN_SANDBOX_MODE": mode}
            | cluster.more
            | more
        )
        self.begin()

    def begin(self, **more: str) -> None:
        """Join, or go on as what has joined; with ``more`` in its environment from now on."""
        self._environment |= more
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def agent(self) -> int:
        """The process id of its agent; 0 while there is none."""
        try:
            return int((keeper_directory(self.data) / "agent.pid").read_text().split()[0])
        except (OSError, IndexError):
            return 0

    def ready(self) -> None:
        eventually(
            lambda: self.process.poll() is not None or "ready host" in self.log.read_text(),
            within=JOIN_S,
            what=f"{self.name} has joined",
        )
        assert self.process.poll() is None, self.log.read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(END_S)


class Cluster:
    """Its first control plane starts with it; ``planes`` are those that were started."""

    def __init__(self, folder: Path, database: str, **more: str) -> None:
        self.folder = folder
        self.database = database
        self.more = more
        self.planes: list[Server] = []
        self.hosts: list[Joined] = []

    def plane(self, name: str, **more: str) -> Server:
        """Start one, with a token if it is not the first."""
        given = {"FORERUN_CLUSTER_NAME": name, "FORERUN_CLUSTER_LISTEN": "127.0.0.1:0"}
        if self.planes:
            made = self.do("create-join-token", {"Role": "control"})
            given["FORERUN_CLUSTER_TOKEN"] = made["Token"]
        started = Server.start(
            self.folder / f"plane-{name}",
            settings=TIMES | {"FORERUN_CLUSTER_DATABASE": self.database} | given | self.more | more,
        )
        self.planes.append(started)
        return started

    def host(self, name: str, mode: str = "process") -> Joined:
        """Have a machine join, and wait until it is there. In ``process`` mode functions see the machine's files."""
        joined = Joined(self, name, mode)
        self.hosts.append(joined)
        joined.ready()
        eventually(
            lambda: name in [each["Name"] for each in self.told("hosts")["Hosts"] if each["Alive"]],
            within=JOIN_S,
            what=f"{name} is connected",
        )
        return joined

    @property
    def first(self) -> Server:
        """One that runs."""
        return next(plane for plane in self.planes if plane.process.poll() is None)

    def told(self, name: str, plane: Server | None = None) -> Any:
        """What ``GET /forerun/NAME`` answers, once somebody does."""
        asked = plane or self.first
        path = f"/forerun/{name}"

        def tell() -> Any:
            answer = asked.request(
                "GET", path, headers=asked.signed("GET", path, service="forerun")
            )
            if answer.status == 503:
                return None
            assert answer.status == 200, answer
            return answer

        return eventually(tell, within=20, what=path).json()

    def do(self, name: str, given: dict[str, Any], plane: Server | None = None) -> Any:
        """What ``POST /forerun/NAME`` answers, once somebody does."""
        asked = plane or self.first
        path, body = f"/forerun/{name}", json.dumps(given).encode()

        def done() -> Any:
            headers = asked.signed("POST", path, body, service="forerun")
            answer = asked.request("POST", path, body, headers)
            if answer.status == 503:
                return None
            assert answer.status == 200, answer
            return answer

        return eventually(done, within=20, what=path).json()

    def holder(self, plane: Server | None = None) -> str:
        """The name of the control plane that has the duties; empty when none has."""
        planes = self.told("cluster", plane)["ControlPlanes"]
        return next((each["Name"] for each in planes if each["Duties"]), "")

    def named(self, name: str) -> Server:
        return next(each for each in self.planes if each.data.name == f"plane-{name}")

    def close(self) -> None:
        for host in self.hosts:
            host.end()
        for plane in self.planes:
            plane.stop()


@contextmanager
def running_cluster(folder: Path, database: str, *names: str, **more: str) -> Iterator[Cluster]:
    """Control planes of these names, of which the first founds the cluster."""
    cluster = Cluster(folder, database, **more)
    try:
        for name in names:
            cluster.plane(name)
        yield cluster
    finally:
        cluster.close()
