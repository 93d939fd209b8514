"""The first process of a sandbox whose function is a program of its own: Node.js, or a custom runtime's ``bootstrap``.

It stays small and idle: it puts the function's files in place, starts the program without any privilege, reaps
orphans, and tells the host how the program ended. Node is started before its function is known, because its start
takes longer than everything else: it waits on descriptor 3 for one line of JSON, the assignment.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from pathlib import Path

from forerun.runtime import jail, syscalls, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_BOOTSTRAPS = ("/var/task/bootstrap", "/opt/bootstrap")
_ASSIGNMENT_FD = 3
# The program dies before its launcher when memory is short, so that the end can be told.
_OOM_SCORE = "500"


def run(stream: wire.Stream, prestart: dict[str, Any] | None, filter_program: bytes) -> NoReturn:
    """Serve one assignment; ends the process (and with it the sandbox) when the program or the host is gone.

    ``prestart`` (``argv``, ``environment``) starts a program now; without it ``bootstrap`` is started once assigned.
    """
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, _noticed)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    pid = 0
    line = None
    if prestart is not None:
        ours, line = socket.socketpair()
        pid = _start(prestart["argv"], prestart["environment"], filter_program, ours)
        ours.close()
    order = _await_order(stream, wake_read, pid)
    jail.attach(order["mounts"], stream.fds)
    stream.fds = []
    if line is not None:
        line.sendall(json.dumps(order["assignment"]).encode() + b"\n")
        line.close()
        jail.renounce(filter_program)
    else:
        pid = _start_bootstrap(stream, order["assignment"], filter_program)
    _attend(stream, wake_read, pid)


def _noticed(number: int, frame: object) -> None:
    """The wakeup descriptor says it; the handler must only exist."""


def _await_order(stream: wire.Stream, wake: int, pid: int) -> dict[str, Any]:
    while True:
        readable, _, _ = select.select([stream.sock.fileno(), wake], [], [])
        if wake in readable:
            _reap(stream, wake, pid)
        if stream.sock.fileno() in readable:
            kind, body = stream.receive()
            if kind != wire.ASSIGN:
                raise wire.WireClosed("frame %d before ASSIGN" % kind)
            order: dict[str, Any] = json.loads(body)
            return order


def _start_bootstrap(stream: wire.Stream, assignment: dict[str, Any], filter_program: bytes) -> int:
    jail.renounce(filter_program)
    for path in _BOOTSTRAPS:
        if os.access(path, os.X_OK) and Path(path).is_file():
            return _start([path], assignment["environment"], None, None)
    return _tell_exit(stream, {"error": "Runtime.InvalidEntrypoint"})


def _start(
    argv: list[str],
    environment: dict[str, str],
    filter_program: bytes | None,
    line: socket.socket | None,
) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        _prefer_for_oom()
        if line is not None:
            os.dup2(line.fileno(), _ASSIGNMENT_FD)
        syscalls.close_from(_ASSIGNMENT_FD + (line is not None))
        if filter_program is not None:
            jail.renounce(filter_program)
        os.chdir("/var/task")
        os.execve(argv[0], argv, environment)  # noqa: S606  the point of it
    except OSError as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
    os._exit(127)


def _prefer_for_oom() -> None:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def _attend(stream: wire.Stream, wake: int, pid: int) -> NoReturn:
    os.chdir("/")
    while True:
        readable, _, _ = select.select([stream.sock.fileno(), wake], [], [])
        if wake in readable:
            _reap(stream, wake, pid)
        if stream.sock.fileno() in readable:
            stream.receive()


def _reap(stream: wire.Stream, wake: int, pid: int) -> None:
    """Collect the dead; when the program is among them, tell the host and end."""
    os.read(wake, 4096)
    while True:
        try:
            found, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if found == 0:
            return
        if found == pid:
            _tell_exit(stream, {"status": status})


def _tell_exit(stream: wire.Stream, report: dict[str, Any]) -> NoReturn:
    stream.send(wire.pack(wire.EXITED, json.dumps(report).encode()))
    os._exit(0)
