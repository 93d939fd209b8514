"""What a tree of code consists of, as it travels: each folder, file and link with all that a sandbox can see of it. Pure.

Its seal, the SHA-256 of the packed manifest, says by 64 digits what the tree must be, whoever sends it.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable

import msgspec

from forerun.errors import ForerunError

MANIFEST_MAX = 64 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PATH_MAX = 4096


class BadTree(ForerunError):
    """A tree is not what it must be."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """``kind`` is ``d`` for a folder, ``f`` for a file with ``size`` bytes of that ``hash`` (hexadecimal SHA-256), ``l`` for a link to ``target``."""

    path: str
    kind: str
    executable: bool = False
    size: int = 0
    hash: str = ""
    target: str = ""


_decoder = msgspec.msgpack.Decoder(list[Entry])


def is_digest(text: str) -> bool:
    """Whether it can name a tree."""
    return _DIGEST.fullmatch(text) is not None


def pack(entries: Iterable[Entry]) -> bytes:
    """The manifest of these; equal trees have equal ones."""
    return msgspec.msgpack.encode(sorted(entries, key=lambda entry: entry.path))


def seal(manifest: bytes) -> str:
    """What names this manifest and no other."""
    return hashlib.sha256(manifest).hexdigest()


def read(manifest: bytes) -> list[Entry]:
    """Its entries, folders before what is in them. Raises ``BadTree`` for what would leave the tree, or cannot be."""
    try:
        entries = _decoder.decode(manifest)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadTree(f"no manifest: {error}") from None
    folders, seen = {""}, set[str]()
    for entry in entries:
        _check(entry)
        if entry.path in seen:
            raise BadTree(f"{entry.path!r} is in the manifest twice")
        if posixpath.dirname(entry.path) not in folders:
            raise BadTree(f"{entry.path!r} is in no folder of the manifest")
        seen.add(entry.path)
        if entry.kind == "d":
            folders.add(entry.path)
    return entries


def _check(entry: Entry) -> None:
    path = entry.path
    if not path or len(path) > _PATH_MAX or "\0" in path or path.startswith("/"):
        raise BadTree(f"{path[:200]!r} is no path in a tree")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise BadTree(f"{path[:200]!r} leads out of its tree")
    if entry.kind == "f":
        if entry.size < 0 or not is_digest(entry.hash):
            raise BadTree(f"{path[:200]!r} has no size or no hash")
    elif entry.kind == "l":
        _check_link(entry)
    elif entry.kind != "d":
        raise BadTree(f"{path[:200]!r} is neither a folder, nor a file, nor a link")


def _check_link(entry: Entry) -> None:
    """``..`` climbs at its beginning only, over real folders: behind a name it could climb from where another link leads."""
    parts = [part for part in entry.target.split("/") if part not in ("", ".")]
    climbs = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    absolute = entry.target.startswith("/") or not entry.target or "\0" in entry.target
    if absolute or climbs > entry.path.count("/") or ".." in parts[climbs:]:
        raise BadTree(f"the link {entry.path[:200]!r} leads out of its tree")
