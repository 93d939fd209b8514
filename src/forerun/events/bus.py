"""The bus."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from forerun.aio import TaskOwner
from forerun.errors import ForerunError
from forerun.events.types import Event, Notice
from forerun.events.watch import Watch, Watched

log = logging.getLogger("forerun.events")

BOUND = 50_000
GATHER_S = 0.1
CLOSE_S = 10.0

T = TypeVar("T")
Consumer = Callable[[list[T]], Awaitable[None]]


class Listener(Generic[T]):
    """One consumer's buffer. ``dropped`` counts what did not fit or was lost with a failed batch."""

    def __init__(self, name: str, consume: Consumer[T], *, bound: int, gather_s: float) -> None:
        self.name = name
        self.dropped = 0
        self._consume = consume
        self._bound = bound
        self._gather_s = gather_s
        self._events: list[T] = []
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()

    def tell(self, event: T) -> None:
        """Take note of it; never waits."""
        if len(self._events) >= self._bound:
            self.dropped += 1
            return
        self._events.append(event)
        if len(self._events) == 1:
            self._wake.set()

    async def run(self) -> None:
        """Consume what comes, in batches, until ``close``; what has come by then as well."""
        while self._events or not self._closing.is_set():
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gather_s):
                    await self._closing.wait()
            await self.flush()

    def close(self) -> None:
        """Let ``run`` end; a batch that is being consumed is finished."""
        self._closing.set()
        self._wake.set()

    async def flush(self) -> None:
        """Consume what has come so far."""
        self._wake.clear()
        events, self._events = self._events, []
        if not events:
            return
        try:
            await self._consume(events)
        except ForerunError as error:
            self.dropped += len(events)
            log.warning("%s lost %d events: %s", self.name, len(events), error.message)
        except Exception:
            self.dropped += len(events)
            log.exception("%s lost %d events", self.name, len(events))


class Bus:
    """Passes each event to every listener, in the order they happened."""

    def __init__(self) -> None:
        self._listeners: list[Listener[Event]] = []
        self._of_all: list[Listener[Event]] = []
        self._heeding: list[Listener[Notice]] = []
        self.watching = Watched()
        """What is watched here."""
        self.watched: Callable[[str, str], Watch] = self.watching.of
        """What of the executions of a function (account and name) is to be noted; asked for each call."""
        self._running: set[asyncio.Task[None]] = set()
        self._owner = TaskOwner("events-bus")

    def listen(
        self,
        name: str,
        consume: Consumer[Event],
        *,
        monitored: bool = False,
        bound: int = BOUND,
        gather_s: float = GATHER_S,
    ) -> Listener[Event]:
        """Give ``consume`` every event from now on, in batches that gather for ``gather_s``.

        With ``monitored`` only those of monitored executions and of what they caused: of a busy function they are few.
        """
        listener = Listener(name, consume, bound=bound, gather_s=gather_s)
        self._listeners.append(listener)
        if not monitored:
            self._of_all.append(listener)
        self._running.add(self._owner.spawn(listener.run(), name=name))
        return listener

    def tell(self, event: Event) -> None:
        """Something happened; returns at once."""
        context = event.context
        told = self._listeners if context.weight or context.origin.execution else self._of_all
        for listener in told:
            listener.tell(event)

    def heed(
        self,
        name: str,
        consume: Consumer[Notice],
        *,
        bound: int = BOUND,
        gather_s: float = GATHER_S,
    ) -> Listener[Notice]:
        """Give ``consume`` every notice from now on; of executions there are notices where they are watched."""
        listener = Listener(name, consume, bound=bound, gather_s=gather_s)
        self._heeding.append(listener)
        self._running.add(self._owner.spawn(listener.run(), name=name))
        return listener

    def watch(self, watched: Watched) -> None:
        """Of which functions there are notices from now on, in place of those before."""
        self.watching, self.watched = watched, watched.of

    def note(self, notice: Notice) -> None:
        """Tell those who heed; returns at once."""
        for listener in self._heeding:
            listener.tell(notice)

    def dropped(self) -> dict[str, int]:
        """How many events each listener missed."""
        return {listener.name: listener.dropped for listener in self._all()}

    async def close(self) -> None:
        """Let every listener consume what it has, within ``CLOSE_S`` seconds, and stop."""
        for listener in self._all():
            listener.close()
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S)
        await self._owner.close()

    def _all(self) -> "list[Listener[Event] | Listener[Notice]]":
        return [*self._listeners, *self._heeding]
