"""Finds regular files below a directory, never through a symbolic link. Synchronous: for a thread."""

import contextlib
import os
import stat
from collections.abc import Generator, Sequence
from typing import NamedTuple

from forerun.storage.folders import Mark

DEEPEST = 100
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_INT64 = (1 << 63) - 1


class Found(NamedTuple):
    """A regular file: its path below the directory, its state, and when it was last changed (epoch seconds)."""

    path: bytes
    mark: Mark
    changed: float


class _Open:
    """A directory that is being read."""

    def __init__(self, descriptor: int, path: bytes) -> None:
        self.descriptor = descriptor
        self.path = path
        self.entries = os.scandir(descriptor)

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


class Walk:
    """All files of a directory, or of one of its subdirectories, some at a time."""

    def __init__(self, root: str, below: bytes = b"", *, recursive: bool = True) -> None:
        self._recursive = recursive
        self._left_out = 0
        self._files = self._walk(os.fsencode(root), below)

    @property
    def left_out(self) -> int:
        """How many subdirectories were not looked into: they lie too deep, or cannot be read."""
        return self._left_out

    def some(self, count: int) -> list[Found]:
        """Up to ``count`` more files, fewer or none at the end. ``OSError`` when the directory itself cannot be read."""
        found: list[Found] = []
        for each in self._files:
            found.append(each)
            if len(found) >= count:
                break
        return found

    def close(self) -> None:
        """Look no further."""
        # While a thread still looks, the files are closed when that has ended.
        with contextlib.suppress(ValueError):
            self._files.close()

    def _walk(self, root: bytes, below: bytes) -> Generator[Found, None, None]:
        opened = [_Open(open_below(root, below), below)]
        try:
            while opened:
                descriptor, path = opened[-1].descriptor, opened[-1].path
                entry = next(opened[-1].entries, None)
                if entry is None:
                    opened.pop().close()
                    continue
                name = os.fsencode(entry.name)
                here = path + b"/" + name if path else name
                if found := _file(descriptor, name, here):
                    yield found
                elif (
                    self._recursive
                    and entry.is_dir(follow_symlinks=False)
                    and (inner := self._enter(descriptor, name, len(opened))) is not None
                ):
                    opened.append(_Open(inner, here))
        finally:
            for each in opened:
                each.close()

    def _enter(self, parent: int, name: bytes, depth: int) -> int | None:
        if depth < DEEPEST:
            try:
                return os.open(name, _OPEN, dir_fd=parent)
            except OSError:
                pass
        self._left_out += 1
        return None


def open_below(root: bytes, below: bytes) -> int:
    """A descriptor of a directory below ``root``, each step without following a link; ``OSError``."""
    descriptor = os.open(root, _OPEN)
    for name in below.split(b"/") if below else ():
        try:
            inner = os.open(name, _OPEN, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def look(root: str, paths: Sequence[bytes]) -> tuple[list[Found], list[bytes], list[bytes]]:
    """What is at these paths: files, directories, and those where neither is."""
    files, directories, nothing = [], [], []
    for path in paths:
        parent, _, name = path.rpartition(b"/")
        try:
            descriptor = open_below(os.fsencode(root), parent)
        except OSError:
            nothing.append(path)
            continue
        try:
            if found := _file(descriptor, name, path):
                files.append(found)
            elif stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                directories.append(path)
            else:
                nothing.append(path)
        except OSError:
            nothing.append(path)
        finally:
            os.close(descriptor)
    return files, directories, nothing


def _file(directory: int, name: bytes, path: bytes) -> Found | None:
    try:
        state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    mtime_ns = max(-_INT64, min(state.st_mtime_ns, _INT64))
    return Found(path, Mark(mtime_ns, state.st_size, state.st_ino & _INT64), state.st_ctime)
