"""The platform's own dead letters: one row each, read oldest first, bounded for every account by itself."""

from typing import Final, NamedTuple

import msgspec

from forerun.model import DeadLetter
from forerun.storage.db import Db, Statement

SHELF: Final = "platform"
_ROW_BYTES = 512
_CHUNK = 500

_PUT = """/*free*/
INSERT INTO dead_letters (account, id, target, reason, letter, failed_at, bytes)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, id) DO NOTHING RETURNING bytes
"""
_PAGE = """
SELECT letter FROM dead_letters WHERE account = $1
AND number > COALESCE((SELECT number FROM dead_letters WHERE account = $1 AND id = $2), 0)
ORDER BY number LIMIT $3
"""
_ONE = "SELECT letter FROM dead_letters WHERE account = $1 AND id = $2"
_REMOVE = "DELETE FROM dead_letters WHERE account = $1 AND id = $2 RETURNING bytes"
_SIZES = "SELECT account, COUNT(*), SUM(bytes) FROM dead_letters GROUP BY account"
_OLDEST = "SELECT number, bytes FROM dead_letters WHERE account = $1 ORDER BY number LIMIT $2"
_DROP = "DELETE FROM dead_letters WHERE account = $1 AND number <= $2 RETURNING bytes"
_EXPIRE = "DELETE FROM dead_letters WHERE failed_at < $1 RETURNING account, bytes"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeadLetter).decode


class Shelved(NamedTuple):
    """How many letters an account has, and their bytes."""

    letters: int
    bytes: int


def put_statement(letter: DeadLetter) -> Statement:
    """What keeps a letter, for the transaction that removes what it was; a letter that is there already stays."""
    message = letter.message
    packed = _encode(letter)
    return Statement(
        _PUT,
        (
            message.account,
            letter.id,
            message.target,
            letter.reason,
            packed,
            letter.failed_at,
            len(packed) + _ROW_BYTES,
        ),
    )


class DeadLetterStore:
    """``Shelf`` of the platform. A letter's account is that of its message."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, *letters: DeadLetter) -> None:
        """Keep them; they are on disk when this returns."""
        if letters:
            await self._db.write(*(put_statement(letter) for letter in letters))

    async def letters(self, account: str, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Those of an account, oldest first, later than the one with the id ``after`` (from the first on if that is gone)."""
        rows = await self._db.fetch(_PAGE, account, after, limit)
        return [_decode(letter) for (letter,) in rows]

    async def letter(self, account: str, letter_id: str) -> DeadLetter | None:
        """One of them."""
        rows = await self._db.fetch(_ONE, account, letter_id)
        return _decode(rows[0][0]) if rows else None

    async def remove(self, account: str, letter_id: str) -> bool:
        """Forget one; whether there was one."""
        (rows,) = await self._db.write(Statement(_REMOVE, (account, letter_id)))
        return bool(rows)

    async def sizes(self) -> dict[str, Shelved]:
        """What every account has."""
        return {
            account: Shelved(count, size) for account, count, size in await self._db.fetch(_SIZES)
        }

    async def expire(self, before: float) -> int:
        """Remove what failed before that moment (epoch seconds); how many."""
        (gone,) = await self._db.write(Statement(_EXPIRE, (before,)), durable=False)
        return len(gone)

    async def trim(self, account: str, *, rows: int, size: int) -> int:
        """Remove the oldest of an account until at most ``rows`` and ``size`` bytes are left; how many went."""
        removed = 0
        while True:
            held = (await self.sizes()).get(account, Shelved(0, 0))
            over_rows, over_bytes = held.letters - rows, held.bytes - size
            if over_rows <= 0 and over_bytes <= 0:
                return removed
            last = 0
            for number, bytes_ in await self._db.fetch(_OLDEST, account, _CHUNK):
                if over_rows <= 0 and over_bytes <= 0:
                    break
                last, over_rows, over_bytes = number, over_rows - 1, over_bytes - bytes_
            (gone,) = await self._db.write(Statement(_DROP, (account, last)), durable=False)
            removed += len(gone)
