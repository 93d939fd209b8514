"""Which key a database that several control planes share is sealed with, told by a hash from which it cannot be found."""

from forerun.storage.db import Db, Statement


class KeyHashStore:
    """One hash, over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def get(self) -> str:
        """The hash; empty when nothing was sealed yet."""
        rows = await self._db.fetch("SELECT hash FROM sealing_key WHERE id = 1")
        return rows[0][0] if rows else ""

    async def claim(self, hash_: str) -> bool:
        """Seal with this key from now on, if it is the first one; false when there is another."""
        await self._db.write(
            Statement(
                "INSERT INTO sealing_key (id, hash) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
                (hash_,),
            )
        )
        return await self.get() == hash_
