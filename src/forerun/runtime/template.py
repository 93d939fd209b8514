"""The user's process that SnapStart copies: one function initialised once, forked as often as sandboxes are needed.

The template runs the function's init and its hooks for before a snapshot, then waits on a line to its keeper
(``forerun.runtime.keeper``) and does nothing but fork. A copy is led into the namespaces of its own sandbox, takes its
own wire and output, says READY and continues as any Python sandbox does: RESTORE, then INVOKE.

Copies have what a snapshot has: memory, open files (with one position for all copies), and the environment. Not the
connections that were open: they are cut before the first copy, as they are on AWS. An event loop that was made during
init must be made anew after a restore, because copies would share what it waits on.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import stat
import warnings

from forerun.runtime import syscalls, wire
from forerun.runtime.python import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# In the order in which a copy enters them.
NAMESPACES = (
    ("user", syscalls.CLONE_NEWUSER),
    ("mnt", syscalls.CLONE_NEWNS),
    ("ipc", syscalls.CLONE_NEWIPC),
    ("uts", syscalls.CLONE_NEWUTS),
    ("net", syscalls.CLONE_NEWNET),
    ("pid", syscalls.CLONE_NEWPID),
)
_MESSAGE = 256
_GATE, _WIRE, _OUTPUT = range(3)


def run(stream: wire.Stream, assignment: dict[str, Any], line: socket.socket) -> NoReturn:
    """Initialise the function, report it (INITED), and fork a copy for each message with three descriptors on ``line``.

    The descriptors are the gate (to the keeper), the copy's wire and its output. Ends when the keeper is gone, or as
    ``python.serve`` does when init fails.
    """
    runtime = Runtime(stream, assignment)
    runtime.init()
    _cut_connections()
    gc.collect()
    gc.freeze()
    while True:
        message, fds, _, _ = socket.recv_fds(line, _MESSAGE, 3)
        if not message:
            os._exit(0)
        pid = _fork()
        if pid == 0:
            try:
                line.close()
                _become_copy(runtime, fds, assignment["task_root"])
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _become_copy(runtime: Runtime, fds: list[int], folder: str) -> NoReturn:
    gate = socket.socket(fileno=fds[_GATE])
    gate.send(str(os.getpid()).encode())
    message, namespaces, _, _ = socket.recv_fds(gate, _MESSAGE, len(NAMESPACES))
    if not message:
        os._exit(0)
    # From here to the loss of all capabilities this process is traced, and ended for any other system call.
    for fd, (_, kind) in zip(namespaces, NAMESPACES):  # noqa: B905  Python 3.9 has no strict
        syscalls.setns(fd, kind)
    syscalls.drop_bounding_set()
    syscalls.drop_capabilities()
    pid = _fork()
    if pid:
        # The copy's first process is the keeper's child from now on.
        gate.send(str(pid).encode())
        os._exit(0)
    gate.close()
    for fd in namespaces:
        os.close(fd)
    os.setsid()
    for number in (1, 2):
        os.dup2(fds[_OUTPUT], number)
    os.close(fds[_OUTPUT])
    os.chdir(folder)
    stream = wire.Stream(socket.socket(fileno=fds[_WIRE]))
    runtime.adopt(stream)
    stream.send(wire.pack(wire.READY))
    runtime.run()


def _fork() -> int:
    with warnings.catch_warnings():
        # Newer interpreters warn of threads, which libraries below Python may have and restart by themselves.
        warnings.simplefilter("ignore")
        return os.fork()


def _cut_connections() -> None:
    """End what is connected to another address: copies would talk into one connection."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  names only
        number = int(name)
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as sock:
                listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if sock.family != socket.AF_UNIX and not listens:
                    sock.shutdown(socket.SHUT_RDWR)
