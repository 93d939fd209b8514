"""A database whose writes are known to everybody when they return: for what control planes remember of it."""

from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

from forerun.storage.db import Db, Row, Statement

Settle = Callable[[], Awaitable[None]]
"""Returns when whoever remembers something has acted on all that is committed (``Feed.settle``)."""


class SettledDb:
    """A ``Db``; what is written ``durable`` returns when everybody has acted on it.

    What fails afterwards is written all the same: ``StorageFailed`` then says that not all may know of it yet.
    """

    def __init__(self, db: Db, settle: Settle) -> None:
        self._db = db
        self._settle = settle

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """See ``Db.fetch``."""
        return await self._db.fetch(sql, *args)

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """See ``Db.write``."""
        rows = await self._db.write(*statements, durable=durable)
        if durable:
            await self._settle()
        return rows

    async def close(self) -> None:
        """Leave the database open for others."""
