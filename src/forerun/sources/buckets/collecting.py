"""Removes files that no object refers to: those that lost a reference, and, once after a start, those that never had one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError
from forerun.sources.buckets.content import Contents
from forerun.storage.blobs import BlobStore

log = logging.getLogger("forerun.buckets")

EVERY_S = 5.0
BATCH = 500


class Collector:
    """One task, ``start`` then ``close``. A file goes ``grace_s`` seconds after it has lost a reference, if it has no other."""

    def __init__(
        self, store: BlobStore, contents: Contents, clock: Clock, *, grace_s: float = 60.0
    ) -> None:
        self._store = store
        self._contents = contents
        self._clock = clock
        self._grace_s = grace_s
        self._owner = TaskOwner("bucket-collector")

    def start(self) -> None:
        """Begin."""
        self._owner.spawn(self._run(), name="run")

    async def close(self) -> None:
        """Leave what is left for the next start."""
        await self._owner.close()

    async def collect(self) -> int:
        """Look at what has been loose for long enough; how many were settled."""
        before = self._clock.now() - self._grace_s
        found = await self._store.loose(before, BATCH)
        settled = [
            name for name in found if await self._contents.discard(name, self._store.referred)
        ]
        if settled:
            await self._store.settle(settled, before)
        return len(settled)

    async def seek(self) -> None:
        """Have all files looked at that nothing refers to."""
        for number in range(256):
            shard = f"{number:02x}"
            names = await self._contents.names(shard)
            needed = await self._store.referred_in(shard) if names else set()
            if lost := [name for name in names if name not in needed]:
                await self._store.suspect(lost, self._clock.now())

    async def _run(self) -> None:
        await self._safely(self.seek)
        while True:
            await asyncio.sleep(EVERY_S)
            await self._safely(self._collect_all)

    async def _collect_all(self) -> None:
        while await self.collect() == BATCH:
            pass

    async def _safely(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except ForerunError as error:
            log.warning("files of objects that are gone stay for now: %s", error.message)
