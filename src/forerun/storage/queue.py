"""The durable queue of asynchronous invocations: at least once, bounded, claimed in batches under leases.

``put`` returns when the event is on disk; many callers at once share one transaction (the database groups commits). An
event is in the queue until it is finished. A claim hides it until its lease ends; an owner that died loses its leases
at the next ``recover``. How often and how long an event is tried is decided by the caller; the row only carries what
that needs. The bounds are counted in memory: exact for one server, and per server where several share a database.

A **deferrable** event has a ``latest_start``. It is due shortly before that like any other; until then it is in nobody's
way, and only ``claim_deferred`` takes it, the one with the earliest latest start first.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from forerun.errors import ForerunError, Throttled
from forerun.model import Origin
from forerun.storage.db import Db, Row, Statement, in_batches
from forerun.storage.dialect import CLAIMED, ONE_OF

_COLUMNS: Final = """id, account, name, qualifier, payload, client_context, origin, headers, accepted_at, attempt,
refusals, due_at, latest_start, source, memory_mb, timeout_s"""
_PUT = (
    "/*free*/ INSERT INTO event_queue (" + _COLUMNS + ", bytes, owner) "
    "VALUES {values} ON CONFLICT (id) DO NOTHING RETURNING id, account, latest_start, bytes"
)
_CLAIM = (
    "/*free*/ UPDATE event_queue SET owner = $1, due_at = $2 WHERE id" + ONE_OF  # noqa: S608 literals
    + "SELECT id FROM event_queue WHERE due_at <= $3 ORDER BY due_at LIMIT $4" + CLAIMED
    + " RETURNING " + _COLUMNS
)  # fmt: skip
# The marks of the accounts stand where the braces are.
_CLAIM_DEFERRED = (
    "/*free*/ UPDATE event_queue SET owner = $1, due_at = $2 WHERE id" + ONE_OF  # noqa: S608 literals
    + "SELECT id FROM event_queue "
    "WHERE latest_start > 0 AND owner = '' AND latest_start > $3 AND latest_start < $4 AND refusals < $5 "
    "AND account IN ({accounts}) ORDER BY latest_start LIMIT $6" + CLAIMED + " RETURNING " + _COLUMNS
)  # fmt: skip
_DEFERRED = """
SELECT account, COUNT(*) FROM event_queue WHERE latest_start > 0 AND owner = '' GROUP BY account
"""
# By a join: SQLite would read the whole table for pairs behind IN. PostgreSQL looks at the owner again when it has waited for a row.
_FINISH = """/*free*/
DELETE FROM event_queue WHERE id IN (
    SELECT q.id FROM (VALUES {values}) AS v JOIN event_queue AS q ON q.id = v.column1 AND q.owner = v.column2
    /*pg FOR UPDATE OF q */
) RETURNING id, bytes
"""
_RETRY = """/*free*/
UPDATE event_queue SET due_at = $3, attempt = $4, owner = '',
    refusals = CASE WHEN attempt = $4 THEN refusals + 1 ELSE 0 END,
    latest_start = CASE WHEN attempt = $4 THEN latest_start ELSE 0 END
WHERE id = $1 AND owner = $2 RETURNING account, latest_start
"""
_EXTEND = "/*free*/ UPDATE event_queue SET due_at = $3 WHERE id = $1 AND owner = $2 RETURNING id"
_DUE = "SELECT MIN(due_at) FROM event_queue"
_RECOVER = (
    "UPDATE event_queue SET owner = '', due_at = $2 WHERE owner <> '' AND owner <> $1 RETURNING id"
)
_HASTEN = """
UPDATE event_queue SET due_at = CASE WHEN due_at - $2 > $1 THEN due_at - $2 ELSE $1 END
WHERE due_at > $1 AND owner = '' AND latest_start = 0
"""
_SIZE = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM event_queue"
_ROW_BYTES = 512
MOST_ACCOUNTS = 100
# Longer than any retry waits.
LONGEST_WAIT_S = 3600.0
FOREVER_S = 1e10

_encode_headers = msgspec.json.Encoder(order="sorted").encode
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode
_decode_origin = msgspec.json.Decoder(Origin).decode


class QueuedEvent(msgspec.Struct, kw_only=True):
    """One accepted invocation. Times are epoch seconds; ``attempt`` counts from 1.

    ``refusals`` counts the retries since the last attempt that ran: those that kept the attempt's number. ``latest_start``
    is 0 for what is not deferrable, or was tried. ``source`` is the ARN of what sent it, empty for invocations. ``memory_mb``
    and ``timeout_s`` are used instead of the function's own, where they are not 0.
    """

    id: str
    account: str
    name: str
    qualifier: str | None = None
    payload: bytes
    client_context: str | None = None
    origin: Origin = Origin()
    headers: dict[str, str] = {}
    accepted_at: float
    attempt: int = 1
    refusals: int = 0
    due_at: float = 0.0
    latest_start: float = 0.0
    source: str = ""
    memory_mb: int = 0
    timeout_s: int = 0

    @property
    def size(self) -> int:
        """Bytes this event is counted with."""
        texts = (self.client_context or "", self.origin.tracestate, self.origin.baggage)
        return len(self.payload) + sum(map(len, texts)) + _ROW_BYTES


class QueueDepth(NamedTuple):
    """What is queued, claimed events included."""

    events: int
    bytes: int


class EventQueue:
    """The queue. ``recover`` is called once, before anything else."""

    def __init__(
        self,
        db: Db,
        *,
        max_events: int = 1_000_000,
        max_bytes: int = 4 << 30,
        owner: str | None = None,
    ) -> None:
        """``owner`` names this server in its leases; by default a new name for each start."""
        self._db = db
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._owner = owner or secrets.token_hex(8)
        self._events = 0
        self._bytes = 0
        self._deferred: Counter[str] = Counter()

    async def recover(self, now: float) -> int:
        """Count what an earlier server left, and make what others hold claimable at ``now``; how many were held.

        To be called when no other server is alive on this database.
        """
        (freed, _) = await self._db.write(
            Statement(_RECOVER, (self._owner, now)),
            # Written before the clock was set back.
            Statement(_HASTEN, (now + LONGEST_WAIT_S, FOREVER_S)),
        )
        await self.recount()
        return len(freed)

    async def recount(self) -> None:
        """Count what is queued, where others put and finish events, too; to be called at the start, and now and then."""
        ((self._events, self._bytes),) = await self._db.fetch(_SIZE)
        self._deferred = Counter(dict(await self._db.fetch(_DEFERRED)))

    async def hasten(self, now: float, by: float) -> None:
        """Unclaimed events are due ``by`` seconds earlier, but not before ``now``; those that may wait keep their latest start."""
        await self._db.write(Statement(_HASTEN, (now, by)), durable=False)

    async def put(self, *events: QueuedEvent) -> None:
        """Return when all are on disk, in one transaction; due at ``due_at``. An id that is queued already changes nothing.

        Raises ``Throttled`` when the queue has no room for them, ``StorageFailed`` when the disk does not take them.
        """
        size = sum(event.size for event in events)
        if self._events + len(events) > self._max_events or self._bytes + size > self._max_bytes:
            raise Throttled(
                f"The queue of asynchronous invocations is full ({self._events} events, {self._bytes} bytes); "
                "try again later",
                reason="ConcurrentInvocationLimitExceeded",
                retry_after_s=5.0,
            )
        self._count_all(events, size, 1)
        rows = [(*_values(event), event.size, "") for event in events]
        try:
            written = await self._db.write(*in_batches(_PUT, rows))
        except ForerunError:
            self._count_all(events, size, -1)
            raise
        # A cancelled caller's events are counted: the database writes them all the same.
        new = [row for each in written for row in each]
        if len(new) < len(events):
            self._count_all(events, size, -1)
            self._count(len(new), sum(bytes_ for _, _, _, bytes_ in new))
            for _, account, latest_start, _ in new:
                self._defer(account, latest_start, 1)

    async def claim(self, limit: int, *, now: float, lease_s: float) -> list[QueuedEvent]:
        """Take at most ``limit`` events that are due, earliest first, for ``lease_s`` seconds.

        A claim is not synced: when the machine dies before it reaches the disk, the event is simply due again.
        """
        statement = Statement(_CLAIM, (self._owner, now + lease_s, now, limit))
        return sorted(await self._claim(statement), key=lambda event: event.accepted_at)

    async def claim_deferred(
        self,
        limit: int,
        accounts: Sequence[str],
        *,
        before: float,
        refusals: int,
        now: float,
        lease_s: float,
    ) -> list[QueuedEvent]:
        """Take at most ``limit`` events of ``accounts`` (100 at most) ahead of their latest start, the earliest first.

        Only those that may wait until ``before`` at most, and were refused less than ``refusals`` times.
        """
        chosen = tuple(accounts)[:MOST_ACCOUNTS]
        if not chosen:
            return []
        marks = ", ".join(f"${7 + number}" for number in range(len(chosen)))
        args = (self._owner, now + lease_s, now, before, refusals, limit, *chosen)
        events = await self._claim(Statement(_CLAIM_DEFERRED.format(accounts=marks), args))
        return sorted(events, key=lambda event: event.latest_start)

    def deferred(self) -> dict[str, int]:
        """How many deferrable events of each account wait now."""
        return dict(self._deferred)

    async def _claim(self, statement: Statement) -> list[QueuedEvent]:
        (rows,) = await self._db.write(statement, durable=False)
        events = [_event(row) for row in rows]
        for event in events:
            self._defer(event.account, event.latest_start, -1)
        return events

    async def finish(self, ids: Iterable[str]) -> list[str]:
        """Remove events claimed here; those that were removed (not the ones that others took over meanwhile).

        Not synced: when the machine dies before it reaches the disk, the event is run once more.
        """
        statements = list(in_batches(_FINISH, [(each, self._owner) for each in ids]))
        if not statements:
            return []
        written = await self._db.write(*statements, durable=False)
        gone = [row for rows in written for row in rows]
        self._count(-len(gone), -sum(size for _, size in gone))
        return [each for each, _ in gone]

    async def retry(self, event_id: str, *, at: float, attempt: int) -> bool:
        """Give a claimed event back, due at ``at``; false when it is not claimed here any more.

        With a further ``attempt`` it is not deferrable any more.
        """
        args = (event_id, self._owner, at, attempt)
        (rows,) = await self._db.write(Statement(_RETRY, args), durable=False)
        for account, latest_start in rows:
            self._defer(account, latest_start, 1)
        return bool(rows)

    async def extend(self, ids: Iterable[str], *, until: float) -> list[str]:
        """Let the leases of events claimed here end at ``until``; those that are still held."""
        statements = [Statement(_EXTEND, (each, self._owner, until)) for each in ids]
        if not statements:
            return []
        return [row[0] for rows in await self._db.write(*statements, durable=False) for row in rows]

    async def due_at(self) -> float | None:
        """When the next event is due or the next lease ends; ``None`` when the queue is empty."""
        ((due,),) = await self._db.fetch(_DUE)
        return None if due is None else float(due)

    def depth(self) -> QueueDepth:
        """How much is queued now."""
        return QueueDepth(self._events, self._bytes)

    def _count(self, events: int, size: int) -> None:
        self._events += events
        self._bytes += size

    def _count_all(self, events: Sequence[QueuedEvent], size: int, sign: int) -> None:
        self._count(sign * len(events), sign * size)
        for event in events:
            self._defer(event.account, event.latest_start, sign)

    def _defer(self, account: str, latest_start: float, change: int) -> None:
        if latest_start > 0:
            self._deferred[account] += change
            if self._deferred[account] <= 0:
                del self._deferred[account]


def _values(event: QueuedEvent) -> Row:
    return (
        event.id,
        event.account,
        event.name,
        event.qualifier,
        event.payload,
        event.client_context,
        msgspec.json.encode(event.origin).decode(),
        _encode_headers(event.headers).decode(),
        event.accepted_at,
        event.attempt,
        event.refusals,
        event.due_at or event.accepted_at,
        event.latest_start,
        event.source,
        event.memory_mb,
        event.timeout_s,
    )


def _event(row: Row) -> QueuedEvent:
    return QueuedEvent(
        id=row[0],
        account=row[1],
        name=row[2],
        qualifier=row[3],
        payload=row[4],
        client_context=row[5],
        origin=_decode_origin(row[6]),
        headers=_decode_headers(row[7]),
        accepted_at=row[8],
        attempt=row[9],
        refusals=row[10],
        due_at=row[11],
        latest_start=row[12],
        source=row[13],
        memory_mb=row[14],
        timeout_s=row[15],
    )
