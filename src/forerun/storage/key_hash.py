"""Which key a database that several control planes share is sealed with, told by a hash from which it cannot be found."""

from forerun.storage.db import Db, Statement

MOVING = "moving:"


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

    async def begin_move(self, hash_: str) -> bool:
        """An installation that is sealed with this key is on its way here: nobody else seals meanwhile. False when one does."""
        return await self.claim(MOVING + hash_)

    async def is_moving(self, hash_: str) -> bool:
        """Whether such an installation is on its way here."""
        return await self.get() == MOVING + hash_

    async def end_move(self, hash_: str) -> None:
        """It has come."""
        await self._db.write(
            Statement(
                "UPDATE sealing_key SET hash = $1 WHERE id = 1 AND hash = $2",
                (hash_, MOVING + hash_),
                expect=1,
            )
        )
