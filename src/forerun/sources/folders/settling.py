"""Which files are to be told now, and which are waited for because somebody may still write to them. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from forerun.sources.folders.walk import Found
from forerun.storage.folders import Mark

# A file that never rests is told all the same, so often at most.
LATEST_S = 60.0
LATEST_SETTLES = 10
MOST_WAITING = 10_000


class Told(NamedTuple):
    """Something to tell: ``created``, ``modified`` or ``deleted``; ``settled``: nobody wrote to it meanwhile."""

    kind: str
    path: bytes
    mark: Mark
    settled: bool = True


class _Waiting(NamedTuple):
    mark: Mark
    since: float
    first: float


class Settling:
    """The files of one folder that are waited for, at most ``most`` of them.

    ``crowded`` says that there were more: these are found again when the folder is looked through.
    """

    def __init__(self, settle_s: float, *, most: int = MOST_WAITING) -> None:
        self._settle_s = settle_s
        self._latest_s = max(LATEST_S, LATEST_SETTLES * settle_s)
        self._most = most
        self._waiting: dict[bytes, _Waiting] = {}
        self.crowded = False

    def __len__(self) -> int:
        return len(self._waiting)

    def consider(
        self, found: Sequence[Found], known: Mapping[bytes, Mark], now: float, wall: float
    ) -> list[Told]:
        """What to tell of files that were just looked at.

        ``now`` counts on (monotonic seconds), ``wall`` is the time of the file system (epoch seconds), or NaN where that is
        another machine's.
        """
        told = []
        for path, mark, changed in found:
            before = known.get(path)
            if before == mark:
                self._waiting.pop(path, None)
                continue
            settled = self._settled(path, mark, now, wall - changed)
            if settled is not None:
                self._waiting.pop(path, None)
                told.append(Told("created" if before is None else "modified", path, mark, settled))
        return told

    def gone(self, paths: Sequence[bytes]) -> None:
        """There are no files at these paths any more."""
        for path in paths:
            self._waiting.pop(path, None)

    def due(self, now: float, limit: int) -> list[bytes]:
        """Up to ``limit`` files that may have settled by now and are to be looked at."""
        found: list[bytes] = []
        for path, waiting in self._waiting.items():
            if waiting.since + self._settle_s <= now:
                found.append(path)
                if len(found) >= limit:
                    break
        return found

    def next_look(self) -> float | None:
        """When the first of those that are waited for may have settled; ``None`` for none."""
        if not self._waiting:
            return None
        return min(waiting.since for waiting in self._waiting.values()) + self._settle_s

    def _settled(self, path: bytes, mark: Mark, now: float, unchanged_s: float) -> bool | None:
        """Whether a file is told as settled, or as one that does not settle; ``None`` while it is waited for."""
        if unchanged_s >= self._settle_s or not self._settle_s:
            return True
        waiting = self._waiting.get(path)
        if waiting is None:
            if len(self._waiting) >= self._most:
                self.crowded = True
            else:
                self._waiting[path] = _Waiting(mark, now, now)
            return None
        if waiting.mark == mark and now - waiting.since >= self._settle_s:
            return True
        if now - waiting.first >= self._latest_s:
            return False
        if waiting.mark != mark:
            self._waiting[path] = _Waiting(mark, now, waiting.first)
        return None
