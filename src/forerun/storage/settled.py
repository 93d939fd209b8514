"""A database whose writes are known to everybody when they return: for what control planes remember of it."""

from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

from forerun.storage.db import Db, Row, Statement

Settle = Callable[[], Awaitable[None]]
"""Returns when whoever remembers something has acted on all that is committed (``Feed.settle``)."""


class SettledDb:
    """A ``Db``; what is written ``durable`` returns when everybody has acted on it, and so does what reads it before.

    Nobody who has read something new is served older things by somebody else then. What fails afterwards is written all the same:
    ``StorageFailed`` then says that not all may know of it yet.
    """

    def __init__(self, db: Db, settle: Settle) -> None:
        self._db = db
        self._settle = settle
        self._under_way = 0
        # What another one has written last is not known to be settled either.
        self._written, self._settled = 1, 0

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """See ``Db.fetch``."""
        rows = await self._db.fetch(sql, *args)
        if self._under_way or self._settled < self._written:
            await self._settle_all()
        return rows

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """See ``Db.write``."""
        if not durable:
            return await self._db.write(*statements, durable=False)
        self._under_way += 1
        try:
            rows = await self._db.write(*statements, durable=True)
        finally:
            # It may be written though it failed.
            self._under_way -= 1
            self._written += 1
        await self._settle_all()
        return rows

    async def _settle_all(self) -> None:
        written = self._written
        await self._settle()
        self._settled = max(self._settled, written)

    async def close(self) -> None:
        """Leave the database open for others."""
