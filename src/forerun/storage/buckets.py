"""Buckets, by their name, which is unique among all accounts."""

from typing import Any

import msgspec

from forerun.errors import Conflict
from forerun.storage.db import Db, Row, Statement


class BucketConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What its owner has set. ``policy`` is JSON; ``notifications`` has the members that AWS's API has."""

    policy: str = ""
    tags: dict[str, str] = {}
    notifications: dict[str, Any] = {}


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket; ``created`` in epoch seconds."""

    name: str
    account: str
    created: float
    config: BucketConfig = BucketConfig()


_CONFIG = msgspec.json.Decoder(BucketConfig)


class BucketStore:
    """Buckets over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def add(self, bucket: Bucket) -> None:
        """Store a new one; ``AlreadyExists`` when somebody has one of that name."""
        await self._db.write(
            Statement(
                "INSERT INTO buckets (name, account, created, config, events) VALUES ($1, $2, $3, $4, $5)",
                (
                    bucket.name,
                    bucket.account,
                    bucket.created,
                    msgspec.json.encode(bucket.config),
                    # Later than whatever a former bucket of that name has counted.
                    int(bucket.created * 1000) << 12,
                ),
            )
        )

    async def find(self, name: str) -> Bucket | None:
        """The bucket of that name."""
        rows = await self._db.fetch(
            "SELECT name, account, created, config FROM buckets WHERE name = $1", name
        )
        return _bucket(rows[0]) if rows else None

    async def of_account(
        self, account: str, *, prefix: str = "", after: str = "", limit: int = 10_000
    ) -> list[Bucket]:
        """An account's buckets by name, later than ``after``."""
        rows = await self._db.fetch(
            "SELECT name, account, created, config FROM buckets "
            "WHERE account = $1 AND name > $2 AND name >= $3 AND substr(name, 1, $4) = $3 ORDER BY name LIMIT $5",
            account,
            after,
            prefix,
            len(prefix),
            limit,
        )
        return [_bucket(row) for row in rows]

    async def configure(self, name: str, config: BucketConfig) -> bool:
        """Replace what is set; whether there is such a bucket."""
        [rows] = await self._db.write(
            Statement(
                "UPDATE buckets SET config = $2 WHERE name = $1 RETURNING name",
                (name, msgspec.json.encode(config)),
            )
        )
        return bool(rows)

    async def remove(self, name: str, now: float) -> bool:
        """Remove an empty bucket with its unfinished uploads; false when there are objects in it, or no such bucket."""
        parts = (
            "SELECT p.id FROM upload_parts p JOIN uploads u ON u.id = p.upload WHERE u.bucket = $1"
        )
        try:
            await self._db.write(
                Statement(
                    "DELETE FROM buckets WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM objects WHERE bucket = $1)",
                    (name,),
                    expect=1,
                ),
                Statement(
                    "INSERT INTO loose_blobs (blob, since) SELECT DISTINCT blob, CAST($2 AS DOUBLE PRECISION) FROM object_pieces "  # noqa: S608 literals
                    "WHERE holder IN ("
                    + parts
                    + ") ON CONFLICT (blob) DO UPDATE SET since = excluded.since",
                    (name, now),
                ),
                Statement(
                    "DELETE FROM object_pieces WHERE holder IN (" + parts + ")",  # noqa: S608 literals
                    (name,),
                ),
                Statement(
                    "DELETE FROM upload_parts WHERE upload IN (SELECT id FROM uploads WHERE bucket = $1)",
                    (name,),
                ),
                Statement("DELETE FROM uploads WHERE bucket = $1", (name,)),
            )
        except Conflict:
            return False
        return True

    async def used(self, account: str) -> int:
        """Bytes of an account's objects and parts."""
        rows = await self._db.fetch(
            "SELECT COALESCE(SUM(bytes), 0) FROM buckets WHERE account = $1", account
        )
        return int(rows[0][0])


def _bucket(row: Row) -> Bucket:
    name, account, created, config = row
    return Bucket(name=name, account=account, created=created, config=_CONFIG.decode(config))
