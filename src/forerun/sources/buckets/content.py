"""The files that objects consist of: ``DIRECTORY/ab/cdef...``, named by the SHA-256 of what is in them.

A file is written under another name while its bytes come in, and appears complete and synced, or not at all. Nothing of what
a client says becomes a path. Whoever is about to refer to a file, or reads it, holds it: what is held is not collected.
"""

import asyncio
import base64
import errno
import os
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from forerun.errors import StorageFailed
from forerun.sources.buckets.checksums import new_digest
from forerun.sources.buckets.errors import ObjectTooLarge
from forerun.storage.objects import Piece
from forerun.storage.synced import sync
from forerun.storage.vault import NO_VAULT, Vault

PIECE = 256 * 1024
THREADS = 4
INCOMING = "incoming"
_FULL = (errno.ENOSPC, errno.EDQUOT)

R = TypeVar("R")


class Source(Protocol):
    """A body as it comes in."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive."""
        ...

    def decode(self, piece: bytes) -> Iterable[bytes]:
        """What a piece says, its framing taken off. Called in order, not on the event loop."""
        ...

    def end(self) -> Mapping[str, str]:
        """What came after the last piece, by lower-case name; raises when the body is not what was signed."""
        ...


class Received(NamedTuple):
    """A body that is on disk. ``etag`` is its MD5; ``checksums`` in base64 by algorithm; ``trailers`` came after it."""

    piece: Piece
    etag: str
    checksums: Mapping[str, str]
    trailers: Mapping[str, str]


class _Writing:
    """One file while it is written; its methods run in threads, one after the other, but for ``discard``."""

    def __init__(self, path: Path, source: Source, algorithms: Iterable[str], limit: int) -> None:
        self._path = path
        self._source = source
        self._limit = limit
        self._name = sha256()
        self._digests = {each: new_digest(each) for each in ("MD5", *algorithms)}
        self._size = 0
        self._file: int | None = None
        self._lock = threading.Lock()
        self._gone = False

    def feed(self, pieces: Sequence[bytes]) -> None:
        with self._lock:
            if self._gone:
                return
            for piece in pieces:
                for part in self._source.decode(piece):
                    if part:
                        self._write(part)

    def finish(self, pieces: Sequence[bytes]) -> Received:
        self.feed(pieces)
        trailers = self._source.end()
        with self._lock:
            if self._size:
                assert self._file is not None
                os.fsync(self._file)
                os.close(self._file)
                self._file = None
        etag = self._digests.pop("MD5").digest().hex()
        checksums = {
            name: base64.b64encode(digest.digest()).decode()
            for name, digest in self._digests.items()
        }
        return Received(Piece(self._name.hexdigest(), self._size), etag, checksums, trailers)

    def discard(self) -> None:
        with self._lock:
            self._gone = True
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._path.unlink(missing_ok=True)

    def _write(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise ObjectTooLarge
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        self._name.update(part)
        for digest in self._digests.values():
            digest.update(part)
        view = memoryview(part)
        while view:
            view = view[os.write(self._file, view) :]


class Contents:
    """The files below one directory, and in the vault; ``start`` then ``close``, once each."""

    def __init__(self, directory: Path, vault: Vault = NO_VAULT) -> None:
        self._directory = directory
        self._vault = vault
        self._incoming = directory / INCOMING
        self._held: Counter[str] = Counter()
        # Set when the file that is being looked at by the collector is taken up meanwhile.
        self._doubted = ""
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    async def start(self) -> None:
        """Make the directories; what an earlier run left unfinished goes. Raises ``StorageFailed``."""
        await self._run(self._prepare)

    async def close(self) -> None:
        """Finish what is under way."""
        await asyncio.to_thread(self._threads.shutdown)

    async def receive(
        self, source: Source, *, limit: int, algorithms: Iterable[str] = ()
    ) -> Received:
        """Write a body of at most ``limit`` bytes as it comes; the file is held: ``release`` it when it is referred to.

        Raises what the source raises, ``ObjectTooLarge`` and ``StorageFailed``; then nothing is left of it.
        """
        writing = _Writing(self._incoming / secrets.token_hex(16), source, algorithms, limit)
        batch: list[bytes] = []
        size = 0
        try:
            async for piece in source:
                batch.append(piece)
                size += len(piece)
                if size >= PIECE:
                    await self._run(writing.feed, batch)
                    batch, size = [], 0
            return await self._run(self._finish, writing, batch)
        except asyncio.CancelledError:
            # The server ends; what is half done is looked for at the next start.
            raise
        except BaseException:
            await asyncio.shield(self._run(writing.discard))
            raise

    def hold(self, pieces: Iterable[Piece]) -> list[str]:
        """These files are read or about to be referred to; ``release`` what is answered."""
        names = [piece.blob for piece in pieces]
        with self._lock:
            self._held.update(names)
            if self._doubted in names:
                self._doubted = ""
        return names

    def release(self, names: Iterable[str]) -> None:
        """They are referred to, or not needed any more."""
        with self._lock:
            self._held.subtract(names)
            for name in names:
                if self._held[name] <= 0:
                    del self._held[name]

    async def read(self, pieces: Sequence[Piece], start: int, length: int) -> AsyncIterator[bytes]:
        """``length`` bytes from ``start`` on, at most 256 KiB at once. The pieces must be held. Raises ``StorageFailed``."""
        for piece in pieces:
            if start >= piece.size:
                start -= piece.size
                continue
            end = min(piece.size, start + length)
            length -= end - start
            if end - start <= PIECE:
                yield await self._run(self._read_once, piece, start, end - start)
            else:
                async for part in self._read_long(piece, start, end):
                    yield part
            start = 0
            if not length:
                return

    async def discard(self, name: str, referred: Callable[[str], Awaitable[bool]]) -> bool:
        """Remove a file that is neither held nor referred to; whether it is settled: gone, or needed."""
        with self._lock:
            if name in self._held:
                return False
            self._doubted = name
        if await referred(name):
            return True
        return await self._run(self._remove, name)

    async def names(self, shard: str) -> list[str]:
        """The files whose name begins with these two digits."""
        return await self._run(self._list, shard)

    async def _run(self, work: Callable[..., R], *args: object) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except OSError as error:
            reason = "the disk is full" if error.errno in _FULL else str(error)
            raise StorageFailed(f"Objects cannot be read or written: {reason}") from error

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(256):
            (self._directory / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        for left in self._incoming.iterdir():
            left.unlink()
        sync(self._directory)

    def _finish(self, writing: _Writing, pieces: Sequence[bytes]) -> Received:
        received = writing.finish(pieces)
        self.hold([received.piece])
        if received.piece.size:
            try:
                place = self._path(received.piece.blob)
                writing._path.rename(place)  # noqa: SLF001 the file is handed over
                sync(place.parent)
                self._vault.keep(place)
            except BaseException:
                self.release([received.piece.blob])
                raise
        return received

    def _read_once(self, piece: Piece, start: int, length: int) -> bytes:
        file = self._open(piece)
        try:
            return _read_fully(file, start, length)
        finally:
            os.close(file)

    async def _read_long(self, piece: Piece, start: int, end: int) -> AsyncIterator[bytes]:
        file = await self._run(self._open, piece)
        try:
            while start < end:
                part = await self._run(_read_fully, file, start, min(PIECE, end - start))
                start += len(part)
                yield part
        finally:
            os.close(file)

    def _open(self, piece: Piece) -> int:
        path = self._path(piece.blob)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not self._vault.bring(path):
                raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _path(self, name: str) -> Path:
        return self._directory / name[:2] / name[2:]

    def _remove(self, name: str) -> bool:
        # To remove a large file takes its time, for which nobody is kept waiting who wants to hold another one.
        aside = self._incoming / secrets.token_hex(16)
        with self._lock:
            if self._doubted != name or name in self._held:
                return False
            self._doubted = ""
            since = self._vault.now()
            with suppress(FileNotFoundError):
                self._path(name).rename(aside)
        aside.unlink(missing_ok=True)
        # Whoever writes the same content from here on keeps it there anew.
        self._vault.drop(self._path(name), untouched_since=since)
        return True

    def _list(self, shard: str) -> list[str]:
        folder = self._directory / shard
        found = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
        return [shard + name for name in sorted(found | self._vault.names(folder))]


def _read_fully(file: int, start: int, length: int) -> bytes:
    found = os.pread(file, length, start)
    if len(found) != length:
        raise OSError(errno.EIO, "a file is shorter than it was written")
    return found
