"""Tallies of profiles as they are counted, in the database of traces: one row for a version and a stretch of time."""

from collections.abc import Sequence
from typing import NamedTuple

from forerun.storage.db import Db, Statement

_PUT = """
INSERT INTO profiles (account, name, version, since, body) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (account, name, version, since) DO UPDATE SET body = excluded.body
"""
_OF_VERSION = """
SELECT since, body FROM profiles WHERE account = $1 AND name = $2 AND version = $3 ORDER BY since
"""
_VERSIONS = (
    "SELECT name, version FROM profiles WHERE account = $1 AND since = 0 ORDER BY name, version"
)
_FORGET = "DELETE FROM profiles WHERE account = $1 AND name = $2"
_TRIM = "DELETE FROM profiles WHERE since > 0 AND since < $1"


class ProfileRow(NamedTuple):
    """A tally: ``since`` is the epoch second its stretch begins at, 0 for all time; ``body`` is its packed form."""

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
            await self._db.write(*(Statement(_PUT, row) for row in rows), durable=False)

    async def load(self, account: str, name: str, version: str) -> dict[int, bytes]:
        """What is kept of a version, by ``since``."""
        return dict(
            (since, body)
            for since, body in await self._db.fetch(_OF_VERSION, account, name, version)
        )

    async def versions(self, account: str) -> list[tuple[str, str]]:
        """Name and version of every profile of the account."""
        return [(name, version) for name, version in await self._db.fetch(_VERSIONS, account)]

    async def forget(self, account: str, name: str) -> None:
        """Drop the profiles of a function."""
        await self._db.write(Statement(_FORGET, (account, name)), durable=False)

    async def trim(self, before: int) -> None:
        """Drop stretches that began before that epoch second."""
        await self._db.write(Statement(_TRIM, (before,)), durable=False)
