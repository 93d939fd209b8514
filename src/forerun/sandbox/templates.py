"""The host's side of a SnapStart template: a sandbox that was initialised to be copied, and its copies.

A template is a sandbox like others until it is assigned; then its first process is a keeper
(``forerun.runtime.keeper``), which makes the copies. Copies outlive their template: when it goes while some of them
run, only the user's process ends, and the rest goes with the last copy.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass

from forerun.aio import TaskOwner
from forerun.errors import SetupFailed
from forerun.model import SandboxSpec
from forerun.runtime.wire import ASSIGN, RESTORE
from forerun.sandbox.cgroups import MB_PER_CPU
from forerun.sandbox.endings import Exit
from forerun.sandbox.environment import assignment_for
from forerun.sandbox.jail_body import JailBody, Machine
from forerun.sandbox.zygotes import pid_here

_COPY_S = 10.0
_END_S = 2.0
_MESSAGE = 65536
_MAX_FDS = 16
_KILLED = Exit(signal.SIGKILL)
# What is another in each copy.
_OWN_VARIABLES = (
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


@dataclass(frozen=True)
class _Forked:
    """What the keeper answered: pidfds of the copy's shell and of its program, and its sockets."""

    shell: int
    main: int
    sockets: list[int]


class TemplateBody:
    """Implements ``live.Body`` around the body of a sandbox that is about to become a template.

    ``exited`` says that the template will make no more copies; ``dispose`` leaves what copies need to a task of
    ``owner``.
    """

    isolation = "jail"
    order = ASSIGN

    def __init__(self, inner: JailBody, machine: Machine, owner: TaskOwner) -> None:
        self._inner = inner
        self._machine = machine
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self.spec: SandboxSpec | None = None
        self._control: socket.socket | None = None
        self._count = 0
        self._forks: dict[int, asyncio.Future[_Forked]] = {}
        self._copies: dict[int, asyncio.Future[Exit]] = {}
        inner.exited.add_done_callback(self._keeper_ended)

    async def prepare(self, spec: SandboxSpec) -> tuple[bytes, list[int]]:
        """See ``live.Body``: the assignment says that it is a template, and brings the keeper's socket."""
        order, fds = await self._inner.prepare(spec)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        self._control = ours
        self._loop.add_reader(ours, self._readable)
        self.spec = spec
        told = json.loads(order)
        told["assignment"]["template"] = True
        return json.dumps(told).encode(), [*fds, theirs.detach()]

    def limit(self, spec: SandboxSpec) -> None:
        """See ``live.Body``."""
        self._inner.limit(spec)

    def initialised(self) -> None:
        """From now on it only copies, which others wait for: at the speed of a processor, whatever the function's is.

        And the keeper, on which copies depend, must not end with it for lack of memory.
        """
        with contextlib.suppress(OSError):
            self._machine.groups.spare(self._inner.name)
            self._machine.groups.limit_cpu(self._inner.name, MB_PER_CPU)

    def kill(self) -> None:
        """End the template, and its keeper unless copies live."""
        if self._copies and self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(b'{"retire": true}')
            self._set_exited(_KILLED)
        else:
            self._inner.kill()

    def memory_bytes(self) -> int:
        """See ``live.Body``."""
        return self._inner.memory_bytes()

    def peak_bytes(self) -> int:
        """See ``live.Body``."""
        return self._inner.peak_bytes()

    async def dispose(self) -> None:
        """See ``live.Body``."""
        if self._inner.exited.done() or not self._copies:
            await self._dispose()
        else:
            self._owner.spawn(self._linger(), name=f"keeper-{self._inner.name}")

    async def copy(self, name: str, fds: list[int], ports: list[int]) -> "CopyBody":
        """A copy of the template in a sandbox ``name``, waiting. ``fds`` are its wire and its output; the caller closes them.

        Raises ``SetupFailed``.
        """
        spec, control = self.spec, self._control
        if spec is None or control is None or self.exited.done():
            raise SetupFailed("The template has ended.")
        self._count += 1
        number = self._count
        forked: asyncio.Future[_Forked] = self._loop.create_future()
        self._forks[number] = forked
        ended = self._copies[number] = self._loop.create_future()
        message = json.dumps({"copy": number, "tmp_mb": spec.ephemeral_mb, "ports": ports})
        try:
            self._machine.groups.make(name)
            self._machine.groups.limit(name, spec.memory_mb)
            async with asyncio.timeout(_COPY_S):
                socket.send_fds(control, [message.encode()], fds)
                made = await forked
        except (OSError, TimeoutError, SetupFailed) as error:
            self._copies.pop(number, None)
            self._machine.groups.remove(name)
            raise SetupFailed(f"Copying a template: {error or 'it took too long'}") from error
        finally:
            self._forks.pop(number, None)
        pid = pid_here(made.shell)
        try:
            for one in (pid, pid_here(made.main)):
                self._machine.groups.take_in(name, one)
        except OSError:
            signal.pidfd_send_signal(made.shell, signal.SIGKILL)
        finally:
            os.close(made.main)
        body = CopyBody(name, (pid, made.shell, ended), machine=self._machine, slot=-1)
        body.take_sockets(made.sockets, ports)
        return body

    async def _linger(self) -> None:
        await self._inner.exited
        await self._dispose()

    async def _dispose(self) -> None:
        self._close_control()
        self._inner.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.shield(self._inner.exited)
        await self._inner.dispose()

    def _readable(self) -> None:
        while self._control is not None:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, _MAX_FDS)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._close_control()
                return
            self._handle(json.loads(data), fds)

    def _handle(self, message: dict[str, int | str], fds: list[int]) -> None:
        if "exited" in message:
            ended = self._copies.pop(int(message["exited"]), None)
            if ended is not None and not ended.done():
                ended.set_result(Exit(int(message["status"])))
        elif "copied" in message:
            waiter = self._forks.get(int(message["copied"]))
            if waiter is not None and not waiter.done():
                waiter.set_result(_Forked(fds[0], fds[1], fds[2:]))
                return
            # Nobody wants it any more.
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(fds[0], signal.SIGKILL)
        elif "failed" in message:
            waiter = self._forks.get(int(message["failed"]))
            if waiter is not None and not waiter.done():
                waiter.set_exception(SetupFailed(str(message["error"])))
        for fd in fds:
            os.close(fd)

    def _keeper_ended(self, ended: "asyncio.Future[Exit]") -> None:
        self._readable()
        self._close_control()
        self._set_exited(ended.result())

    def _set_exited(self, how: Exit) -> None:
        if not self.exited.done():
            self.exited.set_result(how)

    def _close_control(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._control = None
        for waiter in self._forks.values():
            if not waiter.done():
                waiter.set_exception(SetupFailed("The template has ended."))
        copies, self._copies = self._copies, {}
        for ended in copies.values():
            if not ended.done():
                ended.set_result(_KILLED)


class CopyBody(JailBody):
    """A copy's body: its shell is what is killed, its group is the host's to make and to read."""

    order = RESTORE

    def __init__(
        self,
        name: str,
        process: "tuple[int, int, asyncio.Future[Exit]]",
        *,
        machine: Machine,
        slot: int,
    ) -> None:
        super().__init__(name, process, machine=machine, slot=slot)
        self._machine = machine
        ended = self.exited
        self.exited = ended.get_loop().create_future()
        ended.add_done_callback(self._measure)

    async def prepare(self, spec: SandboxSpec) -> tuple[bytes, list[int]]:
        """See ``live.Body``: what differs from the template."""
        await self.open_ways(spec)
        environment = assignment_for(spec)["environment"]
        own = {name: environment[name] for name in _OWN_VARIABLES if name in environment}
        return json.dumps({"environment": own, "log_stream": spec.log_stream}).encode(), []

    def limit(self, spec: SandboxSpec) -> None:
        """It has been limited before its first process came in."""

    def _measure(self, ended: "asyncio.Future[Exit]") -> None:
        oom = self._machine.groups.killed_for_memory(self.name)
        self.exited.set_result(Exit(ended.result().status, oom, self.peak_bytes()))
