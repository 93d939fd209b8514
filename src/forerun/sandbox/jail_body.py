"""One jailed process tree: its limits, its measures, its sockets, and its end."""

import asyncio
import contextlib
import heapq
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forerun.aio import TaskOwner
from forerun.errors import SetupFailed
from forerun.model import Egress, SandboxSpec
from forerun.runtime import syscalls
from forerun.runtime.assignment import LAYERS_ROOT, TASK_ROOT
from forerun.runtime.jail import DAEMON_PORT
from forerun.runtime.wire import ASSIGN
from forerun.sandbox.bytecode import packs_of
from forerun.sandbox.cgroups import Groups
from forerun.sandbox.contract import ServePlatform, TakeDatagram
from forerun.sandbox.endings import Exit
from forerun.sandbox.environment import (
    DAEMON_ADDRESS,
    PLATFORM_PORT,
    RUNTIME_API_PORT,
    assignment_for,
)
from forerun.sandbox.network import OpenNetwork

_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_REMOVE_ATTEMPTS = 50
_REMOVE_EVERY_S = 0.01
_DATAGRAM = 65536
_DATAGRAMS_AT_ONCE = 16


class Uids:
    """Gives each sandbox a user id of its own on the host; the lowest free one first."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._free: list[int] = []
        self._next = 0

    def take(self) -> int:
        """A free slot."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, slot: int) -> None:
        """The sandbox of the slot and all its processes are gone."""
        heapq.heappush(self._free, slot)

    def number(self, slot: int) -> int:
        """The user (and group) id of a slot."""
        return self._base + slot


@dataclass(frozen=True)
class Machine:
    """What the jails of one server share. ``code_root`` is given without root only, and holds all code."""

    groups: Groups
    uids: Uids
    network: OpenNetwork
    code_root: Path | None
    serve_platform: ServePlatform | None
    take_datagram: TakeDatagram | None = None

    def ports(self) -> list[int]:
        """Where something of the platform's is to be found inside each sandbox."""
        ports = [PLATFORM_PORT] if self.serve_platform is not None else []
        return [*ports, DAEMON_PORT] if self.take_datagram is not None else ports


class JailBody:
    """Implements ``live.Body`` for a process forked by a zygote."""

    isolation = "jail"
    order = ASSIGN

    def __init__(
        self,
        name: str,
        process: tuple[int, int, "asyncio.Future[Exit]"],
        *,
        machine: Machine,
        slot: int,
    ) -> None:
        self.name = name
        self.pid, self._pidfd, self.exited = process
        self._groups = groups = machine.groups
        self._uids, self._slot = machine.uids, slot
        self._code_root = machine.code_root
        self._serve_platform = machine.serve_platform
        self._take_datagram = machine.take_datagram
        self.daemon = None if machine.take_datagram is None else DAEMON_ADDRESS
        self._network = machine.network
        self._sockets: dict[int, socket.socket] = {}
        self._watched: socket.socket | None = None
        self._daemon_socket: socket.socket | None = None
        self._owner = TaskOwner(name)
        self._stop_platform: Callable[[], None] | None = None
        self._now_file: Path | None = groups.memory_file(name)
        self._peak_file: Path | None = groups.peak_file(name)
        self._peak_fd = -1

    def take_sockets(self, fds: list[int], ports: list[int]) -> None:
        """The listening sockets from inside its network."""
        self._sockets = {
            port: socket.socket(fileno=fd) for port, fd in zip(ports, fds, strict=False)
        }

    def runtime_api_socket(self) -> socket.socket | None:
        """Where its program looks for the Runtime API; the caller takes it over."""
        return self._sockets.pop(RUNTIME_API_PORT, None)

    async def prepare(self, spec: SandboxSpec) -> tuple[bytes, list[int]]:
        """See ``live.Body``. Raises ``SetupFailed``."""
        await self.open_ways(spec)
        folders = {TASK_ROOT: spec.code_dir}
        if spec.layers_dir is not None:
            folders[LAYERS_ROOT] = spec.layers_dir
        packs = [pack for pack in packs_of(spec) if pack.is_there()]
        folders.update({pack.place: pack.file for pack in packs})
        sources: dict[str, str] = {}
        fds: list[int] = []
        try:
            for target, folder in folders.items():
                if self._code_root is None:
                    fds.append(syscalls.clone_tree(folder, _READ_ONLY))
                else:
                    sources[str(Path(folder).relative_to(self._code_root))] = target
        except (OSError, ValueError) as error:
            for fd in fds:
                os.close(fd)
            raise SetupFailed(f"Attaching {folder}: {error}") from error
        runtime_api = None if spec.runtime.startswith("python") else f"127.0.0.1:{RUNTIME_API_PORT}"
        assignment = assignment_for(spec, runtime_api=runtime_api, daemon=self.daemon)
        assignment["bytecode"] = [(pack.root, pack.place) for pack in packs]
        order: dict[str, Any] = {
            "mounts": {
                "targets": list(folders) if fds else [],
                "sources": sources,
                "hide_code": self._code_root is not None,
                "tmp_mb": spec.ephemeral_mb,
            },
            "assignment": assignment,
        }
        return json.dumps(order).encode(), fds

    async def open_ways(self, spec: SandboxSpec) -> None:
        """Let it reach what its egress allows. Raises ``SetupFailed``."""
        if spec.egress is Egress.OPEN:
            await self._network.connect(self.pid)
        # Who connects meanwhile is accepted then.
        asyncio.get_running_loop().call_soon(self._watch, spec)

    def limit(self, spec: SandboxSpec) -> None:
        """See ``live.Body``."""
        self._groups.limit(self.name, spec.memory_mb)

    def kill(self) -> None:
        """Kill the first process of its pid namespace; the kernel kills all others."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def memory_bytes(self) -> int:
        """Bytes charged to its control group; without one, of its first process."""
        if self._now_file is not None:
            try:
                return int(self._now_file.read_bytes())
            except (OSError, ValueError):
                return 0
        return resident_bytes(self.pid, "VmRSS")

    def peak_bytes(self) -> int:
        """The most it ever held."""
        if self._peak_file is None:
            return resident_bytes(self.pid, "VmHWM")
        try:
            if self._peak_fd < 0:
                self._peak_fd = os.open(self._peak_file, os.O_RDONLY | os.O_CLOEXEC)
            return int(os.pread(self._peak_fd, 32, 0))
        except (OSError, ValueError):
            return self.memory_bytes()

    async def dispose(self) -> None:
        """See ``live.Body``."""
        self._unwatch()
        self._network.forget(self.pid)
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        await self._owner.close()
        if self._stop_platform is not None:
            self._stop_platform()
            self._stop_platform = None
        for fd in (self._pidfd, self._peak_fd):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._peak_fd = -1
        # Its zygote has done this already, if it lives.
        for _ in range(_REMOVE_ATTEMPTS):
            if self._groups.remove(self.name):
                break
            await asyncio.sleep(_REMOVE_EVERY_S)
        if self._slot >= 0:
            self._uids.give_back(self._slot)
            self._slot = -1

    def _watch(self, spec: SandboxSpec) -> None:
        self._watch_platform(spec)
        sock = self._sockets.pop(DAEMON_PORT, None)
        if sock is not None and self._take_datagram is not None:
            sock.settimeout(0)
            self._daemon_socket = sock
            asyncio.get_running_loop().add_reader(
                sock, self._read_datagrams, sock, self._take_datagram, spec
            )

    @staticmethod
    def _read_datagrams(sock: socket.socket, take: TakeDatagram, spec: SandboxSpec) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data = sock.recv(_DATAGRAM)
            except OSError:
                return
            take(data, spec)

    def _watch_platform(self, spec: SandboxSpec) -> None:
        """Serve the platform's API inside from the first connection on: most functions never make one."""
        sock = self._sockets.pop(PLATFORM_PORT, None)
        if sock is None:
            return
        if spec.egress is Egress.NONE or self._serve_platform is None:
            sock.close()
            return
        self._watched = sock
        asyncio.get_running_loop().add_reader(sock, self._first_connection, spec)

    def _first_connection(self, spec: SandboxSpec) -> None:
        sock, self._watched = self._watched, None
        if sock is None or self._serve_platform is None:
            return
        asyncio.get_running_loop().remove_reader(sock)
        self._owner.spawn(self._serve(self._serve_platform, sock, spec), name="platform-api")

    async def _serve(self, serve: ServePlatform, sock: socket.socket, spec: SandboxSpec) -> None:
        self._stop_platform = await serve(sock, self.name, spec)

    def _unwatch(self) -> None:
        for sock in (self._watched, self._daemon_socket):
            if sock is not None:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()
        self._watched = self._daemon_socket = None


def resident_bytes(pid: int, field: str) -> int:
    """A memory field of ``/proc/PID/status`` (``VmRSS``, ``VmHWM``) in bytes; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
