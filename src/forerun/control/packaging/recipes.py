"""A package as a collection of files: what is its own, and where the rest is in objects; read back byte for byte.

``CODE/DIGEST.parts`` begins with an index and goes on with the bytes that are in no object. Together with the objects it
is the zip as it was uploaded: both forms can be had from either at any time.
"""

import bisect
import hashlib
import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from forerun.control.packaging.distributions import Part
from forerun.control.packaging.objects import ObjectCorrupt, ObjectStore, Packed
from forerun.control.packaging.packages import Seen, regular_files
from forerun.control.packaging.whole import write_whole

INDEX_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct(">I")
_LOCAL = struct.Struct("<26xHH")
OWN = -1


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """So many bytes from there: of the object with that number, or of the recipe's own (``OWN``)."""

    source: int
    offset: int
    length: int


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the package is put together. ``objects`` are names and the folder that each belongs in."""

    sha256: str
    size: int
    objects: tuple[tuple[str, str], ...]
    pieces: tuple[Piece, ...]


_RECIPE = msgspec.json.Decoder(Recipe)


def read_recipe(path: Path) -> tuple[Recipe, int]:
    """The recipe, and where its own bytes begin. Raises ``FileNotFoundError`` and ``ObjectCorrupt``."""
    with path.open("rb") as file:
        try:
            length = _LENGTH.unpack(file.read(_LENGTH.size))[0]
            if length > INDEX_BYTES:
                raise ObjectCorrupt(f"{path.name} has an index of {length} bytes")
            return _RECIPE.decode(file.read(length)), _LENGTH.size + length
        except (struct.error, msgspec.DecodeError) as error:
            raise ObjectCorrupt(f"{path.name} has no index: {error}") from None


def pack(
    package: bytes,
    parts: Sequence[Part],
    seen: Mapping[str, Seen],
    store: ObjectStore,
    *,
    limit: int,
) -> None:
    """Store these parts of a zip as objects; ``seen`` are their files. Raises ``ObjectCorrupt`` when they are others."""
    infos = _regular_files(package, limit)
    for part in parts:
        packed = [
            Packed(file, seen[name], _method(infos[name]), bytes(_packed(package, infos[name])))
            for file, name in zip(part.files, part.paths(), strict=True)
        ]
        store.store(part.object, packed)


def split(
    package: bytes, path: Path, parts: Sequence[Part], store: ObjectStore, *, limit: int
) -> None:
    """Keep what of a zip is not in the objects of ``parts``, which are stored, as a recipe at ``path``.

    Raises ``ObjectCorrupt``, and leaves no recipe, when the package could not be read back from it.
    """
    infos = _regular_files(package, limit)
    spans: list[tuple[int, int, int, int]] = []
    for number, part in enumerate(parts):
        fetched = store.open(part.object)
        fetched.file.close()
        for member in fetched.members:
            info = infos[f"{part.root}/{member.path}" if part.root else member.path]
            # Another tool may have compressed the same content otherwise: such bytes are the package's own.
            if (
                0 < member.packed == info.compress_size
                and hashlib.sha256(_packed(package, info)).hexdigest() == member.packed_sha256
            ):
                start = _data(package, info)
                spans.append((start, number, fetched.data + member.offset, member.packed))
    own, pieces = _pieces(package, sorted(spans))
    recipe = Recipe(
        sha256=hashlib.sha256(package).hexdigest(),
        size=len(package),
        objects=tuple((part.object, part.root) for part in parts),
        pieces=tuple(pieces),
    )
    index = msgspec.json.encode(recipe)
    unproven = path.with_name(f".unproven-{path.name}")
    try:
        write_whole(unproven, (_LENGTH.pack(len(index)), index, *own))
        read_package(unproven, store)
        unproven.rename(path)
    finally:
        unproven.unlink(missing_ok=True)


def open_package(path: Path, store: ObjectStore) -> BinaryIO:
    """The zip that a recipe describes, as a file. Raises ``FileNotFoundError``, ``ObjectCorrupt``."""
    recipe, own = read_recipe(path)
    return io.BufferedReader(_Package(path, own, recipe, store), 1 << 16)


def read_package(path: Path, store: ObjectStore) -> bytes:
    """The zip that a recipe describes. Raises ``FileNotFoundError``, and ``ObjectCorrupt`` when it is not what it was."""
    with open_package(path, store) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != read_recipe(path)[0].sha256:
        raise ObjectCorrupt(f"What is stored of package {path.stem} is damaged")
    return content


class _Placed(NamedTuple):
    file: BinaryIO
    start: int


class _Package(io.RawIOBase):
    """Reads the pieces as one file."""

    def __init__(self, path: Path, own: int, recipe: Recipe, store: ObjectStore) -> None:
        self._recipe = recipe
        self._files: dict[int, _Placed] = {OWN: _Placed(path.open("rb"), own)}
        self._store = store
        self._starts: list[int] = []
        self._at = 0
        total = 0
        for piece in recipe.pieces:
            self._starts.append(total)
            total += piece.length

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._recipe.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        if self._at >= self._recipe.size:
            return 0
        number = bisect.bisect_right(self._starts, self._at) - 1
        piece = self._recipe.pieces[number]
        skip = self._at - self._starts[number]
        placed = self._placed(piece.source)
        placed.file.seek(placed.start + piece.offset + skip)
        content = placed.file.read(min(len(buffer), piece.length - skip))
        if not content:
            raise ObjectCorrupt("A package ends before it should")
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        for placed in self._files.values():
            placed.file.close()
        super().close()

    def _placed(self, source: int) -> _Placed:
        if source not in self._files:
            name, _ = self._recipe.objects[source]
            try:
                self._files[source] = _Placed(self._store.fetch(name), 0)
            except FileNotFoundError:
                raise ObjectCorrupt(f"Object {name} is missing") from None
        return self._files[source]


def _pieces(
    package: bytes, spans: Sequence[tuple[int, int, int, int]]
) -> tuple[list[bytes], list[Piece]]:
    """The bytes outside of all spans, and the pieces that the package is made of."""
    own: list[bytes] = []
    pieces: list[Piece] = []
    done = written = 0
    for start, source, offset, length in spans:
        if start < done:
            # Entries that overlap: no honest tool makes them, and they stay as they are.
            continue
        if start > done:
            own.append(package[done:start])
            pieces.append(Piece(OWN, written, start - done))
            written += start - done
        pieces.append(Piece(source, offset, length))
        done = start + length
    if done < len(package):
        own.append(package[done:])
        pieces.append(Piece(OWN, written, len(package) - done))
    return own, pieces


def _data(package: bytes, info: zipfile.ZipInfo) -> int:
    name, extra = _LOCAL.unpack_from(package, info.header_offset)
    return info.header_offset + _LOCAL.size + int(name) + int(extra)


def _packed(package: bytes, info: zipfile.ZipInfo) -> memoryview:
    start = _data(package, info)
    return memoryview(package)[start : start + info.compress_size]


def _regular_files(package: bytes, limit: int) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return regular_files(archive, limit)


def _method(info: zipfile.ZipInfo) -> Literal[0, 8]:
    return 0 if info.compress_type == zipfile.ZIP_STORED else 8
