"""Lets the interpreter take compiled modules out of a pack, a single file beside a tree of Python that carries none.

The tree itself is read-only and stays as its owner made it. ``sys.pycache_prefix`` would not do: with it the interpreter
ignores the bytecode of the standard library. So only modules below the given roots get a loader of ours, which differs
from the usual one in where it finds their code and in nothing else; what is not in the pack is compiled from its source.

A pack holds marshalled code objects one after the other, then an index (marshalled, path below the root -> offset and
length), then the trailer: length of the index, and the magic number of the bytecode, by which another interpreter knows
that the pack is not for it. ``forerun.runtime.compiling`` writes them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import mmap
import struct
import sys
import types
from importlib import machinery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MAGIC = importlib.util.MAGIC_NUMBER
_TRAILER = struct.Struct("!I4s")


class Pack:
    """The compiled modules below ``root``; ``file`` is read when the first of them is imported, or once it is there.

    A file that is missing, damaged or made by another interpreter is like an empty one.
    """

    def __init__(self, root: str, file: str) -> None:
        self._start = root.rstrip("/") + "/"
        self._file = file
        self._index: dict[str, tuple[int, int]] | None = None
        self._content = memoryview(b"")

    def covers(self, path: str) -> bool:
        """Whether ``path`` is its root or lies below it."""
        return (path + "/").startswith(self._start)

    def code(self, path: str) -> types.CodeType | None:
        """The code of the module at ``path``, if it is here."""
        if self._index is None:
            self._index = self._read()
        place = self._index.get(path[len(self._start) :]) if self._index else None
        if place is None:
            return None
        with contextlib.suppress(ValueError, EOFError, TypeError):
            code = marshal.loads(self._content[place[0] : place[0] + place[1]])  # noqa: S302  ours
            if isinstance(code, types.CodeType):
                return code
        return None

    def _read(self) -> dict[str, tuple[int, int]] | None:
        try:
            with open(self._file, "rb") as file:  # noqa: PTH123  pathlib would be loaded for this alone
                self._content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return read_index(self._content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, TypeError):
            return {}


def read_index(content: memoryview) -> dict[str, tuple[int, int]]:
    """The index of a whole pack. Raises ``ValueError``, ``EOFError`` or ``TypeError`` when it is none of this interpreter's."""
    size = _TRAILER.size
    if len(content) < size:
        raise ValueError("too short for a pack")
    length, magic = _TRAILER.unpack(content[-size:])
    if magic != MAGIC or length + size > len(content):
        raise ValueError("made by another interpreter")
    index = marshal.loads(content[-size - length : -size])  # noqa: S302  ours
    if not isinstance(index, dict):
        raise TypeError("an index that is none")
    return index


def end_of_pack(index: dict[str, tuple[int, int]]) -> bytes:
    """What comes after the code objects."""
    text = marshal.dumps(index)
    return text + _TRAILER.pack(len(text), MAGIC)


class PackedLoader(machinery.SourceFileLoader):
    """Takes the code out of a pack, or else compiles the source; ``packs`` is set by ``use``."""

    packs: tuple[Pack, ...] = ()

    def get_code(self, fullname: str) -> types.CodeType | None:
        """See ``importlib.abc.InspectLoader``."""
        path = self.path
        for pack in self.packs:
            if pack.covers(path):
                code = pack.code(path)
                if code is not None:
                    return code
        return super().get_code(fullname)


def use(places: Iterable[Iterable[str]]) -> None:
    """From now on take modules below each root out of its pack; ``places`` are pairs of root and file."""
    packs = tuple(Pack(*place) for place in places)
    if not packs:
        return
    loader = type(PackedLoader.__name__, (PackedLoader,), {"packs": packs})
    usual = machinery.FileFinder.path_hook(
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (loader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    sys.path_hooks.insert(0, _only_for(packs, usual))
    for path in list(sys.path_importer_cache):
        if any(pack.covers(path) for pack in packs):
            del sys.path_importer_cache[path]


def _only_for(packs: tuple[Pack, ...], hook: Callable[[str], Any]) -> Callable[[str], Any]:
    def packed_path_hook(path: str) -> Any:
        if not any(pack.covers(path) for pack in packs):
            raise ImportError("not below a packed root", path=path)
        return hook(path)

    return packed_path_hook
