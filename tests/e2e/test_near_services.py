"""Functions run where the services that they call are near: real agents on machines of their own, real delays, real connections."""

import asyncio
import json
import socket
import statistics
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from tests import agents
from tests.agents import AgentProcess, call, eventually, timings
from tests.hosts import Host, HostNetwork

from forerun.aio import SystemClock, TaskOwner
from forerun.control.fleet.router import FleetHost
from forerun.control.fleet.services import LikelyServices
from forerun.host import Run
from forerun.model import Egress, Habits, Likely, Outcome, SandboxSpec
from forerun.settings import ClusterSettings, HostSettings

pytestmark = [pytest.mark.slow, pytest.mark.root]

DELAY_S = 0.08
CONNECTS = """
import socket, time
def handler(event, context):
    began = time.monotonic()
    socket.create_connection(event["service"], 5).close()
    return (time.monotonic() - began) * 1000
"""


@contextmanager
def accepting(host: Host) -> Iterator[tuple[str, int]]:
    """A service there to which one can connect."""
    listener = host.listen()

    def work() -> None:
        with suppress(OSError):
            while True:
                listener.accept()[0].close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


class Fleet:
    """Two hosts, and what places calls on them by what profiles would say: ``likely`` by function."""

    def __init__(self, plane: agents.Control, service: tuple[str, int]) -> None:
        self.service = service
        self.name = "{}:{}".format(*service)
        self._plane = plane
        self.known = LikelyServices(
            self._read,
            SystemClock(),
            likelihood=0.5,
            min_executions=20,
            tell=self._measure,
        )
        self.host = FleetHost(
            plane.links,
            clock=SystemClock(),
            settings=ClusterSettings(),
            waiting=HostSettings(),
            services=self.known,
        )

    async def _read(self, _account: str, name: str, _version: str) -> Habits:
        likelihood = {"always": 0.99, "seldom": 0.05}[name]
        return Habits(services=(Likely(self.name, likelihood, 1.0, 1000),))

    def _measure(self, services: Sequence[str]) -> None:
        for host in self._plane.links.hosts.values():
            host.measure(services)

    def deploy(self, name: str) -> SandboxSpec:
        return self._plane.deploy(CONNECTS, name, egress=Egress.OPEN)

    async def run(self, spec: SandboxSpec) -> tuple[Run, float]:
        """One call, and how long it took to reach the service, in milliseconds."""
        payload = json.dumps({"service": self.service}).encode()
        run = await self.host.run(spec, call(payload), timings())
        assert isinstance(run.outcome, Outcome)
        assert run.outcome.error is None, run.outcome
        return run, float(run.outcome.payload)

    async def settled(self, spec: SandboxSpec, name: str) -> tuple[list[float], Run]:
        """What ten calls in a row took that all ran on the host of that name, and the last of them."""
        took: list[float] = []
        for _ in range(400):
            run, ms = await self.run(spec)
            took = [*took, ms] if run.host == name else []
            if len(took) == 10:
                return took, run
            await asyncio.sleep(0.05)
        raise AssertionError(f"calls did not settle on {name}; {self.qualities()}")

    def qualities(self) -> dict[str, object]:
        return {state.name: state.channels.get(self.name) for state in self.host.view}


@asynccontextmanager
async def fleet(network: HostNetwork, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Hosts ``one`` and ``two`` and a service."""
    one, two, service = (network.host(name) for name in ("one", "two", "service"))
    network.delay(two, service, DELAY_S)
    network.delay(one, service, 0.0)
    authority = agents.authority()
    settings = {"FORERUN_CLUSTER_PROBE_S": "0.5", "FORERUN_HOST_POOL_MIN": "1"}
    owner = TaskOwner("test")
    processes: list[AgentProcess] = []
    try:
        for host in (one, two):
            data = tmp_path / host.name
            data.mkdir()
            processes.append(AgentProcess(authority, host.name, data, on=host, **settings))
        listen = network.outside_address
        async with agents.control(authority, tmp_path / "plane", listen=listen) as plane:
            with accepting(service) as address:
                made = Fleet(plane, address)
                made.host.start()
                owner.spawn(made.known.run(), name="services")
                await plane.connect(*(process.info for process in processes))
                yield made
                await made.host.close()
                await owner.close()
    finally:
        for process in processes:
            process.kill()


async def test_calls_go_where_their_service_is_near_and_move_when_the_paths_change(
    tmp_path: Path,
) -> None:
    with HostNetwork(outside=True) as network:
        one, two = "one", "two"
        async with fleet(network, tmp_path) as made:
            always, seldom = made.deploy("always"), made.deploy("seldom")
            await made.run(always)
            await made.run(seldom)
            await eventually(lambda: all(made.qualities().values()), what="paths are measured")

            near, run = await made.settled(always, one)
            assert statistics.median(near) < DELAY_S * 1000 / 2
            assert run.placed is not None
            assert run.placed.service == made.name
            assert set(run.placed.scores) == {one, two}
            assert run.placed.scores[two] - run.placed.scores[one] > DELAY_S * 1000 / 2
            run, _ = await made.run(seldom)
            assert run.placed is not None
            assert run.placed.service == ""

            hosts = {host.name: host for host in network.hosts}
            network.delay(hosts["one"], hosts["service"], DELAY_S)
            network.delay(hosts["two"], hosts["service"], 0.0)
            moved, _ = await made.settled(always, two)
            assert statistics.median(moved) < DELAY_S * 1000 / 2
