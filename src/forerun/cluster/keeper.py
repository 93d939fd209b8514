"""Keeps the agent of one machine running: starts it, finds one that runs already, and starts another when it has ended.

It is the same whoever keeps the keeper: an actor of the engine, or ``forerun join``. The agent outlives both.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
from pathlib import Path
from typing import Self

import msgspec

from forerun.aio import Clock
from forerun.cluster.detached import SECRETS, Detached, Running
from forerun.cluster.private import read_private, write_private
from forerun.errors import SetupFailed
from forerun.model import HostInfo

log = logging.getLogger("forerun.cluster")

READY_S = 60.0
LOOK_S = 0.1
# An agent that ran for so long before it ended is started again at once.
STEADY_S = 60.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
DRAIN_S = 35.0
# What the engine tells its own processes is none of the agent's business, its secret least of all.
# Nor are the control plane's own secrets, should one keep it.
FOREIGN = ("RAY_", "OMP_NUM_THREADS", *SECRETS)
_PLAN = "plan.json"
_DISMISSED = "dismissed"
_READY = "ready "


class AgentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine's keeper runs: ``command`` is the agent's, which prints a line with its ``HostInfo`` as JSON."""

    name: str
    command: list[str]

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The one that was saved there. Raises ``SetupFailed``."""
        found = read_private(directory / _PLAN, cls)
        if found is None:
            raise SetupFailed(f"{directory / _PLAN} is missing")
        return found

    def save(self, directory: Path) -> None:
        """Keep it there. Raises ``SetupFailed``."""
        write_private(directory / _PLAN, msgspec.json.encode(self))


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent is: who it says it is, its process, how often it was started here, and why it last ended or did not begin."""

    name: str
    agent: HostInfo | None = None
    pid: int = 0
    starts: int = 0
    failure: str = ""
    dismissed: bool = False


class Keeper:
    """Keeps one agent. ``directory`` is the keeper's own: its plan and the agent's files are in it."""

    def __init__(self, directory: Path, plan: AgentPlan, clock: Clock) -> None:
        self._directory = directory
        self._plan = plan
        self._clock = clock
        self._process = Detached(directory, "agent")
        self._running: Running | None = None
        self._kept = Kept(name=plan.name)
        self._dismissed = directory / _DISMISSED

    def report(self) -> Kept:
        """How the agent is now."""
        return self._kept

    def welcome(self) -> None:
        """Keep an agent again, though the last one was ended for good. Raises ``SetupFailed``."""
        try:
            self._dismissed.unlink(missing_ok=True)
        except OSError as error:
            raise SetupFailed(f"{self._dismissed} cannot be removed: {error}") from error

    def gone(self) -> bool:
        """Whether the agent was ended for good, and does not run any more."""
        if not self._dismissed.exists():
            return False
        running = self._process.find()
        if running is not None:
            running.release()
        return running is None

    async def ensure(self) -> None:
        """Start the agent if none runs; who keeps it finds it. Raises ``SetupFailed``."""
        found = self._process.find()
        if found is None:
            found = await self._process.start(self._plan.command, env={}, drop=FOREIGN)
        found.release()

    async def ready(self, timeout_s: float) -> HostInfo:
        """Who the agent says it is, however often it is started until it does. Raises ``SetupFailed`` after so many seconds."""
        deadline = self._clock.monotonic() + timeout_s
        while self._clock.monotonic() < deadline:
            if (info := read_ready(self._process.out)) is not None:
                return info
            await self._clock.sleep(LOOK_S)
        why = self._process.last_words() or "it wrote nothing about it"
        raise SetupFailed(f"the agent was not ready in {timeout_s:.0f} s: {why}")

    def observe(self) -> Kept:
        """How the agent is, for who does not keep it: read from its files."""
        found = self._process.find()
        if found is None:
            return Kept(name=self._plan.name, dismissed=self._dismissed.exists())
        found.release()
        return Kept(name=self._plan.name, agent=read_ready(self._process.out), pid=found.pid)

    async def run(self) -> None:
        """Keep it until this is cancelled; the agent goes on then. Waits while another keeper of this directory is at work."""
        lock = await self._alone()
        failed = 0
        try:
            while not self._dismissed.exists():
                began = self._clock.monotonic()
                try:
                    await self._keep_one()
                except SetupFailed as error:
                    if not self._dismissed.exists():
                        log.warning("%s", error.message)
                    self._tell(agent=None, pid=0, failure=error.message)
                if self._dismissed.exists():
                    break
                steady = self._clock.monotonic() - began >= STEADY_S
                failed = 0 if steady else failed + 1
                if not steady:
                    await self._clock.sleep(BACKOFF_S[min(failed, len(BACKOFF_S)) - 1])
            self._tell(agent=None, pid=0, dismissed=True)
        finally:
            if self._running is not None:
                self._running.release()
            os.close(lock)

    async def end(self, grace_s: float = DRAIN_S) -> None:
        """End the agent, and start none again: it has so many seconds to finish its calls.

        Whoever keeps it, here or in another process, sees that it is not wanted any more.
        """
        _mark(self._dismissed)
        running = self._running or self._process.find()
        if running is not None:
            await running.end(grace_s)

    async def _keep_one(self) -> None:
        """One agent, from its start, or from when it is found, to its end."""
        found = self._process.find()
        if found is None:
            found = await self._process.start(self._plan.command, env={}, drop=FOREIGN)
            self._tell(starts=self._kept.starts + 1)
        self._running = found
        try:
            self._tell(agent=await self._ready(found), pid=found.pid, failure="")
            await found.ended()
            why = self._process.last_words() or "it wrote nothing about it"
            raise SetupFailed(f"the agent has ended: {why}")
        finally:
            self._running = None
            found.release()

    async def _ready(self, running: Running) -> HostInfo:
        """Who it says it is. Raises ``SetupFailed`` when it ends before, or does not say so in time."""
        deadline = self._clock.monotonic() + READY_S
        while self._clock.monotonic() < deadline:
            if (info := read_ready(self._process.out)) is not None:
                return info
            if not running.alive:
                why = self._process.last_words() or "it wrote nothing about it"
                raise SetupFailed(f"the agent has ended before it was ready: {why}")
            await self._clock.sleep(LOOK_S)
        await running.end(1.0)
        raise SetupFailed(f"the agent was not ready in {READY_S:.0f} s and was ended")

    async def _alone(self) -> int:
        """The lock of this directory, which ends with the process that has it."""
        lock = _open_lock(self._directory)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._tell(failure="another keeper is at work here")
                try:
                    await self._clock.sleep(LOOK_S)
                except asyncio.CancelledError:
                    os.close(lock)
                    raise
            else:
                self._tell(failure="")
                return lock

    def _tell(self, **changed: object) -> None:
        self._kept = msgspec.structs.replace(self._kept, **changed)


def read_ready(path: Path) -> HostInfo | None:
    """The ``HostInfo`` in what an agent has printed, once it is there."""
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                return msgspec.json.decode(line.removeprefix(_READY), type=HostInfo)
    return None


def _mark(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise SetupFailed(f"{path} cannot be written: {error}") from error


def _open_lock(directory: Path) -> int:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(directory / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
