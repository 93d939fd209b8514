"""What is kept of invocations: one row per attempt, written in batches, read newest first."""

from collections.abc import Sequence as Rows
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.model import InvocationRecord
from forerun.storage.db import Db, Statement, in_batches
from forerun.storage.sequence import Sequence, number_at

_INSERT = """/*free*/
INSERT INTO invocations (id, request_id, account, name, status, start_type, invocation_type, record)
VALUES {values}
"""
_FILTERS = """
AND id < $2 AND id >= $3
AND ($4 = '' OR status = $4) AND ($5 = '' OR start_type = $5) AND ($6 = '' OR invocation_type = $6)
ORDER BY id DESC LIMIT $7
"""
_OF_FUNCTION = "SELECT id, record FROM invocations WHERE account = $1 AND name = $8" + _FILTERS  # noqa: S608 literals
_OF_ACCOUNT = "SELECT id, record FROM invocations WHERE account = $1" + _FILTERS  # noqa: S608 literals
_OF_REQUEST = "SELECT record FROM invocations WHERE request_id = $1 ORDER BY id"
_COUNTS = """
SELECT name, status, COUNT(*) FROM invocations WHERE account = $1 AND id >= $2
GROUP BY name, status ORDER BY name, status
"""
_NTH_NEWEST = "SELECT id FROM invocations ORDER BY id DESC LIMIT 1 OFFSET $1"
_DELETE = """
DELETE FROM invocations WHERE id IN (SELECT id FROM invocations WHERE id < $1 ORDER BY id LIMIT $2) RETURNING id
"""
_CHUNK = 2_000
_NEWEST = (1 << 63) - 1


class InvocationFilter(NamedTuple):
    """Which invocations are wanted; empty means any. ``since`` is epoch seconds."""

    name: str = ""
    status: str = ""
    start_type: str = ""
    invocation_type: str = ""
    since: float = 0.0


class InvocationPage(NamedTuple):
    """Records newest first; ``before`` continues the list, ``None`` at its end."""

    records: list[InvocationRecord]
    before: int | None


class InvocationStore:
    """Invocation records. Losing the last moments in a power failure is accepted: ``append`` does not wait for disk."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._db = db
        self._sequence = Sequence(clock)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(InvocationRecord).decode

    async def append(self, records: Rows[InvocationRecord]) -> None:
        """Keep ``records`` in one transaction, in their order."""
        if not records:
            return
        rows = [
            (
                self._sequence.take(),
                record.request_id,
                record.account,
                record.name,
                record.status,
                record.start_type or "",
                record.invocation_type,
                self._encode(record),
            )
            for record in records
        ]
        await self._db.write(*in_batches(_INSERT, rows), durable=False)

    async def list(
        self,
        account: str,
        wanted: InvocationFilter | None = None,
        *,
        limit: int = 50,
        before: int | None = None,
    ) -> InvocationPage:
        """At most ``limit`` records of the account, newest first, from ``before`` (of an earlier page) on."""
        wanted = wanted or InvocationFilter()
        args = (
            account,
            _NEWEST if before is None else before,
            number_at(wanted.since),
            wanted.status,
            wanted.start_type,
            wanted.invocation_type,
            limit + 1,
        )
        rows = (
            await self._db.fetch(_OF_FUNCTION, *args, wanted.name)
            if wanted.name
            else await self._db.fetch(_OF_ACCOUNT, *args)
        )
        more = len(rows) > limit
        rows = rows[:limit]
        return InvocationPage(
            [self._decode(record) for _, record in rows], rows[-1][0] if more and rows else None
        )

    async def attempts(self, request_id: str) -> tuple[InvocationRecord, ...]:
        """Every attempt of one request, oldest first; empty when nothing is kept of it."""
        rows = await self._db.fetch(_OF_REQUEST, request_id)
        return tuple(self._decode(record) for (record,) in rows)

    async def one(self, request_id: str) -> InvocationRecord | None:
        """The last attempt of a request."""
        attempts = await self.attempts(request_id)
        return attempts[-1] if attempts else None

    async def counts(self, account: str, *, since: float = 0.0) -> dict[str, dict[str, int]]:
        """How many attempts each function had since ``since`` (epoch seconds), by status."""
        counts: dict[str, dict[str, int]] = {}
        for name, status, count in await self._db.fetch(_COUNTS, account, number_at(since)):
            counts.setdefault(name, {})[status] = count
        return counts

    async def trim(self, *, before: float, max_rows: int) -> int:
        """Remove what is older than ``before`` (epoch seconds) and all but the newest ``max_rows``; how many went.

        It works in small transactions, so that other writers need not wait.
        """
        oldest = number_at(before)
        if rows := await self._db.fetch(_NTH_NEWEST, max_rows):
            oldest = max(oldest, rows[0][0] + 1)
        removed = 0
        while True:
            (gone,) = await self._db.write(Statement(_DELETE, (oldest, _CHUNK)), durable=False)
            removed += len(gone)
            if len(gone) < _CHUNK:
                return removed
