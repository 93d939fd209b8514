"""What functions did, per minute and per hour: written again and again while the minute lasts, read by ranges of time."""

from collections.abc import Sequence as Rows
from typing import NamedTuple

from forerun.storage.db import Db, Statement, in_batches

MINUTE_S, HOUR_S = 60, 3600

_PUT = """
INSERT INTO activity (account, step, name, at, calls, errors, throttles, body) VALUES {values}
ON CONFLICT (account, step, name, at) DO UPDATE SET
calls = excluded.calls, errors = excluded.errors, throttles = excluded.throttles, body = excluded.body
"""
_RANGE = """
SELECT at, body FROM activity
WHERE account = $1 AND step = $2 AND name = $3 AND at >= $4 AND at < $5 ORDER BY at LIMIT $6
"""
_TOTALS = """
SELECT name, SUM(calls), SUM(errors), SUM(throttles) FROM activity
WHERE step = $2 AND at >= $3 AND account = $1 GROUP BY name ORDER BY name
"""
_SPARKS = """
SELECT name, at, calls, errors FROM activity
WHERE step = $2 AND at >= $3 AND at < $4 AND account = $1 ORDER BY name, at
"""
_AT = """
SELECT account, name, body FROM activity WHERE step = $1 AND at = $2 AND name <> ''
"""
_NAMES = """
SELECT DISTINCT account, name FROM activity WHERE step = $1 AND at >= $2 AND at < $3 ORDER BY account, name
"""
_COMPLETE = "SELECT MAX(at) FROM activity WHERE account = '' AND step = $1 AND name = ''"
_HOURS = """
SELECT at, calls FROM activity WHERE account = '' AND step = $1 AND name = '' AND at >= $2 AND errors > 0 ORDER BY at
"""
_FIRST = "SELECT MIN(at) FROM activity WHERE step = $1"
_DELETE = """
DELETE FROM activity WHERE (account, step, name, at) IN
(SELECT account, step, name, at FROM activity WHERE step = $1 AND at < $2 LIMIT $3) RETURNING 1
"""
_CHUNK = 2_000
MOST_ROWS = 100_000


class ActivityRow(NamedTuple):
    """One function's minute or hour; ``body`` is the caller's own encoding of all of it."""

    account: str
    step: int
    name: str
    at: int
    calls: int
    errors: int
    throttles: int
    body: bytes


class Totals(NamedTuple):
    """What a function did since some time."""

    calls: int
    errors: int
    throttles: int


class Spark(NamedTuple):
    """A minute or hour of a function, in short."""

    name: str
    at: int
    calls: int
    errors: int


class ActivityStore:
    """Rows by function and time. Losing the last moments in a power failure is accepted."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, rows: Rows[ActivityRow]) -> None:
        """Keep these in place of what was known of the same minutes or hours, in one transaction."""
        if rows:
            await self._db.write(*in_batches(_PUT, rows), durable=False)

    async def between(
        self, account: str, name: str, step: int, since: int, until: int
    ) -> list[tuple[int, bytes]]:
        """Start and body of each row of ``step`` seconds that begins from ``since`` to before ``until``, by time."""
        rows = await self._db.fetch(_RANGE, account, step, name, since, until, MOST_ROWS)
        return [(at, body) for at, body in rows]

    async def totals(self, account: str, since: int, step: int = MINUTE_S) -> dict[str, Totals]:
        """What each function of the account did since then, by name."""
        rows = await self._db.fetch(_TOTALS, account, step, since)
        return {name: Totals(*counts) for name, *counts in rows}

    async def sparks(self, account: str, since: int, until: int) -> list[Spark]:
        """Every minute of every function of the account in between, by name and time."""
        rows = await self._db.fetch(_SPARKS, account, MINUTE_S, since, until)
        return [Spark(*row) for row in rows]

    async def minute(self, at: int) -> list[tuple[str, str, bytes]]:
        """Account, name and body of all functions in the minute that begins then."""
        rows = await self._db.fetch(_AT, MINUTE_S, at)
        return [(account, name, body) for account, name, body in rows]

    async def active(self, since: int, until: int) -> list[tuple[str, str]]:
        """Account and name of all functions with a minute in between."""
        rows = await self._db.fetch(_NAMES, MINUTE_S, since, until)
        return [(account, name) for account, name in rows]

    async def complete_until(self) -> int:
        """Up to when there is a row for each hour; 0 when there is none at all yet and no minute either."""
        ((complete,),) = await self._db.fetch(_COMPLETE, HOUR_S)
        if complete is not None:
            return int(complete) + HOUR_S
        ((first,),) = await self._db.fetch(_FIRST, MINUTE_S)
        return int(first) // HOUR_S * HOUR_S if first is not None else 0

    async def complete(self, hour: int, calls: int) -> None:
        """The hour that begins then has all its rows; ``calls`` were not deferred."""
        # Rows of before that number was kept have 0 in place of the 1.
        await self.put([ActivityRow("", HOUR_S, "", hour, calls, 1, 0, b"")])

    async def hours(self, since: int) -> list[tuple[int, int]]:
        """When each complete hour began, and its calls that were not deferred."""
        return [(at, calls) for at, calls in await self._db.fetch(_HOURS, HOUR_S, since)]

    async def trim(self, step: int, before: int) -> int:
        """Remove rows of ``step`` that begin before; how many. It works in small transactions."""
        removed = 0
        while True:
            (gone,) = await self._db.write(
                Statement(_DELETE, (step, before, _CHUNK)), durable=False
            )
            removed += len(gone)
            if len(gone) < _CHUNK:
                return removed
