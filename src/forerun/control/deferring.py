"""Events that may wait: how long each may, and which of them are run now because the machine has room.

An event says so itself (``X-Forerun-Latest-Start-S``), or its function does (tag ``forerun:deferrable``). It is accepted and
kept like any other, and due shortly before its latest start; here it is taken earlier, when a quiet moment comes.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from forerun.aio import Clock
from forerun.control.registry import Resolved
from forerun.errors import ForerunError, InvalidInput
from forerun.model import EventInvokeConfig
from forerun.scheduling import Admission, Deferral, Room, Turn, Usual
from forerun.storage import EventQueue, QueuedEvent
from forerun.storage.queue import MOST_ACCOUNTS

log = logging.getLogger("forerun.deferring")

LATEST_START: Final = "X-Forerun-Latest-Start-S"
LOOK_S = 1.0
SHORTEST_LOOK_S = 0.05
IDLE_S = 30.0
LEARN_S = 600.0
# What could not be run after all gives way to others for a moment, and is due by itself after some such tries.
PAUSE_S = 1.0
REFUSALS = 3

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?", re.ASCII)


def patience_s(resolved: Resolved, asked: str | None) -> float:
    """How many seconds an event may wait: as ``asked``, else as its function's tag says; 0 when it may not.

    Raises ``InvalidInput`` when more is asked than the event may live, or what is no number.
    """
    most = (resolved.event_config or EventInvokeConfig()).max_age_s
    if asked is None:
        return float(min(resolved.deferrable_s, most))
    if not _SECONDS.fullmatch(asked) or float(asked) > most:
        raise InvalidInput(
            f"{LATEST_START} must be a number of seconds from 0 to {most} (the function's MaximumEventAgeInSeconds), "
            f"not '{asked[:100]}'"
        )
    return float(asked)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the platform: MB for sandboxes and those booked, ordinary calls per minute now and in past hours."""

    memory: Callable[[], tuple[int, int]]
    load: Callable[[], float]
    loads: Callable[[], Awaitable[Sequence[tuple[float, float]]]]


class Deferring:
    """Takes deferrable events out of the queue ahead of their latest start. Whoever takes one tells how it went."""

    def __init__(
        self,
        *,
        queue: EventQueue,
        admission: Admission,
        deferral: Deferral,
        around: Surroundings,
        clock: Clock,
        lease_s: float,
    ) -> None:
        self._queue = queue
        self._admission = admission
        self._deferral = deferral
        self._around = around
        self._clock = clock
        self._lease_s = lease_s
        self._usual = Usual()
        self._learned_at = -LEARN_S
        self._running: set[str] = set()
        self._turn = Turn()
        self._first = 0
        self._paused_until = 0.0
        self._stopped = False
        self._wake = asyncio.Event()

    @property
    def running(self) -> int:
        """How many of those taken here run now."""
        return len(self._running)

    def notice(self) -> None:
        """Something that may wait was accepted."""
        self._wake.set()

    async def take(self) -> list[QueuedEvent]:
        """Wait until it is time to look, and answer the events to run now, the earliest latest start first."""
        await self._wait()
        try:
            return await self.look()
        except ForerunError as error:
            log.warning("deferrable events cannot be looked for now: %s", error.message)
            return []

    async def look(self) -> list[QueuedEvent]:
        """The events to run now. Raises ``StorageFailed``."""
        events = await self._claim()
        self._running.update(event.id for event in events)
        return events

    def ended(self, event_id: str) -> None:
        """An event is not run any more, whether or not it was taken here."""
        if event_id in self._running:
            self._running.discard(event_id)
            self._wake.set()

    def refused(self) -> None:
        """There was no room for an event after all."""
        self._paused_until = self._clock.monotonic() + PAUSE_S

    def stop(self) -> None:
        """Take nothing more."""
        self._stopped = True

    def status(self) -> dict[str, object]:
        """For the status of the server: how many wait and run, and what holds the former."""
        waiting = sum(self._queue.deferred().values())
        return {
            "waiting": waiting,
            "running": len(self._running),
            "held_by": self._turn.held_by if waiting else "",
        }

    async def _wait(self) -> None:
        await self._clock.sleep(SHORTEST_LOOK_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), LOOK_S if self._queue.deferred() else IDLE_S)
        self._wake.clear()

    async def _claim(self) -> list[QueuedEvent]:
        waiting = list(self._queue.deferred())
        if self._stopped or not waiting or self._clock.monotonic() < self._paused_until:
            return []
        await self._learn()
        now = self._clock.now()
        turn = self._turn = self._deferral.decide(
            now,
            Room(*self._around.memory(), self._accounts(waiting)),
            running=len(self._running),
            load=self._around.load(),
            usual=self._usual,
        )
        if not turn.most:
            return []
        return await self._queue.claim_deferred(
            turn.most,
            turn.accounts,
            before=turn.before,
            refusals=REFUSALS,
            now=now,
            lease_s=self._lease_s,
        )

    def _accounts(self, waiting: list[str]) -> dict[str, tuple[int, int]]:
        """As many as are looked at at once; others the next time."""
        first = self._first = self._first % len(waiting)
        chosen = (waiting[first:] + waiting[:first])[:MOST_ACCOUNTS]
        if len(waiting) > MOST_ACCOUNTS:
            self._first += MOST_ACCOUNTS
        admission = self._admission
        return {
            account: (admission.running(account), admission.limit(account)) for account in chosen
        }

    async def _learn(self) -> None:
        if self._clock.monotonic() - self._learned_at >= LEARN_S:
            self._learned_at = self._clock.monotonic()
            self._usual = Usual.learn(await self._around.loads(), self._clock.now())
