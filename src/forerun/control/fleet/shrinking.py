"""Limits that are little used are made smaller: one control plane at a time looks at how many calls ran on average."""

import logging
from collections.abc import Sequence

from forerun.aio import Clock, TaskOwner
from forerun.control.fleet.limits import FleetLimits
from forerun.errors import StorageFailed
from forerun.model import ShareBook
from forerun.scheduling import Averages, Use, Waits, shrink
from forerun.settings import ClusterSettings
from forerun.storage.shares import ShareStore

log = logging.getLogger("forerun.limits")

SAMPLES = 30
QUIET = 10
"""After so many periods without a call a client gives back its last step, too."""


class Shrinking:
    """A duty: ``start`` when it begins, ``close`` when it ends. Writes go through the store that it is given."""

    def __init__(
        self, store: ShareStore, limits: FleetLimits, clock: Clock, settings: ClusterSettings
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._step = settings.share
        self._period_s = settings.shrink_s
        self._silent_s = settings.lease_s
        self._use = Use()
        self._quiet: dict[str, int] = {}
        self._empty = Waits[tuple[str, str, str]](limits.over_s)
        self._owner = TaskOwner("shrinking")
        self._closed = False

    def start(self) -> None:
        """Begin to look."""
        self._owner.spawn(self._run(), name="run")

    async def close(self) -> None:
        """Stop looking."""
        self._closed = True
        await self._owner.close()

    async def _run(self) -> None:
        while True:
            for _ in range(SAMPLES):
                await self._clock.sleep(self._period_s / SAMPLES)
                self.sample()
            try:
                await self.shrink()
            except StorageFailed as error:
                log.warning("limits were not made smaller: %s", error.message)

    def changed(self, account: str, function: str, _retired: Sequence[str] = ()) -> None:
        """A reservation may be another: see to it soon. A listener of ``Changes``."""
        if not self._closed:
            self._owner.spawn(self._take_above(account, function), name="changed")

    async def _take_above(self, account: str, function: str) -> None:
        try:
            await self._limits.changed(account, function)
        except StorageFailed as error:
            # The next look at all clients finds it.
            log.warning("limits were not made smaller: %s", error.message)

    def sample(self) -> None:
        """Look at what runs now."""
        after = self._clock.monotonic() - self._silent_s
        self._use.add(self._limits.heard_of.running(after=after))

    async def shrink(self) -> None:
        """Take back what was not used since the last time. Raises ``StorageFailed``."""
        use = self._use.take()
        if use is None:
            return
        quiet: dict[str, int] = {}
        empty: dict[tuple[str, str, str], int] = {}
        async for book in self._store.books():
            key = book.key
            if key not in use.all:
                quiet[key] = self._quiet.get(key, 0) + 1
            for held in book.held:
                if not held.counted:
                    empty[book.account, book.function, held.host] = held.epoch
            floor = 0 if quiet.get(key, 0) >= QUIET else 1
            if self._less(book, use, floor):
                await self._take(book, use, floor)
        self._quiet = quiet
        over = self._empty.over(empty, self._clock.monotonic())
        await self._store.drop_empty([(*key, empty[key]) for key in over])

    async def _take(self, seen: ShareBook, use: Averages, floor: int) -> None:
        book = await self._store.book(seen.account, seen.function)
        # One that was changed meanwhile is looked at again the next time.
        if amounts := self._less(book, use, floor):
            await self._store.change(book, amounts)

    def _less(self, book: ShareBook, use: Averages, floor: int) -> dict[str, int]:
        """Hosts that calls prefer keep their steps longest; of others the ring's first."""
        since, key = self._clock.monotonic() - self._silent_s, book.key
        gone = {
            held.host for held in book.held if not self._limits.heard_of.since(held.host, since)
        }
        order = self._limits.order(book)
        order.sort(key=lambda host: -use.on.get((key, host), 0.0))
        return shrink(book, order, self._step, use=use.all.get(key, 0.0), gone=gone, floor=floor)
