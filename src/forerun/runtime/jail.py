"""What a forked process does to become a sandbox: `confine`, `bind` and then, once it has its function, `settle`.

Between the two the process holds capabilities in its own user namespace and waits. `settle` gives up everything; no
byte of user code is read before it has returned. The user namespace maps a single user and group, never 0, so that
nothing inside can regain privileges.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import struct

from forerun.runtime import root, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UID, GID = 993, 990
HIDDEN_CODE = "/.code"
DAEMON_PORT = 2000
"""Where programs send segments of traces, as datagrams; all other ports are TCP's."""

_TMP_ATTRIBUTES = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CHUNK = 1 << 20
_TMP_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV
_CODE_ATTRIBUTES = (
    syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
)
_PROC_ATTRIBUTES = (
    syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
)
_NAMESPACES = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWNET
)
_OPEN_FILES = 1024
_PROCESSES = 1024
_TMP = "/tmp"  # noqa: S108  the sandbox's own
_POOLED_TMP = "size=64k,mode=1777"
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


def join_groups(groups: list[dict[str, Any]], name: str) -> None:
    """Make the control group ``name`` under each parent, write its first limits, and move this process in.

    A group: ``fd`` (the parent directory), ``write`` (file -> text). The descriptors are closed.
    """
    for group in groups:
        os.mkdir(name, 0o755, dir_fd=group["fd"])
        for file, text in group["write"].items():
            write_at(group["fd"], f"{name}/{file}", text)
        write_at(group["fd"], f"{name}/cgroup.procs", "0")
        os.close(group["fd"])


def write_at(directory: int, path: str, text: str) -> None:
    """Write a kernel file below an open directory."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def confine(request: dict[str, Any]) -> list[socket.socket]:
    """Leave everything shared with other sandboxes; this process is already the first of its pid namespace.

    ``request``: ``uid`` and ``gid`` on the host (as the zygote's user namespace numbers them), ``ports`` to listen on
    at 127.0.0.1 inside, ``rootless``. Returns the sockets; `bind` is to follow. Raises ``OSError``.
    """
    proc = syscalls.new_filesystem("proc", {}, _PROC_ATTRIBUTES)
    if not request["rootless"]:
        os.setgroups([])
        os.setresgid(*(request["gid"],) * 3)
        os.setresuid(*(request["uid"],) * 3)
        # The change of user made /proc/self root's; its maps are written next.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    syscalls.unshare(_NAMESPACES)
    syscalls.attach_tree(proc, "/proc")
    os.close(proc)
    root.write_maps(UID, request["uid"], GID, request["gid"])
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    _loopback_up()
    return [_open(port) for port in request["ports"]]


def bind(*, limit_processes: bool) -> None:
    """The rest of `confine`, for which nobody has to wait: /tmp, and what keeps this process from gaining anything.

    Raises ``OSError``.
    """
    syscalls.mount("tmpfs", _TMP, "tmpfs", _TMP_FLAGS, _POOLED_TMP)
    socket.sethostname("localhost")
    syscalls.drop_bounding_set()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    _limit(limit_processes=limit_processes)


def nest(tmp_mb: int, ports: list[int]) -> list[socket.socket]:
    """Make this process, the first in namespaces that are new but for the user's, a sandbox with the files of another.

    Its own are ``/proc``, ``/tmp`` of ``tmp_mb`` MiB with what the other's holds now, and the network with listening
    sockets at ``ports``, which are returned. Raises ``OSError``.
    """
    tmp = syscalls.new_filesystem("tmpfs", {**_tmp_size(tmp_mb), "mode": "1777"}, _TMP_ATTRIBUTES)
    copy_files(os.open(_TMP, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), tmp)
    proc = syscalls.new_filesystem("proc", {}, _PROC_ATTRIBUTES)
    for fd, place in ((tmp, _TMP), (proc, "/proc")):
        syscalls.attach_tree(fd, place)
        os.close(fd)
    socket.sethostname("localhost")
    _loopback_up()
    return [_open(port) for port in ports]


def copy_files(source: int, target: int) -> None:
    """Copy the folder that is open as ``source`` into ``target``: files, folders and links. ``source`` is closed."""
    with os.scandir(source) as entries:
        for entry in entries:
            name, mode = entry.name, entry.stat(follow_symlinks=False).st_mode & 0o777
            if entry.is_symlink():
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            elif entry.is_dir(follow_symlinks=False):
                os.mkdir(name, 0o700, dir_fd=target)
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=target)
                copy_files(os.open(name, _FOLDER, dir_fd=source), inner)
                os.fchmod(inner, mode)
                os.close(inner)
            elif entry.is_file(follow_symlinks=False):
                _copy_file(name, mode, source, target)
    os.close(source)


def _copy_file(name: str, mode: int, source: int, target: int) -> None:
    reader = os.open(name, _FILE, dir_fd=source)
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=target)
    try:
        while os.sendfile(writer, reader, None, _CHUNK):
            pass
        os.fchmod(writer, mode)
    finally:
        os.close(reader)
        os.close(writer)


def attach(mounts: dict[str, Any], fds: list[int]) -> None:
    """Put the function's files where it expects them and give /tmp its size.

    ``mounts``: ``targets`` (paths inside, one for each descriptor in ``fds``), ``sources`` (path below the hidden code
    directory -> path inside; only without root), ``tmp_mb``. The descriptors are closed. Raises ``OSError``.
    """
    for fd, target in zip(fds, mounts["targets"]):  # noqa: B905  Python 3.9 has no strict
        syscalls.attach_tree(fd, target)
        os.close(fd)
    for source, target in mounts["sources"].items():
        tree = syscalls.clone_tree(f"{HIDDEN_CODE}/{source}", _CODE_ATTRIBUTES)
        syscalls.attach_tree(tree, target)
        os.close(tree)
    if mounts["hide_code"]:
        syscalls.mount("none", HIDDEN_CODE, "tmpfs", syscalls.MS_RDONLY, "size=4k,mode=555")
    syscalls.mount(
        "none",
        _TMP,
        "",
        _TMP_FLAGS | syscalls.MS_REMOUNT,
        ",".join("%s=%s" % pair for pair in _tmp_size(mounts["tmp_mb"]).items()),
    )


def _tmp_size(tmp_mb: int) -> dict[str, str | None]:
    return {"size": "%dm" % tmp_mb, "nr_inodes": str(tmp_mb * 256)}


def renounce(filter_program: bytes) -> None:
    """Give up all capabilities and the system calls of the filter, for this process and all it starts."""
    syscalls.drop_capabilities()
    syscalls.install_filter(filter_program)


def settle(mounts: dict[str, Any], fds: list[int], filter_program: bytes) -> None:
    """`attach`, then `renounce`: what follows may be user code."""
    attach(mounts, fds)
    renounce(filter_program)
    os.chdir("/var/task")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _GET_FLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack_from("16sH", answer)[1] | _UP
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sH22x", b"lo", flags))


def _open(port: int) -> socket.socket:
    if port == DAEMON_PORT:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", port))
        return sock
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(128)
    return sock


def _limit(*, limit_processes: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    if limit_processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
