"""One machine of a cluster: its host agent behind a door, and nothing that is kept. What ``forerun agent`` runs."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import msgspec

from forerun.aio import Clock, SystemClock, TaskOwner
from forerun.app.closing import Closing
from forerun.app.local_host import LocalHost, Upward
from forerun.app.sockets import DaemonSocket
from forerun.cluster import (
    PROTOCOLS,
    Door,
    Here,
    HostTrees,
    Identity,
    Knocker,
    Pipes,
    Serving,
    TreeShelf,
    until_quiet,
)
from forerun.errors import SetupFailed
from forerun.host import Paths
from forerun.model import HostInfo, SandboxSpec
from forerun.settings import Settings

log = logging.getLogger("forerun")

TREES = "trees"
RENEWED_S = 60.0


class Words(NamedTuple):
    """What the owner of a machine says of it."""

    zone: str = ""
    labels: dict[str, str] = {}  # noqa: RUF012 of a value that nobody changes


class Datagrams:
    """What functions send to X-Ray's daemon, on its way to a control plane."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._daemon = DaemonSocket(lambda data: here.take_datagram(data, None))

    def take_datagram(self, data: bytes, spec: SandboxSpec) -> None:
        """From inside a sandbox: it is known whose it is."""
        self._here.take_datagram(data, spec)

    def open_daemon(self) -> str:
        """The daemon's address for functions that are not in a network of their own."""
        return self._daemon.open()

    def close(self) -> None:
        """Take no more."""
        self._daemon.close()


class Agent:
    """``start`` then ``close``, once each. ``pulse`` is called while it lives (``cluster.watchdog``)."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        listener: socket.socket,
        *,
        words: Words,
        pulse: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._listener = listener
        self._words = words
        self._pulse = pulse
        self._clock: Clock = SystemClock()
        self._closing = Closing(self._clock, settings.server.drain_s)
        self._owner = TaskOwner("agent")

    @property
    def info(self) -> HostInfo:
        """Who it is."""
        return self._serving.info

    async def start(self) -> None:
        """Make what it takes, and take control planes. Raises ``SetupFailed``, ``StorageFailed``."""
        settings, identity, clock = self._settings, self._identity, self._clock
        if identity.role != "host":
            raise SetupFailed(f"the identity {identity.name!r} is that of a {identity.role}")
        self._knocker = Knocker(identity)
        trees_dir = settings.server.data_dir / TREES
        self._here = here = Here(
            lambda digest: str((trees_dir / digest).absolute()), self._knocker, clock
        )
        self._closing.add(here.close)
        self._trees = trees = HostTrees(
            trees_dir,
            lead=here.lead,
            knocker=self._knocker,
            in_use=self._in_use,
            limit=2 * settings.limits.code_unzipped_bytes,
        )
        trees.start()
        self._closing.add(trees.close)
        self._pipes = pipes = Pipes(here.reach)
        self._closing.add(pipes.close)
        outside = self._open_outside()
        self._datagrams = Datagrams(here)
        # What waits for accounts is divided by control planes, which know all hosts.
        machine = replace(settings.host, account_pools=())
        self._host = LocalHost(
            replace(settings, host=machine),
            clock,
            f"http://127.0.0.1:{outside.getsockname()[1]}",
            Upward(self._serve_inside, self._datagrams, None, trees.bring, here.issue),
            name=identity.name,
        )
        self._closing.add(self._close_datagrams)
        jailed = self._host.isolation == "jail"
        if jailed:
            outside.close()
        else:
            await pipes.listen(outside, "", None)
        self._paths = paths = Paths(
            clock,
            every_s=settings.cluster.probe_s,
            connections=self._host.connections() if jailed else None,
        )
        self._closing.add(paths.close)
        self._serving = Serving(
            self._host.agent,
            here,
            info=self._say(),
            clock=clock,
            settings=settings.cluster,
            data_dir=settings.server.data_dir,
            trees=lambda: trees.there,
            channels=paths.channels,
            measure=paths.watch,
            heard=paths.heard,
            pulse=self._pulse,
            announce_all=not jailed,
        )
        await self._host.start(self._closing, here.prefer)
        paths.start()
        self._serving.start()
        self._closing.add(self._serving.close)
        await self._open_door()
        self._owner.spawn(self._renew(), name="renew")
        self._closing.add(self._owner.close)
        self._closing.add(self._drain)

    async def close(self) -> None:
        """Take no more calls, let those in flight end within ``server.drain_s``, and leave nothing behind."""
        await self._closing.close()
        self._listener.close()

    async def _drain(self) -> None:
        self._serving.drain()
        if not await until_quiet(self._serving, self._clock, self._closing.left()):
            log.warning("%d calls are ended: they had their time", self._serving.working)

    async def _open_door(self) -> None:
        serving = self._serving
        self._door = door = Door(
            self._identity,
            admits=lambda peer: peer.role != "host" or peer.name not in serving.expelled,
        )
        shelf = TreeShelf(self._trees.find)
        door.serve("calls", self._serving.handle, roles=("control",))
        door.serve("tree", shelf.serve, roles=("control", "host"))
        await door.listen(self._listener)
        self._closing.add(door.close)

    def _say(self) -> HostInfo:
        cluster = self._settings.cluster
        host, port = self._listener.getsockname()[:2]
        here = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return HostInfo(
            name=self._identity.name,
            address=cluster.advertise or here,
            incarnation=uuid4().hex,
            version=version("forerun"),
            protocols=PROTOCOLS,
            isolation=self._host.isolation,
            memory_mb=self._host.agent.stats().memory_mb,
            cpus=len(os.sched_getaffinity(0)),
            runtimes=tuple(self._host.runtimes()),
            zone=self._words.zone,
            labels=self._words.labels,
        )

    async def _serve_inside(
        self, sock: socket.socket, _sandbox_id: str, spec: SandboxSpec
    ) -> Callable[[], None]:
        return await self._pipes.listen(sock, spec.account, spec.credentials)

    def _open_outside(self) -> socket.socket:
        """Where functions that are not in a network of their own find the platform."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind(("127.0.0.1", 0))
        return sock

    async def _close_datagrams(self) -> None:
        self._datagrams.close()

    def _in_use(self) -> set[str]:
        """Trees of the versions that have sandboxes."""
        keys = {one.key for one in self._host.agent.sandboxes() if one.key}
        specs = [spec for key in keys if (spec := self._here.spec_of(key)) is not None]
        paths = [path for spec in specs for path in (spec.code_dir, spec.layers_dir) if path]
        return {Path(path).name for path in paths}

    async def _renew(self) -> None:
        """Take up a certificate that was renewed on the disk."""
        while True:
            await self._clock.sleep(RENEWED_S)
            try:
                found = await asyncio.to_thread(Identity.load, self._settings.server.data_dir)
                if found != self._identity and found.name == self._identity.name:
                    self._door.renew(found)
                    self._knocker.renew(found)
                    self._identity = found
                    log.info("the certificate was renewed")
            except SetupFailed as error:
                log.warning("the certificate stays as it is: %s", error.message)


def ready_line(info: HostInfo) -> str:
    """What an agent says once it takes calls: who it is, in one line."""
    return f"ready {msgspec.json.encode(info).decode()}\n"
