"""The first process of a template's sandbox: starts the template, makes the shells its copies live in, reaps.

It runs no user code and keeps its capabilities in its own user namespace, which the template shares without any. A
shell is a sandbox without a program: a first process in new mount, process, ipc, host name and network namespaces.
These belong to one more user namespace, made before any user code ran; only the template's user may enter it, and only
escorted (``forerun.runtime.escort``).

The pid namespaces of shells lie within the keeper's, so it stays until the last copy is gone, whatever happens to the
template. Copies are made one after the other. It talks with the host over a ``SOCK_SEQPACKET`` socket:

==============  ===================================================================================================
from the host   ``{"copy": n, "ports", "tmp_mb"}`` with descriptors [wire, output]; ``{"retire": true}``
to the host     ``{"copied": n}`` with [pidfd of the shell, pidfd of the copy, listening sockets ...],
                ``{"failed": n, "error"}``, ``{"exited": n, "status"}``
==============  ===================================================================================================
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
from pathlib import Path

from forerun.runtime import escort, jail, root, seccomp, syscalls, template, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

_MESSAGE = 65536
_COPY_S = 5.0
_IDLE_S = 0.005
_MAX_FDS = 16
_OOM_SCORE = "500"
_STRAY_ROUNDS = 20
_OWN = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWPID
)


def run(stream: wire.Stream, order: dict[str, Any]) -> NoReturn:
    """Turn into the keeper of ``order``'s function; the last descriptor that came with it leads to the host."""
    control = socket.socket(fileno=stream.fds.pop())
    jail.attach(order["mounts"], stream.fds)
    stream.fds = []
    Keeper(stream, control, order["assignment"]).run()


class _Copy:
    """The two processes of a copy as this process knows them; 0 for one that is gone."""

    def __init__(self, number: int, shell: int, main: int) -> None:
        self.number, self.shell, self.main = number, shell, main
        self.status = int(signal.SIGKILL)


class Keeper:
    """See the module."""

    def __init__(
        self, stream: wire.Stream, control: socket.socket, assignment: dict[str, Any]
    ) -> None:
        self._stream = stream
        self._control = control
        self._copies: dict[int, _Copy] = {}
        self._alarmed = False
        self._likely: dict[str, Any] | None = None
        self._spare: tuple[int, list[int]] | None = None
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, _noticed)
        signal.signal(signal.SIGALRM, self._alarm)
        self._wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._user_namespace = _new_user_namespace()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        self._line, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._template = os.fork()
        if self._template == 0:
            self._become_template(line, assignment)
        line.close()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number in (1, 2):
            os.dup2(null, number)
        gc.freeze()

    def _become_template(self, line: socket.socket, assignment: dict[str, Any]) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for fd in (self._user_namespace, self._wake, self._control.fileno()):
                os.close(fd)
            self._control.detach()
            self._line.close()
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
            # It ends before its keeper when memory is short.
            root.write("/proc/self/oom_score_adj", _OOM_SCORE)
            jail.renounce(seccomp.program(template=True))
            template.run(self._stream, assignment, line)
        finally:
            os._exit(1)

    def run(self) -> NoReturn:
        """Serve until the template and all copies are gone, or the host is."""
        control = self._control.fileno()
        while self._template or self._copies:
            readable, _, _ = select.select([control, self._wake], [], [], self._pause())
            if not readable:
                self._prepare_shell()
            if self._wake in readable:
                os.read(self._wake, 4096)
                self._reap()
            if control in readable:
                self._take_order()
        os._exit(0)

    def _pause(self) -> float | None:
        """How long to wait for work before making a shell ahead; for ever when there is one."""
        return _IDLE_S if self._likely is not None and self._spare is None else None

    def _take_order(self) -> None:
        message, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, _MAX_FDS)
        if not message:
            os._exit(0)
        order = json.loads(message)
        if "copy" in order:
            try:
                self._copy(order, fds)
            except (OSError, ValueError, escort.Strayed) as error:
                text = "%s: %s" % (type(error).__name__, error)
                self._tell({"failed": order["copy"], "error": text})
        else:
            self._end_template()
        for fd in fds:
            os.close(fd)

    def _copy(self, order: dict[str, Any], fds: list[int]) -> None:
        if not self._template:
            raise escort.Strayed("the template has ended")
        number = order["copy"]
        shell = 0
        try:
            with self._time_limit():
                shell, passed = self._take_shell(order)
                namespaces = passed[: len(template.NAMESPACES)]
                sockets = passed[len(template.NAMESPACES) :]
                try:
                    main = self._fork_template(namespaces, fds)
                    self._announce(number, shell, main, sockets)
                finally:
                    for fd in passed:
                        os.close(fd)
        except BaseException:
            if shell:
                _kill(shell)
            raise
        self._copies[number] = _Copy(number, shell, main)

    def _take_shell(self, order: dict[str, Any]) -> tuple[int, list[int]]:
        """The shell that waits, or else a new one."""
        self._likely = order
        spare, self._spare = self._spare, None
        return spare or self._make_shell(order["tmp_mb"], order["ports"])

    def _prepare_shell(self) -> None:
        """Make the next copy's shell while nobody waits; the next copy finds out if that fails."""
        if self._likely is None or self._spare is not None or not self._template:
            return
        order, self._likely = self._likely, None
        with contextlib.suppress(OSError, ValueError, escort.Strayed), self._time_limit():
            self._spare = self._make_shell(order["tmp_mb"], order["ports"])

    def _announce(self, number: int, shell: int, main: int, sockets: list[int]) -> None:
        pidfds: list[int] = []
        try:
            pidfds += (os.pidfd_open(pid) for pid in (shell, main))
            message = json.dumps({"copied": number}).encode()
            socket.send_fds(self._control, [message], pidfds + sockets)
        finally:
            for fd in pidfds:
                os.close(fd)

    def _make_shell(self, tmp_mb: int, ports: list[int]) -> tuple[int, list[int]]:
        """The first process of new namespaces: its process id, then descriptors of these and of its sockets."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            middle = os.fork()
            if middle == 0:
                try:
                    _make_namespaces(self._user_namespace, theirs, tmp_mb, ports)
                except BaseException as error:  # noqa: BLE001  the keeper is told, whatever it was
                    theirs.send(json.dumps({"error": str(error)}).encode())
                finally:
                    os._exit(1)
            theirs.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(middle, 0)
            return _hear_of_shell(ours)

    def _fork_template(self, namespaces: list[int], fds: list[int]) -> int:
        """Let the template fork and lead the child into ``namespaces``; the process id of what has arrived there."""
        gate, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with gate:
            with theirs:
                socket.send_fds(self._line, [b"copy"], [theirs.fileno(), *fds])
            pid = int(gate.recv(_MESSAGE))
            if pid in (0, 1) or _parent_of(pid) != self._template:
                raise escort.Strayed("the template names a stranger")
            try:
                escort.lead(pid, lambda: _hand(gate, namespaces))
                return int(gate.recv(_MESSAGE))
            except BaseException:
                _kill(pid)
                raise

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._template:
                self._template_ended(status)
            else:
                self._copy_ended(pid, status)

    def _copy_ended(self, pid: int, status: int) -> None:
        for copy in list(self._copies.values()):
            if pid == copy.main:
                copy.main, copy.status = 0, status
                if copy.shell:
                    _kill(copy.shell)
            elif pid == copy.shell:
                copy.shell = 0
            if not copy.main and not copy.shell:
                del self._copies[copy.number]
                self._tell({"exited": copy.number, "status": copy.status})

    def _template_ended(self, status: int) -> None:
        self._template = 0
        if self._spare is not None:
            _kill(self._spare[0])
        with contextlib.suppress(OSError, wire.WireClosed):
            report = json.dumps({"status": status}).encode()
            self._stream.send(wire.pack(wire.EXITED, report))
        self._stream.sock.close()
        self._end_strays()

    def _end_template(self) -> None:
        if self._template:
            _kill(self._template)

    def _end_strays(self) -> None:
        """What the template has started and left: everything here that is in no namespace of a copy."""
        for _ in range(_STRAY_ROUNDS):
            found = [pid for pid in _processes() if pid != os.getpid() and _depth(pid) == 1]
            if not found:
                return
            for pid in found:
                _kill(pid)
            self._reap()

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            os._exit(0)

    @contextlib.contextmanager
    def _time_limit(self) -> Iterator[None]:
        # Each stop of a traced process would interrupt this one.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        self._alarmed = True
        signal.setitimer(signal.ITIMER_REAL, _COPY_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._alarmed = False
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _alarm(self, number: int, frame: object) -> None:
        if self._alarmed:
            raise TimeoutError("a copy was not made within %.0f s" % _COPY_S)


def _noticed(number: int, frame: object) -> None:
    """The wakeup descriptor says it; the handler must only exist."""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _hear_of_shell(line: socket.socket) -> tuple[int, list[int]]:
    """Two say something, in any order: the process between says who the shell is, the shell that it is ready."""
    shell, passed, error = 0, list[int](), ""
    try:
        while not ((shell and passed) or error):
            message, fds, _, _ = socket.recv_fds(line, _MESSAGE, _MAX_FDS)
            told = json.loads(message or b'{"error": "the shell has ended"}')
            shell, passed = told.get("shell", shell), fds or passed
            error = told.get("error", "")
    finally:
        if shell and not passed:
            _kill(shell)
    if error:
        raise escort.Strayed(error)
    return shell, passed


def _hand(gate: socket.socket, fds: list[int]) -> None:
    socket.send_fds(gate, [b"enter"], fds)


def _new_user_namespace() -> int:
    """A user namespace within this one that maps the same user; its descriptor."""
    ours, theirs = socket.socketpair()
    with ours:
        pid = os.fork()
        if pid == 0:
            try:
                syscalls.unshare(syscalls.CLONE_NEWUSER)
                root.write_maps(jail.UID, jail.UID, jail.GID, jail.GID)
                fd = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
                socket.send_fds(theirs, [b"user"], [fd])
            finally:
                os._exit(0)
        theirs.close()
        _, fds, _, _ = socket.recv_fds(ours, _MESSAGE, 1)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    if not fds:
        raise OSError("no user namespace for copies could be made")
    return fds[0]


def _make_namespaces(
    user_namespace: int, line: socket.socket, tmp_mb: int, ports: list[int]
) -> NoReturn:
    """In a fork of the keeper: enter new namespaces; a fork of this one is their first process."""
    syscalls.setns(user_namespace, syscalls.CLONE_NEWUSER)
    syscalls.unshare(_OWN)
    pid = os.fork()
    if pid:
        line.send(json.dumps({"shell": pid}).encode())
        os._exit(0)
    # Orphans that end here are nobody's concern.
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    sockets = jail.nest(tmp_mb, ports)
    fds = [
        os.open("/proc/self/ns/" + name, os.O_RDONLY | os.O_CLOEXEC)
        for name, _ in template.NAMESPACES
    ]
    syscalls.drop_bounding_set()
    jail.renounce(seccomp.program())
    socket.send_fds(line, [b"{}"], [*fds, *(sock.fileno() for sock in sockets)])
    syscalls.close_from(3)
    while True:
        signal.pause()


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  names only


def _parent_of(pid: int) -> int:
    return int(_field(pid, "PPid") or 0)


def _depth(pid: int) -> int:
    """How many pid namespaces from this one down the process is in; 0 when it is gone."""
    return len(_field(pid, "NSpid").split())


def _field(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/%d/status" % pid).read_text("ascii", "replace").splitlines():
            if line.startswith(name + ":"):
                return line.partition(":")[2].strip()
    return ""
