"""A folder, file or zip as a package: equal contents give equal bytes, whenever and wherever it is made."""

import base64
import fnmatch
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forerun.cli.failures import Failure

MAX_BYTES = 50 * 1024 * 1024
IGNORE_FILE = ".forerunignore"

# What tools leave behind and no handler needs; node_modules and *.dist-info stay: functions read them.
_IGNORED = (
    "__pycache__",
    "*.pyc",
    "*.pyo",
    ".git",
    ".gitignore",
    ".hg",
    ".svn",
    ".venv*",
    ".tox",
    ".nox",
    ".aws-sam",
    ".forerun",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".idea",
    ".vscode",
    ".DS_Store",
    "*.egg-info",
    IGNORE_FILE,
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a zip can hold


@dataclass(frozen=True, slots=True)
class Package:
    """A zip and what is in it; ``names`` are paths inside, sorted."""

    content: bytes
    names: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """As AWS gives it: base64 of the SHA-256 of the zip."""
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()

    def read(self, name: str) -> str:
        """A text file of the package."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            return archive.read(name).decode("utf-8", errors="replace")


def bundle(path: Path) -> Package:
    """Package a folder, a single source file, or a zip as it is.

    Raises ``Failure`` when there is nothing, too much, or something a package cannot hold.
    """
    if path.is_dir():
        package = _zip(_folder(path))
        if not package.names:
            raise Failure(f"{path} holds no files to deploy.")
    elif zipfile.is_zipfile(path):
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = sorted(item.filename for item in archive.infolist() if not item.is_dir())
        package = Package(content, tuple(files))
    elif path.is_file():
        package = _zip(iter([(path.name, path.read_bytes(), _executable(path))]))
    else:
        raise Failure(f"{path} does not exist.")
    return _checked(package, str(path))


def bundle_text(name: str, text: str) -> Package:
    """A package of one file: the code that stands inside of a template."""
    return _checked(_zip(iter([(name, text.encode(), False)])), name)


def _checked(package: Package, origin: str) -> Package:
    if len(package.content) > MAX_BYTES:
        size = len(package.content) / 1024 / 1024
        raise Failure(
            f"{origin} is {size:.0f} MB when packed; the limit is 50 MB.",
            f"Leave files out with {IGNORE_FILE}, or move libraries to a layer.",
        )
    return package


def _folder(root: Path) -> Iterator[tuple[str, bytes, bool]]:
    patterns = (*_IGNORED, *_own_patterns(root))
    real_root = root.resolve()
    for folder, directories, files in os.walk(root, followlinks=False):
        here = Path(folder)
        for name in directories:
            if (here / name).is_symlink() and not _ignored(here / name, root, patterns):
                raise Failure(f"{here / name} is a link to a folder.", "Copy the folder instead.")
        directories[:] = sorted(
            name
            for name in directories
            if not _ignored(here / name, root, patterns) and not _is_environment(here / name)
        )
        for name in sorted(files):
            path = here / name
            if _ignored(path, root, patterns):
                continue
            target = path.resolve()
            if not target.is_relative_to(real_root) or not target.is_file():
                raise Failure(f"{path} is not a file inside of {root}.", "Copy it, or ignore it.")
            yield path.relative_to(root).as_posix(), path.read_bytes(), _executable(path)


def _own_patterns(root: Path) -> list[str]:
    try:
        lines = (root / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line.strip().rstrip("/") for line in lines if line.strip() and line[0] != "#"]


def _ignored(path: Path, root: Path, patterns: tuple[str, ...]) -> bool:
    inside = path.relative_to(root).as_posix()
    return any(
        fnmatch.fnmatchcase(inside if "/" in pattern else path.name, pattern.removeprefix("/"))
        for pattern in patterns
    )


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file()


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _zip(files: Iterator[tuple[str, bytes, bool]]) -> Package:
    buffer = io.BytesIO()
    names = []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content, executable in sorted(files, key=lambda item: item[0]):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # Unix: the mode below is to be read
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=6)
            names.append(name)
    return Package(buffer.getvalue(), tuple(names))
