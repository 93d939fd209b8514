"""Queues: what they are called and how they are set. Their messages are in ``queue_messages``."""

from collections.abc import Sequence
from typing import Final

import msgspec

from forerun.storage.db import Db, Row, Statement

_ALL: Final = (
    "SELECT id, account, name, created_at, modified_at, purged_at, attributes, tags FROM queues"
)
_TEXTS = msgspec.json.Decoder(dict[str, str])


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A queue. ``attributes`` are those that were set, as AWS names them; times are epoch seconds.

    ``id`` is what its messages are kept under; it is another one after a purge.
    """

    id: int
    account: str
    name: str
    created_at: float
    modified_at: float
    purged_at: float = 0.0
    attributes: dict[str, str] = {}
    tags: dict[str, str] = {}


class QueueStore:
    """Queues over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def all(self) -> list[QueueRecord]:
        """Every queue of every account."""
        return [_record(row) for row in await self._db.fetch(_ALL)]

    async def add(self, record: QueueRecord) -> None:
        """Store a new one; ``AlreadyExists`` when the account has one of that name."""
        await self._db.write(
            Statement(
                "INSERT INTO queues (id, account, name, created_at, modified_at, purged_at, attributes, tags)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                _values(record),
            )
        )

    async def replace(self, record: QueueRecord, *, old: QueueRecord) -> None:
        """Change one; ``Conflict`` when it is gone. With another id its messages are left behind and removed later."""
        statements = [
            Statement(
                "UPDATE queues SET id = $1, created_at = $4, modified_at = $5, purged_at = $6, attributes = $7,"
                " tags = $8 WHERE account = $2 AND name = $3",
                _values(record),
                1,
            )
        ]
        if record.id != old.id:
            statements.append(_trash(old.id))
        await self._db.write(*statements)

    async def remove(self, record: QueueRecord) -> None:
        """Delete it; its messages are removed later."""
        await self._db.write(
            Statement("DELETE FROM queues WHERE id = $1", (record.id,)), _trash(record.id)
        )

    async def discard(self, ids: Sequence[int]) -> None:
        """Messages kept under these belong to no queue any more; they are removed later."""
        if ids:
            await self._db.write(*(_trash(each) for each in ids))


def _trash(queue: int) -> Statement:
    return Statement("INSERT INTO queue_trash VALUES ($1) ON CONFLICT (queue) DO NOTHING", (queue,))


def _values(record: QueueRecord) -> Row:
    return (
        record.id,
        record.account,
        record.name,
        record.created_at,
        record.modified_at,
        record.purged_at,
        msgspec.json.encode(record.attributes).decode(),
        msgspec.json.encode(record.tags).decode(),
    )


def _record(row: Row) -> QueueRecord:
    return QueueRecord(
        id=row[0],
        account=row[1],
        name=row[2],
        created_at=row[3],
        modified_at=row[4],
        purged_at=row[5],
        attributes=_TEXTS.decode(row[6]),
        tags=_TEXTS.decode(row[7]),
    )
