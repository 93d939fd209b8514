"""The kernel calls that Python has no function for: the only module of the project that uses ctypes.

Each function makes one call and raises ``OSError`` with the call's name when the kernel refuses. Nothing here decides
anything. Imports on any Python from 3.9, inside foreign interpreters as well as in the server.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_SECCOMP_MODE_FILTER = 2
_PTRACE_GET_SYSCALL_INFO = 0x420E
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE_RULESET_VERSION = 1

# Calls from 424 on have the same number on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _MOUNT_SETATTR, _LANDLOCK_CREATE_RULESET = 436, 442, 444
_OLD_NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126},
    "aarch64": {"pivot_root": 41, "capset": 91},
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long
_python = ctypes.PyDLL(None, use_errno=True)
_call_info = ctypes.create_string_buffer(88)
_libc.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _syscall(number: int, what: str, *arguments: int | bytes | None) -> int:
    converted = [
        ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)
        for argument in arguments
    ]
    result: int = _libc.syscall(ctypes.c_long(number), *converted)
    return _check(result, what)


def _old_number(name: str) -> int:
    machine = platform.machine()
    if machine not in _OLD_NUMBERS:
        raise OSError(38, f"{name}: architecture {machine} is not supported")
    return _OLD_NUMBERS[machine][name]


def fork() -> int:
    """fork(2) without what Python runs around its own: for a process with one thread, whose locks nobody else holds.

    What libraries have registered to be told of a fork they are not told: generators of random numbers in the child
    are those of the parent until they are seeded.
    """
    return _check(_python.fork(), "fork")


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``CLONE_NEW*`` flags for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace behind ``fd``, which must be of the ``CLONE_NEW*`` kind."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
    _check(result, f"mount {kind or source} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), detaching by default."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root of this mount namespace and put the former root on ``old``."""
    _syscall(_old_number("pivot_root"), "pivot_root", new.encode(), old.encode())


def clone_tree(path: str, attributes: int = 0) -> int:
    """A detached copy of the mounts at ``path`` with mount ``attributes`` added to all of them; returns its descriptor."""
    fd = _syscall(
        _OPEN_TREE,
        f"open_tree {path}",
        _AT_FDCWD,
        os.fsencode(path),
        _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE,
    )
    if attributes:
        try:
            _set_attributes(fd, attributes, recursive=True)
        except OSError:
            os.close(fd)
            raise
    return fd


def seal_mount(path: str, attributes: int) -> None:
    """Add mount ``attributes`` to the single mount at ``path``."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _set_attributes(fd, attributes, recursive=False)
    finally:
        os.close(fd)


def _set_attributes(fd: int, attributes: int, *, recursive: bool) -> None:
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    _syscall(_MOUNT_SETATTR, "mount_setattr", fd, b"", flags, packed, len(packed))


def attach_tree(fd: int, target: str) -> None:
    """Put a detached mount on ``target``."""
    _syscall(
        _MOVE_MOUNT,
        f"move_mount to {target}",
        fd,
        b"",
        _AT_FDCWD,
        os.fsencode(target),
        _MOVE_MOUNT_F_EMPTY_PATH,
    )


def new_filesystem(kind: str, options: dict[str, str | None], attributes: int) -> int:
    """A detached mount of a new filesystem, for ``attach_tree``; returns its descriptor.

    An option without a value is a flag.
    """
    context = _syscall(_FSOPEN, f"fsopen {kind}", kind.encode(), 1)
    try:
        for key, value in options.items():
            _syscall(
                _FSCONFIG,
                f"fsconfig {kind} {key}",
                context,
                _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING,
                key.encode(),
                None if value is None else value.encode(),
                0,
            )
        _syscall(_FSCONFIG, f"fsconfig {kind}", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall(_FSMOUNT, f"fsmount {kind}", context, 1, attributes)
    finally:
        os.close(context)


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """prctl(2) with up to two arguments."""
    return _check(_libc.prctl(option, first, second, 0, 0), f"prctl {option}")


def drop_bounding_set() -> None:
    """Take every capability out of the bounding set; needs CAP_SETPCAP."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() == 22:  # beyond the last capability this kernel knows
                return
            _check(-1, "prctl PR_CAPBSET_DROP")


def drop_capabilities() -> None:
    """Empty the effective, permitted, inheritable and ambient capability sets."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _syscall(_old_number("capset"), "capset", header, bytes(24))


def install_filter(program: bytes) -> None:
    """Install a seccomp filter (packed ``sock_filter`` instructions) on this thread for good."""
    descriptor = struct.pack("@HP", len(program) // 8, _address(program))
    prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _address(descriptor))


def _address(content: bytes) -> int:
    """Where ``content`` lies, for as long as it lives. A buffer of ctypes' own would need a type for its length first."""
    return ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value or 0


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    """ptrace(2) with numbers as arguments."""
    return _check(_libc.ptrace(request, pid, address, data), f"ptrace {request:#x}")


def system_call_of(pid: int) -> tuple[int, int]:
    """Where a traced process stopped: (1, number) before a system call, (2, its result) after one, else (0 or 3, ...)."""
    size = _libc.ptrace(
        _PTRACE_GET_SYSCALL_INFO, pid, len(_call_info), ctypes.addressof(_call_info)
    )
    _check(size, "ptrace GET_SYSCALL_INFO")
    where: int = _call_info.raw[0]
    value: int = struct.unpack_from("=q", _call_info.raw, 24)[0]
    return where, value


def close_from(lowest: int) -> None:
    """Close every descriptor from ``lowest`` on."""
    # Python 3.9 would try a million numbers one by one where the limit is that high.
    _syscall(_CLOSE_RANGE, "close_range", lowest, 0x7FFFFFFF, 0)


def landlock_abi() -> int:
    """The Landlock version of this kernel; 0 when it has none."""
    try:
        return _syscall(
            _LANDLOCK_CREATE_RULESET, "landlock", None, 0, _LANDLOCK_CREATE_RULESET_VERSION
        )
    except OSError:
        return 0
