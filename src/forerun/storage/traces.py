"""Segments of traces: kept as they come, found by trace id, by function and by time; bounded by age and size.

One row is one segment. Nothing is merged when it is written: what came twice or late is sorted out when it is read.
"""

import asyncio
from collections.abc import Iterable
from collections.abc import Sequence as Rows
from typing import LiteralString, NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import InvalidInput
from forerun.model import Segment, Span, SpanStatus, distinct_spans
from forerun.storage.db import Db, Row, Statement, in_batches
from forerun.storage.segment_codec import pack_segment, unpack_segment
from forerun.storage.sequence import Sequence, number_at

_INSERT = """/*free*/
INSERT INTO segments (id, trace_id, account, function, started, duration, status, root, spans, body)
VALUES {values}
"""
_OF_TRACE = """
SELECT id, spans, body FROM segments WHERE trace_id = $1 AND account = $2 AND id > $3 ORDER BY id LIMIT $4
"""
_HEADS = """
SELECT started, id, duration, status, root, spans, function FROM segments
WHERE trace_id = $1 AND account = $2 ORDER BY id LIMIT $3
"""
_FILTERS: LiteralString = """
AND (started, id) < ($2, $3) AND started >= $4 AND status >= $5 AND duration >= $6
ORDER BY started DESC, id DESC LIMIT $7
"""
_COLUMNS: LiteralString = "SELECT started, id, trace_id FROM segments "
_OF_ACCOUNT = _COLUMNS + "WHERE account = $1" + _FILTERS
_OF_FUNCTION = _COLUMNS + "WHERE account = $1 AND function = $8" + _FILTERS
_SINCE = """
SELECT id, account, trace_id, function, body FROM segments WHERE id > $1 ORDER BY id LIMIT $2
"""
_BETWEEN = """
SELECT id, account, trace_id, function, body FROM segments
WHERE account = $1 AND started >= $2 AND started < $3 ORDER BY started DESC, id DESC LIMIT $4
"""
_DELETE = """
DELETE FROM segments WHERE id IN (SELECT id FROM segments WHERE id < $1 ORDER BY id LIMIT $2) RETURNING id
"""
# PostgreSQL's files do not shrink: there it is told from the number of rows and the size of the newest.
_SIZE = """
/*sqlite*/ SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size() /*end*/
/*pg SELECT coalesce((SELECT count(*) FROM segments) * (SELECT avg(pg_column_size(body)) + 300
FROM (SELECT body FROM segments ORDER BY id DESC LIMIT 1000) AS newest), 0) */
"""
_CHUNK = 1_000
_PAGE = 64
_FEW = 500
_NEWEST = (1 << 63) - 1
_LATEST_US = 1 << 52
# By how bad it is, so that the worst of a trace is its greatest number.
_STATUSES = (SpanStatus.OK, SpanStatus.ERROR, SpanStatus.THROTTLE, SpanStatus.FAULT)
_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}
MOST_SPANS = 20_000
MOST_SEGMENTS = 5_000
MOST_SCANNED = 20_000


class TraceFilter(NamedTuple):
    """Which traces are wanted: those with a segment for which all of this holds; empty means any.

    ``since`` and ``until`` are epoch seconds of its start (``until`` excluded, 0.0 for no bound); ``errors`` wants
    that it did not end well.
    """

    function: str = ""
    since: float = 0.0
    until: float = 0.0
    errors: bool = False
    min_duration_s: float = 0.0


class TraceSummary(msgspec.Struct, kw_only=True):
    """A trace at a glance. ``started`` is epoch seconds, ``duration_s`` from the first start to the last end.

    ``root`` is the function that began it (empty for an instrumented program), ``functions`` all that took part.
    ``status`` is the worst of its segments', ``errors`` how many of them did not end well; ``executions`` are the
    segments of functions. What came twice is counted twice.
    """

    trace_id: str
    root: str
    functions: list[str]
    started: float
    duration_s: float
    status: SpanStatus
    errors: int
    executions: int
    segments: int
    spans: int


class TracePage(NamedTuple):
    """Traces, newest first by their newest segment that was wanted; ``before`` continues the list, empty at its end."""

    traces: list[TraceSummary]
    before: str


class _Mark(NamedTuple):
    started: int
    id: int


class TraceStore:
    """Segments in ``traces.db``. Losing the last moments in a power failure is accepted: writing does not wait for disk."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._db = db
        self._sequence = Sequence(clock)

    def encode(self, segment: Segment) -> Row:
        """What ``write`` takes of it; any thread may do it. Raises ``InvalidInput`` for what has no spans or no trace id."""
        if not segment.spans:
            raise InvalidInput("A segment needs at least one span")
        if not segment.function.isascii():
            raise InvalidInput("A function's name is ASCII")
        first = segment.spans[0]
        started = _microseconds(first.started)
        ended = _microseconds(first.ended or max(span.ended for span in segment.spans))
        return (
            _trace_key(segment.trace_id),
            segment.account,
            segment.function,
            started,
            max(0, ended - started),
            _NUMBERS[first.status],
            int(not first.parent_id),
            len(segment.spans),
            pack_segment(segment),
        )

    async def write(self, rows: Rows[Row]) -> None:
        """Keep encoded segments, in one transaction."""
        if rows:
            numbered = [(self._sequence.take(), *row) for row in rows]
            await self._db.write(*in_batches(_INSERT, numbered), durable=False)

    async def append(self, segments: Iterable[Segment]) -> None:
        """Keep ``segments``, in one transaction. Raises ``InvalidInput`` as ``encode`` does; then none is kept."""
        await self.write([self.encode(segment) for segment in segments])

    async def trace(self, account: str, trace_id: str, *, most: int = MOST_SPANS) -> list[Span]:
        """The spans of a trace, each once, by their start; empty when nothing is kept of it.

        Reading ends with the segment that makes it ``most`` spans or more. Of spans with one id the platform's own
        wins, then one that ended, then the later one.
        """
        key, bodies, count, last = _trace_key(trace_id), list[bytes](), 0, 0
        while count < most:
            rows = await self._db.fetch(_OF_TRACE, key, account, last, _PAGE)
            for last, spans, body in rows:  # noqa: B007 the next page begins behind it
                count += spans
                bodies.append(body)
                if count >= most:
                    break
            if len(rows) < _PAGE:
                break
        # Large ones are read beside the loop, which answers calls meanwhile.
        if count <= _FEW:
            return _spans(bodies)
        return await asyncio.to_thread(_spans, bodies)

    async def summaries(
        self,
        account: str,
        wanted: TraceFilter | None = None,
        *,
        limit: int = 50,
        before: str = "",
    ) -> TracePage:
        """At most ``limit`` traces of the account, newest first, from ``before`` (of an earlier page) on.

        A page may be short, or empty, and still say where the list goes on. Raises ``InvalidInput`` for a ``before``
        that no page gave.
        """
        wanted = wanted or TraceFilter()
        begin = mark = _mark(before, wanted)
        found: dict[bytes, None] = {}
        scanned = 0
        while len(found) < limit and scanned < MOST_SCANNED:
            most = max(_PAGE, 2 * limit)
            rows = await self._find(account, wanted, mark, most)
            for started, id_, key in rows:
                if len(found) >= limit and key not in found:
                    break
                mark = _Mark(started, id_)
                found[key] = None
            scanned += len(rows)
            if len(rows) < most and (not rows or mark == rows[-1][:2]):
                return TracePage(await self._summarise(account, wanted, begin, list(found)), "")
        page = await self._summarise(account, wanted, begin, list(found))
        return TracePage(page, f"{mark.started}.{mark.id}")

    async def segments_since(self, id_: int, *, limit: int = 1000) -> list[tuple[int, Segment]]:
        """At most ``limit`` segments of all accounts that arrived after the one numbered ``id_`` (0: from the first)."""
        rows = await self._db.fetch(_SINCE, id_, limit)
        segments = await asyncio.to_thread(_segments, rows)
        return [(row[0], segment) for row, segment in zip(rows, segments, strict=True)]

    async def between(
        self, account: str, since: float, until: float, *, limit: int = 10_000
    ) -> list[Segment]:
        """The ``limit`` newest segments of an account that started in the time given in epoch seconds, newest first."""
        rows = await self._db.fetch(
            _BETWEEN, account, _microseconds(since), _microseconds(until), limit
        )
        return await asyncio.to_thread(_segments, rows)

    async def size(self) -> int:
        """Bytes that the database uses; what was removed is used again and not counted."""
        [[used]] = await self._db.fetch(_SIZE)
        return int(used)

    async def trim(self, *, before: float, max_bytes: int) -> int:
        """Remove what arrived before ``before`` (epoch seconds), then the oldest until ``max_bytes`` are enough.

        The number of segments that went. It works in small transactions, so that other writers need not wait.
        """
        removed = 0
        while gone := await self._delete(number_at(max(0.0, before))):
            removed += gone
        while await self.size() > max_bytes:
            gone = await self._delete(_NEWEST)
            removed += gone
            if not gone:
                break
        return removed

    async def _delete(self, before: int) -> int:
        [gone] = await self._db.write(Statement(_DELETE, (before, _CHUNK)), durable=False)
        return len(gone)

    async def _find(self, account: str, wanted: TraceFilter, mark: _Mark, most: int) -> list[Row]:
        args = (
            account,
            *mark,
            _microseconds(wanted.since),
            int(wanted.errors),
            _microseconds(wanted.min_duration_s),
            most,
        )
        if wanted.function:
            return await self._db.fetch(_OF_FUNCTION, *args, wanted.function)
        return await self._db.fetch(_OF_ACCOUNT, *args)

    async def _summarise(
        self, account: str, wanted: TraceFilter, begin: _Mark, keys: list[bytes]
    ) -> list[TraceSummary]:
        """Of each trace, but not of those that stood on an earlier page already."""
        heads = await asyncio.gather(
            *(self._db.fetch(_HEADS, key, account, MOST_SEGMENTS) for key in keys)
        )
        return [
            _summary(key, rows)
            for key, rows in zip(keys, heads, strict=True)
            if not any(_matches(row, wanted) and (row[0], row[1]) >= begin for row in rows)
        ]


def _matches(row: Row, wanted: TraceFilter) -> bool:
    started, _, duration, status, _, _, function = row
    return bool(
        (not wanted.function or function == wanted.function)
        and started >= _microseconds(wanted.since)
        and (not wanted.until or started < _microseconds(wanted.until))
        and status >= int(wanted.errors)
        and duration >= _microseconds(wanted.min_duration_s)
    )


def _summary(key: bytes, rows: list[Row]) -> TraceSummary:
    started = min(row[0] for row in rows)
    ended = max(row[0] + row[2] for row in rows)
    # The root is what has no parent; without one, what began first.
    root = min(rows, key=lambda row: (not row[4], not row[6], row[0]))
    return TraceSummary(
        trace_id=key.hex(),
        root=root[6],
        functions=sorted({row[6] for row in rows if row[6]}),
        started=started / 1e6,
        duration_s=(ended - started) / 1e6,
        status=_STATUSES[max(row[3] for row in rows)],
        errors=sum(1 for row in rows if row[3]),
        executions=sum(1 for row in rows if row[6]),
        segments=len(rows),
        spans=sum(row[5] for row in rows),
    )


def _spans(bodies: list[bytes]) -> list[Span]:
    return distinct_spans(span for body in bodies for span in unpack_segment(body)[2])


def _segments(rows: list[Row]) -> list[Segment]:
    return [_segment(row) for row in rows]


def _segment(row: Row) -> Segment:
    _, account, key, function, body = row
    version, request_id, spans = unpack_segment(body)
    return Segment(
        account=account,
        trace_id=key.hex(),
        function=function,
        version=version,
        request_id=request_id,
        spans=spans,
    )


def _trace_key(trace_id: str) -> bytes:
    try:
        key = bytes.fromhex(trace_id)
    except ValueError:
        key = b""
    if len(key) != 16 or len(trace_id) != 32:
        raise InvalidInput(f"A trace id has 32 hexadecimal digits, not '{trace_id[:64]}'")
    return key


def _microseconds(seconds: float) -> int:
    """Whole microseconds, within what the database and a calendar can hold."""
    if not seconds > 0.0:
        return 0
    return int(min(seconds * 1e6, _LATEST_US))


def _mark(before: str, wanted: TraceFilter) -> _Mark:
    if before:
        started, _, id_ = before.partition(".")
        if not (before.isascii() and started.isdecimal() and id_.isdecimal() and len(before) < 50):
            raise InvalidInput(f"'{before[:64]}' is no marker of a list of traces")
        return _Mark(min(int(started), _NEWEST), min(int(id_), _NEWEST))
    # Numbers are positive: (until, 0) is below everything that starts at ``until``.
    return _Mark(_microseconds(wanted.until), 0) if wanted.until else _Mark(_NEWEST, _NEWEST)
