"""What foresight has learned: a small row per function and qualifier, in the database of traces."""

from collections.abc import Sequence
from typing import NamedTuple

from forerun.storage.db import Db, Statement, in_batches

_PUT = """
INSERT INTO foresight (account, name, qualifier, at, state, score) VALUES {values}
ON CONFLICT (account, name, qualifier) DO UPDATE SET at = excluded.at, state = excluded.state, score = excluded.score
"""
_FIND = "SELECT score FROM foresight WHERE account = $1 AND name = $2 AND qualifier = $3"
_WHOLE = "SELECT state FROM foresight WHERE account = '' AND name = '' AND qualifier = ''"
_OF_ACCOUNT = """
SELECT account, name, qualifier, at, state, score FROM foresight WHERE account = $1 ORDER BY at DESC, name, qualifier
LIMIT $2
"""
_OF_NAME = "SELECT qualifier FROM foresight WHERE account = $1 AND name = $2"
_AFTER = """
SELECT account, name, qualifier, at, state, score FROM foresight
WHERE (account, name, qualifier) > ($1, $2, $3) ORDER BY account, name, qualifier LIMIT $4
"""
_FORGET = "DELETE FROM foresight WHERE account = $1 AND name = $2"
_TRIM = """
DELETE FROM foresight WHERE (account, name, qualifier) IN
(SELECT account, name, qualifier FROM foresight WHERE at < $1 LIMIT $2) RETURNING 1
"""
_CHUNK = 2_000


class ForesightRow(NamedTuple):
    """``at`` is when the function was last called, epoch seconds; ``state`` and ``score`` are the caller's own encodings.

    The row without account and name is of all functions together.
    """

    account: str
    name: str
    qualifier: str
    at: int
    state: bytes
    score: bytes


class ForesightStore:
    """Losing the last moments is accepted: writes do not wait for the disk."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, rows: Sequence[ForesightRow]) -> None:
        """Keep each row in place of the one of the same function, all in one transaction."""
        if rows:
            await self._db.write(*in_batches(_PUT, rows), durable=False)

    async def score(self, account: str, name: str, qualifier: str) -> bytes:
        """The score of one; empty when there is no row."""
        rows = await self._db.fetch(_FIND, account, name, qualifier)
        return bytes(rows[0][0]) if rows else b""

    async def whole(self) -> bytes:
        """The state of all functions together; empty when there is none."""
        rows = await self._db.fetch(_WHOLE)
        return bytes(rows[0][0]) if rows else b""

    async def of_account(self, account: str, limit: int) -> list[ForesightRow]:
        """The rows of an account, those called last first."""
        return [ForesightRow(*row) for row in await self._db.fetch(_OF_ACCOUNT, account, limit)]

    async def qualifiers(self, account: str, name: str) -> list[str]:
        """Under which qualifiers a function is known."""
        return [str(row[0]) for row in await self._db.fetch(_OF_NAME, account, name)]

    async def after(
        self, account: str, name: str, qualifier: str, limit: int
    ) -> list[ForesightRow]:
        """The next rows in the order of their keys: all of them, page by page."""
        rows = await self._db.fetch(_AFTER, account, name, qualifier, limit)
        return [ForesightRow(*row) for row in rows]

    async def forget(self, account: str, name: str) -> None:
        """Drop what is known of a function."""
        await self._db.write(Statement(_FORGET, (account, name)), durable=False)

    async def trim(self, before: int) -> None:
        """Drop what is known of functions that were not called since, in small transactions."""
        while True:
            (gone,) = await self._db.write(Statement(_TRIM, (before, _CHUNK)), durable=False)
            if len(gone) < _CHUNK:
                return
