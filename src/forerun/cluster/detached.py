"""A process that outlives who started it, and is found again by a file: the agent, and the engine's own processes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from forerun.aio import given
from forerun.cluster import launching
from forerun.cluster.launching import start_time
from forerun.errors import SetupFailed

START_S = 20.0
# What a program wrote to its log before is put aside from here on.
LOG_BYTES = 16 * 1024 * 1024
_TAIL = 2000
_ROUNDS, _ROUND_S = 50, 0.02
SECRETS = ("FORERUN_CLUSTER_DATABASE", "FORERUN_CLUSTER_TOKEN")
"""Variables of the environment that are a control plane's alone: everything else must do without."""


class Running:
    """One process that runs, by a descriptor of it: another that gets its id can never be meant."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self._over = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._ended)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._over.is_set()

    async def ended(self) -> None:
        """Wait for its end."""
        await self._over.wait()

    async def end(self, grace_s: float) -> None:
        """Ask it to end, and make it when it has not after ``grace_s`` seconds."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, START_S)):
            if not self.alive:
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), wait_s)

    async def end_all(self, grace_s: float) -> None:
        """The same, and then what it has left of its session, which nobody else is in."""
        if not self.alive:
            return
        session = os.getsid(self.pid)
        await self.end(grace_s)
        if session == os.getsid(0):
            return
        # No process gets the id while one of the session lives. What is begun meanwhile is found the next time.
        for _ in range(_ROUNDS):
            if not _kill_session(session):
                return
            await asyncio.sleep(_ROUND_S)

    def release(self) -> None:
        """Look at it no more; it goes on."""
        self._ended()

    def _ended(self) -> None:
        if not self._over.is_set():
            self._over.set()
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)


class Detached:
    """One such process of a directory, by its ``name``: ``NAME.pid``, ``NAME.out`` and ``NAME.log`` are its files."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._directory = directory
        self._pid = directory / f"{name}.pid"
        self.out = directory / f"{name}.out"
        self.log = directory / f"{name}.log"

    def find(self) -> Running | None:
        """The one that runs, whoever has started it."""
        try:
            text, started = self._pid.read_text("ascii").split()
            pid = int(text)
            descriptor = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        # Looked at after it is held: an id that somebody else has by now is not taken for it.
        if start_time(pid) != started:
            os.close(descriptor)
            return None
        return Running(pid, descriptor)

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], drop: Sequence[str] = ()
    ) -> Running:
        """Start it anew. ``env`` is added to the environment, and what begins with one of ``drop`` is left out of it.

        Raises ``SetupFailed`` when it did not begin; that it ended at once is seen as any end is.
        """
        self._prepare()
        order = {
            "argv": list(argv),
            "set": dict(env),
            "drop": list(drop),
            "out": str(self.out),
            "log": str(self.log),
            "pid": str(self._pid),
        }
        script = str(Path(launching.__file__))
        with given(json.dumps(order).encode()) as stdin:
            launcher = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", script, stdin=stdin, stdout=subprocess.DEVNULL
            )
        try:
            async with asyncio.timeout(START_S):
                await launcher.wait()
                while not self._pid.exists():  # noqa: ASYNC110 a file of another process, for milliseconds
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise SetupFailed(f"{self.name} could not be started in {START_S:.0f} s") from None
        found = self.find()
        if found is None:
            raise SetupFailed(f"{self.name} ended at once: {self.last_words()}")
        return found

    def last_words(self) -> str:
        """The end of its log, for whoever asks why it ended."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-3:])[-500:]

    def _prepare(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._pid.unlink(missing_ok=True)
            if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        except OSError as error:
            raise SetupFailed(f"{self._directory} cannot be used: {error}") from error


def _kill_session(session: int) -> int:
    """Kill what is in a session, whichever group of it; how many there were."""
    found = 0
    for pid in [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            try:
                # Looked at after it is held.
                if os.getsid(pid) == session and start_time(pid):
                    found += 1
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)
    return found
