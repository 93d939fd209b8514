"""Function URLs: found by their id, which is the first label of their host name."""

from typing import Any

import msgspec

from forerun.storage.db import Db, Row, Statement


class UrlRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A URL of a function (qualifier ``""``) or of an alias. ``cors`` has AWS's member names. Times: epoch seconds."""

    id: str
    account: str
    name: str
    qualifier: str
    auth_type: str
    cors: dict[str, Any] | None = None
    invoke_mode: str = "BUFFERED"
    created: float
    last_modified: float


_RECORD = msgspec.json.Decoder(UrlRecord)


class UrlStore:
    """Function URLs over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def add(self, url: UrlRecord) -> None:
        """Store a new one; ``AlreadyExists`` when the qualifier has one."""
        await self._db.write(
            Statement(
                "INSERT INTO function_urls VALUES ($1, $2, $3, $4, $5)",
                (url.id, url.account, url.name, url.qualifier, msgspec.json.encode(url)),
            )
        )

    async def find(self, account: str, name: str, qualifier: str) -> UrlRecord | None:
        """The URL of one qualifier."""
        return _one(
            await self._db.fetch(
                "SELECT config FROM function_urls WHERE account = $1 AND name = $2 AND qualifier = $3",
                account,
                name,
                qualifier,
            )
        )

    async def by_id(self, url_id: str) -> UrlRecord | None:
        """The URL with that id."""
        return _one(await self._db.fetch("SELECT config FROM function_urls WHERE id = $1", url_id))

    async def replace(self, url: UrlRecord) -> None:
        """Change it; ``Conflict`` when it is gone."""
        await self._db.write(
            Statement(
                "UPDATE function_urls SET config = $1 WHERE id = $2",
                (msgspec.json.encode(url), url.id),
                1,
            )
        )

    async def remove(self, url_id: str) -> None:
        """Delete it."""
        await self._db.write(Statement("DELETE FROM function_urls WHERE id = $1", (url_id,)))

    async def page(self, account: str, name: str, after: str, limit: int) -> list[UrlRecord]:
        """URLs of a function by qualifier; ``after`` is a qualifier with ``!`` before it, or ``""`` to begin."""
        rows = await self._db.fetch(
            "SELECT config FROM function_urls WHERE account = $1 AND name = $2"
            " AND '!' || qualifier > $3 ORDER BY qualifier LIMIT $4",
            account,
            name,
            after,
            limit,
        )
        return [_RECORD.decode(row[0]) for row in rows]


def _one(rows: list[Row]) -> UrlRecord | None:
    return _RECORD.decode(rows[0][0]) if rows else None
