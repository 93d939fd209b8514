"""Builds the read-only root that all sandboxes of a zygote share, and moves this process into it.

What goes in is decided by the host (``forerun.sandbox.rootfs``) and arrives as plain data; this module only carries it
out: an empty tmpfs, read-only binds, generated files, device nodes, then ``pivot_root``. Afterwards nothing of the
host's file system outside of the binds can be reached from this process or its children.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from forerun.runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_DEVICE = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
_DEVICES = ("null", "zero", "full", "random", "urandom")
_EMPTY = ("proc", "tmp", "var/task", "opt", "var/runtime", "dev")


def enter(plan: dict[str, Any]) -> None:
    """Build the root of ``plan`` on its mount point and make it this process's root.

    ``plan``: ``mountpoint`` (an existing directory), ``rootless`` (true: enter a user namespace first), ``binds`` (list
    of [source, path inside]), ``links`` (path inside -> target), ``files`` (path inside -> text). Raises ``OSError``.
    """
    if plan["rootless"]:
        _enter_user_namespace()
    else:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    top = plan["mountpoint"]
    os.umask(0o022)
    syscalls.mount(
        "tmpfs", top, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755,size=4m"
    )
    _fill(top, plan)
    os.chdir(top)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".")
    os.chdir("/")
    syscalls.seal_mount("/", syscalls.MOUNT_ATTR_RDONLY)


def _enter_user_namespace() -> None:
    """Become root of a user namespace that knows only the calling user."""
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    write_maps(0, uid, 0, gid)
    # A pid namespace of its own, too: only one that belongs to this user namespace can be entered again, which the
    # zygote does after each fork. The process that stays outside ends with the one inside.
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def write_maps(uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    """Map one user and one group of this process's new user namespace; no supplementary groups."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "%d %d 1" % (uid, outer_uid)),
        ("gid_map", "%d %d 1" % (gid, outer_gid)),
    ):
        write("/proc/self/" + name, text)


def write(path: str, text: str) -> None:
    """Write a kernel file in one call."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _fill(top: str, plan: dict[str, Any]) -> None:
    for name in _EMPTY:
        Path(top, name).mkdir(parents=True, exist_ok=True)
    for source, inside in plan["binds"]:
        _bind(source, top + inside, _READ_ONLY)
    for name in _DEVICES:
        _bind("/dev/" + name, top + "/dev/" + name, _DEVICE)
    for inside, target in plan["links"].items():
        link = Path(top + inside)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    for inside, text in plan["files"].items():
        file = Path(top + inside)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    # The zygote needs it, and the kernel lets a user namespace mount a fresh /proc only where a complete one is
    # visible already. A sandbox covers it with its own and has no capability to take that away.
    tree = syscalls.clone_tree("/proc")
    syscalls.attach_tree(tree, top + "/proc")
    os.close(tree)


def _bind(source: str, target: str, attributes: int) -> None:
    tree = syscalls.clone_tree(source, attributes)
    try:
        place = Path(target)
        if Path(source).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        syscalls.attach_tree(tree, target)
    finally:
        os.close(tree)
