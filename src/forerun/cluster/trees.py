"""Trees of code between machines: read to be sent, written as they come, never there under their name before they are complete.

A connection of kind ``tree`` brings the ``digest``; the welcome says how long the ``manifest`` is, which follows, and behind it the
contents of all its files in its order.
"""

# ruff: noqa: PTH123, PTH115  thousands of files: paths are text

import asyncio
import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from forerun.cluster import manifest
from forerun.cluster.door import Guest
from forerun.cluster.manifest import BadTree, Entry, is_digest
from forerun.cluster.tls import Peer
from forerun.errors import ForerunError
from forerun.storage.synced import sync

PIECE = 256 * 1024
SENDING = 32
# To one machine: one that reads slowly must not keep the others from their code.
SENDING_TO_ONE = 4
SEND_S = 300.0
PIECE_S = 30.0
SEALS_MAX = 10_000
MANIFESTS_MAX = 64
SYNC_EACH = 64


class TreeShelf:
    """The trees that this process can send. ``find`` gives the path of one by its digest; it may make it. Raises ``ForerunError``."""

    def __init__(self, find: Callable[[str], Awaitable[str]]) -> None:
        self._find = find
        self._seals: dict[str, tuple[str, int]] = {}
        self._manifests: dict[str, bytes] = {}
        self._slots = asyncio.Semaphore(SENDING)
        self._slots_of: dict[Peer, asyncio.Semaphore] = {}
        self._served: Counter[Peer] = Counter()

    async def seal(self, digest: str) -> tuple[str, int]:
        """What the tree of that digest must be, and the bytes of its files."""
        known = self._seals.get(digest)
        if known is None:
            await self._manifest(digest, await self._find(digest))
            known = self._seals[digest]
        return known

    async def serve(self, guest: Guest) -> None:
        """Handles connections of kind ``tree``."""
        digest = guest.fields.get("digest")
        if not isinstance(digest, str) or not is_digest(digest):
            guest.refuse("malformed", "digest must be 64 hexadecimal digits")
            return
        async with asyncio.timeout(SEND_S), self._slot_of(guest.peer), self._slots:
            try:
                path = await self._find(digest)
                packed = await self._manifest(digest, path)
            except (ForerunError, OSError) as error:
                guest.refuse("missing", f"the tree {digest} is not to be had here: {error}")
                return
            guest.welcome({"manifest": len(packed)})
            _, writer = guest.streams()
            writer.write(packed)
            for entry in manifest.read(packed):
                if entry.kind == "f" and entry.size:
                    await _send(writer, f"{path}/{entry.path}", entry.size)
            await writer.drain()
            writer.write_eof() if writer.can_write_eof() else None
            writer.close()
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def _slot_of(self, peer: Peer) -> AsyncIterator[None]:
        slots = self._slots_of.setdefault(peer, asyncio.Semaphore(SENDING_TO_ONE))
        self._served[peer] += 1
        try:
            async with slots:
                yield
        finally:
            self._served[peer] -= 1
            if not self._served[peer]:
                del self._served[peer], self._slots_of[peer]

    async def _manifest(self, digest: str, path: str) -> bytes:
        packed = self._manifests.get(digest)
        if packed is None:
            entries = await asyncio.to_thread(look, path)
            packed = manifest.pack(entries)
            if len(self._manifests) >= MANIFESTS_MAX:
                self._manifests.pop(next(iter(self._manifests)))
            if len(self._seals) >= SEALS_MAX:
                self._seals.pop(next(iter(self._seals)))
            self._manifests[digest] = packed
            self._seals[digest] = manifest.seal(packed), sum(entry.size for entry in entries)
        return packed


async def _send(writer: asyncio.StreamWriter, path: str, size: int) -> None:
    # Opened here: one that a thread opened for who is cancelled meanwhile would be nobody's.
    with open(path, "rb") as file:  # noqa: ASYNC230 it takes microseconds
        while size:
            piece = await asyncio.to_thread(file.read, min(PIECE, size))
            if not piece:
                raise EOFError(f"{path} became shorter while it was sent")
            size -= len(piece)
            writer.write(piece)
            async with asyncio.timeout(PIECE_S):
                await writer.drain()


def look(tree: str) -> list[Entry]:
    """What a tree consists of. Raises ``OSError``, ``BadTree`` for a device or the like."""
    found: list[Entry] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{tree}/{folder}") as inside:
            for item in inside:
                path = f"{folder}/{item.name}" if folder else item.name
                status = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(path)
                    found.append(Entry(path, "d"))
                elif stat.S_ISLNK(status.st_mode):
                    found.append(Entry(path, "l", target=os.readlink(item.path)))
                elif stat.S_ISREG(status.st_mode):
                    with open(item.path, "rb") as file:
                        hashed = hashlib.file_digest(file, "sha256").hexdigest()
                    executable = bool(status.st_mode & 0o100)
                    found.append(Entry(path, "f", executable, status.st_size, hashed))
                else:
                    raise BadTree(f"{item.path} is neither a folder, nor a file, nor a link")
    return found


class Planting:
    """Writes a tree as its contents come: ``take`` pieces, then ``finish``, or ``discard`` what there is. Blocks: for threads.

    It lies beside ``place`` under another name until it is complete and synced.
    """

    def __init__(self, place: Path, entries: list[Entry]) -> None:
        self._place = place
        self._root = Path(tempfile.mkdtemp(prefix=".fetching-", dir=place.parent))
        self._root.chmod(0o755)
        self._files = [entry for entry in entries if entry.kind == "f"]
        self._links = [entry for entry in entries if entry.kind == "l"]
        self._at = 0
        self._left = 0
        self._output: BinaryIO | None = None
        self._hash = hashlib.sha256()
        for entry in entries:
            if entry.kind == "d":
                (self._root / entry.path).mkdir(mode=0o755)
        self._next()

    def take(self, data: bytes) -> None:
        """The next bytes. Raises ``BadTree`` for what the manifest does not say, ``OSError``."""
        view = memoryview(data)
        while view:
            if self._output is None:
                raise BadTree("more came than the manifest says")
            piece = view[: self._left]
            self._output.write(piece)
            self._hash.update(piece)
            self._left -= len(piece)
            view = view[len(piece) :]
            if not self._left:
                self._end()

    def finish(self) -> None:
        """Give it its name. Raises ``BadTree`` when something is missing, ``OSError``."""
        if self._output is not None:
            raise BadTree(f"it ended within {self._files[self._at].path!r}")
        # Links are made last, so that nothing is ever written through one.
        for entry in self._links:
            (self._root / entry.path).symlink_to(entry.target)
        _sync(self._root, len(self._files))
        try:
            self._root.rename(self._place)
        except OSError:
            if not self._place.is_dir():
                raise
            # Somebody else was faster, with the same.
            self.discard()
        sync(self._place.parent)

    def discard(self) -> None:
        """Nothing is left of it."""
        if self._output is not None:
            self._output.close()
            self._output = None
        shutil.rmtree(self._root, ignore_errors=True)

    def _next(self) -> None:
        """Begin the next file that has content; those without are made on the way."""
        while self._at < len(self._files):
            entry = self._files[self._at]
            mode = 0o555 if entry.executable else 0o444
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._root / entry.path, flags, 0o600)
            os.fchmod(descriptor, mode)
            self._output = open(descriptor, "wb")  # noqa: SIM115 until it is complete
            self._left = entry.size
            self._hash = hashlib.sha256()
            if entry.size:
                return
            self._close(entry)
            self._at += 1

    def _end(self) -> None:
        self._close(self._files[self._at])
        self._at += 1
        self._next()

    def _close(self, entry: Entry) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None
        if self._hash.hexdigest() != entry.hash:
            raise BadTree(f"{entry.path!r} has another content than the manifest says")


def _sync(root: Path, files: int) -> None:
    if files > SYNC_EACH:
        os.sync()
        return
    for folder, _, names in os.walk(root):
        for name in names:
            if not os.path.islink(f"{folder}/{name}"):  # noqa: PTH114
                sync(Path(folder, name))
        sync(Path(folder))


def remove_unfinished(directory: Path) -> None:
    """What an earlier process began and did not finish goes."""
    for left in directory.glob(".fetching-*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(left, ignore_errors=True)
