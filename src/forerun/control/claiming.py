"""Keeps the claims of events that are run here, and ends runs whose claims cannot be kept."""

import asyncio
import logging

from forerun.aio import Clock, TaskOwner
from forerun.control.claims import Claims
from forerun.errors import StorageFailed
from forerun.storage import EventQueue, QueuedEvent

log = logging.getLogger("forerun.asynchronous")

LOOK_S = 0.25


class Claiming:
    """``claims`` by the clocks of this process; its tasks are its owner's."""

    def __init__(self, queue: EventQueue, claims: Claims, clock: Clock) -> None:
        self._queue = queue
        self._claims = claims
        self._clock = clock
        self._attempts: dict[str, asyncio.Task[None]] = {}

    @property
    def lease_s(self) -> float:
        """Seconds that a claim holds."""
        return self._claims.lease_s

    def start(self, owner: TaskOwner) -> None:
        """Begin to keep them."""
        owner.spawn(self._prolong(), name="prolong")
        owner.spawn(self._end_lost(), name="end-lost")

    def take(self, event: QueuedEvent) -> bool:
        """Whether an event that was just claimed may be run."""
        now = self._clock.monotonic()
        return self._claims.take(event.id, now + event.due_at - self._clock.now(), now)

    def began(self, event: QueuedEvent, attempt: "asyncio.Task[None]") -> None:
        """This is its run; it is cancelled when the claim is lost."""
        self._attempts[event.id] = attempt

    def over(self, event_id: str) -> None:
        """Its run has ended; it is finished or given back soon."""
        self._attempts.pop(event_id, None)
        self._claims.over(event_id, self._clock.monotonic())

    def settled(self, event_ids: list[str]) -> None:
        """They left the queue, or are in it for anybody."""
        self._claims.settled(event_ids)

    def outlive(self) -> bool:
        """Whether hosts may be told to go on with what runs for this control plane."""
        return self._claims.outlive(self._clock.monotonic())

    async def _prolong(self) -> None:
        claims = self._claims
        while True:
            await self._clock.sleep(claims.every_s)
            asked = claims.held(self._clock.monotonic())
            if not asked:
                continue
            until = self._clock.monotonic() + claims.lease_s
            try:
                held = await self._queue.extend(asked, until=self._clock.now() + claims.lease_s)
            except StorageFailed as error:
                log.warning("claims of events cannot be prolonged: %s", error.message)
            else:
                claims.prolonged(asked, held, until)

    async def _end_lost(self) -> None:
        """End runs before anybody else may begin them."""
        while True:
            await self._clock.sleep(LOOK_S)
            for event_id in self._claims.lost(self._clock.monotonic()):
                log.warning("event %s is not surely claimed any more: its run is ended", event_id)
                attempt = self._attempts.get(event_id)
                if attempt is not None:
                    attempt.cancel()
