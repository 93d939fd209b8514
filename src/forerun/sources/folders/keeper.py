"""Looks after one watched directory: finds what changed, waits until it has settled, hands it over, writes that down."""

import asyncio
import contextlib
import fnmatch
import logging
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import Conflict, ForerunError, Throttled
from forerun.sources import Outbox
from forerun.sources.folders.roots import is_network, mount_of
from forerun.sources.folders.settling import Settling, Told
from forerun.sources.folders.telling import make_message
from forerun.sources.folders.walk import Found, Walk, look
from forerun.storage.folders import Folder, FolderStore

log = logging.getLogger("forerun.folders")

BATCH = 500
MOST_HINTS = 10_000
AGAIN_S = 2.0
LEAST_S = 0.02
SLOW = "Targets do not keep up"
# A directory that takes long to look through is looked through so many times less often.
REST = 20
NETWORK_SCAN_S = 5.0
# The kernel's clock for files is coarse; who made a file just after the folder shall be sure to be told.
COARSE_S = 0.1


class Standing(msgspec.Struct, kw_only=True):
    """How a folder is doing, for people. Times are epoch seconds; ``trouble`` is empty when there is none."""

    told: int = 0
    last_told: float | None = None
    looked: float | None = None
    waiting: int = 0
    trouble: str = ""


class Means(NamedTuple):
    """What every keeper works with."""

    store: FolderStore
    outbox: Outbox
    clock: Clock
    region: str


class Keeper:
    """``run`` until cancelled; ``hint`` from the event loop.

    ``allowed`` raises when the directory must not be watched, ``restored`` hears that the kernel has to be told of it anew.
    """

    def __init__(
        self,
        folder: Folder,
        means: Means,
        *,
        allowed: Callable[[str], None],
        restored: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.standing = Standing()
        self._store, self._outbox, self._clock, self._region = means
        self._allowed = allowed
        self._restored = restored
        self._settling = Settling(folder.config.settle_s)
        self._matches = re.compile(fnmatch.translate(folder.config.pattern or "*")).match
        self._hints: set[bytes] = set()
        self._wake = asyncio.Event()
        self._scan_at = -math.inf
        self._again = False
        self._foreign = False
        # Which directory it is: another one may take its place, of which the kernel's watch knows nothing.
        self._identity: tuple[int, int] | None = None
        self._lost = False

    @property
    def path(self) -> str:
        """The directory."""
        return self.folder.config.path

    def hint(self, path: bytes) -> None:
        """Something changed at this path below the directory; too many of them are looked for everywhere."""
        if len(self._hints) >= MOST_HINTS:
            self._hints.clear()
            self._again = True
        self._hints.add(path)
        self._wake.set()

    def look_soon(self) -> None:
        """Look through all of it."""
        self._again = True
        self._wake.set()

    async def run(self) -> None:
        """Look, wait, look again."""
        while True:
            self._wake.clear()
            try:
                await self._look()
            except (ForerunError, OSError) as error:
                self._say(error.message if isinstance(error, ForerunError) else str(error))
                self._again = self._lost = True
                await self._clock.sleep(AGAIN_S)
            else:
                self.standing.waiting = len(self._settling)
                await self._rest()

    async def _rest(self) -> None:
        now = self._clock.monotonic()
        moments = [now if self._again else self._scan_at]
        if (settled := self._settling.next_look()) is not None:
            moments.append(settled)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(LEAST_S, min(moments) - now))

    async def _look(self) -> None:
        if self._again or self._clock.monotonic() >= self._scan_at:
            self._again = False
            await self._look_through()
        while self._hints:
            taken = [self._hints.pop() for _ in range(min(BATCH, len(self._hints)))]
            await self._look_at(taken)
        now = self._clock.monotonic()
        while due := self._settling.due(now, BATCH):
            await self._look_at(due)
            if self._settling.due(now, 1) == due[:1]:
                break
        if self._settling.crowded:
            soon = self._clock.monotonic() + max(AGAIN_S, self.folder.config.settle_s)
            self._scan_at = min(self._scan_at, soon)

    # Looking

    async def _look_through(self) -> None:
        begun = self._clock.monotonic()
        self._hints.clear()
        self._settling.crowded = False
        await self._require_sound()
        walk = Walk(self.path, recursive=self.folder.config.recursive)
        await self._consider_walk(walk)
        await self._find_gone(b"", None)
        if self.folder.config.since:
            config = msgspec.structs.replace(self.folder.config, since=0.0)
            await self._save(msgspec.structs.replace(self.folder, config=config))
        self._say(
            f"{walk.left_out} subdirectories lie too deep or cannot be read"
            if walk.left_out
            else ""
        )
        self.standing.looked = self._clock.now()
        ended = self._clock.monotonic()
        every = self.folder.config.scan_s
        if self._foreign:
            every = min(every, NETWORK_SCAN_S)
        self._scan_at = ended + max(every, REST * (ended - begun))

    async def _look_at(self, paths: Sequence[bytes]) -> None:
        """Look at single paths: files, whole new directories, and what is gone."""
        files, directories, nothing = await asyncio.to_thread(look, self.path, paths)
        await self._consider(files)
        if self.folder.config.recursive:
            for directory in directories:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    await self._consider_walk(Walk(self.path, directory))
        if nothing and self._is_there():
            self._settling.gone(nothing)
            known = await self._store.marks(self.folder.id, nothing)
            await self._tell([Told("deleted", path, mark) for path, mark in known.items()])
            for path in nothing:
                # If it was a directory, what was below it is gone as well.
                await self._find_gone(path + b"/", path + b"0")

    async def _consider_walk(self, walk: Walk) -> None:
        try:
            while found := await asyncio.to_thread(walk.some, BATCH):
                await self._consider(found)
        finally:
            walk.close()

    async def _consider(self, found: Sequence[Found]) -> None:
        wanted = [each for each in found if self._wanted(each.path)]
        if not wanted:
            return
        known = await self._store.marks(self.folder.id, [each.path for each in wanted])
        if since := self.folder.config.since:
            old = {
                each.path: each.mark
                for each in wanted
                if each.path not in known and each.changed < since - COARSE_S
            }
            await self._store.put(self.folder.id, old)
            known |= old
        now, wall = self._clock.monotonic(), self._clock.now()
        told = self._settling.consider(wanted, known, now, math.nan if self._foreign else wall)
        await self._tell(told)

    async def _find_gone(self, after: bytes, before: bytes | None) -> None:
        """Tell which files between two paths are not there any more."""
        while page := await self._store.page(self.folder.id, after, BATCH, before=before):
            after = page[-1][0]
            _, directories, nothing = await asyncio.to_thread(
                look, self.path, [path for path, _ in page]
            )
            if not self._is_there():
                return
            gone = {*directories, *nothing}
            self._settling.gone(list(gone))
            await self._tell([Told("deleted", path, mark) for path, mark in page if path in gone])

    def _wanted(self, path: bytes) -> bool:
        pattern = self.folder.config.pattern
        if not self.folder.config.recursive and b"/" in path:
            return False
        if not pattern:
            return True
        subject = path if "/" in pattern else path.rpartition(b"/")[2]
        return self._matches(subject.decode("utf-8", "backslashreplace")) is not None

    # Telling

    async def _tell(self, told: Sequence[Told]) -> None:
        """Hand over and write down, in this order; returns when both are done, however long that takes."""
        if not told:
            return
        now = self._clock.now()
        messages = [
            make_message(self.folder, each, self._region, now)
            for each in told
            if each.kind in self.folder.config.events
        ]
        while messages:
            try:
                await self._outbox.send(messages)
                break
            except Throttled as error:
                self._say(f"{SLOW}: {error.message}")
                await self._clock.sleep(max(AGAIN_S, error.retry_after_s))
        if self.standing.trouble.startswith(SLOW):
            self._say("")
        if messages:
            self.standing.told += len(messages)
            self.standing.last_told = now
        await self._store.put(
            self.folder.id, {each.path: each.mark for each in told if each.kind != "deleted"}
        )
        await self._store.forget(
            self.folder.id, [each.path for each in told if each.kind == "deleted"]
        )

    # Whether the directory is what it was

    async def _require_sound(self) -> None:
        """Raises ``ForerunError`` or ``OSError`` when it must not, or cannot, be looked through."""
        self._allowed(self.path)
        mount, self._foreign, identity = await asyncio.to_thread(self._place)
        if self.folder.mount is None:
            await self._save(msgspec.structs.replace(self.folder, mount=mount))
        elif mount != self.folder.mount:
            raise Conflict(
                f"{self.path} lay on what is mounted at {self.folder.mount}, and now lies on {mount}; "
                "delete the folder and put it again if that is meant"
            )
        if self._lost or self._identity not in (None, identity):
            self._lost = False
            self._restored()
        self._identity = identity

    def _place(self) -> tuple[str, bool, tuple[int, int]]:
        if os.path.realpath(self.path, strict=True) != self.path or not Path(self.path).is_dir():
            raise NotADirectoryError(f"{self.path} is no directory any more")
        mount, state = mount_of(self.path), Path(self.path).stat()
        foreign = is_network(mount, Path("/proc/self/mountinfo").read_text())
        return mount, foreign, (state.st_dev, state.st_ino)

    def _is_there(self) -> bool:
        return Path(self.path).is_dir() and mount_of(self.path) == self.folder.mount

    async def _save(self, folder: Folder) -> None:
        await self._store.save(folder)
        self.folder = folder

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.standing.trouble:
            log.warning("folder %s of %s: %s", self.folder.name, self.folder.account, trouble)
        self.standing.trouble = trouble
