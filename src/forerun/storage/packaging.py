"""What packages hold, which functions use them, and in which form they are kept. Losing it costs looking again, no code."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from forerun.storage.db import Db, Statement, in_batches

# Beyond so many other functions it does not matter how many there are.
COUNTED = 100


class PartRow(NamedTuple):
    """A distribution in a package; ``apart``: the package may need its object to be read."""

    object: str
    root: str
    name: str
    version: str
    files: int
    size: int
    apart: bool


class PackageRow(NamedTuple):
    """A package, its owner's account, files and bytes unpacked, its form (``single`` or ``collection``), and its parts."""

    digest: str
    owner: str
    files: int
    size: int
    form: str
    parts: tuple[PartRow, ...]


class PackagingStore:
    """Rows about packages over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def keep(self, package: PackageRow, now: float) -> None:
        """Keep what was found in a package, in place of what was known."""
        head = "INSERT INTO code_packages VALUES ($1, $2, $3, $4, $5, NULL, $6)"
        rows = [(package.digest, *part[:-1], int(part.apart)) for part in package.parts]
        await self._db.write(
            Statement("DELETE FROM code_packages WHERE digest = $1", (package.digest,)),
            Statement(head, (*package[:-1], now)),
            *in_batches("INSERT INTO code_parts VALUES {values}", rows),
            durable=False,
        )

    async def package(self, digest: str) -> PackageRow | None:
        """What is known of a package."""
        rows = await self._db.fetch(
            "SELECT digest, owner, files, size, form FROM code_packages WHERE digest = $1", digest
        )
        if not rows:
            return None
        parts = await self._db.fetch(
            "SELECT object, root, name, version, files, size, apart FROM code_parts WHERE digest = $1"
            " ORDER BY size DESC, object, root",
            digest,
        )
        kept = tuple(PartRow._make((*row[:-1], bool(row[-1]))) for row in parts)
        return PackageRow._make((*rows[0], kept))

    async def use(self, account: str, name: str, digests: Sequence[str]) -> None:
        """A function uses these packages and no others."""
        # Only while it is there: it may have been deleted meanwhile.
        use = "INSERT INTO code_uses SELECT account, name, $3 FROM functions WHERE account = $1 AND name = $2"
        await self._db.write(
            Statement("DELETE FROM code_uses WHERE account = $1 AND name = $2", (account, name)),
            *(Statement(use, (account, name, digest)) for digest in dict.fromkeys(digests)),
            durable=False,
        )

    async def others(self, object_name: str, digest: str) -> int:
        """How many functions use an object in other packages than this one, ``COUNTED`` at most."""
        rows = await self._db.fetch(
            "SELECT COUNT(*) FROM (SELECT DISTINCT u.account, u.name FROM code_parts p"
            " JOIN code_uses u ON u.digest = p.digest WHERE p.object = $1 AND p.digest <> $2 LIMIT $3) AS users",
            object_name,
            digest,
            COUNTED,
        )
        return int(rows[0][0])

    async def neighbours(self, digest: str, least_size: int, limit: int) -> list[str]:
        """Other packages, of those in one file, that have a part of at least that size in common with this one."""
        rows = await self._db.fetch(
            "SELECT DISTINCT p.digest FROM code_parts mine"
            " JOIN code_parts p ON p.object = mine.object AND p.digest <> mine.digest"
            " JOIN code_packages k ON k.digest = p.digest"
            " WHERE mine.digest = $1 AND mine.size >= $2 AND k.form = 'single' AND p.apart = 0 LIMIT $3",
            digest,
            least_size,
            limit,
        )
        return [row[0] for row in rows]

    async def reserve(self, digest: str, objects: Collection[str]) -> None:
        """From now on these objects must not go; before a package is split."""
        await self._db.write(
            *(
                Statement(
                    "UPDATE code_parts SET apart = 1 WHERE digest = $1 AND object = $2",
                    (digest, name),
                )
                for name in objects
            )
        )

    async def settle(self, digest: str, objects: Collection[str], split: float | None) -> None:
        """A package was split into these objects then (epoch seconds), or is one file again (``None``)."""
        form = "single" if split is None else "collection"
        await self._db.write(
            Statement(
                "UPDATE code_packages SET form = $2, split = $3 WHERE digest = $1",
                (digest, form, split),
            ),
            Statement("UPDATE code_parts SET apart = 0 WHERE digest = $1", (digest,)),
            *(
                Statement(
                    "UPDATE code_parts SET apart = 1 WHERE digest = $1 AND object = $2",
                    (digest, name),
                )
                for name in objects
            ),
        )

    async def untidy(self, before: float, limit: int) -> list[str]:
        """Packages that were split before that time and may have a single file, too."""
        rows = await self._db.fetch(
            "SELECT digest FROM code_packages WHERE split < $1 ORDER BY split LIMIT $2",
            before,
            limit,
        )
        return [row[0] for row in rows]

    async def tidied(self, digest: str) -> None:
        """Its single file is gone."""
        await self._db.write(
            Statement("UPDATE code_packages SET split = NULL WHERE digest = $1", (digest,)),
            durable=False,
        )

    async def take_oldest(self, now: float, limit: int) -> list[str]:
        """The packages that nobody has looked at for longest; they count as looked at now."""
        rows = await self._db.fetch(
            "SELECT digest FROM code_packages ORDER BY looked LIMIT $1", limit
        )
        await self._db.write(
            *(
                Statement("UPDATE code_packages SET looked = $2 WHERE digest = $1", (row[0], now))
                for row in rows
            ),
            durable=False,
        )
        return [row[0] for row in rows]

    async def holders(self, object_name: str) -> list[str]:
        """The packages that may need an object to be read."""
        rows = await self._db.fetch(
            "SELECT DISTINCT digest FROM code_parts WHERE object = $1 AND apart = 1", object_name
        )
        return [row[0] for row in rows]

    async def forget(self, digest: str) -> None:
        """A package is gone."""
        await self._db.write(
            Statement("DELETE FROM code_packages WHERE digest = $1", (digest,)), durable=False
        )
