"""``forerun join``: a machine becomes a host of a cluster, and stays one for as long as this process runs."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop

from forerun.aio import SystemClock, TaskOwner
from forerun.app.agent_command import agent_command
from forerun.app.process import EXIT_FAILED, claimed, set_up_log
from forerun.cluster import (
    AgentPlan,
    Announcer,
    Engine,
    EngineHere,
    Identity,
    Keeper,
    Knocker,
    Membership,
    NodeKeeper,
    ask_engine,
    certificate_span,
    enrol,
    keeper_directory,
    renew,
    split_address,
)
from forerun.errors import ForerunError, HostUnreachable, InvalidInput
from forerun.model import HostInfo

log = logging.getLogger("forerun")

ASK_S = 5.0
READY_S = 120.0
RENEW_RETRY_S = 600.0
PORT = 9701
CLOSE_S = 3.0
# The agent ends by itself before it is ended.
MORE_S = 5.0


class Joining(NamedTuple):
    """What was asked for. ``address`` is a control plane's door; ``listen`` where the agent is to be reached, empty to find out."""

    address: str
    token: str
    name: str
    data_dir: Path
    listen: str = ""
    zone: str = ""
    labels: Mapping[str, str] = {}
    drain_s: float = 30.0
    json_logs: bool = False


def join(wanted: Joining) -> int:
    """Be a host until SIGTERM or SIGINT, or until this one was drained; the exit status. Says on stderr why not."""
    set_up_log(json_lines=wanted.json_logs)
    try:
        # Not the data directory itself: that is the agent's.
        with claimed(keeper_directory(wanted.data_dir)):
            uvloop.run(_run(wanted))
    except ForerunError as error:
        log.error("%s", error.message)  # noqa: TRY400 the sentence says what to do, a traceback does not
        return EXIT_FAILED
    return 0


async def _run(wanted: Joining) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = await JoinedHost.enter(wanted)
    try:
        info = await host.start()
        sys.stdout.write(f"ready host {info.name} at {info.address} ({info.isolation})\n")
        sys.stdout.flush()
        await host.until(stop)
    finally:
        await host.close(wanted.drain_s)


class JoinedHost:
    """A machine that has joined: its agent, what keeps it, and what is renewed and asked from time to time."""

    def __init__(
        self, data_dir: Path, identity: Identity, membership: Membership, plan: AgentPlan, ip: str
    ) -> None:
        self._data_dir = data_dir
        self._identity = identity
        self._membership = membership
        self._clock = SystemClock()
        self._owner = TaskOwner("join")
        self._keeper = Keeper(keeper_directory(data_dir), plan, self._clock)
        self._node: NodeKeeper | None = None
        self._here: EngineHere | None = None
        self._announcer: Announcer | None = None
        self._knocker = Knocker(identity)
        self._head = ""
        self._plan = plan
        self._ip = ip

    @classmethod
    async def enter(cls, wanted: Joining) -> "JoinedHost":
        """Join, or go on as what has joined before from this data directory.

        Raises ``InvalidInput``, ``AccessDenied``, ``HostUnreachable``, ``SetupFailed``: each says what to do.
        """
        listen, ip = _listen_of(wanted)
        membership = Membership.load(wanted.data_dir)
        if membership is None:
            if not wanted.token:
                raise InvalidInput(
                    f"{wanted.data_dir} has not joined a cluster yet: give a token (--token), "
                    "which `forerun token create` makes on the control plane"
                )
            brought = await enrol(
                wanted.address,
                wanted.token,
                name=wanted.name,
                addresses=[ip],
                version=version("forerun"),
            )
            identity = brought.identity
            identity.save(wanted.data_dir)
            membership = Membership(
                doors=_doors(brought.doors, wanted.address),
                engine=brought.engine.kind,
                secret=brought.engine.secret,
                foreign=brought.engine.foreign,
                addresses=[ip],
            )
            # Last: with it the machine has joined.
            membership.save(wanted.data_dir)
        else:
            identity = Identity.load(wanted.data_dir)
        command = agent_command(wanted.data_dir, listen, wanted.zone, wanted.labels)
        plan = AgentPlan(name=identity.name, command=command)
        return cls(wanted.data_dir, identity, membership, plan, ip)

    async def start(self) -> HostInfo:
        """Start all of it; who the agent says it is. Raises ``SetupFailed`` when it is not ready in time."""
        self._plan.save(keeper_directory(self._data_dir))
        self._keeper.welcome()
        # At once, whoever keeps it later: an agent is found by its file.
        await self._keeper.ensure()
        self._owner.spawn(self._renewing(), name="renew")
        if self._membership.engine == "ray":
            await self._start_node()
        else:
            self._owner.spawn(self._keeper.run(), name="keeper")
        # With the engine, too: it takes seconds until it knows of a machine.
        keeps = self._membership.engine == "none"
        report = self._keeper.report if keeps else self._keeper.observe
        self._announcer = Announcer(self._clock, self._knocker, report, self._keeper.end)
        self._announcer.follow(self._membership.doors)
        self._owner.spawn(self._asking(), name="ask")
        return await self._keeper.ready(READY_S)

    async def until(self, stop: asyncio.Event) -> None:
        """Until it is told to stop, or its agent was dismissed for good."""
        while not stop.is_set() and not self._keeper.gone():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
        log.info("leaving: %s", "stopped" if stop.is_set() else "drained")

    async def close(self, drain_s: float) -> None:
        """End the node first, so that nothing starts another agent; the agent may finish its calls."""
        if self._announcer is not None:
            await self._announcer.close()
        if self._node is not None:
            await self._node.close()
        await self._owner.close(grace_s=CLOSE_S)
        if self._here is not None:
            await self._here.node.end()
        await self._keeper.end(drain_s + MORE_S)

    async def _start_node(self) -> None:
        self._here = EngineHere(
            self._data_dir / "engine",
            self._identity,
            address=(self._ip, PORT + 1),
            secret=self._membership.secret,
            agent=(self._plan, self._data_dir),
            foreign=self._membership.foreign,
        )
        self._node = NodeKeeper(self._here, self._clock, self._locate)
        await self._ask()
        await self._node.start()

    async def _locate(self) -> str:
        return self._head

    async def _asking(self) -> None:
        while True:
            await self._clock.sleep(ASK_S)
            await self._ask()

    async def _ask(self) -> None:
        """Where the engine's head and the control planes are now, from the first of them that answers."""
        for door in self._membership.doors:
            try:
                engine, doors = await ask_engine(door, self._identity)
            except (ForerunError, OSError) as error:
                log.info("%s does not say where the engine is: %s", door, error)
                continue
            self._heard(engine, doors)
            return

    def _heard(self, engine: Engine, doors: list[str]) -> None:
        self._head = engine.address
        found = _doors(doors, *self._membership.doors[:1])
        if found != self._membership.doors:
            self._membership = msgspec.structs.replace(self._membership, doors=found)
            self._membership.save(self._data_dir)
            if self._announcer is not None:
                self._announcer.follow(found)

    async def _renewing(self) -> None:
        while True:
            due = certificate_span(self._identity.certificate_pem).renew_at()
            await self._clock.sleep(max(RENEW_RETRY_S, min(due - self._clock.now(), 86400.0)))
            if self._clock.now() >= due:
                await self._renew()

    async def _renew(self) -> None:
        for door in self._membership.doors:
            try:
                brought = await renew(door, self._identity, self._membership.addresses)
            except (ForerunError, OSError) as error:
                log.warning("%s does not renew this host's certificate: %s", door, error)
                continue
            self._identity = brought.identity
            self._identity.save(self._data_dir)
            self._knocker.renew(self._identity)
            if self._here is not None and self._node is not None:
                self._here.renew(self._identity)
                await self._node.restart()
            return


def _listen_of(wanted: Joining) -> tuple[str, str]:
    """Where the agent listens, and the address of this machine that others see."""
    if wanted.listen:
        ip, _ = split_address(wanted.listen)
        return wanted.listen, ip
    ip = _own_address(wanted.address)
    return (f"[{ip}]:{PORT}" if ":" in ip else f"{ip}:{PORT}"), ip


def _own_address(door: str) -> str:
    """The address with which this machine reaches a door: no packet is sent."""
    host, port = split_address(door)
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            return str(sock.getsockname()[0])
    except OSError as error:
        raise HostUnreachable(f"{door} cannot be reached: {error}") from error


def _doors(found: list[str], *more: str) -> list[str]:
    return list(dict.fromkeys([*found, *more]))
