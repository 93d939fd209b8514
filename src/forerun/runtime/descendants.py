"""Ends everything below a process, whatever sessions, groups or daemons it has made of itself.

For sandboxes without a pid namespace, where the kernel does not do it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_ROUNDS = 50


def kill_descendants(pid: int) -> None:
    """Stop, then kill everything below ``pid`` that is still there; ``pid`` itself is left alone."""
    seen: set[int] = set()
    for _ in range(_ROUNDS):
        found = _descendants(pid) - seen
        if not found:
            break
        # What is stopped starts nothing new while the others are looked for.
        for one in found:
            _signal(one, signal.SIGSTOP)
        seen |= found
    for one in seen:
        _signal(one, signal.SIGKILL)


def _descendants(pid: int) -> set[int]:
    """All processes below ``pid``, from one pass over the process table."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  names only
        if name.isdigit():
            try:
                text = Path("/proc", name, "stat").read_bytes()
            except OSError:
                continue
            parent = int(text.rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return
