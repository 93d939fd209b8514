"""Calls whoever is due: one task and one heap for any number of moments of one owner.

Nothing here is durable. Who has moments keeps them in a store of its own and sets them again at the start; so a moment
that passed while the server was down is due at once.
"""

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError

log = logging.getLogger("forerun.timetable")

# The clock on the wall may jump; it is looked at anew at least so often.
LOOK_S = 1.0
AGAIN_S = 5.0

Key = TypeVar("Key", bound=Hashable)


class Timetable(Generic[Key]):
    """Moments by key, at most one each; ``fire(key, due)`` runs when one has come, many at once.

    ``fire`` answers with the key's next moment, or ``None`` for none; a moment that was set meanwhile wins. When it
    raises, the same moment comes again a few seconds later. Times are epoch seconds.
    """

    def __init__(
        self, name: str, fire: Callable[[Key, float], Awaitable[float | None]], clock: Clock
    ) -> None:
        self._name = name
        self._fire = fire
        self._clock = clock
        self._due: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0
        self._wake = asyncio.Event()
        self._owner = TaskOwner(name)

    def start(self) -> None:
        """Begin to call; before, moments can be set."""
        self._owner.spawn(self._run(), name="clock")

    async def close(self) -> None:
        """Call nobody any more."""
        await self._owner.close()

    def set(self, key: Key, due: float) -> None:
        """The key's moment is ``due`` from now on."""
        self._count += 1
        self._due[key] = due, self._count
        heapq.heappush(self._heap, (due, self._count, key))
        if self._heap[0][1] == self._count:
            self._wake.set()

    def cancel(self, key: Key) -> None:
        """The key has no moment any more."""
        self._due.pop(key, None)

    def due(self, key: Key) -> float | None:
        """The key's moment; ``None`` for none."""
        found = self._due.get(key)
        return found[0] if found is not None else None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                due, number, key = heapq.heappop(self._heap)
                if self._due.get(key) == (due, number):
                    del self._due[key]
                    self._owner.spawn(self._call(key, due), name=f"due-{key}")
            wait = LOOK_S
            if self._heap:
                wait = min(LOOK_S, max(0.0, self._heap[0][0] - now))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    async def _call(self, key: Key, due: float) -> None:
        again: float | None
        try:
            again = await self._fire(key, due)
        except ForerunError as error:
            log.warning("%s: %s was due and failed: %s", self._name, key, error.message)
            again = self._clock.now() + AGAIN_S
        except Exception:
            log.exception("%s: %s was due and failed", self._name, key)
            again = self._clock.now() + AGAIN_S
        if again is not None and key not in self._due:
            self.set(key, again)
