"""Watched directories, and which state of each of their files was told."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from forerun.storage.db import Db, Row, Statement, in_batches

_ASKED = 64


class FolderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked for. ``path`` is absolute and without symbolic links, ``target`` an ARN or a URL.

    ``pattern`` is a glob, empty for all files; ``events`` are of ``created``, ``modified`` and ``deleted``.
    Files that were there before ``since`` (epoch seconds) and that nobody was told of are not told.
    """

    path: str
    target: str
    pattern: str = ""
    events: tuple[str, ...] = ("created", "modified")
    recursive: bool = True
    settle_s: float = 1.0
    scan_s: float = 60.0
    since: float = 0.0
    created: float
    modified: float


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """One watched directory; its ``id`` is never used a second time.

    ``mount`` is the mount point that it was first looked through on, ``None`` before that.
    """

    id: int = 0
    account: str
    name: str
    config: FolderConfig
    mount: str | None = None


class Mark(NamedTuple):
    """The state of a file: when it was modified (ns since the epoch), its bytes, which file it is."""

    mtime_ns: int
    size: int
    inode: int


class FolderStore:
    """Folders and marks over ``Db``. Paths are bytes, below the folder."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def add(self, folder: Folder) -> int:
        """The id it got. Raises ``AlreadyExists``."""
        [rows] = await self._db.write(
            Statement(
                "INSERT INTO folders (account, name, config) VALUES ($1, $2, $3) RETURNING id",
                (folder.account, folder.name, msgspec.json.encode(folder.config)),
            )
        )
        return int(rows[0][0])

    async def save(self, folder: Folder) -> None:
        """Replace one; ``Conflict`` when it is gone."""
        await self._db.write(
            Statement(
                "UPDATE folders SET config = $2, mount = $3 WHERE id = $1",
                (folder.id, msgspec.json.encode(folder.config), folder.mount),
                1,
            )
        )

    async def find(self, account: str, name: str) -> Folder | None:
        """One folder."""
        rows = await self._db.fetch(
            "SELECT id, account, name, config, mount FROM folders WHERE account = $1 AND name = $2",
            account,
            name,
        )
        return _folder(rows[0]) if rows else None

    async def of_account(self, account: str) -> list[Folder]:
        """Folders of an account by name."""
        rows = await self._db.fetch(
            "SELECT id, account, name, config, mount FROM folders WHERE account = $1 ORDER BY name",
            account,
        )
        return [_folder(row) for row in rows]

    async def all(self) -> list[Folder]:
        """Of all accounts."""
        rows = await self._db.fetch("SELECT id, account, name, config, mount FROM folders")
        return [_folder(row) for row in rows]

    async def remove(self, folder_id: int) -> None:
        """Delete a folder; its marks stay until ``sweep``."""
        await self._db.write(Statement("DELETE FROM folders WHERE id = $1", (folder_id,)))

    # Marks

    async def marks(self, folder_id: int, paths: Sequence[bytes]) -> dict[bytes, Mark]:
        """What was told of these files; those of which nothing was are missing."""
        found: dict[bytes, Mark] = {}
        for start in range(0, len(paths), _ASKED):
            part = list(paths[start : start + _ASKED])
            part += part[-1:] * (_ASKED - len(part))
            rows = await self._db.fetch(_MARKS, folder_id, *part)
            found.update((path, Mark(*mark)) for path, *mark in rows)
        return found

    async def page(
        self, folder_id: int, after: bytes, limit: int, *, before: bytes | None = None
    ) -> list[tuple[bytes, Mark]]:
        """Marks in the order of paths, ``after`` excluded, up to ``before`` if that is given."""
        rows = await self._db.fetch(
            "SELECT path, mtime_ns, size, inode FROM folder_files"
            " WHERE folder = $1 AND path > $2 AND ($4/*pg ::BYTEA */ IS NULL OR path < $4) ORDER BY path LIMIT $3",
            folder_id,
            after,
            limit,
            before,
        )
        return [(path, Mark(*mark)) for path, *mark in rows]

    async def put(self, folder_id: int, marks: Mapping[bytes, Mark]) -> None:
        """These states were told."""
        if not marks:
            return
        rows = [(folder_id, path, *mark) for path, mark in marks.items()]
        await self._db.write(
            *in_batches(
                "INSERT INTO folder_files (folder, path, mtime_ns, size, inode) VALUES {values}"
                " ON CONFLICT (folder, path) DO UPDATE SET mtime_ns = excluded.mtime_ns,"
                " size = excluded.size, inode = excluded.inode",
                rows,
            )
        )

    async def forget(self, folder_id: int, paths: Sequence[bytes]) -> None:
        """These files are gone, and that was told."""
        if not paths:
            return
        await self._db.write(
            *(
                Statement(
                    "DELETE FROM folder_files WHERE folder = $1 AND path = $2", (folder_id, path)
                )
                for path in paths
            )
        )

    async def count(self, folder_id: int) -> int:
        """Of how many files something was told."""
        rows = await self._db.fetch(
            "SELECT count(*) FROM folder_files WHERE folder = $1", folder_id
        )
        return int(rows[0][0])

    async def sweep(self, limit: int) -> int:
        """Remove some marks of folders that are gone; how many were."""
        left = await self._db.fetch("SELECT id FROM folders ORDER BY id")
        known, after, removed = {row[0] for row in left}, 0, 0
        while removed < limit:
            rows = await self._db.fetch(
                "SELECT min(folder) FROM folder_files WHERE folder > $1", after
            )
            if rows[0][0] is None:
                break
            after = int(rows[0][0])
            if after in known:
                continue
            [gone] = await self._db.write(
                Statement(
                    "DELETE FROM folder_files WHERE folder = $1 AND path IN"
                    " (SELECT path FROM folder_files WHERE folder = $1 LIMIT $2) RETURNING 1",
                    (after, limit - removed),
                )
            )
            removed += len(gone)
        return removed


_MARKS = (
    "SELECT path, mtime_ns, size, inode FROM folder_files WHERE folder = $1 AND path IN ("  # noqa: S608 numbers of parameters
    + ", ".join(f"${number + 2}" for number in range(_ASKED))
    + ")"
)
_CONFIG = msgspec.json.Decoder(FolderConfig)


def _folder(row: Row) -> Folder:
    folder_id, account, name, config, mount = row
    return Folder(
        id=folder_id, account=account, name=name, config=_CONFIG.decode(config), mount=mount
    )
