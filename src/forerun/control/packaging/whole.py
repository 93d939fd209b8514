"""Files and folders that are there complete and synced, or not at all; and further names for the same file.

There may be many thousands of them: paths of what is walked are text, which is several times faster.
"""

# ruff: noqa: PTH104, PTH114, PTH115, PTH116, PTH211

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from forerun.storage.synced import sync

SYNC_EACH = 64


def share(source: str, target: str) -> None:
    """Another name for the same file; where there can be none, a copy. ``target`` must not be there."""
    try:
        os.link(source, target)
    except OSError as error:
        # Another file system, or more names than a file can have.
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        shutil.copyfile(source, target)
        Path(target).chmod(Path(source).stat().st_mode & 0o555)


def write_whole(path: Path, contents: Iterable[bytes]) -> None:
    """Write a file (0600) that is complete and synced before it has its name."""
    descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as output:
            for content in contents:
                output.write(content)
            output.flush()
            os.fsync(output.fileno())
        unfinished.rename(path)
        sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def publish(unfinished: Path, place: Path) -> None:
    """Give a finished folder its name; when somebody else was faster, theirs stays."""
    try:
        unfinished.rename(place)
    except OSError as error:
        # Two ways to say the same, depending on the file system.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync(place.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_tree(tree: Path) -> None:
    """Everything below is on disk when this returns."""
    files = [Path(directory) / name for directory, _, names in os.walk(tree) for name in names]
    if len(files) > SYNC_EACH:
        os.sync()
        return
    for file in files:
        if not file.is_symlink():
            sync(file)
    for directory, _, _ in os.walk(tree):
        sync(Path(directory))


def relink(source: str, target: str, spare: str) -> None:
    """Make ``target`` another name for ``source``, whose content is the same, under whoever reads it.

    ``spare`` is a name on the same file system that is free. A file that can have no further name stays as it is.
    """
    seen = os.stat(source)
    if not seen.st_size or os.path.samestat(seen, os.lstat(target)):
        return
    try:
        os.link(source, spare)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        return
    os.rename(spare, target)


def overlay(source: Path, target: Path) -> None:
    """Give all files below ``source`` further names below ``target``, in place of what is there; links are copied."""
    start = len(str(source))
    for folder, folders, names in os.walk(source):
        there = f"{target}{folder[start:]}"
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]
        for name in folders:
            if name not in links:
                _make_folder(Path(there, name))
        for name in (*names, *links):
            _lay(f"{folder}/{name}", f"{there}/{name}")


def _lay(source: str, target: str) -> None:
    if os.path.lexists(target):
        remove(Path(target))
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    else:
        share(source, target)


def _make_folder(place: Path) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    place.mkdir(mode=0o755, exist_ok=True)
