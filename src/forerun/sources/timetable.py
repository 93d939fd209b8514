"""Calls whoever is due: one task and one heap for any number of moments of one owner.

Nothing here is durable. Who has moments keeps them in a store of its own and sets them again at the start; so a moment
that passed while the server was down is due at once.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError

log = logging.getLogger("forerun.timetable")

# The clock on the wall may jump; it is looked at anew at least so often.
LOOK_S = 1.0
AGAIN_S = 5.0
AT_ONCE = 256
# Entries of moments that were replaced or taken back stay in the heap until there are so many more than moments.
SPARE = 1024

Key = TypeVar("Key", bound=Hashable)


class _Moment(NamedTuple):
    """``at`` is when to call, which is later than ``due`` after a call that failed."""

    at: float
    number: int
    due: float


class Timetable(Generic[Key]):
    """Moments by key, at most one each; ``fire(key, due)`` runs when one has come.

    Calls of different keys run together, at most ``at_once`` of them; those of one key never do. ``fire`` answers with
    the key's next moment, or ``None`` for none; what was set or cancelled meanwhile wins. When it raises, the same
    moment comes again a few seconds later. Times are epoch seconds of the clock on the wall: when it jumps
    forward everything up to then is due, when it jumps back everything is due later.
    """

    def __init__(
        self,
        name: str,
        fire: Callable[[Key, float], Awaitable[float | None]],
        clock: Clock,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._name = name
        self._fire = fire
        self._clock = clock
        self._at_once = at_once
        self._moments: dict[Key, _Moment] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0
        # Keys whose call runs; whether they may still say their next moment.
        self._running: dict[Key, bool] = {}
        self._wake = asyncio.Event()
        self._owner = TaskOwner(name)

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def busy(self) -> bool:
        """Whether a call runs."""
        return bool(self._running)

    def start(self) -> None:
        """Begin to call; before, moments can be set."""
        self._owner.spawn(self._run(), name="clock")

    async def close(self) -> None:
        """Call nobody any more; calls that run are cancelled."""
        await self._owner.close()

    def set(self, key: Key, due: float) -> None:
        """The key's moment is ``due`` from now on."""
        self._put(key, due, due)

    def cancel(self, key: Key) -> None:
        """The key has no moment any more."""
        self._moments.pop(key, None)
        if key in self._running:
            self._running[key] = False

    def due(self, key: Key) -> float | None:
        """The key's moment; ``None`` for none."""
        found = self._moments.get(key)
        return found.due if found is not None else None

    def _put(self, key: Key, due: float, at: float) -> None:
        self._count += 1
        self._moments[key] = _Moment(at, self._count, due)
        if len(self._heap) > 2 * len(self._moments) + SPARE:
            self._heap = [(one.at, one.number, each) for each, one in self._moments.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (at, self._count, key))
        if self._heap[0][1] == self._count:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            wait = self._call_due(self._clock.now())
            await self._woken(wait)

    def _call_due(self, now: float) -> float:
        """Call those who are due, as far as they may run; seconds until the next look."""
        while self._heap and self._heap[0][0] <= now:
            if len(self._running) >= self._at_once:
                return LOOK_S
            _, number, key = heapq.heappop(self._heap)
            moment = self._moments.get(key)
            # One whose call still runs comes back into the heap when that has ended.
            if moment is not None and moment.number == number and key not in self._running:
                del self._moments[key]
                self._running[key] = True
                self._owner.spawn(self._call(key, moment.due), name=f"due-{key}")
        return min(LOOK_S, max(0.0, self._heap[0][0] - now)) if self._heap else LOOK_S

    async def _woken(self, wait: float) -> None:
        wake = self._owner.spawn(self._wake.wait(), name="wake")
        sleep = self._owner.spawn(self._clock.sleep(wait), name="sleep")
        try:
            await asyncio.wait((wake, sleep), return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            sleep.cancel()

    async def _call(self, key: Key, due: float) -> None:
        again: tuple[float, float] | None
        try:
            following = await self._fire(key, due)
            again = None if following is None else (following, following)
        except ForerunError as error:
            log.warning("%s: %s was due and failed: %s", self._name, key, error.message)
            again = (due, self._clock.now() + AGAIN_S)
        except Exception:
            log.exception("%s: %s was due and failed", self._name, key)
            again = (due, self._clock.now() + AGAIN_S)
        if len(self._running) >= self._at_once:
            self._wake.set()
        wanted = self._running.pop(key)
        if waiting := self._moments.get(key):
            self._put(key, waiting.due, waiting.at)
        elif again is not None and wanted:
            self._put(key, *again)
