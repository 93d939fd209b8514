"""Which files of an unpacked package belong to which installed distribution, and the name of that content.

Python's distributions say it themselves (``*.dist-info/RECORD``, ``*.egg-info``); an npm package is its folder in
``node_modules``. What a package says of its files is believed for the grouping only: an object is named by paths,
executable bits and contents, and whatever belongs to nobody is the function's own.
"""

import csv
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from forerun.control.packaging.packages import Seen

RECORD_BYTES = 16 * 1024 * 1024
MANIFEST_BYTES = 1024 * 1024
MOST = 200
LONGEST = 128

_PYTHON = re.compile(r"(?:(?P<root>.*)/)?(?P<folder>[^/]+\.(?:dist-info|egg-info))/(?P<file>[^/]+)")
_NODE = re.compile(r"(?P<root>(?:.*/)?node_modules)/(?P<name>@[^/]+/[^/@.][^/]*|[^/@.][^/]*)/")
# Different each time something is installed.
_VOLATILE = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


class Part(NamedTuple):
    """One distribution in a package: ``files`` are relative to ``root``, the folder that it was installed in.

    ``object`` names its content: the scope that shares it, and a SHA-256. ``size`` in bytes.
    """

    object: str
    name: str
    version: str
    root: str
    files: tuple[str, ...]
    size: int

    def paths(self) -> Iterator[str]:
        """The files as paths in the package."""
        return (posixpath.join(self.root, file) for file in self.files)


def find_parts(tree: Path, seen: Mapping[str, Seen], scope: str) -> list[Part]:
    """The distributions below ``tree``, whose regular files are ``seen``; the largest, at most ``MOST``."""
    claimed: set[str] = set()
    parts = []
    for name, version, root, paths in (*_python(tree, seen), *_node(tree, seen)):
        own = sorted({path for path in paths if path in seen and not _is_volatile(path)} - claimed)
        inside = [path for path in own if not root or path.startswith(f"{root}/")]
        if not inside:
            continue
        claimed.update(inside)
        start = len(root) + 1 if root else 0
        files = {path[start:]: seen[path] for path in inside}
        size = sum(file.size for file in files.values())
        parts.append(
            Part(
                f"{scope}-{content_digest(files)}",
                name[:LONGEST],
                version[:LONGEST],
                root,
                tuple(files),
                size,
            )
        )
    return sorted(parts, key=lambda part: (-part.size, part.object, part.root))[:MOST]


def content_digest(files: Mapping[str, Seen]) -> str:
    """The name of this content: SHA-256 over sorted paths, executable bits and contents."""
    digest = hashlib.sha256()
    for path in sorted(files):
        file = files[path]
        mark = "x" if file.executable else "-"
        digest.update(f"{path}\0{mark}\0".encode("utf-8", "surrogateescape") + file.sha256)
    return digest.hexdigest()


def _is_volatile(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name.endswith(".pyc") or (folder.endswith(".dist-info") and name in _VOLATILE)


_Found = tuple[str, str, str, Iterable[str]]


def _python(tree: Path, seen: Mapping[str, Seen]) -> Iterator[_Found]:
    for path in sorted(seen):
        match = _PYTHON.fullmatch(path)
        if match is None:
            continue
        root, folder, file = match["root"] or "", match["folder"], match["file"]
        stem, _, kind = folder.rpartition(".")
        name, _, version = stem.partition("-") if kind == "egg-info" else stem.rpartition("-")
        name, version = re.sub(r"[-_.]+", "-", name).lower(), re.sub(r"-py\d.*", "", version)
        if kind == "dist-info" and file == "RECORD":
            rows = csv.reader(_lines(tree, path, seen))
            yield name, version, root, [posixpath.join(root, row[0]) for row in _sound(rows) if row]
        elif kind == "egg-info" and file == "installed-files.txt":
            base = posixpath.join(root, folder)
            listed = [posixpath.join(base, line.strip()) for line in _lines(tree, path, seen)]
            yield name, version, root, [posixpath.normpath(each) for each in listed]


def _sound(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error:
        return


def _node(tree: Path, seen: Mapping[str, Seen]) -> Iterator[_Found]:
    found: dict[tuple[str, str], list[str]] = {}
    for path in seen:
        # Greedy: of packages inside of packages it is the innermost.
        if match := _NODE.match(path):
            found.setdefault((match["root"], match["name"]), []).append(path)
    for (root, name), paths in sorted(found.items()):
        manifest = posixpath.join(root, name, "package.json")
        if manifest in seen:
            yield name, _version(tree, manifest, seen), root, paths


def _version(tree: Path, path: str, seen: Mapping[str, Seen]) -> str:
    if seen[path].size > MANIFEST_BYTES:
        return ""
    try:
        said = json.loads((tree / path).read_bytes())
    except (ValueError, RecursionError, OSError):
        return ""
    version = said.get("version") if isinstance(said, dict) else None
    return version if isinstance(version, str) else ""


def _lines(tree: Path, path: str, seen: Mapping[str, Seen]) -> list[str]:
    if seen[path].size > RECORD_BYTES:
        return []
    return (tree / path).read_text(encoding="utf-8", errors="replace").splitlines()
