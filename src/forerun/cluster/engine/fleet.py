"""``Fleet`` by the engine: a process beside this one speaks with it, and is started again when it ends."""

import asyncio
import contextlib
import importlib.util
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.cluster.announcing import StaticFleet
from forerun.cluster.contract import Member
from forerun.cluster.engine.node import EngineNode, keeper_directory
from forerun.cluster.engine.wire import (
    Command,
    Dismiss,
    Failed,
    Order,
    Ready,
    Scale,
    encode,
    reports,
)
from forerun.cluster.identity import Identity
from forerun.cluster.keeper import AgentPlan, Keeper
from forerun.errors import ForerunError, NotFound, SetupFailed
from forerun.settings import ClusterSettings

log = logging.getLogger("forerun.cluster")

START_S = 90.0
CLOSE_S = 5.0
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LINE_BYTES = 64 * 1024 * 1024
DISMISS_S = 30.0

Changed = Callable[[Sequence[Member]], None]


class RayFleet:
    """The machines of the engine's cluster, with an agent on each.

    ``directory`` is the engine's own on this machine, ``agent_data`` the data directory of this machine's agent, ``None`` for a
    machine without. ``locate`` says where the head was last, ``moved`` is told where it is now.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        node: "EngineHere",
        clock: Clock,
        *,
        locate: Callable[[], Awaitable[str]],
        moved: Callable[[str], Awaitable[None]],
        announced: StaticFleet | None = None,
    ) -> None:
        """``announced``: machines whose agents say that they are there, whatever the engine knows of them by now."""
        self._announced = announced or StaticFleet(clock)
        self._settings = settings
        self._here = node
        self._clock = clock
        self._locate = locate
        self._moved = moved
        self._owner = TaskOwner("fleet")
        self._members: list[Member] = []
        self._changed: Changed = lambda _: None
        self._process: asyncio.subprocess.Process | None = None
        self._wish: Scale | None = None
        self._closing = False
        self.failure = ""
        """Why the engine is not there; empty when it is."""

    async def start(self, on_change: Changed) -> None:
        """See ``Fleet``. The engine takes seconds to start, and nobody waits for it: agents are there before."""
        if importlib.util.find_spec("ray") is None:
            raise SetupFailed(
                "the engine is not installed: pip install 'forerun[cluster]', or start with --engine none"
            )
        self._changed = on_change
        self._here.prepare()
        self._owner.spawn(self._run(), name="engine")

    def members(self) -> Sequence[Member]:
        """See ``Fleet``: those of the engine, and those whose agents are there though it does not know."""
        told = {each.name: each for each in self._members}
        for each in self._announced.members():
            if each.agent is not None and (known := told.get(each.name)) is None:
                told[each.name] = each
            elif each.agent is not None and known is not None and known.agent is None:
                told[each.name] = msgspec.structs.replace(each, node=known.node)
        return [told[name] for name in sorted(told)]

    async def dismiss(self, name: str) -> None:
        """See ``Fleet``. Raises ``NotFound``, ``SetupFailed`` while the engine is not there."""
        if all(each.name != name for each in self.members()):
            raise NotFound(f"The engine knows no machine {name}.")
        with contextlib.suppress(NotFound):
            # The shorter way; the engine has to know, so that it starts no other and lets the machine go.
            await self._announced.dismiss(name)
        self._send(Dismiss(name=name, grace_s=DISMISS_S))

    async def scale(self, hosts: int, memory_mb: int) -> None:
        """See ``Fleet``: the engine's autoscaler starts machines by ``cluster.scale_command``; without one it is only noted."""
        wish = Scale(hosts=hosts, memory_mb=memory_mb)
        if wish != self._wish:
            self._wish = wish
            with contextlib.suppress(SetupFailed):
                self._send(wish)

    async def close(self) -> None:
        """See ``Fleet``: the process ends; head, nodes, keepers and agents go on."""
        self._closing = True
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), CLOSE_S)
            if process.returncode is None:
                process.kill()
        await self._owner.close()

    def _send(self, command: Command) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            raise SetupFailed(f"the engine is not there: {self.failure or 'it starts'}")
        process.stdin.write(encode(command) + b"\n")

    async def _run(self) -> None:
        """Processes, one after another; what each says is taken in."""
        failed = 0
        while True:
            began = self._clock.monotonic()
            try:
                await self._one()
            except (OSError, ForerunError, ValueError) as error:
                self._fail(str(error))
            failed = 1 if self._clock.monotonic() - began > START_S else failed + 1
            await self._clock.sleep(BACKOFF_S[min(failed, len(BACKOFF_S)) - 1])

    async def _one(self) -> None:
        order = await self._order()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "forerun.cluster.engine"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        self._process = process
        try:
            self._send(order)
            if self._wish is not None:
                self._send(self._wish)
            assert process.stdout is not None
            while line := await process.stdout.readline():
                await self._take(line)
            raise SetupFailed(self.failure or "the engine process has ended")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _order(self) -> Order:
        settings = self._settings
        return Order(
            name=self._here.node.name,
            directory=str(self._here.directory),
            keeper=str(self._here.agent_data or ""),
            ip=self._here.node.ip,
            port=self._here.port,
            address=settings.engine_address or await self._locate(),
            own=not settings.engine_address and not self._here.node.foreign,
            secret=self._here.secret,
            scale_command=settings.scale_command,
            scale_max=settings.scale_max,
        )

    async def _take(self, line: bytes) -> None:
        try:
            report = reports.decode(line)
        except msgspec.DecodeError as error:
            raise SetupFailed(f"the engine process says what is no report: {error}") from error
        if isinstance(report, Failed):
            self._fail(report.reason)
        elif isinstance(report, Ready):
            log.info("the engine runs, its head is at %s", report.address)
            await self._moved(report.address)
        else:
            self.failure = ""
            self._members = report.members
            self._changed(self.members())

    def _fail(self, reason: str) -> None:
        if self._closing:
            return
        log.error("the engine: %s", reason)
        self.failure = reason


class EngineHere:
    """What the engine has on this machine. ``port`` is the head's, should it be here."""

    def __init__(
        self,
        directory: Path,
        identity: Identity,
        *,
        address: tuple[str, int],
        secret: str,
        agent: tuple[AgentPlan, Path] | None,
        foreign: bool = False,
    ) -> None:
        """``agent``: its plan and data directory, for a machine that is to have one. Raises ``SetupFailed``.

        ``foreign``: the engine was there before the cluster (``cluster.engine_address``).
        """
        self.directory = directory
        self.secret = secret
        self.agent_data = agent[1] if agent else None
        self._plan = agent[0] if agent else None
        self._identity = identity
        ip, self.port = address
        self.node = EngineNode(
            directory,
            name=identity.name,
            ip=ip,
            secret=secret,
            agent_data=self.agent_data,
            foreign=foreign,
        )

    def prepare(self) -> None:
        """Write the files that the engine's processes and the keeper read. Raises ``SetupFailed``."""
        self.node.write_files(self._identity)
        self.save_plan()

    def save_plan(self) -> None:
        """Write what the keeper of this machine's agent reads. Raises ``SetupFailed``."""
        if self._plan is not None and self.agent_data is not None:
            self._plan.save(keeper_directory(self.agent_data))

    def keeper(self, clock: Clock) -> Keeper | None:
        """What keeps this machine's agent, where it is to have one."""
        if self._plan is None or self.agent_data is None:
            return None
        return Keeper(keeper_directory(self.agent_data), self._plan, clock)

    def renew(self, identity: Identity) -> None:
        """Write another certificate; processes of the engine that start from now on use it. Raises ``SetupFailed``."""
        self._identity = identity
        self.node.write_files(identity)
