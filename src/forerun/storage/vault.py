"""A second place for files of the data directory: the database, where several control planes share one.

What is written goes there, too, before anybody is told that it was; what the disk does not have is brought from there. So the
directory is only a cache. Everything here blocks and is called from threads, never from the event loop.
"""

import asyncio
import concurrent.futures
import hashlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from forerun.aio import Clock
from forerun.errors import StorageFailed
from forerun.storage.files import FileStore

R = TypeVar("R")

PAGE = 1000
FETCHING = "fetching"
"""The folder of the data directory that files are in while they come; whoever starts clears it."""


class Vault(Protocol):
    """Where files are besides the disk. All of it raises ``StorageFailed`` when that cannot be reached, and ``OSError``."""

    def keep(self, path: Path, *, replace: bool = False) -> None:
        """See to it that a file of the disk is there, too; one of that name is as good, unless it is to be replaced."""
        ...

    def bring(self, path: Path) -> bool:
        """See to it that the disk has it; false when it is nowhere. What the disk has is taken as it is."""
        ...

    def follow(self, path: Path) -> None:
        """Let the disk have what is there now: another content, or nothing."""
        ...

    def drop(self, path: Path, *, untouched_since: float | None = None) -> bool:
        """Give it up there; false, and it stays, when somebody kept it after that moment (see ``now``)."""
        ...

    def names(self, folder: Path) -> set[str]:
        """Names of files in a folder, not below."""
        ...

    def now(self) -> float:
        """The moment by which it is remembered when something was kept."""
        ...


class NoVault:
    """One machine: there is the disk and nothing else."""

    def keep(self, path: Path, *, replace: bool = False) -> None:
        """See ``Vault``."""

    def bring(self, path: Path) -> bool:
        """See ``Vault``."""
        return path.exists()

    def follow(self, path: Path) -> None:
        """See ``Vault``."""

    def drop(self, path: Path, *, untouched_since: float | None = None) -> bool:
        """See ``Vault``."""
        return True

    def names(self, folder: Path) -> set[str]:
        """See ``Vault``."""
        return set()

    def now(self) -> float:
        """See ``Vault``."""
        return 0.0


NO_VAULT = NoVault()


class DatabaseVault:
    """Over ``FileStore``; files are named by their path below ``directory``. Made on the loop that its database is open on."""

    def __init__(self, files: FileStore, directory: Path, clock: Clock) -> None:
        self._files = files
        self._directory = directory
        self._fetching = directory / FETCHING
        self._loop = asyncio.get_running_loop()
        self.now = clock.now

    def keep(self, path: Path, *, replace: bool = False) -> None:
        """See ``Vault``."""
        name = self._name(path)
        if not replace and self._run(self._files.touch(name)):
            return
        self._run(self._files.put_path(name, path))

    def bring(self, path: Path) -> bool:
        """See ``Vault``."""
        return path.exists() or self._fetch(path)

    def follow(self, path: Path) -> None:
        """See ``Vault``."""
        name = self._name(path)
        stored = self._run(self._files.get(name))
        if stored is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or _hash(path) != stored.sha256:
            self._fetch(path)

    def drop(self, path: Path, *, untouched_since: float | None = None) -> bool:
        """See ``Vault``."""
        return self._run(self._files.remove(self._name(path), untouched_since=untouched_since))

    def names(self, folder: Path) -> set[str]:
        """See ``Vault``."""
        prefix = f"{self._name(folder)}/"
        found: set[str] = set()
        after = ""
        while page := self._run(self._files.names(prefix, after, PAGE)):
            found.update(name.removeprefix(prefix) for name in page)
            after = page[-1]
        return {name for name in found if "/" not in name}

    def _fetch(self, path: Path) -> bool:
        name = self._name(path)
        if self._run(self._files.get(name)) is None:
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fetching.mkdir(mode=0o700, exist_ok=True)
        self._run(self._files.fetch(name, path, by=self._fetching))
        return True

    def _name(self, path: Path) -> str:
        return path.relative_to(self._directory).as_posix()

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except concurrent.futures.CancelledError as error:
            raise StorageFailed("The server ends.") from error
        except RuntimeError as error:
            work.close()
            raise StorageFailed("The server has ended.") from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
