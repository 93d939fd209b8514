"""Imports modules in a zygote, ahead of all functions, and says what that cost; and makes up for it in their sandboxes.

A zygote only forks, so a module that starts a thread is no module for it: the thread would be in no sandbox, with locks
that nobody opens there. What fails to be imported is left to functions, too.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from _thread import _count as count_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_LOADED = 45_000
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Unfit(Exception):
    """A module has started a thread; this process must not fork any more."""


def load(names: Iterable[str]) -> dict[str, Any]:
    """Import what is not there yet.

    Returns ``modules`` (name -> [milliseconds, KiB]), ``unfit`` (names that could not be imported), ``loaded`` (all that
    was loaded by it) and ``kb``, the memory that this process shares with no other. Raises ``Unfit``.
    """
    before = set(sys.modules)
    modules: dict[str, list[float]] = {}
    unfit: list[str] = []
    for name in names:
        began, held = time.perf_counter(), _resident_kb()
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001  whatever it is, functions can do without
            unfit.append(name)
        if _threads() > 1:
            raise Unfit(name)
        took = (time.perf_counter() - began) * 1000
        modules[name] = [round(took, 3), max(0, _resident_kb() - held)]
    return {
        "modules": modules,
        "unfit": unfit,
        "loaded": _bounded(set(sys.modules) - before),
        "kb": _own_kb(),
    }


def renew() -> None:
    """In a sandbox, before its function: what modules drew or read when they were imported before the fork."""
    loaded: Any = sys.modules.get("multiprocessing.process")
    if loaded is not None:
        # What processes of one program know each other by.
        loaded.current_process().authkey = os.urandom(32)
    loaded = sys.modules.get("zoneinfo")
    if loaded is not None and "PYTHONTZPATH" in os.environ:
        loaded.reset_tzpath()


def _bounded(names: set[str]) -> list[str]:
    """As many as fit into one message, those of packages before those within them."""
    told, size = list[str](), 0
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        size += len(name) + 4
        if size > MAX_LOADED:
            break
        told.append(name)
    return told


def _threads() -> int:
    """Python's own and those below it."""
    return max(count_threads() + 1, len(os.listdir("/proc/self/task")))  # noqa: PTH208  names only


def _resident_kb() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  pathlib would be loaded for this alone
        return int(file.read().split()[1]) * _PAGE_KB


def _own_kb() -> int:
    """Pages that this process has written and shares with nobody; 0 where the kernel does not say."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:  # noqa: PTH123
            lines = [line.split() for line in file]
    except OSError:
        return 0
    return sum(int(words[1]) for words in lines if words[0] == "Private_Dirty:")
