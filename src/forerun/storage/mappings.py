"""Event source mappings: which source shall feed which function."""

from typing import Any

import msgspec

from forerun.storage.db import Db, Row, Statement


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping. ``config`` holds the further members as AWS names them; ``source`` is the source's ARN or ``""``.

    ``reason`` is why its state is what it is, as AWS's ``StateTransitionReason``; ``last_modified`` is epoch seconds.
    """

    id: str
    account: str
    name: str
    qualifier: str
    source: str
    enabled: bool
    config: dict[str, Any]
    tags: dict[str, str] = {}
    last_modified: float
    reason: str = "USER_INITIATED"


_MAPPING = msgspec.json.Decoder(Mapping)
_TAGS = msgspec.json.Decoder(dict[str, str])


class MappingStore:
    """Event source mappings over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def add(self, mapping: Mapping) -> None:
        """Store a new one."""
        await self._db.write(
            Statement(
                "INSERT INTO event_source_mappings VALUES ($1, $2, $3, $4, $5, $6, $7)",
                (
                    mapping.id,
                    mapping.account,
                    mapping.name,
                    mapping.qualifier,
                    mapping.source,
                    msgspec.json.encode(msgspec.structs.replace(mapping, tags={})),
                    msgspec.json.encode(mapping.tags),
                ),
            )
        )

    async def find(self, account: str, mapping_id: str) -> Mapping | None:
        """The mapping with that id."""
        rows = await self._db.fetch(
            "SELECT config, tags FROM event_source_mappings WHERE id = $1 AND account = $2",
            mapping_id,
            account,
        )
        return _mapping(rows[0]) if rows else None

    async def replace(self, mapping: Mapping) -> None:
        """Change everything but the tags; ``Conflict`` when it is gone."""
        await self._db.write(
            Statement(
                "UPDATE event_source_mappings SET name = $1, qualifier = $2, config = $3 WHERE id = $4",
                (
                    mapping.name,
                    mapping.qualifier,
                    msgspec.json.encode(msgspec.structs.replace(mapping, tags={})),
                    mapping.id,
                ),
                1,
            )
        )

    async def set_tags(self, mapping_id: str, tags: dict[str, str], *, old: dict[str, str]) -> None:
        """Replace the tags; ``Conflict`` when they are no longer ``old``."""
        await self._db.write(
            Statement(
                "UPDATE event_source_mappings SET tags = $1 WHERE id = $2 AND tags = $3",
                (msgspec.json.encode(tags), mapping_id, msgspec.json.encode(old)),
                1,
            )
        )

    async def remove(self, mapping_id: str) -> None:
        """Delete it."""
        await self._db.write(
            Statement("DELETE FROM event_source_mappings WHERE id = $1", (mapping_id,))
        )

    async def every(self, after: str, limit: int) -> list[Mapping]:
        """Mappings of all accounts by id, later than ``after``."""
        rows = await self._db.fetch(
            "SELECT config, tags FROM event_source_mappings WHERE id > $1 ORDER BY id LIMIT $2",
            after,
            limit,
        )
        return [_mapping(row) for row in rows]

    async def page(
        self, account: str, after: str, limit: int, *, name: str | None, source: str | None
    ) -> list[Mapping]:
        """Mappings of an account by id, of one function or one source if given."""
        if name is not None:
            rows = await self._db.fetch(
                "SELECT config, tags FROM event_source_mappings WHERE account = $1 AND id > $2 AND name = $4"
                " AND (CAST($5 AS TEXT) IS NULL OR source = $5) ORDER BY id LIMIT $3",
                account,
                after,
                limit,
                name,
                source,
            )
        elif source is not None:
            rows = await self._db.fetch(
                "SELECT config, tags FROM event_source_mappings WHERE account = $1 AND id > $2 AND source = $4"
                " ORDER BY id LIMIT $3",
                account,
                after,
                limit,
                source,
            )
        else:
            rows = await self._db.fetch(
                "SELECT config, tags FROM event_source_mappings WHERE account = $1 AND id > $2"
                " ORDER BY id LIMIT $3",
                account,
                after,
                limit,
            )
        return [_mapping(row) for row in rows]


def _mapping(row: Row) -> Mapping:
    return msgspec.structs.replace(_MAPPING.decode(row[0]), tags=_TAGS.decode(row[1]))
