"""A sandbox without isolation: an ordinary process of the server's user, for machines where no jail can be made.

Two processes: this one only supervises. It is the reaper of everything the function starts, so that all of it can be
found and ended, whatever sessions or daemons were made; the other one runs the function. It ends with the host.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from forerun.runtime import syscalls, wire
from forerun.runtime.descendants import kill_descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SET_CHILD_SUBREAPER = 36
_OPEN_FILES = 1024
_ASSIGNMENT_FD = 3


def main(descriptor: int) -> NoReturn:
    """Say READY, take the ASSIGN frame, start the function and supervise it."""
    syscalls.prctl(_SET_CHILD_SUBREAPER, 1)
    # Before the parent-death signal is asked for: it must find its handler.
    signal.signal(signal.SIGTERM, _end_all)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
    stream = wire.Stream(socket.socket(fileno=descriptor))
    stream.send(wire.pack(wire.READY))
    try:
        _, body = stream.receive(with_fds=False)
    except wire.WireClosed:
        os._exit(0)
    order = json.loads(body)
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(stream, order, supervisor)
    # The wire stays open here: its end tells the host that all is over.
    status = _wait(pid)
    kill_descendants(os.getpid())
    if os.WIFSIGNALED(status):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def _become(stream: wire.Stream, order: dict[str, Any], supervisor: int) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            # It ended before that was asked for.
            os._exit(127)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        if order["argv"] is not None:
            _execute(order["argv"], order["assignment"])
        data = order["data_bytes"]
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))
        # Loaded after the fork: the supervisor stays small.
        from forerun.runtime import python

        python.serve(stream, order["assignment"])
    except OSError as error:
        os.write(2, ("%s\n" % error).encode())
    os._exit(127)


def _execute(argv: list[str], assignment: dict[str, Any]) -> NoReturn:
    """Become a program; it finds its assignment on descriptor 3, as in a jail."""
    read, write = os.pipe()
    os.write(write, json.dumps(assignment).encode() + b"\n")
    os.dup2(read, _ASSIGNMENT_FD)
    # It may have had that number all along, closed on exec.
    os.set_inheritable(_ASSIGNMENT_FD, True)  # noqa: FBT003  takes no keyword
    syscalls.close_from(_ASSIGNMENT_FD + 1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.chdir(assignment["task_root"])
    os.execve(argv[0], argv, assignment["environment"])  # noqa: S606  the point of it


def _wait(pid: int) -> int:
    while True:
        found, status = os.waitpid(-1, 0)
        if found == pid:
            return status


def _end_all(number: int, frame: object) -> NoReturn:
    kill_descendants(os.getpid())
    os._exit(128 + number)


if __name__ == "__main__":
    main(int(sys.argv[1]))
