"""The process that sandboxes are forked from.

Started twice by the host: ``build`` runs outside, enters the read-only root and executes the same interpreter again in
it, so that nothing of the host (paths, environment, memory) is in the image that is forked; ``serve`` imports what
functions commonly need and then only forks, reaps and reports. It is single-threaded and runs no user code.

It talks to the host over one ``SOCK_SEQPACKET`` socket, one JSON object a message:

========================  =====================================================================================
from the host             ``{"fork": id, "name", "kind", ...}`` with descriptors [wire, output],
                          ``{"sprout": id, "preload": [module ...]}`` with descriptor [control socket]
to the host               ``{"ready": true, ...}`` with what ``preloading.load`` returns, or ``{"unfit": [module]}``;
                          ``{"forked": id, "pid": n}`` with descriptor [pidfd],
                          ``{"failed": id, "error": text}``, ``{"exited": id, "status": wait status, "oom", "peak"}``
========================  =====================================================================================

A sprout is a zygote that was forked from this one: it shares this one's memory, imports more modules, and is spoken to
over its own control socket. It ends with this one.

It ends with the host: by the parent-death signal, and when the socket closes.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from forerun.runtime import (
    bytecode,
    instrument,
    jail,
    keeper,
    launcher,
    preloading,
    python,
    rehearsal,
    root,
    seccomp,
    syscalls,
    wire,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_INSIDE = "/var/runtime/forerun/runtime/zygote.py"
_MESSAGE = 65536
_REMOVE_ATTEMPTS = 100
_REMOVE_EVERY = 0.01
_FIRST_SPARE_FD = 4
_IDLE_S = 0.02


def main(arguments: list[str]) -> None:
    """``build`` or ``serve``, then the number of the control descriptor."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    # One descriptor for each living sandbox, of which there may be thousands.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    control = socket.socket(fileno=int(arguments[1]))
    plan = json.loads(control.recv(_MESSAGE))
    if arguments[0] == "build":
        _build(control, plan)
    Zygote(control, plan).run()


def _build(control: socket.socket, plan: dict[str, Any]) -> NoReturn:
    root.enter(plan)
    control.set_inheritable(True)
    flags = ["-I", "-S", "-B", "-X", "utf8"]
    os.execve(  # noqa: S606  the point of it
        plan["interpreter"],
        [plan["interpreter"], *flags, _INSIDE, "serve", str(control.fileno())],
        plan["environment"],
    )


class Zygote:
    """Forks sandboxes on request and reports their end.

    ``plan``: ``bytecode`` (as in ``assignment``), ``preload`` (module names), ``groups``, ``statistics``.
    """

    def __init__(self, control: socket.socket, plan: dict[str, Any]) -> None:
        self._control = control
        self._rootless: bool = plan["rootless"]
        # [{"fd": parent directory, "write": {file: text}}], see jail.join_groups
        self._groups: list[dict[str, Any]] = plan["groups"]
        # what to read from which group at the end: {"peak": [group, file], "oom": [group, file, key]}
        self._statistics: dict[str, list[Any]] = plan["statistics"]
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._filter = seccomp.program()
        self._poll = select.epoll()
        self._children: dict[int, tuple[int, str, int]] = {}
        self._preload: list[str] = plan["preload"]
        bytecode.use(plan["bytecode"])

    def run(self) -> None:
        """Import what is to be preloaded, then serve until the host closes the socket."""
        try:
            report = preloading.load(self._preload)
        except preloading.Unfit as module:
            self._tell({"unfit": [str(module)]})
            return
        if self._preload:
            instrument.load()
            instrument.install()
            rehearsal.rehearse()
        gc.collect()
        gc.freeze()
        self._tell({"ready": True, **report})
        self._poll.register(self._control.fileno(), select.EPOLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._control.fileno():
                    self._reap(fd)
                elif not self._take_request():
                    return

    def _take_request(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 8)
        if not data:
            return False
        request = json.loads(data)
        number = request.get("fork") or request["sprout"]
        try:
            if "sprout" in request:
                self._sprout(request, fds)
            else:
                self._fork(request, fds)
        except OSError as error:
            self._tell({"failed": number, "error": str(error)})
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, request: dict[str, Any], fds: list[int]) -> None:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        try:
            # A sandbox seeds what it must when it has its function (``snapshots.refresh_numbers``).
            pid = syscalls.fork()
            if pid == 0:
                self._become(request, fds)
        finally:
            syscalls.setns(self._own_pids, syscalls.CLONE_NEWPID)
        self._bear(pid, request["name"], request["fork"])

    def _sprout(self, request: dict[str, Any], fds: list[int]) -> None:
        parent = os.getpid()
        pid = syscalls.fork()
        if pid:
            self._bear(pid, "", request["sprout"])
            return
        try:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                self._become_sprout(fds[0], request["preload"])
        finally:
            os._exit(1)

    def _become_sprout(self, control: int, preload: list[str]) -> None:
        for pidfd in self._children:
            os.close(pidfd)
        self._children = {}
        self._poll.close()
        self._poll = select.epoll()
        self._control.close()
        self._control = socket.socket(fileno=control)
        self._preload = preload
        self.run()

    def _bear(self, pid: int, name: str, number: int) -> None:
        """Take note of a child, and tell the host."""
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (pid, name, number)
        self._poll.register(pidfd, select.EPOLLIN)
        message = json.dumps({"forked": number, "pid": pid}).encode()
        socket.send_fds(self._control, [message], [pidfd])

    def _become(self, request: dict[str, Any], fds: list[int]) -> NoReturn:
        """The child: confine itself, wait for its function, and turn into it."""
        stream = None
        try:
            os.setsid()
            self._poll.close()
            self._control.close()
            stream = wire.Stream(socket.socket(fileno=_rearrange(fds, self._groups)))
            # These know the zygote's files, not what the descriptors are now; the runtime opens new ones.
            sys.stdout = sys.stderr = None
            jail.join_groups(self._groups, request["name"])
            request["rootless"] = self._rootless
            sockets = jail.confine(request)
            _run(stream, sockets, request, self._filter)
        except wire.WireClosed:
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  the host is told, whatever it was
            _fail(stream, error)
        os._exit(1)

    def _reap(self, pidfd: int) -> None:
        pid, name, number = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        report: dict[str, Any] = {"exited": number, "status": status}
        if not name:
            self._tell(report)
            return
        for label, (group, file, *key) in self._statistics.items():
            report[label] = self._read_number(group, f"{name}/{file}", *key)
        self._remove_groups(name)
        self._tell(report)

    def _read_number(self, group: int, path: str, key: str = "") -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._groups[group]["fd"])
        except OSError:
            return 0
        with os.fdopen(fd, encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[:-1] == ([key] if key else []):
                    return int(words[-1])
        return 0

    def _remove_groups(self, name: str) -> None:
        for group in self._groups:
            for _ in range(_REMOVE_ATTEMPTS):
                try:
                    os.rmdir(name, dir_fd=group["fd"])
                except FileNotFoundError:
                    break
                except OSError:
                    # The members are dead already; the kernel lets go of the last of them a little later.
                    select.select([], [], [], _REMOVE_EVERY)
                else:
                    break

    def _tell(self, message: dict[str, Any]) -> None:
        self._control.send(json.dumps(message).encode())


def _rearrange(fds: list[int], groups: list[dict[str, Any]]) -> int:
    """Descriptors of a sandbox: 0 null, 1 and 2 output, 3 wire, then the group directories; all others closed.

    Returns 3; the numbers in ``groups`` are changed to the new ones.
    """
    # First out of the way of the low numbers, then down to them.
    high = [_dup_high(fd) for fd in (fds[1], fds[1], fds[0], *(group["fd"] for group in groups))]
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    for number, fd in enumerate(high, start=1):
        os.dup2(fd, number, inheritable=number < 3)
    for number, group in enumerate(groups, start=_FIRST_SPARE_FD):
        group["fd"] = number
    syscalls.close_from(_FIRST_SPARE_FD + len(groups))
    return 3


def _dup_high(fd: int) -> int:
    """A copy of ``fd`` with a number far above the ones that are about to be arranged."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 32)


def _run(
    stream: wire.Stream,
    sockets: list[socket.socket],
    request: dict[str, Any],
    filter_program: bytes,
) -> NoReturn:
    socket.send_fds(stream.sock, [wire.pack(wire.READY)], [sock.fileno() for sock in sockets])
    for sock in sockets:
        sock.close()
    jail.bind(limit_processes=request["limit_processes"])
    if request["kind"] == "exec":
        launcher.run(stream, request.get("prestart"), filter_program)
    # Not while somebody waits: a sandbox that is made for a call gets its function at once.
    if not select.select([stream.sock.fileno()], [], [], _IDLE_S)[0]:
        rehearsal.rehearse()
    kind, body = stream.receive()
    if kind != wire.ASSIGN:
        raise wire.WireClosed("frame %d before ASSIGN" % kind)
    order = json.loads(body)
    if order["assignment"].get("template"):
        keeper.run(stream, order)
    jail.settle(order["mounts"], stream.fds, filter_program)
    stream.fds = []
    python.serve(stream, order["assignment"])


def _fail(stream: wire.Stream | None, error: BaseException) -> None:
    if stream is not None:
        try:
            stream.send(wire.pack(wire.FAILED, f"{type(error).__name__}: {error}".encode()))
        except (OSError, wire.WireClosed):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
