"""Tallies of profiles as they are counted, in the database of traces: one row for a version and a stretch of time.

Beside them the outline of each version: the little that is read when all of an account are shown.
"""

from collections.abc import Iterable, Mapping, Sequence
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
_PUT_OUTLINE = """
INSERT INTO outlines (account, name, version, body) VALUES {values}
ON CONFLICT (account, name, version) DO UPDATE SET body = excluded.body
"""
# What was written since it was read is newer.
_MEND_OUTLINE = """
UPDATE outlines SET body = $5 WHERE account = $1 AND name = $2 AND version = $3 AND body = $4
"""
_OUTLINES = "SELECT account, name, version, body FROM outlines WHERE account = $1"
_OUTLINE = "SELECT body FROM outlines WHERE account = $1 AND name = $2 AND version = $3"
_LATEST = """
SELECT account, name, version FROM profiles GROUP BY account, name, version ORDER BY MAX(since) DESC LIMIT $1
"""
_FORGET = "DELETE FROM profiles WHERE account = $1 AND name = $2"
_FORGET_OUTLINES = "DELETE FROM outlines WHERE account = $1 AND name = $2"
_TRIM_HOURS = """
DELETE FROM profiles WHERE since > 0 AND since < $1 AND EXISTS
(SELECT 1 FROM profiles AS newer WHERE newer.account = profiles.account AND newer.name = profiles.name
AND newer.version = profiles.version AND newer.since > profiles.since)
"""
_TRIM_VERSIONS = """
DELETE FROM profiles WHERE (account, name, version) IN
(SELECT account, name, version FROM profiles GROUP BY account, name, version HAVING MAX(since) < $1)
"""
_TRIM_OUTLINES = """
DELETE FROM outlines WHERE NOT EXISTS (SELECT 1 FROM profiles WHERE profiles.account = outlines.account
AND profiles.name = outlines.name AND profiles.version = outlines.version)
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


class OutlineRow(NamedTuple):
    """A version's outline, packed; an empty ``body`` says that it must be made from the tallies."""

    account: str
    name: str
    version: str
    body: bytes


class ProfileStore:
    """Losing the last moments is accepted: writes do not wait for the disk."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, rows: Sequence[ProfileRow], outlines: Sequence[OutlineRow] = ()) -> None:
        """Keep each row in place of the one of the same version and stretch, all in one transaction."""
        if rows or outlines:
            await self._db.write(
                *in_batches(_PUT, rows), *in_batches(_PUT_OUTLINE, outlines), durable=False
            )

    async def outlines(self, account: str) -> list[OutlineRow]:
        """Of every version of the account, in no order."""
        return [OutlineRow(*row) for row in await self._db.fetch(_OUTLINES, account)]

    async def outline(self, account: str, name: str, version: str) -> bytes:
        """Of one version, packed; empty when there is none, or it must be made from the tallies."""
        rows = await self._db.fetch(_OUTLINE, account, name, version)
        return bytes(rows[0][0]) if rows else b""

    async def mend(self, made: Mapping[OutlineRow, bytes]) -> None:
        """Keep the bytes in place of each row's body, unless it was written anew since it was read."""
        if made:
            await self._db.write(
                *(Statement(_MEND_OUTLINE, (*row, body)) for row, body in made.items()),
                durable=False,
            )

    async def newest(self, account: str, name: str, version: str) -> list[ProfileRow]:
        """The newest hour of a version, and all before it, which comes first."""
        return _rows(await self._db.fetch(_NEWEST_OF_VERSION, account, name, version))

    async def all_newest(self, account: str) -> list[ProfileRow]:
        """The same of every version of the account, by name and version."""
        return _rows(await self._db.fetch(_NEWEST_OF_ACCOUNT, account))

    async def hours(self, account: str, name: str, version: str, since: int) -> list[ProfileRow]:
        """The hours of a version that began then or later, by time."""
        return _rows(await self._db.fetch(_OF_VERSION, account, name, version, max(1, since)))

    async def latest(self, most: int) -> list[tuple[str, str, str]]:
        """Account, name and version of those that were watched last, to the hour, of all accounts."""
        return [(row[0], row[1], row[2]) for row in await self._db.fetch(_LATEST, most)]

    async def forget(self, account: str, name: str) -> None:
        """Drop the profiles of a function."""
        await self._db.write(
            Statement(_FORGET, (account, name)),
            Statement(_FORGET_OUTLINES, (account, name)),
            durable=False,
        )

    async def trim(self, *, hours_before: int, versions_before: int) -> None:
        """Drop hours that began before, but each version's newest; and versions that were not watched since."""
        await self._db.write(
            Statement(_TRIM_HOURS, (hours_before,)),
            Statement(_TRIM_VERSIONS, (versions_before,)),
            Statement(_TRIM_OUTLINES),
            durable=False,
        )


def _rows(rows: Iterable[Sequence[object]]) -> list[ProfileRow]:
    return [ProfileRow(*row) for row in rows]  # type: ignore[arg-type]
