"""Sandboxes in namespaces and control groups, forked from zygotes.

Works as root (each sandbox has a user id of its own on the host) and, with less separation between sandboxes, as a
user that may make user namespaces. Zygotes are started when first needed and again when they were lost.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forerun.aio import Awake, Clock, SystemClock, TaskOwner
from forerun.errors import NoSuchRuntime, SandboxDead, SetupFailed
from forerun.model import WITH_SDK, InitFailure, InitReport, SandboxSpec
from forerun.sandbox.api_dialogue import ApiDialogue
from forerun.sandbox.bytecode import SdkPacks, packs_of
from forerun.sandbox.cgroups import Groups, open_groups
from forerun.sandbox.contract import (
    OnExit,
    Pack,
    Sandbox,
    ServePlatform,
    TakeDatagram,
    unheard,
)
from forerun.sandbox.dialogue import Dialogue, WireDialogue
from forerun.sandbox.environment import RUNTIME_API_PORT
from forerun.sandbox.interpreters import Interpreter, own_interpreter, runtimes_of
from forerun.sandbox.jail_body import JailBody, Machine, Uids
from forerun.sandbox.link import Link
from forerun.sandbox.live import LiveSandbox, Watch
from forerun.sandbox.network import OpenNetwork
from forerun.sandbox.outgoing import MAX_CALLS
from forerun.sandbox.rootfs import host_resolvers, root_plan, sdk_packages, zygote_environment
from forerun.sandbox.templates import TemplateBody
from forerun.sandbox.zygotes import Zygote

READY_S = 20.0
CLOSE_S = 5.0
NODE_BOOTSTRAP = "/var/runtime/forerun/runtime/nodejs/bootstrap.mjs"
# boto3 and what it loads late, when the first client is made.
SDK_PRELOAD = (
    "boto3",
    "boto3.session",
    "botocore.client",
    "botocore.endpoint",
    "botocore.handlers",
    "botocore.httpsession",
    "botocore.regions",
    "botocore.retries.standard",
    "botocore.session",
    "botocore.signers",
    "botocore.tokens",
    "s3transfer.manager",
)
STANDARD_PRELOAD = (
    "argparse",
    "base64",
    "collections",
    "concurrent.futures",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "email",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "http.client",
    "io",
    "json",
    "logging",
    "os",
    "random",
    "re",
    "socket",
    "ssl",
    "string",
    "struct",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "typing",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "zlib",
    # Compiles the code of strangers: nothing it imports may be taken from there.
    "forerun.runtime.compiling",
)


@dataclass(kw_only=True)
class JailSettings:
    """How jails are made.

    ``data_dir`` is the server's folder, which holds the mount point of the roots and, without root, must hold all
    code. ``uid_base`` is the first of the host user ids given to sandboxes. ``preload`` are modules that zygotes
    import. ``serve_platform`` takes over a socket inside each sandbox's network, port 4566; ``take_datagram`` gets what
    is sent to port 2000. ``max_calls`` is how many outgoing calls of one execution are kept.
    """

    data_dir: Path
    interpreters: Mapping[str, Interpreter]
    uid_base: int = 200_000
    preload: tuple[str, ...] = STANDARD_PRELOAD
    serve_platform: ServePlatform | None = None
    take_datagram: TakeDatagram | None = None
    max_calls: int = MAX_CALLS
    on_exit: OnExit = unheard
    clock: Clock = field(default_factory=SystemClock)


class JailSandboxes:
    """Implements ``contract.Sandboxes``."""

    isolation = "jail"
    snapshots = True

    def __init__(self, settings: JailSettings) -> None:
        self._settings = settings
        self._rootless = os.geteuid() != 0
        self._code_root = settings.data_dir if self._rootless else None
        self._groups: Groups | None = None
        self._uids = Uids(settings.uid_base)
        self._network = OpenNetwork()
        self._zygotes: dict[str, Zygote] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._sandboxes: dict[str, LiveSandbox] = {}
        self._bodies: dict[str, JailBody] = {}
        self._templates: dict[str, TemplateBody] = {}
        self._numbers = itertools.count(1)
        self._owner = TaskOwner(f"{self.isolation}-sandboxes")
        self._mountpoint = settings.data_dir / "run" / f"root-{os.getpid()}"
        self._sdk_packs = SdkPacks(settings.data_dir / "bytecode", sdk_packages())

    @property
    def groups(self) -> Groups:
        """The control groups in use."""
        if self._groups is None:
            raise SetupFailed("The sandboxes were not started.")
        return self._groups

    def zygote_pids(self) -> dict[str, int]:
        """The process ids of the zygotes, for those who look after the machine."""
        return {name: zygote.pid for name, zygote in self._zygotes.items() if zygote.alive}

    async def start(self) -> None:
        """Open the control groups, sweep what a killed server left, and see that jails can be made here."""
        self._groups = open_groups()
        self._awake = Awake()
        try:
            self._mountpoint.mkdir(parents=True, exist_ok=True)
            self._sdk_packs.start()
        except OSError as error:
            raise SetupFailed(f"Making {self._mountpoint}: {error}") from error

    def runtimes(self) -> Mapping[str, str]:
        """See ``contract.Sandboxes``."""
        return runtimes_of(self._settings.interpreters)

    def packs(self, spec: SandboxSpec) -> list[Pack]:
        """See ``contract.Sandboxes``."""
        found = packs_of(spec)
        if spec.uses_sdk or spec.layers_dir is not None:
            of_sdk = self._sdk_packs.of(spec.runtime)
            found += [of_sdk] if of_sdk is not None else []
        return found

    def ready(self, runtime: str) -> bool:
        """See ``contract.Sandboxes``."""
        zygote = self._zygotes.get(self._interpreter(runtime).runtime)
        return zygote is not None and zygote.alive

    async def create(self, runtime: str) -> Sandbox:
        """See ``contract.Sandboxes``."""
        zygote = await self._zygote(runtime)
        sandbox, ends = self._unborn(runtime)
        slot = self._uids.take()
        try:
            request = self._request(sandbox.id, runtime, slot)
            try:
                process = await zygote.fork(request, ends)
            finally:
                for fd in ends:
                    os.close(fd)
            body = JailBody(
                sandbox.id,
                process,
                machine=self._machine(),
                slot=slot,
            )
        except BaseException:
            self._uids.give_back(slot)
            await sandbox.destroy()
            raise
        sandbox.embody(body)
        self._bodies[sandbox.id] = body
        try:
            body.take_sockets(await sandbox.wait_ready(READY_S), request["ports"])
            if (api := body.runtime_api_socket()) is not None:
                await sandbox.open_dialogue(api)
        except BaseException:
            await sandbox.destroy()
            raise
        return sandbox

    async def snapshot(
        self, sandbox: Sandbox, spec: SandboxSpec, *, deadline: float
    ) -> InitReport | InitFailure:
        """See ``contract.Sandboxes``."""
        live, body = self._sandboxes.get(sandbox.id), self._bodies.get(sandbox.id)
        if live is None or body is None:
            raise SandboxDead
        template = self._templates[sandbox.id] = TemplateBody(body, self._machine(), self._owner)
        live.embody(template)
        result = await live.assign(spec, deadline=deadline)
        template.initialised()
        return result

    async def restore(self, template: Sandbox) -> Sandbox:
        """See ``contract.Sandboxes``."""
        origin = self._templates.get(template.id)
        if origin is None or not template.alive:
            raise SetupFailed("The snapshot is gone.")
        sandbox, ends = self._unborn(template.runtime)
        ports = self._machine().ports()
        try:
            try:
                body = await origin.copy(sandbox.id, ends, ports)
            finally:
                for fd in ends:
                    os.close(fd)
            sandbox.embody(body)
            await sandbox.wait_ready(READY_S)
        except BaseException:
            await sandbox.destroy()
            raise
        return sandbox

    def _unborn(self, runtime: str) -> tuple[LiveSandbox, list[int]]:
        """A sandbox without a body yet, and what its body needs: the far ends of its wire and its output."""
        name = f"s{os.getpid()}-{next(self._numbers)}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        printed, prints = os.pipe2(os.O_CLOEXEC)
        sandbox = self._sandboxes[name] = LiveSandbox(
            name,
            runtime,
            (ours, printed),
            self._wire_dialogue if runtime.startswith("python") else self._api_dialogue,
            Watch(self._settings.clock, self._owner, self._settings.on_exit, self._forget),
        )
        return sandbox, [theirs.detach(), prints]

    async def close(self) -> None:
        """See ``contract.Sandboxes``."""
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes.values())))
        await self._owner.drain(timeout_s=CLOSE_S)
        await self._owner.close()
        for zygote in self._zygotes.values():
            await zygote.close()
        self._zygotes.clear()
        await self._network.close()
        groups, self._groups = self._groups, None
        if groups is not None:
            groups.close()
        with contextlib.suppress(OSError):
            self._mountpoint.rmdir()

    def _machine(self) -> Machine:
        return Machine(
            groups=self.groups,
            uids=self._uids,
            network=self._network,
            code_root=self._code_root,
            serve_platform=self._settings.serve_platform,
            take_datagram=self._settings.take_datagram,
        )

    def _forget(self, sandbox: Sandbox) -> None:
        self._sandboxes.pop(sandbox.id, None)
        self._bodies.pop(sandbox.id, None)
        self._templates.pop(sandbox.id, None)

    def _request(self, name: str, runtime: str, slot: int) -> dict[str, Any]:
        uid = 0 if self._rootless else self._uids.number(slot)
        request: dict[str, Any] = {
            "name": name,
            "kind": "python",
            "uid": uid,
            "gid": uid,
            "ports": self._machine().ports(),
            "limit_processes": "pids" not in self.groups.controllers() and not self._rootless,
        }
        if not runtime.startswith("python"):
            request["kind"] = "exec"
            request["ports"].insert(0, RUNTIME_API_PORT)
        if runtime.startswith("nodejs"):
            program = self._settings.interpreters[runtime].program
            request["prestart"] = {
                "argv": [str(program), NODE_BOOTSTRAP],
                "environment": {
                    **zygote_environment(),
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{RUNTIME_API_PORT}",
                },
            }
        return request

    def _interpreter(self, runtime: str) -> Interpreter:
        """Whose zygote makes sandboxes of ``runtime``; it has that name, but for programs that are not Python."""
        plain = runtime.removesuffix(WITH_SDK)
        if plain not in self.runtimes():
            raise NoSuchRuntime(f"No interpreter for {plain} is installed on this machine.")
        if plain.startswith("python"):
            return replace(self._settings.interpreters[plain], runtime=runtime)
        own = own_interpreter()
        return Interpreter("launcher", own.program, own.prefix)

    async def _zygote(self, runtime: str) -> Zygote:
        interpreter = self._interpreter(runtime)
        name = interpreter.runtime
        async with self._starting.setdefault(name, asyncio.Lock()):
            zygote = self._zygotes.get(name)
            if zygote is None or not zygote.alive:
                if zygote is not None:
                    await zygote.close()
                zygote = Zygote(self._plan(interpreter), [one.path for one in self.groups.parents])
                await zygote.start()
                self._zygotes[name] = zygote
            return zygote

    def _plan(self, interpreter: Interpreter) -> dict[str, Any]:
        is_launcher = interpreter.runtime == "launcher"
        sdk = SDK_PRELOAD if interpreter.runtime.endswith(WITH_SDK) else ()
        programs = [interpreter]
        if is_launcher:
            programs += [
                one
                for name, one in self._settings.interpreters.items()
                if name.startswith("nodejs")
            ]
        plan = root_plan(programs, code_root=self._code_root, resolvers=host_resolvers())
        plan["binds"].append(self._sdk_packs.bind())
        of_sdk = self._sdk_packs.of(interpreter.runtime.removesuffix(WITH_SDK))
        return {
            **plan,
            "bytecode": [] if of_sdk is None else [[of_sdk.root, of_sdk.place]],
            "interpreter": str(interpreter.program),
            "environment": zygote_environment(),
            "mountpoint": str(self._mountpoint),
            "rootless": self._rootless,
            "preload": [] if is_launcher else [*self._settings.preload, *sdk],
            "groups": [{"fd": -1, "write": dict(one.first)} for one in self.groups.parents],
            "statistics": self.groups.statistics(),
        }

    def _wire_dialogue(self, link: Link) -> Dialogue:
        return WireDialogue(link, self._awake, self._settings.clock, self._settings.max_calls)

    def _api_dialogue(self, link: Link) -> Dialogue:
        return ApiDialogue(link, self._settings.clock, self._settings.max_calls)
