"""Which files of objects are referred to, which have lost a reference; and notices that are owed."""

from collections.abc import Sequence

from forerun.storage.db import Db, Statement
from forerun.storage.objects import Notice


class BlobStore:
    """What is referred to, over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def loose(self, before: float, limit: int) -> list[str]:
        """Files that lost a reference before a moment (epoch seconds), the longest ago first."""
        rows = await self._db.fetch(
            "SELECT blob FROM loose_blobs WHERE since < $1 ORDER BY since LIMIT $2", before, limit
        )
        return [row[0] for row in rows]

    async def referred(self, blob: str) -> bool:
        """Whether something consists of this file."""
        return bool(
            await self._db.fetch("SELECT 1 FROM object_pieces WHERE blob = $1 LIMIT 1", blob)
        )

    async def referred_in(self, shard: str) -> set[str]:
        """All files that something consists of, whose name begins with these two digits."""
        rows = await self._db.fetch(
            "SELECT DISTINCT blob FROM object_pieces WHERE blob >= $1 AND blob < $2",
            shard,
            shard + "g",
        )
        return {row[0] for row in rows}

    async def settle(self, blobs: Sequence[str], before: float) -> None:
        """These were looked at, and are gone or referred to; unless they lost a reference since then."""
        await self._db.write(
            *(
                Statement("DELETE FROM loose_blobs WHERE blob = $1 AND since < $2", (blob, before))
                for blob in blobs
            ),
            durable=False,
        )

    async def suspect(self, blobs: Sequence[str], now: float) -> None:
        """Have these looked at."""
        await self._db.write(
            *(
                Statement(
                    "INSERT INTO loose_blobs (blob, since) VALUES ($1, $2) ON CONFLICT (blob) DO NOTHING",
                    (blob, now),
                )
                for blob in blobs
            ),
            durable=False,
        )

    async def owed(self, limit: int) -> list[Notice]:
        """Notices that have not been handed over, in order."""
        rows = await self._db.fetch(
            "SELECT id, sequence, body FROM bucket_notices ORDER BY sequence LIMIT $1", limit
        )
        return [Notice(*row) for row in rows]

    async def paid(self, notices: Sequence[str]) -> None:
        """These were handed over. Lost with the machine they are handed over once more, under the same id."""
        await self._db.write(
            *(Statement("DELETE FROM bucket_notices WHERE id = $1", (each,)) for each in notices),
            durable=False,
        )
