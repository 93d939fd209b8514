"""Keeps segments: gathers what executions and importers give it, and writes it behind everybody's back.

Nobody waits for it. What is told by the bus and finds no room is dropped and counted; importers are refused and may
come again.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError, InvalidInput, Throttled
from forerun.events import Event, ExecutionEnded
from forerun.model import Segment
from forerun.storage import Row
from forerun.storage.traces import TraceStore
from forerun.traces.segments import segment_of

log = logging.getLogger("forerun.traces")

GATHER_S = 0.5
ROOM_BYTES = 64 << 20
_ROW_BYTES = 200
_AT_ONCE = 16
_LARGE = 256
_PER_TRANSACTION = 500
# So often between two looks at the size, in parts of what traces may take.
_PARTS = 32
_DAY_S = 86_400.0
IMPORTED = "otlp"


class Keeper:
    """``consume`` for the bus and ``keep`` for importers; ``start`` then ``close``, once each.

    ``kept`` counts spans that were written, ``dropped`` segments that were lost: for want of room, because the store
    refused them, or because nothing can be kept of them.
    """

    def __init__(
        self,
        store: TraceStore,
        clock: Clock,
        *,
        days: float,
        max_bytes: int,
        gather_s: float = GATHER_S,
        room_bytes: int = ROOM_BYTES,
    ) -> None:
        self.kept = 0
        self.dropped = 0
        self._store = store
        self._clock = clock
        self._days = days
        self._max_bytes = max_bytes
        self._gather_s = gather_s
        self._room_bytes = room_bytes
        self._rows: list[tuple[Row, int, int]] = []
        self._bytes = 0
        self._unlooked = 0
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._owner = TaskOwner("traces")

    def start(self) -> None:
        """Begin to write."""
        self._owner.spawn(self._run(), name="keeper")

    async def close(self) -> None:
        """Write what there is, and stop."""
        await self._owner.close()
        await self.flush()

    async def consume(self, events: Sequence[Event]) -> None:
        """Take what the bus tells: every monitored execution that ended."""
        ended = [
            event for event in events if isinstance(event, ExecutionEnded) and event.context.weight
        ]
        for begin in range(0, len(ended), _AT_ONCE):
            for event in ended[begin : begin + _AT_ONCE]:
                if self._bytes < self._room_bytes:
                    self._take(self._encoded(segment_of(event)))
                else:
                    self.dropped += 1
            # Calls are being answered meanwhile and would feel a hundred executions at once.
            await asyncio.sleep(0)

    async def keep(self, account: str, segments: Iterable[Segment]) -> int:
        """Keep what somebody sent in, as ``account``'s whatever it says; the number of segments that cannot be kept.

        Nothing that comes this way passes for the platform's own. Raises ``Throttled`` when there is no room; then none
        was taken.
        """
        if self._bytes >= self._room_bytes:
            raise Throttled(
                "Spans come faster than they can be written; send them again later",
                reason="CallerRateLimitExceeded",
            )
        refused = 0
        rows: list[tuple[Row, int, int]] = []
        for number, segment in enumerate(segments):
            segment.account = account
            for span in segment.spans:
                if span.source == "forerun":
                    span.source = IMPORTED
            large = len(segment.spans) > _LARGE
            row = (
                await asyncio.to_thread(self._encoded, segment) if large else self._encoded(segment)
            )
            if row is None:
                refused += 1
            else:
                rows.append(row)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        for row in rows:
            self._take(row)
        return refused

    async def flush(self) -> None:
        """Write what there is now; returns when it can be read."""
        async with self._writing:
            while self._rows:
                part, self._rows = self._rows[:_PER_TRANSACTION], self._rows[_PER_TRANSACTION:]
                await self._write(part)

    async def trim(self) -> int:
        """Remove what is too old, and the oldest of what is too much; the number of segments that went."""
        self._unlooked = 0
        before = self._clock.now() - self._days * _DAY_S
        return await self._store.trim(before=before, max_bytes=self._max_bytes)

    def stats(self) -> dict[str, int]:
        """For the status of the server."""
        return {"kept": self.kept, "dropped": self.dropped, "waiting_bytes": self._bytes}

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._gather_s)
            self._wake.clear()
            await self.flush()
            if self._unlooked >= self._max_bytes // _PARTS:
                try:
                    await self.trim()
                except ForerunError as error:
                    log.warning("traces cannot be trimmed: %s", error.message)

    def _encoded(self, segment: Segment) -> tuple[Row, int, int] | None:
        try:
            row = self._store.encode(segment)
        except InvalidInput as error:
            self.dropped += 1
            log.debug("a segment cannot be kept: %s", error.message)
            return None
        return row, len(segment.spans), len(row[-1]) + _ROW_BYTES

    def _take(self, row: tuple[Row, int, int] | None) -> None:
        if row is not None:
            self._rows.append(row)
            self._bytes += row[2]
            self._wake.set()

    async def _write(self, part: list[tuple[Row, int, int]]) -> None:
        size = sum(row[2] for row in part)
        try:
            await self._store.write([row[0] for row in part])
        except ForerunError as error:
            self.dropped += len(part)
            log.warning("%d segments are lost: %s", len(part), error.message)
        else:
            self.kept += sum(row[1] for row in part)
            self._unlooked += size
        finally:
            self._bytes -= size
