"""Sandboxes in namespaces and control groups, forked from zygotes.

Works as root (each sandbox has a user id of its own on the host) and, with less separation between sandboxes, as a
user that may make user namespaces. Zygotes are started when first needed and again when they were lost.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forerun.aio import Awake, Clock, SystemClock, TaskOwner
from forerun.errors import NoSuchRuntime, SandboxDead, SetupFailed
from forerun.model import InitFailure, InitReport, SandboxSpec
from forerun.sandbox.api_dialogue import ApiDialogue
from forerun.sandbox.bytecode import SdkPacks, is_compiling, packs_of
from forerun.sandbox.cgroups import Groups, open_groups
from forerun.sandbox.connections import Connection
from forerun.sandbox.contract import (
    OnExit,
    OnLoaded,
    Pack,
    Sandbox,
    ServePlatform,
    TakeDatagram,
    unheard,
    unlearned,
)
from forerun.sandbox.dialogue import Dialogue, WireDialogue
from forerun.sandbox.environment import RUNTIME_API_PORT
from forerun.sandbox.interpreters import Interpreter, own_interpreter, runtimes_of
from forerun.sandbox.jail_body import JailBody, Machine, Uids
from forerun.sandbox.link import Link
from forerun.sandbox.live import LiveSandbox, Watch
from forerun.sandbox.network import OpenNetwork
from forerun.sandbox.nursery import SDK_PRELOAD, STANDARD_PRELOAD, Nursery
from forerun.sandbox.outgoing import MAX_CALLS
from forerun.sandbox.rootfs import host_resolvers, root_plan, sdk_packages, zygote_environment
from forerun.sandbox.templates import TemplateBody
from forerun.sandbox.zygotes import Zygote

READY_S = 20.0
CLOSE_S = 5.0
LAUNCHER = "launcher"
NODE_BOOTSTRAP = "/var/runtime/forerun/runtime/nodejs/bootstrap.mjs"


@dataclass(kw_only=True)
class JailSettings:
    """How jails are made.

    ``data_dir`` is the server's folder, which holds the mount point of the roots and, without root, must hold all
    code. ``uid_base`` is the first of the host user ids given to sandboxes. ``preload`` are modules that zygotes
    import. ``serve_platform`` takes over a socket inside each sandbox's network, port 4566; ``take_datagram`` gets what
    is sent to port 2000. ``max_calls`` is how many outgoing calls of one execution are kept. ``on_loaded`` hears what
    functions import.
    """

    data_dir: Path
    interpreters: Mapping[str, Interpreter]
    uid_base: int = 200_000
    preload: tuple[str, ...] = STANDARD_PRELOAD
    serve_platform: ServePlatform | None = None
    take_datagram: TakeDatagram | None = None
    max_calls: int = MAX_CALLS
    on_exit: OnExit = unheard
    on_loaded: OnLoaded = unlearned
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
        self.nursery = Nursery(self._make_zygote, settings.clock)
        self._sandboxes: dict[str, LiveSandbox] = {}
        self._bodies: dict[str, JailBody] = {}
        self._templates: dict[str, TemplateBody] = {}
        self._origins: dict[str, str] = {}
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
        return {info.name: info.pid for info in self.nursery.infos()}

    async def connections(self) -> list[Connection]:
        """The connections out of sandboxes with open egress; of some, when there are many: others the next time."""
        return await self._network.connections()

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
        return self.nursery.living(self._zygote_name(runtime)) is not None

    async def create(self, runtime: str) -> Sandbox:
        """See ``contract.Sandboxes``."""
        zygote = await self.nursery.get(self._zygote_name(runtime))
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
        self._origins[sandbox.id] = zygote.name
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
            Watch(
                self._settings.clock,
                self._owner,
                self._settings.on_exit,
                self._forget,
                self._loaded,
            ),
        )
        return sandbox, [theirs.detach(), prints]

    async def close(self) -> None:
        """See ``contract.Sandboxes``."""
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes.values())))
        await self._owner.drain(timeout_s=CLOSE_S)
        await self._owner.close()
        await self.nursery.close()
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
        self._origins.pop(sandbox.id, None)

    def _loaded(self, sandbox: Sandbox, spec: SandboxSpec, report: InitReport) -> None:
        origin = self._origins.get(sandbox.id)
        if origin is not None and not is_compiling(spec):
            self._settings.on_loaded(origin, spec, report)

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

    def _zygote_name(self, pool: str) -> str:
        """Whose sandboxes are for this pool: all that are no Python have one. Raises ``NoSuchRuntime``."""
        plain = pool.partition("@")[0].partition("+")[0]
        if plain not in self.runtimes():
            raise NoSuchRuntime(f"No interpreter for {plain} is installed on this machine.")
        return pool if plain.startswith("python") else LAUNCHER

    def _make_zygote(self, name: str, unfit: Container[str]) -> Zygote:
        """One to be started, with ``name`` a runtime, a runtime with the SDK, or ``LAUNCHER``."""
        runtime, _, _ = name.partition("+")
        if runtime == LAUNCHER:
            interpreter = own_interpreter()
            preload: tuple[str, ...] = ()
            nodes = [
                one
                for name, one in self._settings.interpreters.items()
                if name.startswith("nodejs")
            ]
            programs = [interpreter, *nodes]
        else:
            interpreter = self._settings.interpreters[runtime]
            preload = (*self._settings.preload, *(SDK_PRELOAD if name != runtime else ()))
            programs = [interpreter]
        plan = root_plan(programs, code_root=self._code_root, resolvers=host_resolvers())
        plan["binds"].append(self._sdk_packs.bind())
        of_sdk = self._sdk_packs.of(runtime)
        plan |= {
            "bytecode": [] if of_sdk is None else [[of_sdk.root, of_sdk.place]],
            "interpreter": str(interpreter.program),
            "environment": zygote_environment(),
            "mountpoint": str(self._mountpoint),
            "rootless": self._rootless,
            "preload": [module for module in preload if module not in unfit],
            "groups": [{"fd": -1, "write": dict(one.first)} for one in self.groups.parents],
            "statistics": self.groups.statistics(),
        }
        return Zygote(plan, [one.path for one in self.groups.parents])

    def _wire_dialogue(self, link: Link) -> Dialogue:
        return WireDialogue(link, self._awake, self._settings.clock, self._settings.max_calls)

    def _api_dialogue(self, link: Link) -> Dialogue:
        return ApiDialogue(link, self._settings.clock, self._settings.max_calls)
