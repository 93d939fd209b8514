"""The host's side of a zygote: starting it, asking it for forks, hearing of ends."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import forerun
from forerun.errors import SandboxDead, SetupFailed
from forerun.sandbox.endings import Exit

_START_S = 20.0
_FORK_S = 10.0
_END_S = 2.0
_MESSAGE = 65536
_SCRIPT = Path(forerun.__path__[0]) / "runtime" / "zygote.py"
_KILLED = Exit(signal.SIGKILL)


class Unfit(SetupFailed):
    """A zygote cannot be because of ``modules``, which have started threads."""

    def __init__(self, modules: list[str]) -> None:
        super().__init__(f"No zygote can import {', '.join(modules)}: threads were started.")
        self.modules = modules


@dataclass(frozen=True)
class Loaded:
    """What a zygote has imported: those it was asked for, with milliseconds and KiB; those it could not; all that came with them.

    ``kb`` is the memory that it shared with no other process then.
    """

    modules: Mapping[str, tuple[float, float]]
    unfit: frozenset[str]
    names: frozenset[str]
    kb: int


class Zygote:
    """One zygote process. ``start`` once, then ``fork`` any number of times, at the same time if need be.

    Or ``sprout`` another from it, which is started then. ``name`` is what its keeper calls it.
    """

    def __init__(self, plan: dict[str, Any], group_paths: list[Path]) -> None:
        self.name = ""
        self._plan = plan
        self._group_paths = group_paths
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Loaded] = self._loop.create_future()
        self._pid, self._pidfd = 0, -1
        self._forks: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._exits: dict[int, asyncio.Future[Exit]] = {}
        self._unsent: list[tuple[bytes, list[int]]] = []
        self._count = 0
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._control is not None and self._ready.done()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid if self._process is not None else self._pid

    @property
    def loaded(self) -> Loaded:
        """What it has imported, once it is started."""
        return self._ready.result()

    @property
    def living(self) -> int:
        """How many processes have been forked from it and have not ended, sprouts among them."""
        return len(self._exits)

    async def start(self) -> None:
        """Start the interpreter and wait until it has built its root and imported what it preloads.

        Raises ``SetupFailed`` with what it printed, ``Unfit`` for a module that cannot be preloaded.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in self._group_paths]
        for group, fd in zip(self._plan["groups"], fds, strict=True):
            group["fd"] = fd
        message = json.dumps(self._plan).encode()
        ours.settimeout(0)
        with tempfile.TemporaryFile() as errors:
            try:
                # A zygote is started once for each interpreter; starting it blocks for a millisecond.
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603
                    [
                        self._plan["interpreter"],
                        "-I",
                        "-S",
                        "-B",
                        _SCRIPT,
                        "build",
                        str(theirs.fileno()),
                    ],
                    # Signals meant for the server (Ctrl-C, a supervisor's) must not end calls in flight.
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={},
                    cwd="/",
                    pass_fds=[theirs.fileno(), *fds],
                )
            except OSError as error:
                ours.close()
                raise SetupFailed(f"Starting {self._plan['interpreter']}: {error}") from error
            finally:
                theirs.close()
                for fd in fds:
                    os.close(fd)
            for _ in ("build", "serve"):
                ours.send(message)
            self._listen(ours)
            try:
                async with asyncio.timeout(_START_S):
                    await asyncio.shield(self._ready)
            except Unfit:
                await self.close()
                raise
            except (TimeoutError, SandboxDead):
                await self.close()
                errors.seek(0)
                text = errors.read(4096).decode("utf-8", "replace").strip()
                last = text.splitlines()[-1] if text else "it did not answer in time"
                raise SetupFailed(
                    f"The zygote of {self._plan['interpreter']} did not start: {last}"
                ) from None

    async def sprout(self, modules: list[str]) -> Self:
        """Another zygote, forked from this one, that has imported ``modules`` too; it ends with this one.

        Raises ``SetupFailed``, and ``Unfit`` for a module that cannot be preloaded.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            request = {"preload": modules}
            pid, pidfd, _ = await self._ask("sprout", request, [theirs.fileno()])
            sprout = type(self)(self._plan, self._group_paths)
            sprout._pid, sprout._pidfd = pid, pidfd  # noqa: SLF001  of the same class
            control = socket.socket(fileno=ours.detach())
        control.settimeout(0)
        sprout._listen(control)  # noqa: SLF001
        try:
            async with asyncio.timeout(_START_S):
                await asyncio.shield(sprout._ready)  # noqa: SLF001
        except BaseException as error:
            await sprout.close()
            if isinstance(error, (TimeoutError, SandboxDead)):
                raise SetupFailed("A zygote did not import its modules in time.") from error
            raise
        return sprout

    async def fork(
        self, request: dict[str, Any], fds: list[int]
    ) -> tuple[int, int, "asyncio.Future[Exit]"]:
        """A new sandbox process: its process id, a pidfd that the caller closes, and its end.

        The caller closes ``fds`` too. Raises ``SetupFailed``.
        """
        return await self._ask("fork", request, fds)

    async def _ask(
        self, what: str, request: dict[str, Any], fds: list[int]
    ) -> tuple[int, int, "asyncio.Future[Exit]"]:
        """As ``fork``."""
        if self._control is None:
            raise SetupFailed("The zygote has ended.")
        self._count += 1
        number = self._count
        forked: asyncio.Future[tuple[int, int]] = self._loop.create_future()
        self._forks[number] = forked
        exit_ = self._exits[number] = self._loop.create_future()
        message = json.dumps({**request, what: number}).encode()
        try:
            async with asyncio.timeout(_FORK_S):
                await self._send(message, fds)
                pid, pidfd = await forked
        except TimeoutError:
            raise SetupFailed(f"The zygote did not fork within {_FORK_S:.0f} s.") from None
        finally:
            self._forks.pop(number, None)
        if self._plan["rootless"]:
            pid = pid_here(pidfd)
        return pid, pidfd, exit_

    async def close(self) -> None:
        """End the process; its sandboxes end with it."""
        self._lost()
        if self._pidfd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._process is not None:
            self._process.kill()
            deadline = self._loop.time() + _END_S
            while self._process.poll() is None and self._loop.time() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def _listen(self, control: socket.socket) -> None:
        self._control = control
        self._loop.add_reader(control, self._readable)

    async def _send(self, message: bytes, fds: list[int]) -> None:
        while self._control is not None:
            try:
                socket.send_fds(self._control, [message], fds)
            except BlockingIOError:
                # A burst of forks: the zygote takes them one after the other.
                await asyncio.sleep(0.002)
            except OSError as error:
                raise SetupFailed(f"The zygote does not listen: {error}") from error
            else:
                return
        raise SetupFailed("The zygote has ended.")

    def _readable(self) -> None:
        while self._control is not None:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 4)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._lost()
                return
            self._handle(json.loads(data), fds)

    def _handle(self, message: dict[str, Any], fds: list[int]) -> None:
        if "exited" in message:
            exit_ = Exit(message["status"], message.get("oom", 0), message.get("peak", 0))
            _settle(self._exits.pop(message["exited"], None), exit_)
        elif "forked" in message:
            waiter = self._forks.get(message["forked"])
            if waiter is not None and not waiter.done():
                waiter.set_result((message["pid"], fds.pop()))
        elif "failed" in message:
            self._exits.pop(message["failed"], None)
            waiter = self._forks.get(message["failed"])
            if waiter is not None and not waiter.done():
                waiter.set_exception(SetupFailed(f"Forking a sandbox: {message['error']}"))
        elif "ready" in message:
            _settle(self._ready, _read_loaded(message))
        elif "unfit" in message and not self._ready.done():
            self._ready.set_exception(Unfit(message["unfit"]))
            self._ready.exception()
        for fd in fds:
            # The process behind it was not wanted any more.
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)

    def _lost(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._control = None
        if not self._ready.done():
            self._ready.set_exception(SandboxDead())
            self._ready.exception()
        for waiter in self._forks.values():
            if not waiter.done():
                waiter.set_exception(SetupFailed("The zygote ended."))
        exits, self._exits = self._exits, {}
        for exit_ in exits.values():
            _settle(exit_, _KILLED)


def _read_loaded(message: dict[str, Any]) -> Loaded:
    return Loaded(
        {name: (ms, kb) for name, (ms, kb) in message["modules"].items()},
        frozenset(message["unfit"]),
        frozenset(message["loaded"]),
        message["kb"],
    )


def pid_here(pidfd: int) -> int:
    """The process id of a pidfd in this process's namespace; 0 when it has ended."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii").splitlines():
        if line.startswith("Pid:"):
            return max(0, int(line.split()[1]))
    return 0


def _settle(future: "asyncio.Future[Any] | None", result: object) -> None:
    if future is not None and not future.done():
        future.set_result(result)
