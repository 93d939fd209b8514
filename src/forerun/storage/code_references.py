"""Which packages and trees are still referred to; the database itself notes which ones lost a reference."""

from collections.abc import Sequence

from forerun.storage.db import Db, Statement


class CodeReferenceStore:
    """References to code over ``Db``. A digest names a package and its tree, or a tree of several layers."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def stamp(self, now: float) -> None:
        """What was released since the last call was released now (epoch seconds)."""
        await self._db.write(
            Statement("UPDATE code_released SET released = $1 WHERE released IS NULL", (now,)),
            durable=False,
        )

    async def released(self, before: float, limit: int) -> list[str]:
        """Digests that lost a reference before that time and none since."""
        rows = await self._db.fetch(
            "SELECT digest FROM code_released WHERE released < $1 ORDER BY released LIMIT $2",
            before,
            limit,
        )
        return [row[0] for row in rows]

    async def note(self, digests: Sequence[str]) -> None:
        """Count these as released, too, if they are not yet."""
        await self._db.write(
            *(
                Statement(
                    "INSERT INTO code_released (digest) VALUES ($1) ON CONFLICT (digest) DO NOTHING",
                    (digest,),
                )
                for digest in digests
            ),
            durable=False,
        )

    async def settle(self, digest: str) -> None:
        """It was dealt with."""
        await self._db.write(
            Statement("DELETE FROM code_released WHERE digest = $1", (digest,)), durable=False
        )

    async def is_referenced(self, digest: str) -> bool:
        """Whether a function version or a layer version still needs it."""
        rows = await self._db.fetch(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM function_versions WHERE code_digest = $1)"
            " OR EXISTS (SELECT 1 FROM function_versions WHERE layers_digest = $1)"
            " OR EXISTS (SELECT 1 FROM layer_versions WHERE code_digest = $1)",
            digest,
        )
        return bool(rows)
