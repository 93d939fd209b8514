"""Sees to it that the code of functions is compiled once on this machine and not in every sandbox again.

Told of each code that was loaded, it makes the missing bytecode one tree after the other, while nobody waits for it.
What cannot be compiled is left alone for a while: functions run without bytecode, too, only slower.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError
from forerun.host.machine import available_memory_mb
from forerun.model import SandboxSpec
from forerun.sandbox import Pack, make_pack, worth_compiling

if TYPE_CHECKING:
    from forerun.sandbox import Sandboxes

log = logging.getLogger("forerun.host")

# Whoever loaded code has a call to run, and often there are more to come.
QUIET_S = 0.5
MOST_S = 180.0
WAITING_MAX = 256
KNOWN_MAX = 10_000
# A tree may have been removed, and be there again later.
KNOWN_S = 3600.0
SPARE_MB = 1024


class Compiler:
    """One task at most, for one tree at a time; ``available_mb`` says what the machine has left.

    Its sandboxes are none of those that the machine's share is booked for: they are part of what the system keeps.
    """

    def __init__(
        self,
        sandboxes: "Sandboxes",
        *,
        clock: Clock,
        available_mb: Callable[[], int | None] = available_memory_mb,
    ) -> None:
        self._sandboxes = sandboxes
        self._clock = clock
        self._available_mb = available_mb
        self._owner = TaskOwner("compiler")
        self._waiting: deque[tuple[Pack, SandboxSpec]] = deque()
        self._known: dict[str, float] = {}

    def loaded(self, spec: SandboxSpec) -> None:
        """A new sandbox has loaded the code of ``spec``."""
        now = self._clock.monotonic()
        for pack in self._sandboxes.packs(spec):
            if now - self._known.get(pack.file, -KNOWN_S) < KNOWN_S:
                continue
            if len(self._waiting) >= WAITING_MAX:
                return
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[pack.file] = now
            self._waiting.append((pack, spec))
        if self._waiting and not len(self._owner):
            self._owner.spawn(self._work(), name="compile")

    async def close(self) -> None:
        """Give up what is being compiled; what is done stays."""
        self._waiting.clear()
        await self._owner.close()

    async def _work(self) -> None:
        while self._waiting:
            await self._clock.sleep(QUIET_S)
            pack, spec = self._waiting.popleft()
            try:
                async with asyncio.timeout(MOST_S):
                    await self._compile(pack, spec)
            except TimeoutError:
                log.warning("%s was not compiled in time", pack.tree)
            except (ForerunError, OSError) as error:
                log.warning("%s was not compiled: %s", pack.tree, error)

    async def _compile(self, pack: Pack, spec: SandboxSpec) -> None:
        left = self._available_mb()
        if left is not None and left < SPARE_MB:
            self._known.pop(pack.file, None)
        elif await asyncio.to_thread(_is_due, pack):
            size = await make_pack(self._sandboxes, pack, spec, self._clock)
            log.info("compiled %s: %d bytes", pack.file, size)


def _is_due(pack: Pack) -> bool:
    return not pack.is_there() and worth_compiling(pack)
