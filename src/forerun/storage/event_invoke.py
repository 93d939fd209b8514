"""How asynchronous invocations of a qualifier are retried and reported: stored per qualifier."""

import msgspec

from forerun.model import EventInvokeConfig
from forerun.storage.db import Db, Statement

_CONFIG = msgspec.json.Decoder(EventInvokeConfig)


class EventInvokeStore:
    """Event-invoke configurations over ``Db``; the qualifier is ``$LATEST``, a version or an alias."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def find(self, account: str, name: str, qualifier: str) -> EventInvokeConfig | None:
        """The configuration of one qualifier."""
        rows = await self._db.fetch(
            "SELECT config FROM event_invoke_configs WHERE account = $1 AND name = $2 AND qualifier = $3",
            account,
            name,
            qualifier,
        )
        return _CONFIG.decode(rows[0][0]) if rows else None

    async def save(
        self, account: str, name: str, qualifier: str, config: EventInvokeConfig
    ) -> None:
        """Set it; ``Conflict`` when the function is gone."""
        await self._db.write(
            Statement(
                "INSERT INTO event_invoke_configs VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (account, name, qualifier) DO UPDATE SET config = excluded.config",
                (account, name, qualifier, msgspec.json.encode(config)),
            )
        )

    async def remove(self, account: str, name: str, qualifier: str) -> bool:
        """Delete it; false when there was none."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM event_invoke_configs WHERE account = $1 AND name = $2 AND qualifier = $3 RETURNING 1",
                (account, name, qualifier),
            )
        )
        return bool(rows)

    async def page(
        self, account: str, name: str, after: str, limit: int
    ) -> list[tuple[str, EventInvokeConfig]]:
        """Qualifiers of a function with their configurations."""
        rows = await self._db.fetch(
            "SELECT qualifier, config FROM event_invoke_configs"
            " WHERE account = $1 AND name = $2 AND qualifier > $3 ORDER BY qualifier LIMIT $4",
            account,
            name,
            after,
            limit,
        )
        return [(row[0], _CONFIG.decode(row[1])) for row in rows]
