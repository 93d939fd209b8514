"""Files in the database, for several control planes: written and read in chunks, so that they may be larger than memory.

A file appears under its name when all of it is there, or not at all. What is read is compared with its SHA-256; whoever reads gets
an error at the end when it is another, and must not use it before. Names are paths below the data directory.
"""

import asyncio
import hashlib
import logging
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from pathlib import Path
from typing import BinaryIO, LiteralString, NamedTuple

from forerun.aio import Clock
from forerun.errors import AlreadyExists, Conflict, NotFound, StorageFailed
from forerun.storage.db import Db, Statement
from forerun.storage.synced import sync

log = logging.getLogger("forerun.files")

CHUNK = 1 << 20
AT_ONCE = 4
"""Chunks that are read, and removed, in one go."""
ABANDONED_S = 6 * 3600.0
LONGEST_NAME = 512
_TRIES = 5

_NAMED: LiteralString = "SELECT id, size, sha256, touched FROM files WHERE name = $1"


class StoredFile(NamedTuple):
    """A file in the database: its bytes, and SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


class FileDamaged(StorageFailed):
    """A file in the database is not what was written."""


class FileStore:
    """Files, over ``Db``."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def get(self, name: str) -> StoredFile | None:
        """What there is of that name."""
        rows = await self._db.fetch(_NAMED, name)
        return StoredFile(name, rows[0][1], rows[0][2]) if rows else None

    async def names(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """Names that begin with this, in order, from the one behind ``after`` on."""
        rows = await self._db.fetch(
            "SELECT name FROM files WHERE name > $1 AND name >= $2 AND name < $3 ORDER BY name LIMIT $4",
            after,
            prefix,
            prefix + "\U0010ffff",
            limit,
        )
        return [row[0] for row in rows]

    async def touch(self, name: str) -> bool:
        """It is needed still; false when it is not there."""
        sql: LiteralString = "UPDATE files SET touched = $2 WHERE name = $1 RETURNING name"
        # It is on disk when what needs the file is, which is written later.
        [rows] = await self._db.write(Statement(sql, (name, self._clock.now())), durable=False)
        return bool(rows)

    async def put(self, name: str, source: AsyncIterable[bytes]) -> StoredFile:
        """Write a file, in place of one of that name. Raises ``StorageFailed``, and what the source raises; then nothing changed.

        It is in the database, synced, when this returns.
        """
        if not 0 < len(name) <= LONGEST_NAME:
            raise StorageFailed(f"A name of {len(name)} characters cannot be stored.")
        identity, chunks = secrets.token_hex(16), _chunked(source)
        first = await anext(chunks, b"")
        second = await anext(chunks, b"")
        if second:
            return await self._put_large(name, identity, _together(first, second, chunks))
        file = StoredFile(name, len(first), hashlib.sha256(first).hexdigest())
        await self._name(file, identity, _chunk(identity, 0, first) if first else None)
        return file

    async def _put_large(
        self, name: str, identity: str, chunks: AsyncIterator[bytes]
    ) -> StoredFile:
        digest, size, number = hashlib.sha256(), 0, 0
        # All of this is on disk when the name is.
        await self._db.write(
            Statement(
                "INSERT INTO file_loose (id, since, garbage) VALUES ($1, $2, 0)",
                (identity, self._clock.now()),
            ),
            durable=False,
        )
        try:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                await self._db.write(_chunk(identity, number, chunk), durable=False)
                number += 1
            file = StoredFile(name, size, digest.hexdigest())
            named = "DELETE FROM file_loose WHERE id = $1 AND garbage = 0"
            await self._name(file, identity, Statement(named, (identity,), expect=1))
        except BaseException:
            await asyncio.shield(self._abandon(identity))
            raise
        return file

    async def put_path(self, name: str, path: Path) -> StoredFile:
        """Write a file from the disk."""
        return await self.put(name, read_path(path))

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """The content, at most 4 MiB at once. Raises ``NotFound`` before the first, ``FileDamaged`` behind the last piece."""
        rows = await self._db.fetch(_NAMED, name)
        if not rows:
            raise NotFound(f"There is no file {name}.")
        identity, size, sha256, _ = rows[0]
        digest, got, number = hashlib.sha256(), 0, 0
        while got < size:
            chunks = await self._db.fetch(
                "SELECT body FROM file_chunks WHERE id = $1 AND n >= $2 AND n < $3 ORDER BY n",
                identity,
                number,
                number + AT_ONCE,
            )
            if not chunks:
                raise FileDamaged(f"The file {name} ends after {got} of {size} bytes.")
            number += len(chunks)
            piece = b"".join(chunk for (chunk,) in chunks)
            digest.update(piece)
            got += len(piece)
            yield piece
        if digest.hexdigest() != sha256:
            raise FileDamaged(f"The file {name} is not what was written.")

    async def fetch(self, name: str, path: Path, *, by: Path | None = None) -> None:
        """Bring a file to the disk (0600): complete, synced and as it was written, or not at all.

        ``by`` is the folder that it is in until then, on the same file system; by default that of ``path``.
        Raises ``NotFound``, ``FileDamaged``, ``OSError``.
        """
        aside = (by or path.parent) / f".fetching-{secrets.token_hex(8)}"
        try:
            with await asyncio.to_thread(_create, aside) as file:
                async for piece in self.read(name):
                    await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(os.fsync, file.fileno())
            await asyncio.to_thread(_publish, aside, path)
        finally:
            aside.unlink(missing_ok=True)

    async def remove(self, name: str, *, untouched_since: float | None = None) -> bool:
        """Remove a file; false, and it stays, when somebody has touched it after that moment (epoch seconds)."""
        for _ in range(_TRIES):
            rows = await self._db.fetch(_NAMED, name)
            if not rows:
                return True
            identity, _, _, touched = rows[0]
            if untouched_since is not None and touched >= untouched_since:
                return False
            try:
                await self._db.write(
                    Statement(
                        "DELETE FROM files WHERE name = $1 AND id = $2 AND touched = $3",
                        (name, identity, touched),
                        expect=1,
                    ),
                    self._loosened(identity),
                )
            except Conflict:
                continue
            await self._remove_chunks(identity)
            return True
        return False

    async def sweep(self) -> int:
        """Remove the chunks of what has no name; how many contents that were. What is being written for hours is given up."""
        await self._db.write(
            Statement(
                "UPDATE file_loose SET garbage = 1 WHERE garbage = 0 AND since < $1",
                (self._clock.now() - ABANDONED_S,),
            )
        )
        rows = await self._db.fetch("SELECT id FROM file_loose WHERE garbage = 1 LIMIT 100")
        for (identity,) in rows:
            await self._remove_chunks(identity)
        return len(rows)

    async def _name(self, file: StoredFile, identity: str, besides: Statement | None) -> None:
        """Let a content that is complete with ``besides`` have its name."""
        row = (file.name, identity, file.size, file.sha256, self._clock.now())
        also = (besides,) if besides else ()
        for _ in range(_TRIES):
            rows = await self._db.fetch(_NAMED, file.name)
            try:
                if not rows:
                    await self._db.write(
                        Statement(
                            "INSERT INTO files (name, id, size, sha256, touched) VALUES ($1, $2, $3, $4, $5)",
                            row,
                        ),
                        *also,
                    )
                    return
                old: str = rows[0][0]
                await self._db.write(
                    Statement(
                        "UPDATE files SET id = $2, size = $3, sha256 = $4, touched = $5 WHERE name = $1 AND id = $6",
                        (*row, old),
                        expect=1,
                    ),
                    self._loosened(old),
                    *also,
                )
            except (AlreadyExists, Conflict):
                continue
            await self._remove_chunks(old)
            return
        raise StorageFailed(f"The file {file.name} could not be stored: others write it, too.")

    def _loosened(self, identity: str) -> Statement:
        return Statement(
            "INSERT INTO file_loose (id, since, garbage) VALUES ($1, $2, 1)",
            (identity, self._clock.now()),
        )

    async def _abandon(self, identity: str) -> None:
        sql: LiteralString = "UPDATE file_loose SET garbage = 1 WHERE id = $1 RETURNING id"
        try:
            [rows] = await self._db.write(Statement(sql, (identity,)))
        except StorageFailed as error:
            log.warning("what was written of a file is removed later: %s", error.message)
            return
        # It has its name already when only the answer to that was lost.
        if rows:
            await self._remove_chunks(identity)

    async def _remove_chunks(self, identity: str) -> None:
        """Of what is garbage. What remains when it fails is swept."""
        sql: LiteralString = "SELECT n FROM file_chunks WHERE id = $1 ORDER BY n LIMIT $2"
        try:
            while rows := await self._db.fetch(sql, identity, AT_ONCE * 16):
                await self._db.write(
                    Statement(
                        "DELETE FROM file_chunks WHERE id = $1 AND n <= $2",
                        (identity, rows[-1][0]),
                    ),
                    durable=False,
                )
            await self._db.write(
                Statement("DELETE FROM file_loose WHERE id = $1 AND garbage = 1", (identity,)),
                durable=False,
            )
        except StorageFailed as error:
            log.warning("what was removed of files is kept for now: %s", error.message)


async def _chunked(source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of ``CHUNK``; the last may be shorter."""
    waiting = bytearray()
    async for piece in source:
        waiting += piece
        while len(waiting) >= CHUNK:
            yield bytes(waiting[:CHUNK])
            del waiting[:CHUNK]
    if waiting:
        yield bytes(waiting)


async def _together(
    first: bytes, second: bytes, others: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    yield first
    yield second
    async for other in others:
        yield other


def _chunk(identity: str, number: int, body: bytes) -> Statement:
    return Statement(
        "INSERT INTO file_chunks (id, n, body) VALUES ($1, $2, $3)", (identity, number, body)
    )


async def read_path(path: Path) -> AsyncGenerator[bytes]:
    """A file of the disk, piece by piece."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, CHUNK):
            yield piece


def _create(path: Path) -> BinaryIO:
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", 0
    )


def _publish(aside: Path, path: Path) -> None:
    aside.rename(path)
    sync(path.parent)
