"""Tallies of profiles as they are counted, in the database of traces: one row for a version and a stretch of time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from forerun.storage.db import Db, Statement, in_batches

ALL_BEFORE = 0

_PUT = """
INSERT INTO profiles (account, name, version, since, body) VALUES {values}
ON CONFLICT (account, name, version, since) DO UPDATE SET body = excluded.body
"""
_OF_VERSION = """
SELECT account, name, version, since, body FROM profiles
WHERE account = $1 AND name = $2 AND version = $3 AND since >= $4 ORDER BY since
"""
_NEWEST_OF_VERSION = """
SELECT account, name, version, since, body FROM profiles
WHERE account = $1 AND name = $2 AND version = $3 AND (since = 0 OR since =
(SELECT MAX(since) FROM profiles WHERE account = $1 AND name = $2 AND version = $3)) ORDER BY since
"""
_NEWEST_OF_ACCOUNT = """
SELECT account, name, version, since, body FROM profiles AS one WHERE account = $1 AND (since = 0 OR since =
(SELECT MAX(since) FROM profiles AS other WHERE other.account = one.account AND other.name = one.name
AND other.version = one.version)) ORDER BY name, version, since
"""
_FORGET = "DELETE FROM profiles WHERE account = $1 AND name = $2"
_TRIM_HOURS = """
DELETE FROM profiles WHERE since > 0 AND since < $1 AND EXISTS
(SELECT 1 FROM profiles AS newer WHERE newer.account = profiles.account AND newer.name = profiles.name
AND newer.version = profiles.version AND newer.since > profiles.since)
"""
_TRIM_VERSIONS = """
DELETE FROM profiles WHERE (account, name, version) IN
(SELECT account, name, version FROM profiles GROUP BY account, name, version HAVING MAX(since) < $1)
"""


class ProfileRow(NamedTuple):
    """A tally: ``since`` is the epoch second its hour begins at, ``ALL_BEFORE`` for all hours before the newest one;
    ``body`` is its packed form.
    """

    account: str
    name: str
    version: str
    since: int
    body: bytes


class ProfileStore:
    """Losing the last moments is accepted: writes do not wait for the disk."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, rows: Sequence[ProfileRow]) -> None:
        """Keep each row in place of the one of the same version and stretch, all in one transaction."""
        if rows:
            await self._db.write(*in_batches(_PUT, rows), durable=False)

    async def newest(self, account: str, name: str, version: str) -> list[ProfileRow]:
        """The newest hour of a version, and all before it, which comes first."""
        return _rows(await self._db.fetch(_NEWEST_OF_VERSION, account, name, version))

    async def all_newest(self, account: str) -> list[ProfileRow]:
        """The same of every version of the account, by name and version."""
        return _rows(await self._db.fetch(_NEWEST_OF_ACCOUNT, account))

    async def hours(self, account: str, name: str, version: str, since: int) -> list[ProfileRow]:
        """The hours of a version that began then or later, by time."""
        return _rows(await self._db.fetch(_OF_VERSION, account, name, version, max(1, since)))

    async def forget(self, account: str, name: str) -> None:
        """Drop the profiles of a function."""
        await self._db.write(Statement(_FORGET, (account, name)), durable=False)

    async def trim(self, *, hours_before: int, versions_before: int) -> None:
        """Drop hours that began before, but each version's newest; and versions that were not watched since."""
        await self._db.write(
            Statement(_TRIM_HOURS, (hours_before,)),
            Statement(_TRIM_VERSIONS, (versions_before,)),
            durable=False,
        )


def _rows(rows: Iterable[Sequence[object]]) -> list[ProfileRow]:
    return [ProfileRow(*row) for row in rows]  # type: ignore[arg-type]
