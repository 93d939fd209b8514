"""Zip packages of strangers: read with a bound on everything before and while they are unpacked.

What a zip says of itself is not believed: sizes are counted while inflating. Refused are names that leave the tree,
links that point out of it, devices and pipes, encrypted entries, two entries of one name, and anything larger than
the limit unpacked. Unpacked files are read-only; nothing but their executable bit is taken from the zip.
"""

import hashlib
import itertools
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from forerun.errors import InvalidInput

CHUNK = 256 * 1024
MAX_ENTRIES = 100_000
MAX_NAME_BYTES = 1024
MAX_DEPTH = 64
MAX_LINK_BYTES = 4096
SDK_FILES = 500
SDK_BYTES = 256 * 1024

_SDK_IMPORT = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(?:boto3|botocore)\b", re.MULTILINE)
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and zlib raise for bytes that are no zip, or a broken one.
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    struct.error,
    UnicodeError,
    ValueError,
    OverflowError,
)


class PackageInvalid(InvalidInput):
    """Could not unzip uploaded file. Please check your file, then try to upload again."""


class PackageTooLarge(InvalidInput):
    """The package is too large when it is unpacked."""


class _Entry(NamedTuple):
    info: zipfile.ZipInfo
    path: PurePosixPath
    is_link: bool


class Seen(NamedTuple):
    """A regular file of a package: whether it may be executed, its bytes, and the SHA-256 of its content."""

    executable: bool
    size: int
    sha256: bytes


def unpack(
    source: BinaryIO,
    target: Path,
    *,
    limit: int,
    seen: dict[str, Seen] | None = None,
    without: Collection[str] = (),
) -> int:
    """Unpack a zip into the existing directory ``target``; the number of bytes it takes.

    ``seen`` is filled with the regular files by their paths; those in ``without`` are left out. A file that is there
    already is replaced, as layers do. Raises ``PackageInvalid`` for what is no zip or not an
    acceptable one and ``PackageTooLarge`` beyond ``limit`` bytes; ``target`` is then incomplete.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            entries = _checked(archive, limit)
            if without:
                entries = [entry for entry in entries if str(entry.path) not in without]
            return _Unpacking(archive, target, limit, seen).run(entries)
    except PackageInvalid as error:
        raise error from None
    except _BROKEN as error:
        raise PackageInvalid from error


def regular_files(archive: zipfile.ZipFile, limit: int) -> dict[str, zipfile.ZipInfo]:
    """The regular files of a zip by the paths that ``unpack`` gives them. Raises as it does for the directory of the zip."""
    return {
        str(entry.path): entry.info
        for entry in _checked(archive, limit)
        if not entry.is_link and not entry.info.is_dir()
    }


def is_executable(info: zipfile.ZipInfo) -> bool:
    """Whether an unpacked file may be executed: its mode says so, or it has none."""
    mode = info.external_attr >> 16
    return bool(mode & 0o111 or not mode)


def imports_sdk(tree: Path) -> bool:
    """Whether the Python below ``tree`` imports the AWS SDK without bringing it: a look at the text, no more.

    At most ``SDK_FILES`` files are read, the uppermost first.
    """
    if any((tree / name).exists() for name in ("boto3", "botocore")):
        return False
    return any(
        _SDK_IMPORT.search(path.read_bytes()[:SDK_BYTES])
        for path in itertools.islice(_python_files(tree), SDK_FILES)
    )


def _python_files(tree: Path) -> Iterator[Path]:
    waiting = deque([tree])
    while waiting:
        for entry in sorted(waiting.popleft().iterdir()):
            if entry.is_symlink():
                continue
            if entry.is_dir():
                waiting.append(entry)
            elif entry.suffix == ".py":
                yield entry


def _checked(archive: zipfile.ZipFile, limit: int) -> list[_Entry]:
    entries: list[_Entry] = []
    infos = archive.infolist()
    if not infos:
        raise PackageInvalid("Uploaded file must be a non-empty zip")
    if len(infos) > MAX_ENTRIES:
        raise PackageInvalid(f"The zip has {len(infos)} entries; the limit is {MAX_ENTRIES}.")
    if sum(info.file_size for info in infos) > limit:
        raise _too_large(limit)
    seen: set[PurePosixPath] = set()
    inner: set[PurePosixPath] = set()
    for info in infos:
        path = _safe_path(info)
        kind = _kind(info)
        if info.is_dir():
            inner.add(path)
        elif path in seen:
            raise PackageInvalid(f"The zip has two entries named {info.filename!r}.")
        else:
            seen.add(path)
        inner.update(path.parents)
        entries.append(_Entry(info, path, is_link=kind == stat.S_IFLNK))
    if both := seen & inner:
        raise PackageInvalid(f"The zip has a file and a directory named {str(min(both))!r}.")
    return entries


def _kind(info: zipfile.ZipInfo) -> int:
    """The file type from the mode, 0 for none; ``PackageInvalid`` for what cannot be unpacked."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise PackageInvalid(f"The zip entry {info.filename!r} is a special file.")
    if info.flag_bits & _ENCRYPTED:
        raise PackageInvalid(f"The zip entry {info.filename!r} is encrypted.")
    if info.compress_type not in _METHODS:
        raise PackageInvalid(
            f"The zip entry {info.filename!r} is compressed by another method than deflate."
        )
    return kind


def _safe_path(info: zipfile.ZipInfo) -> PurePosixPath:
    # orig_filename is the name before zipfile cut it at a NUL.
    name = info.orig_filename
    parts = name.split("/")
    if (
        not name
        or "\0" in name
        or "\\" in name
        or name.startswith("/")
        or ".." in parts
        or len(parts) > MAX_DEPTH
        or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES
        or any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts)
    ):
        raise PackageInvalid(f"The zip entry {name[:200]!r} has a name that is not acceptable.")
    return PurePosixPath(*(part for part in parts if part not in ("", ".")))


def _too_large(limit: int) -> PackageTooLarge:
    return PackageTooLarge(f"Unzipped size must be smaller than {limit} bytes")


class _Unpacking:
    """Writes the entries of one archive, counting what it inflates.

    Directories are made one by one and never followed through a link, so that no entry can be written through a link
    that an earlier entry, or a lower layer, has made; links are made last of all.
    """

    def __init__(
        self,
        archive: zipfile.ZipFile,
        target: Path,
        limit: int,
        seen: dict[str, Seen] | None,
    ) -> None:
        self._archive = archive
        self._target = target
        self._limit = limit
        self._seen = seen
        self._size = 0

    def run(self, entries: list[_Entry]) -> int:
        for entry in entries:
            if entry.info.is_dir():
                self._directory(entry.path)
            elif not entry.is_link:
                self._file(entry)
        for entry in entries:
            if entry.is_link:
                self._link(entry)
        return self._size

    def _directory(self, path: PurePosixPath) -> Path:
        current = self._target
        for part in path.parts:
            current = current / part
            try:
                current.mkdir(mode=0o755)
            except FileExistsError:
                if not stat.S_ISDIR(current.lstat().st_mode):
                    # A lower layer has a file or a link where this one has a directory: the later one wins.
                    current.unlink()
                    current.mkdir(mode=0o755)
        return current

    def _place(self, path: PurePosixPath) -> Path:
        """The path for a new file or link, with whatever is there removed."""
        place = self._directory(path.parent) / path.name
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return place
        if stat.S_ISDIR(mode):
            # Of a lower layer: within one zip that was refused.
            shutil.rmtree(place)
        else:
            place.unlink()
        return place

    def _file(self, entry: _Entry) -> None:
        executable = is_executable(entry.info)
        before, digest = self._size, hashlib.sha256()
        place = self._place(entry.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place, flags, 0o600)
        with (
            os.fdopen(descriptor, "wb") as output,
            self._archive.open(entry.info) as content,
        ):
            while chunk := content.read(CHUNK):
                self._count(len(chunk))
                output.write(chunk)
                if self._seen is not None:
                    digest.update(chunk)
            os.fchmod(descriptor, 0o555 if executable else 0o444)
        if self._seen is not None:
            size = self._size - before
            self._seen[str(entry.path)] = Seen(executable, size, digest.digest())

    def _link(self, entry: _Entry) -> None:
        if entry.info.file_size > MAX_LINK_BYTES:
            raise PackageInvalid(f"The link {entry.info.filename!r} is too long.")
        with self._archive.open(entry.info) as content:
            text = content.read(MAX_LINK_BYTES + 1).decode("utf-8")
        self._count(len(text))
        if not _stays_inside(entry.path, text):
            raise PackageInvalid(f"The link {entry.info.filename!r} points out of the package.")
        self._place(entry.path).symlink_to(text)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise _too_large(self._limit)


def _stays_inside(path: PurePosixPath, target: str) -> bool:
    """Whether a link at ``path`` cannot leave the tree, whatever other links there are.

    ``..`` is allowed at the beginning only: there it climbs real directories, behind a name it could climb from where
    another link leads.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    return (
        bool(target)
        and not target.startswith("/")
        and "\0" not in target
        and ".." not in parts[up:]
        and up < len(path.parts)
    )
