"""Leads a copy of a template into namespaces of its own, so that user code never holds a capability there.

To enter a user namespace is to get every capability in it. A copy of a template is made of memory that user code has
written, so what it does with them cannot be trusted. Therefore the keeper traces it from before it gets the
namespaces' descriptors until it has shown that it holds no capability any more: in between every system call stops it
and all but the few that this takes end it. The template's filter (``seccomp``) refuses ``setns`` to whoever is not
traced.
"""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

from forerun.runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SEIZE, _INTERRUPT, _CONTINUE, _DETACH = 0x4206, 0x4207, 24, 17
_SYSGOOD, _SECCOMP, _EXITKILL = 0x1, 0x80, 0x100000
_CALL_STOP = signal.SIGTRAP | 0x80
_EVENT_SHIFT = 16
_WALL = 0x40000000
_BEFORE, _AFTER = 1, 2
_MOST_STOPS = 5000
_EMPTY = "0000000000000000"
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

# name: (number on x86_64, number on aarch64; None where the call does not exist)
_NUMBERS = {
    "setns": (308, 268),
    "capset": (126, 91),
    "prctl": (157, 167),
    "brk": (12, 214),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "madvise": (28, 233),
    "futex": (202, 98),
    "rt_sigprocmask": (14, 135),
    "exit_group": (231, 94),
}


class Strayed(Exception):
    """The copy did what it must not do on the way, or ended; it is dead or about to be."""


def lead(pid: int, hand_over: Callable[[], None]) -> None:
    """Trace ``pid``, call ``hand_over`` (which gives it the descriptors), and let go of it once it is harmless.

    Raises ``Strayed``, or ``OSError`` when it cannot be traced. The caller bounds the time and kills it after a failure.
    """
    calls = _calls(platform.machine())
    syscalls.ptrace(_SEIZE, pid, 0, _SYSGOOD | _SECCOMP | _EXITKILL)
    syscalls.ptrace(_INTERRUPT, pid)
    _wait(pid)
    hand_over()
    pass_on, number, joined = 0, -1, False
    for _ in range(_MOST_STOPS):
        syscalls.ptrace(_CONTINUE, pid, 0, pass_on)
        status = _wait(pid)
        reason = os.WSTOPSIG(status)
        pass_on = 0
        if reason != _CALL_STOP:
            pass_on = 0 if status >> _EVENT_SHIFT else reason
            continue
        where, value = syscalls.system_call_of(pid)
        if where == _BEFORE:
            number = value
            joined = joined or number == calls["setns"]
            if joined and number not in calls.values():
                raise Strayed("system call %d on the way into a sandbox" % number)
        elif where == _AFTER:
            if value < 0 and number == calls["setns"]:
                raise Strayed("setns: %s" % os.strerror(-value))
            if number == calls["capset"] and joined and _is_harmless(pid):
                syscalls.ptrace(_DETACH, pid)
                return
    raise Strayed("it takes too long")


def _calls(machine: str) -> dict[str, int]:
    return {name: numbers[machine == "aarch64"] for name, numbers in _NUMBERS.items()}


def _wait(pid: int) -> int:
    _, status = os.waitpid(pid, _WALL)
    if not os.WIFSTOPPED(status):
        raise Strayed("it ended with wait status %d" % status)
    return status


def _is_harmless(pid: int) -> bool:
    """No capability in any set, none to be gained, and a filter."""
    fields = {}
    for line in (
        Path("/proc/%d/status" % pid).read_text(encoding="ascii", errors="replace").splitlines()
    ):
        name, _, value = line.partition(":")
        fields[name] = value.strip()
    return (
        all(fields.get(name) == _EMPTY for name in _SETS)
        and fields.get("NoNewPrivs") == "1"
        and fields.get("Seccomp") == "2"
    )
