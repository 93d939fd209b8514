"""Log events, many to a row: what a stream got since the last write is one row, thousands of rows one transaction.

A row never spans more than ``SPAN_MS``, so that a reader who wants a moment knows how far back a row holding it can
start, nor holds more than ``ROW_EVENTS``. Groups and streams come into being with their first event. Writing does not wait for the disk: a power failure
may cost the last moments of logs, a killed process costs nothing.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Rows
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.model import LogLine
from forerun.storage.db import Db, Statement, in_batches
from forerun.storage.sequence import Sequence

SPAN_MS = 10_000
ROW_EVENTS = 64
EVENT_BYTES = 26
_CHUNK = 1_000
_FAR = (1 << 62) - 1
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999

_GROUP = """/*free*/
INSERT INTO log_groups (id, account, name, created_ms) VALUES ($1, $2, $3, $4)
ON CONFLICT (account, name) DO NOTHING
"""
_STREAM = """/*free*/
INSERT INTO log_streams (group_id, name, created_ms, first_ms, last_ms, ingested_ms)
SELECT id, column3, column4, column5, column6, column4 FROM (VALUES {values}) AS given
JOIN log_groups ON account = column1 AND log_groups.name = column2 WHERE true /*pg FOR KEY SHARE OF log_groups */
ON CONFLICT (group_id, name) DO UPDATE SET
    first_ms = CASE WHEN log_streams.first_ms < excluded.first_ms THEN log_streams.first_ms ELSE excluded.first_ms END,
    last_ms = CASE WHEN log_streams.last_ms > excluded.last_ms THEN log_streams.last_ms ELSE excluded.last_ms END,
    ingested_ms = excluded.ingested_ms
"""
_BATCH = """/*free*/
INSERT INTO log_batches (id, group_id, stream, first_ms, last_ms, ingested_ms, bytes, lines)
SELECT column3, id, column4, column5, column6, column7, column8, column9 FROM (VALUES {values}) AS given
JOIN log_groups ON account = column1 AND log_groups.name = column2
"""
_STREAM_TYPES = ("TEXT", "TEXT", "TEXT", "BIGINT", "BIGINT", "BIGINT")
_BATCH_TYPES = ("TEXT", "TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "BYTEA")
_ADD_BYTES = "/*free*/ UPDATE log_groups SET stored_bytes = stored_bytes + $3 WHERE account = $1 AND name = $2"
_TAKE_BYTES = "UPDATE log_groups SET stored_bytes = stored_bytes - $2 WHERE id = $1"
_FORWARD = """
SELECT id, stream, first_ms, ingested_ms, lines FROM log_batches
WHERE group_id = $1 AND (first_ms, id) > ($2, $3) AND first_ms <= $4 AND last_ms >= $5
ORDER BY first_ms, id LIMIT $6
"""
_STREAM_FORWARD = """
SELECT id, stream, first_ms, ingested_ms, lines FROM log_batches
WHERE group_id = $1 AND stream = $7 AND (first_ms, id) > ($2, $3) AND first_ms <= $4
    AND last_ms >= $5
ORDER BY first_ms, id LIMIT $6
"""
_STREAM_BACKWARD = """
SELECT id, stream, first_ms, ingested_ms, lines FROM log_batches
WHERE group_id = $1 AND stream = $7 AND (first_ms, id) < ($2, $3) AND first_ms >= $4
    AND last_ms >= $5
ORDER BY first_ms DESC, id DESC LIMIT $6
"""
_AGED_GROUPS = "SELECT id, retention_days FROM log_groups WHERE retention_days > 0"
_DELETE_AGED = """
DELETE FROM log_batches WHERE id IN
    (SELECT id FROM log_batches WHERE group_id = $1 AND first_ms < $2 AND last_ms < $2 ORDER BY first_ms LIMIT $3)
RETURNING group_id, bytes
"""
_DELETE_OLDEST = """
DELETE FROM log_batches WHERE id IN (SELECT id FROM log_batches ORDER BY id LIMIT $1) RETURNING group_id, bytes
"""
_DELETE_ALL = """
DELETE FROM log_batches WHERE id IN (SELECT id FROM log_batches WHERE group_id = $1 LIMIT $2) RETURNING group_id, bytes
"""
_DELETE_AGED_STREAMS = "DELETE FROM log_streams WHERE group_id = $1 AND last_ms < $2"
_DELETE_EMPTIED_STREAMS = """
DELETE FROM log_streams WHERE ingested_ms < (SELECT ingested_ms FROM log_batches ORDER BY id LIMIT 1)
"""
_TOTAL = "SELECT COALESCE(SUM(stored_bytes), 0) FROM log_groups"
_GARBAGE = "SELECT group_id FROM log_garbage"
_FORGET_GARBAGE = "DELETE FROM log_garbage WHERE group_id = $1"


class LogBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one stream, in the order they were printed."""

    account: str
    group: str
    stream: str
    lines: Rows[LogLine]


class StoredBatch(NamedTuple):
    """A row of events as it was kept; times are epoch milliseconds."""

    id: int
    stream: str
    first_ms: int
    ingested_ms: int
    lines: list[LogLine]


class Window(NamedTuple):
    """Which rows a reader wants next: those after (``first_ms``, ``id``) in the direction of reading.

    ``until_ms`` is the furthest ``first_ms`` wanted; rows whose last event is before ``last_from_ms`` are left out.
    """

    first_ms: int
    id: int
    until_ms: int = _FAR
    last_from_ms: int = -1


class LogStore:
    """Appends, reads and removes rows of events."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._sequence = Sequence(clock)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[LogLine]).decode

    async def append(self, batches: Rows[LogBatch]) -> None:
        """Keep the events of ``batches`` in one transaction; empty ones are left out."""
        now_ms = int(self._clock.now() * 1000)
        streams: dict[tuple[str, str, str], list[LogLine]] = {}
        for batch in batches:
            if batch.lines:
                key = (batch.account, batch.group, batch.stream)
                streams.setdefault(key, []).extend(batch.lines)
        rows: list[tuple[object, ...]] = []
        sizes: dict[tuple[str, str], int] = {}
        spans: dict[tuple[str, str, str], tuple[int, int]] = {}
        for stream, events in sorted(streams.items()):
            for lines in _within_span(_sound(events, now_ms)):
                row, first, last, size = self._row(stream, lines, now_ms)
                rows.append(row)
                group = stream[:2]
                sizes[group] = sizes.get(group, 0) + size
                low, high = spans.get(stream, (first, last))
                spans[stream] = (min(low, first), max(high, last))
        if not rows:
            return
        await self._db.write(
            *(Statement(_GROUP, (self._sequence.take(), *group, now_ms)) for group in sizes),
            *in_batches(
                _STREAM,
                [(*stream, now_ms, *span) for stream, span in spans.items()],
                types=_STREAM_TYPES,
            ),
            *in_batches(_BATCH, rows, types=_BATCH_TYPES),
            *(Statement(_ADD_BYTES, (*group, size)) for group, size in sizes.items()),
            durable=False,
        )

    def _row(
        self, stream: tuple[str, str, str], lines: Rows[LogLine], now_ms: int
    ) -> tuple[tuple[object, ...], int, int, int]:
        times = [line.time_ms for line in lines]
        first, last = min(times), max(times)
        encoded = self._encode(lines)
        size = len(encoded)
        args = (
            stream[0],
            stream[1],
            self._sequence.take(),
            stream[2],
            first,
            last,
            now_ms,
            size,
            encoded,
        )
        return args, first, last, size

    async def forward(
        self, group_id: int, window: Window, *, limit: int, stream: str | None = None
    ) -> list[StoredBatch]:
        """At most ``limit`` rows by (first_ms, id), of one stream or of the whole group."""
        args = (group_id, *window, limit)
        if stream is None:
            return self._stored(await self._db.fetch(_FORWARD, *args))
        return self._stored(await self._db.fetch(_STREAM_FORWARD, *args, stream))

    async def backward(
        self, group_id: int, window: Window, *, limit: int, stream: str
    ) -> list[StoredBatch]:
        """At most ``limit`` rows of a stream by (first_ms, id) descending; ``until_ms`` is the least ``first_ms``."""
        args = (group_id, *window, limit, stream)
        return self._stored(await self._db.fetch(_STREAM_BACKWARD, *args))

    def _stored(self, rows: list[tuple[int, str, int, int, bytes]]) -> list[StoredBatch]:
        return [StoredBatch(*row[:4], self._decode(row[4])) for row in rows]

    async def total_bytes(self) -> int:
        """Bytes of events that are kept, as they are stored."""
        ((total,),) = await self._db.fetch(_TOTAL)
        return int(total)

    async def delete_aged(self, now_ms: int) -> int:
        """Remove what is past its group's retention; the rows removed."""
        removed = 0
        for group_id, days in await self._db.fetch(_AGED_GROUPS):
            cutoff = now_ms - days * 86_400_000
            while gone := await self._remove(Statement(_DELETE_AGED, (group_id, cutoff, _CHUNK))):
                removed += gone
            await self._db.write(Statement(_DELETE_AGED_STREAMS, (group_id, cutoff)), durable=False)
        return removed

    async def delete_oldest(self, cap_bytes: int) -> int:
        """Remove the oldest rows of the server until at most ``cap_bytes`` are kept; the rows removed."""
        removed = 0
        while await self.total_bytes() > cap_bytes:
            gone = await self._remove(Statement(_DELETE_OLDEST, (_CHUNK,)))
            if not gone:
                break
            removed += gone
        if removed:
            await self._db.write(Statement(_DELETE_EMPTIED_STREAMS), durable=False)
        return removed

    async def delete_garbage(self) -> int:
        """Remove the rows of deleted groups; the rows removed."""
        removed = 0
        for (group_id,) in await self._db.fetch(_GARBAGE):
            while gone := await self._remove(Statement(_DELETE_ALL, (group_id, _CHUNK))):
                removed += gone
            await self._db.write(Statement(_FORGET_GARBAGE, (group_id,)), durable=False)
        return removed

    async def _remove(self, delete: Statement) -> int:
        (rows,) = await self._db.write(delete, durable=False)
        freed: dict[int, int] = {}
        for group_id, size in rows:
            freed[group_id] = freed.get(group_id, 0) + size
        if freed:
            await self._db.write(
                *(Statement(_TAKE_BYTES, item) for item in freed.items()), durable=False
            )
        return len(rows)


def _sound(lines: Rows[LogLine], now_ms: int) -> Rows[LogLine]:
    """``lines`` with times that can be stored: what user code claims must not cost its neighbours their logs."""
    if all(0 <= line.time_ms <= _LATEST_MS and line.text.isascii() for line in lines):
        return lines
    return [
        LogLine(
            line.time_ms if 0 <= line.time_ms <= _LATEST_MS else now_ms,
            line.text.encode("utf-8", "replace").decode(),
        )
        for line in lines
    ]


def _within_span(lines: Rows[LogLine]) -> Iterator[Rows[LogLine]]:
    """Cut ``lines`` where they would be more, or their times span more, than a row may hold."""
    start, low, high = 0, 0, 0
    for index, line in enumerate(lines):
        if index == start:
            low = high = line.time_ms
        elif (
            index - start >= ROW_EVENTS
            or max(high, line.time_ms) - min(low, line.time_ms) > SPAN_MS
        ):
            yield lines[start:index]
            start, low, high = index, line.time_ms, line.time_ms
        else:
            low, high = min(low, line.time_ms), max(high, line.time_ms)
    if start < len(lines):
        yield lines[start:]
