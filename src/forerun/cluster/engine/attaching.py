"""Keeps the node of a machine attached to the engine's head, wherever that is: on hosts, and on control planes without the duties."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from forerun.aio import Clock, TaskOwner
from forerun.cluster.detached import Running
from forerun.cluster.engine.fleet import EngineHere
from forerun.cluster.engine.node import reachable
from forerun.errors import ForerunError

log = logging.getLogger("forerun.cluster")

LOOK_S = 5.0
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# Of a node that ran for so long before it ended, earlier failures are forgotten.
STEADY_S = 60.0


class NodeKeeper:
    """Starts the node again when it has ended, and anew when the head is elsewhere by now; the agent notices neither.

    ``locate`` says where the head is; empty, or an error, means that it is not known now.
    """

    def __init__(
        self, here: EngineHere, clock: Clock, locate: Callable[[], Awaitable[str]]
    ) -> None:
        self._here = here
        self._clock = clock
        self._locate = locate
        self._owner = TaskOwner("engine-node")
        self.failure = ""
        """Why there is no node; empty when there is one."""

    async def start(self) -> None:
        """Begin. Raises ``SetupFailed`` when the engine's files cannot be written."""
        self._here.prepare()
        self._owner.spawn(self._run(), name="run")

    async def close(self) -> None:
        """Let the node be; it goes on."""
        await self._owner.close()

    async def restart(self) -> None:
        """End the node, so that it is started with what is known now: another certificate."""
        await self._here.node.end()

    async def _run(self) -> None:
        node, running, failed = self._here.node, self._here.node.find(), 0
        began = self._clock.monotonic()
        while True:
            head = await self._head()
            if running is not None and not running.alive:
                self._fail(f"the engine's node has ended: {node.last_words()}")
                failed = 1 if self._clock.monotonic() - began >= STEADY_S else failed + 1
                running = None
                await self._clock.sleep(BACKOFF_S[min(failed, len(BACKOFF_S)) - 1])
                continue
            if running is not None and head and head != node.head() and await _there(head):
                log.info("the engine's head is at %s now", head)
                await node.end()
                running = None
            elif running is None and head:
                began = self._clock.monotonic()
                running = await self._begin(head)
            await self._wait(running)

    async def _begin(self, head: str) -> Running | None:
        found = self._here.node.find()
        mine = f"{self._here.node.ip}:{self._here.port}"
        if found is not None or (head == mine and not self._here.node.foreign):
            # Somebody else has started it. The head itself is kept by whoever has the duties.
            return found
        try:
            running = await self._here.node.start_node(head)
        except ForerunError as error:
            self._fail(error.message)
            return None
        self.failure = ""
        return running

    async def _head(self) -> str:
        try:
            return await self._locate()
        except (ForerunError, OSError) as error:
            log.info("where the engine's head is cannot be asked: %s", error)
            return ""

    async def _wait(self, running: Running | None) -> None:
        """Until it is time to look again, or the node has ended."""
        if running is None:
            await self._clock.sleep(LOOK_S if self.failure else 1.0)
            return
        deadline = self._clock.monotonic() + LOOK_S
        while running.alive and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.2)

    def _fail(self, reason: str) -> None:
        log.warning("%s", reason)
        self.failure = reason


async def _there(head: str) -> bool:
    return await asyncio.to_thread(reachable, head)
