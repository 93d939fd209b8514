"""Sandboxes that are plain processes: no isolation, for development on machines where no jail can be made.

The same runtime, limits of time and of open files, and an end that leaves no process behind; but the code runs with
the server's user, sees the machine's files and network, and its memory is bounded only roughly.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forerun
from forerun.aio import Awake, Clock, SystemClock, TaskOwner
from forerun.errors import NoSuchRuntime, SetupFailed
from forerun.model import WITH_SDK, InitFailure, InitReport, SandboxSpec
from forerun.runtime.descendants import kill_descendants
from forerun.runtime.wire import ASSIGN
from forerun.sandbox.api_dialogue import ApiDialogue
from forerun.sandbox.contract import OnExit, Pack, Sandbox, unheard
from forerun.sandbox.dialogue import Dialogue, WireDialogue
from forerun.sandbox.endings import Exit
from forerun.sandbox.environment import Folders, assignment_for
from forerun.sandbox.interpreters import Interpreter, own_interpreter, runtimes_of
from forerun.sandbox.jail_body import resident_bytes
from forerun.sandbox.link import Link
from forerun.sandbox.live import LiveSandbox, Watch
from forerun.sandbox.outgoing import MAX_CALLS
from forerun.sandbox.rootfs import sdk_packages

_RUNTIME = Path(forerun.__path__[0]) / "runtime"
_READY_S = 20.0
_SPARE_BYTES = 512 * 1024 * 1024
_MB = 1024 * 1024


@dataclass(kw_only=True)
class ProcessSettings:
    """``data_dir`` holds each sandbox's private folder; ``endpoint_url`` is where functions find the platform.

    ``daemon`` is the address that they send segments of traces to; ``max_calls`` is how many outgoing calls of one
    execution are kept.
    """

    data_dir: Path
    interpreters: Mapping[str, Interpreter]
    endpoint_url: str | None = None
    daemon: str | None = None
    max_calls: int = MAX_CALLS
    on_exit: OnExit = unheard
    clock: Clock = field(default_factory=SystemClock)


class ProcessSandboxes:
    """Implements ``contract.Sandboxes``."""

    isolation = "process"
    snapshots = False

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._folder = settings.data_dir / "run" / f"processes-{os.getpid()}"
        self._libraries = self._folder / "libraries"
        self._sandboxes: dict[str, LiveSandbox] = {}
        self._numbers = itertools.count(1)
        self._owner = TaskOwner(f"{self.isolation}-sandboxes")

    async def start(self) -> None:
        """Make the private folder, with the AWS SDK for functions in it."""
        self._awake = Awake()
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._libraries.mkdir(parents=True)
            for source in sdk_packages():
                (self._libraries / source.name).symlink_to(source)
        except OSError as error:
            raise SetupFailed(f"Preparing {self._folder}: {error}") from error

    def runtimes(self) -> Mapping[str, str]:
        """See ``contract.Sandboxes``."""
        return runtimes_of(self._settings.interpreters)

    def packs(self, spec: SandboxSpec) -> list[Pack]:
        """None: there is no jail in which a stranger's code could be compiled."""
        return []

    def ready(self, runtime: str) -> bool:
        """There are no zygotes here: each sandbox starts an interpreter."""
        if runtime.removesuffix(WITH_SDK) not in self.runtimes():
            raise NoSuchRuntime(f"No interpreter for {runtime} is installed on this machine.")
        return False

    async def create(self, runtime: str) -> Sandbox:
        """See ``contract.Sandboxes``."""
        runtime = runtime.removesuffix(WITH_SDK)
        self.ready(runtime)
        is_python = runtime.startswith("python")
        name = f"p{os.getpid()}-{next(self._numbers)}"
        own = self._settings.interpreters[runtime] if is_python else own_interpreter()
        ours, theirs = socket.socketpair()
        printed, prints = os.pipe2(os.O_CLOEXEC)
        sandbox = LiveSandbox(
            name,
            runtime,
            (ours, printed),
            self._wire_dialogue if is_python else self._api_dialogue,
            Watch(self._settings.clock, self._owner, self._settings.on_exit, self._forget),
        )
        self._sandboxes[name] = sandbox
        try:
            body = ProcessBody(self._folder / name, own, theirs.fileno(), prints)
        except OSError as error:
            await sandbox.destroy()
            raise SetupFailed(f"Starting {own.program}: {error}") from error
        finally:
            theirs.close()
            os.close(prints)
        sandbox.embody(body)
        try:
            if not is_python:
                body.runtime_api = await self._listen(sandbox)
                body.program = self._program(runtime)
            body.configure(self._libraries, self._settings)
            await sandbox.wait_ready(_READY_S)
        except BaseException:
            await sandbox.destroy()
            raise
        return sandbox

    async def snapshot(
        self, sandbox: Sandbox, spec: SandboxSpec, *, deadline: float
    ) -> InitReport | InitFailure:
        """See ``contract.Sandboxes``."""
        raise SetupFailed("Plain processes cannot be copied.")

    async def restore(self, template: Sandbox) -> Sandbox:
        """See ``contract.Sandboxes``."""
        raise SetupFailed("Plain processes cannot be copied.")

    async def close(self) -> None:
        """See ``contract.Sandboxes``."""
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes.values())))
        await self._owner.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _listen(self, sandbox: LiveSandbox) -> str:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await sandbox.open_dialogue(sock)
        return f"127.0.0.1:{port}"

    def _program(self, runtime: str) -> list[str] | None:
        if not runtime.startswith("nodejs"):
            return None
        node = self._settings.interpreters[runtime].program
        return [str(node), str(_RUNTIME / "nodejs" / "bootstrap.mjs")]

    def _wire_dialogue(self, link: Link) -> Dialogue:
        return WireDialogue(link, self._awake, self._settings.clock, self._settings.max_calls)

    def _api_dialogue(self, link: Link) -> Dialogue:
        return ApiDialogue(link, self._settings.clock, self._settings.max_calls)

    def _forget(self, sandbox: Sandbox) -> None:
        self._sandboxes.pop(sandbox.id, None)


class ProcessBody:
    """Implements ``live.Body`` for a supervised process; started by the constructor, which raises ``OSError``."""

    isolation = "process"
    order = ASSIGN

    def __init__(self, folder: Path, interpreter: Interpreter, wire_fd: int, prints: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._folder = folder
        self._tmp = folder / "tmp"
        self._tmp.mkdir(parents=True)
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self.runtime_api: str | None = None
        self.program: list[str] | None = None
        self._libraries = folder
        self._endpoint_url: str | None = None
        self._daemon: str | None = None
        self._process = subprocess.Popen(  # noqa: S603  an interpreter of this machine, our own file
            [
                interpreter.program,
                "-I",
                "-S",
                "-B",
                "-X",
                "utf8",
                _RUNTIME / "plain.py",
                str(wire_fd),
            ],
            stdin=subprocess.DEVNULL,
            stdout=prints,
            stderr=prints,
            env={},
            cwd="/",
            pass_fds=[wire_fd],
            start_new_session=True,
        )
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    def configure(self, libraries: Path, settings: ProcessSettings) -> None:
        """Where the AWS SDK and the platform are."""
        self._libraries = libraries
        self._endpoint_url = settings.endpoint_url
        self._daemon = settings.daemon

    async def prepare(self, spec: SandboxSpec) -> tuple[bytes, list[int]]:
        """See ``live.Body``."""
        if spec.isolation not in ("", self.isolation):
            raise SetupFailed(
                f"The function asks for isolation {spec.isolation!r}, which plain processes do not give: "
                "run the server as root, or remove the tag forerun:isolation."
            )
        assignment = assignment_for(
            spec,
            folders=Folders(
                spec.code_dir, spec.layers_dir or str(self._folder), str(self._libraries)
            ),
            endpoint_url=self._endpoint_url,
            runtime_api=self.runtime_api,
            daemon=self._daemon,
        )
        assignment["environment"].setdefault("TMPDIR", str(self._tmp))
        argv = self.program
        if not spec.runtime.startswith("python") and argv is None:
            argv = [self._bootstrap(spec)]
        order: dict[str, Any] = {
            "argv": argv,
            "data_bytes": spec.memory_mb * _MB + _SPARE_BYTES,
            "assignment": assignment,
        }
        return json.dumps(order).encode(), []

    def limit(self, spec: SandboxSpec) -> None:
        """The process limits itself, with what it was told."""

    def kill(self) -> None:
        """Kill everything below the supervisor, then the supervisor.

        It goes on meanwhile: were it stopped, it would stay for ever if this process ended just now.
        """
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                kill_descendants(self._process.pid)
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def memory_bytes(self) -> int:
        """Resident memory of the function's process."""
        return resident_bytes(self._child() or self._process.pid, "VmRSS")

    def peak_bytes(self) -> int:
        """The most its process ever held."""
        return resident_bytes(self._child() or self._process.pid, "VmHWM")

    async def dispose(self) -> None:
        """Remove the private folder."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        code = self._process.wait()
        if not self.exited.done():
            self.exited.set_result(Exit(-code if code < 0 else code << 8))

    def _child(self) -> int:
        pid = self._process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    @staticmethod
    def _bootstrap(spec: SandboxSpec) -> str:
        places = [Path(spec.code_dir, "bootstrap")]
        if spec.layers_dir is not None:
            places.append(Path(spec.layers_dir, "bootstrap"))
        return str(next((place for place in places if os.access(place, os.X_OK)), places[0]))
