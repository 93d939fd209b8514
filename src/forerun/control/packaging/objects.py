"""Objects: the content of one distribution, stored once and unpacked once on a host, whoever brings it.

``CODE/objects/NAME.object`` is what is stored and could be fetched from another machine: an index, and the files as
they were compressed in the package that brought them. ``TREES/objects/NAME/`` is the same unpacked, read-only; the
trees of functions have hard links to its files, so that they lie on the disk and in the page cache once. NAME is the
content's own (``distributions.content_digest``) behind the scope that shares it; nothing is used that does not have it.
"""

import hashlib
import logging
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol

import msgspec

from forerun.control.packaging.distributions import content_digest
from forerun.control.packaging.packages import CHUNK, Seen
from forerun.control.packaging.whole import publish, remove, share, sync_tree, write_whole
from forerun.errors import StorageFailed
from forerun.storage.vault import NO_VAULT, Vault

log = logging.getLogger("forerun.code")

INDEX_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct(">I")
# Of deflate, those that tools use most first.
_LEVELS = (6, 9, 1, 5, 8, 7, 4, 3, 2)


class ObjectCorrupt(StorageFailed):
    """An object is not what its name says."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A file of an object: bytes unpacked, and where its ``packed`` bytes begin, counted from the end of the index.

    ``method`` is the zip's: 0 stored, 8 deflate. Digests are SHA-256 in hexadecimal.
    """

    path: str
    executable: bool
    size: int
    sha256: str
    method: Literal[0, 8]
    offset: int
    packed: int
    packed_sha256: str


class Fetched(NamedTuple):
    """An object's index, and its file, which begins with it; ``data`` is where the index ends."""

    members: tuple[Member, ...]
    file: BinaryIO
    data: int


class Packed(NamedTuple):
    """A file as a package has it, compressed."""

    path: str
    seen: Seen
    method: Literal[0, 8]
    content: bytes


class Objects(Protocol):
    """Where hosts get objects from; here from the disk, elsewhere over the network."""

    def fetch(self, name: str) -> BinaryIO:
        """The stored object. Raises ``FileNotFoundError``."""
        ...


class ObjectStore:
    """Stored and unpacked objects. Its methods block; they are called from threads. All appear by rename or not at all."""

    def __init__(self, code: Path, trees: Path, *, limit: int, vault: Vault = NO_VAULT) -> None:
        self._vault = vault
        self._stored = code / "objects"
        self._unpacked = trees / "objects"
        self._limit = limit
        # Names of objects that were found damaged; whoever mends the trees that have them takes them out.
        self.damaged: set[str] = set()

    def prepare(self) -> None:
        """Remove what an interrupted server left half-done."""
        for directory in (self._stored, self._unpacked):
            for entry in directory.glob(".*"):
                remove(entry)

    def fetch(self, name: str) -> BinaryIO:
        """See ``Objects``."""
        try:
            return self.path(name).open("rb")
        except FileNotFoundError:
            if not self._vault.bring(self.path(name)):
                raise
        return self.path(name).open("rb")

    def has(self, name: str) -> bool:
        """Whether it is stored, with the very bytes that others have of it."""
        self._vault.follow(self.path(name))
        return self.path(name).exists()

    def path(self, name: str) -> Path:
        """Where the stored object lies."""
        return self._stored / f"{name}.object"

    def tree(self, name: str) -> Path:
        """Where it lies unpacked on this host."""
        return self._unpacked / name

    def open(self, name: str) -> Fetched:
        """A stored object with its index read. Raises ``ObjectCorrupt`` for an index that is none."""
        file = self.fetch(name)
        try:
            length = _LENGTH.unpack(file.read(_LENGTH.size))[0]
            members = _INDEX.decode(file.read(min(length, INDEX_BYTES)))
        except (struct.error, msgspec.DecodeError) as error:
            file.close()
            raise ObjectCorrupt(f"Object {name} has no index: {error}") from None
        except BaseException:
            file.close()
            raise
        return Fetched(members, file, _LENGTH.size + length)

    def store(self, name: str, files: Sequence[Packed]) -> None:
        """Keep an object; what is there already stays. Raises ``ObjectCorrupt`` when the files are not what it is named after."""
        if self.has(name):
            return
        members, offset = [], 0
        for file in sorted(files):
            if not _is_content(file):
                raise ObjectCorrupt(f"{file.path} of {name} is not what it was")
            members.append(
                Member(
                    file.path,
                    file.seen.executable,
                    file.seen.size,
                    file.seen.sha256.hex(),
                    file.method,
                    offset,
                    len(file.content),
                    hashlib.sha256(file.content).hexdigest(),
                )
            )
            offset += len(file.content)
        if _named(members) != _digest(name):
            raise ObjectCorrupt(f"The files for {name} are others")
        index = msgspec.json.encode(members)
        self._stored.mkdir(mode=0o700, exist_ok=True)
        contents = (_LENGTH.pack(len(index)), index, *(file.content for file in sorted(files)))
        write_whole(self.path(name), contents)
        self._vault.keep(self.path(name))

    def is_whole(self, name: str) -> bool:
        """Whether the stored object can be read and each of its files is what the index says."""
        try:
            fetched = self.open(name)
        except (OSError, ObjectCorrupt):
            return False
        with fetched.file:
            for member in fetched.members:
                fetched.file.seek(fetched.data + member.offset)
                content = fetched.file.read(member.packed)
                if hashlib.sha256(content).hexdigest() != member.packed_sha256:
                    return False
        return _named(fetched.members) == _digest(name)

    def repair(self, name: str) -> bool:
        """Make a damaged stored object again from the unpacked one; false when its very bytes cannot be made from that.

        Where there is another one stored elsewhere, it is taken.
        """
        if self.is_whole(name):
            return True
        self._vault.follow(self.path(name))
        if self.is_whole(name):
            return True
        try:
            fetched = self.open(name)
        except (OSError, ObjectCorrupt):
            return False
        with fetched.file:
            fetched.file.seek(0)
            contents = [fetched.file.read(fetched.data)]
            for member in fetched.members:
                packed = fetched.file.read(member.packed)
                if hashlib.sha256(packed).hexdigest() != member.packed_sha256:
                    again = _packed_again(self.tree(name) / member.path, member)
                    if again is None:
                        return False
                    packed = again
                contents.append(packed)
        if _named(fetched.members) != _digest(name):
            return False
        write_whole(self.path(name), contents)
        self._vault.keep(self.path(name), replace=True)
        log.warning("stored object %s was damaged, and was made again", name)
        return True

    def adopt(self, name: str, folder: Path, files: Iterable[str]) -> bool:
        """Take the files below ``folder`` for the unpacked object, without a copy; false when they are not its content."""
        if self.tree(name).exists():
            return True
        unfinished = self._unfinished()
        try:
            for file in files:
                target = unfinished / file
                target.parent.mkdir(parents=True, exist_ok=True)
                share(f"{folder}/{file}", str(target))
            if content_digest(look(unfinished)) != _digest(name):
                return False
            publish(unfinished, self.tree(name))
        finally:
            remove(unfinished)
        return True

    def unpack(self, name: str) -> Path:
        """The unpacked object, which is made of the stored one if it is missing or was damaged.

        Its content is read and compared with its name each time. Raises ``FileNotFoundError`` and ``ObjectCorrupt``.
        """
        tree = self.tree(name)
        if self.check(name):
            return tree
        unfinished = self._unfinished()
        try:
            fetched = self.open(name)
            with fetched.file:
                for member in fetched.members:
                    self._extract(name, fetched, member, unfinished)
            if _named(fetched.members) != _digest(name):
                raise ObjectCorrupt(f"Object {name} holds other files")
            sync_tree(unfinished)
            publish(unfinished, tree)
        finally:
            remove(unfinished)
        return tree

    def check(self, name: str) -> bool:
        """Whether it is unpacked and sound; what is not sound is thrown away."""
        tree = self.tree(name)
        try:
            if content_digest(look(tree)) == _digest(name):
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("object %s cannot be read: %s", name, error)
        log.warning("object %s was damaged, and is made again", name)
        self.damaged.add(name)
        self.forget(name)
        return False

    def forget(self, name: str) -> None:
        """Give up the unpacked object; trees keep their files."""
        rubbish = self._unpacked / f".rubbish-{name}-{os.urandom(4).hex()}"
        try:
            self.tree(name).rename(rubbish)
        except FileNotFoundError:
            return
        remove(rubbish)

    def discard(self, name: str) -> None:
        """Give up the stored object, too."""
        self._vault.drop(self.path(name))
        self.forget(name)
        self.path(name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """All objects that are stored or unpacked."""
        stored = {entry.name for entry in self._stored.glob("[!.]*")}
        stored |= self._vault.names(self._stored)
        found = {entry.name for entry in self._unpacked.glob("[!.]*")}
        return found | {entry.removesuffix(".object") for entry in stored}

    def changed(self, name: str) -> float:
        """When what there is of it came about, in epoch seconds."""
        found = [path for path in (self.path(name), self.tree(name)) if path.exists()]
        return max((path.stat().st_mtime for path in found), default=0.0)

    def _extract(self, name: str, fetched: Fetched, member: Member, unfinished: Path) -> None:
        parts = member.path.split("/")
        if ".." in parts or "" in parts or "." in parts or "\0" in member.path:
            raise ObjectCorrupt(f"Object {name} has a file {member.path!r}")
        if not 0 <= member.size <= self._limit:
            raise ObjectCorrupt(f"Object {name} has a file of {member.size} bytes")
        fetched.file.seek(fetched.data + member.offset)
        content = _inflated(fetched.file.read(member.packed), member.method, member.size)
        if content is None or hashlib.sha256(content).hexdigest() != member.sha256:
            raise ObjectCorrupt(f"Object {name} is damaged at {member.path}")
        target = unfinished / member.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            output.write(content)
            os.fchmod(output.fileno(), 0o555 if member.executable else 0o444)

    def _unfinished(self) -> Path:
        self._unpacked.mkdir(mode=0o755, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=self._unpacked))
        made.chmod(0o755)
        return made


def look(tree: Path) -> dict[str, Seen]:
    """The regular files below a tree, read and hashed. Raises ``FileNotFoundError`` when there is no tree."""
    if not tree.is_dir():
        raise FileNotFoundError(tree)
    return look_at(tree, _regular(tree))


def look_at(tree: Path, files: Iterable[str]) -> dict[str, Seen]:
    """These files of a tree, read and hashed."""
    found = {}
    for name in files:
        descriptor = os.open(f"{tree}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            digest = hashlib.sha256()
            while chunk := os.read(descriptor, CHUNK):
                digest.update(chunk)
        finally:
            os.close(descriptor)
        found[name] = Seen(bool(status.st_mode & 0o100), status.st_size, digest.digest())
    return found


def _regular(tree: Path) -> Iterator[str]:
    """Thousands of files: paths as text, which is several times faster."""
    start = len(str(tree)) + 1
    for directory, _, names in os.walk(tree):
        for name in names:
            path = f"{directory}/{name}"
            if not os.path.islink(path):  # noqa: PTH114
                yield path[start:]


def _named(members: Sequence[Member]) -> str:
    return content_digest(
        {
            member.path: Seen(member.executable, member.size, bytes.fromhex(member.sha256))
            for member in members
        }
    )


def _digest(name: str) -> str:
    return name.rpartition("-")[2]


def _is_content(file: Packed) -> bool:
    content = _inflated(file.content, file.method, file.seen.size)
    return content is not None and hashlib.sha256(content).digest() == file.seen.sha256


def _inflated(packed: bytes, method: int, size: int) -> bytes | None:
    """So many bytes and no more, or ``None``."""
    if method == 0:
        return packed if len(packed) == size else None
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflating.decompress(packed, size + 1)
    except zlib.error:
        return None
    return content if len(content) == size else None


def _packed_again(path: Path, member: Member) -> bytes | None:
    """The same compressed bytes, if the level that made them is found."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    for level in _LEVELS if member.method else (0,):
        packed = zlib.compress(content, level, -zlib.MAX_WBITS) if member.method else content
        if hashlib.sha256(packed).hexdigest() == member.packed_sha256:
            return packed
    return None


_INDEX = msgspec.json.Decoder(tuple[Member, ...])
