"""Writes what happened behind the answers: invocation records and log lines, in batches.

``add`` never waits. What cannot be kept, because the store is slower than the calls, is dropped and counted, but for
records that somebody waits for (``on_stored``): those are bounded by their owner.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from forerun.aio import TaskOwner
from forerun.errors import ForerunError
from forerun.model import InvocationRecord, LogLine
from forerun.storage import InvocationStore, LogBatch, LogStore

log = logging.getLogger("forerun.recorder")

BATCH = 1_000
# Of so many at once each costs little; waiting for more would hold up the calls of then.
ENOUGH = 16
BOUND = 50_000
WAIT_S = 0.05


Written = tuple[InvocationRecord, Sequence[LogLine]]
Listener = Callable[[Sequence[Written]], None]


class _Item(NamedTuple):
    record: InvocationRecord
    group: str
    stream: str
    lines: Callable[[], list[LogLine]]
    on_stored: Callable[[], None] | None


class Recorder:
    """One bounded buffer, one task that empties it."""

    def __init__(self, invocations: InvocationStore, logs: LogStore) -> None:
        self._invocations = invocations
        self._logs = logs
        self._items: list[_Item] = []
        self._wake = asyncio.Event()
        self._owner = TaskOwner("recorder")
        self._listeners: list[Listener] = []
        self.dropped = 0

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with the records and lines of each batch once they are stored; it returns at once."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to write."""
        self._owner.spawn(self._run(), name="writer")

    def add(
        self,
        record: InvocationRecord,
        group: str = "",
        stream: str = "",
        lines: Callable[[], list[LogLine]] = list,
        on_stored: Callable[[], None] | None = None,
    ) -> None:
        """Keep a record and the log lines of its run, which are asked for when they are written.

        ``on_stored`` is called when both are in the store.
        """
        if len(self._items) >= BOUND and on_stored is None:
            self.dropped += 1
            return
        self._items.append(_Item(record, group, stream, lines, on_stored))
        if len(self._items) == 1:
            self._wake.set()

    async def close(self) -> None:
        """Write what is left, and stop."""
        await self._owner.close()
        while self._items:
            await self._write()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(WAIT_S)  # lets a batch gather
            while self._items:
                await self._write()
                if not self._pressing():
                    await asyncio.sleep(WAIT_S)

    def _pressing(self) -> bool:
        """Whether enough has gathered meanwhile, or somebody waits for what has."""
        items = self._items
        return len(items) >= ENOUGH or any(item.on_stored is not None for item in items)

    async def _write(self) -> None:
        batch, self._items = self._items[:BATCH], self._items[BATCH:]
        written = [(item.record, item.lines()) for item in batch]
        try:
            await self._invocations.append([item.record for item in batch])
            await self._logs.append(
                [
                    LogBatch(
                        account=item.record.account,
                        group=item.group,
                        stream=item.stream,
                        lines=lines,
                    )
                    for item, (_, lines) in zip(batch, written, strict=True)
                    if lines
                ]
            )
        except ForerunError as error:
            self.dropped += len(batch)
            log.error("%d records lost: %s", len(batch), error.message)  # noqa: TRY400 a sentence, no traceback
            return
        for item in batch:
            if item.on_stored is not None:
                item.on_stored()
        for listener in self._listeners:
            listener(written)
