"""Sandboxes without a machine: they keep the contract of ``forerun.sandbox`` and do what a test tells them.

Delays pass on a given clock; with all delays 0 everything is instant. Breaking the contract (two calls at once, a call
before its assignment, a second assignment, a call after destruction) is an ``AssertionError``.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping

from forerun.aio import Clock
from forerun.errors import NoSuchRuntime, SandboxDead, SetupFailed
from forerun.model import Call, InitFailure, InitReport, Outcome, SandboxSpec
from forerun.sandbox import Pack


class FakeSandbox:
    isolation = "fake"

    def __init__(self, factory: "FakeSandboxes", number: int, runtime: str) -> None:
        self.id = f"sbx-{number}"
        self.runtime = runtime
        self.spec: SandboxSpec | None = None
        self.origin: FakeSandbox | None = None
        self.calls: list[Call] = []
        self.alive = True
        self.destroyed = False
        self._factory = factory
        self._busy = False

    async def assign(self, spec: SandboxSpec, *, deadline: float) -> InitReport | InitFailure:
        assert self.spec is None, "assigned twice"
        if not self.alive:
            raise SandboxDead
        assert deadline > self._factory.clock.monotonic(), "no time to load"
        self.spec = spec
        await self._factory.delay(self._factory.init_s)
        if not self.alive:
            raise SandboxDead
        if spec.handler in self._factory.bad_handlers:
            self.alive = False
            return InitFailure(payload=b"{}", error_type="Runtime.ImportModuleError", duration_ms=1)
        if self.origin is not None:
            return InitReport(duration_ms=1, restored=True)
        return InitReport(duration_ms=self._factory.init_s * 1000)

    async def invoke(self, call: Call) -> Outcome:
        assert self.spec is not None, "called before it was assigned"
        assert not self._busy, "two calls at once"
        if not self.alive:
            raise SandboxDead
        self._busy = True
        self.calls.append(call)
        started = self._factory.clock.now()
        try:
            if gate := self._factory.gates.get(call.request_id):
                await gate.wait()
            await self._factory.delay(self._factory.run_s)
            return self._factory.answer(self, call, started)
        finally:
            self._busy = False

    def die(self, *, silently: bool = False) -> None:
        """End unasked."""
        self.alive = False
        if self._factory.on_exit is not None and not silently:
            self._factory.on_exit(self)

    def memory_bytes(self) -> int:
        return 4 << 20 if self.alive else 0

    async def destroy(self) -> None:
        self.alive = False
        await self._factory.delay(self._factory.destroy_s)
        self.destroyed = True


class FakeSandboxes:
    """Implements ``Sandboxes``. ``gates`` hold calls by request id; ``lethal`` ones end the sandbox they run in."""

    isolation = "fake"
    snapshots = True

    def __init__(
        self,
        clock: Clock,
        *,
        create_s: float = 0.0,
        init_s: float = 0.0,
        run_s: float = 0.0,
        destroy_s: float = 0.0,
    ) -> None:
        self.clock = clock
        self.create_s, self.init_s, self.run_s, self.destroy_s = create_s, init_s, run_s, destroy_s
        self.gates: dict[str, asyncio.Event] = {}
        self.lethal: set[str] = set()
        self.bad_handlers: set[str] = set()
        self.create_errors: list[Exception] = []
        self.restore_errors: list[Exception] = []
        self.unfit_handlers: set[str] = set()
        self.made: list[FakeSandbox] = []
        self.zygotes: set[str] = set()
        self.creating = 0
        self.creating_max = 0
        self.started = self.closed = False
        self.on_exit: Callable[[FakeSandbox], None] | None = None
        self._numbers = itertools.count(1)

    async def delay(self, seconds: float) -> None:
        if seconds:
            await self.clock.sleep(seconds)

    def answer(self, sandbox: FakeSandbox, call: Call, started: float) -> Outcome:
        if call.request_id in self.lethal:
            sandbox.alive = False
        alive = sandbox.alive
        return Outcome(
            payload=call.payload,
            error=None if alive else "Unhandled",
            status="success" if alive else "error",
            alive=alive,
            started=started,
            ended=self.clock.now(),
            max_memory_mb=12,
        )

    async def start(self) -> None:
        self.started = True

    def runtimes(self) -> Mapping[str, str]:
        return {"python3.11": "/usr/bin/python3.11", "python3.12": "/usr/bin/python3.12"}

    def packs(self, spec: SandboxSpec) -> list[Pack]:
        return []

    def ready(self, runtime: str) -> bool:
        return runtime in self.zygotes

    async def snapshot(
        self, sandbox: FakeSandbox, spec: SandboxSpec, *, deadline: float
    ) -> InitReport | InitFailure:
        if spec.handler in self.unfit_handlers:
            return InitFailure(payload=b"{}", error_type="Runtime.NoSnapshot", duration_ms=1)
        return await sandbox.assign(spec, deadline=deadline)

    async def restore(self, template: FakeSandbox) -> FakeSandbox:
        assert template.spec is not None, "copied before it was assigned"
        assert not template.destroyed, "copied after its end"
        if self.restore_errors:
            raise self.restore_errors.pop(0)
        made = FakeSandbox(self, next(self._numbers), template.runtime)
        made.origin = template
        self.made.append(made)
        return made

    async def create(self, runtime: str) -> FakeSandbox:
        if runtime not in self.runtimes():
            raise NoSuchRuntime
        self.creating += 1
        self.creating_max = max(self.creating_max, self.creating)
        try:
            await self.delay(self.create_s)
        finally:
            self.creating -= 1
        if self.create_errors:
            raise self.create_errors.pop(0)
        self.zygotes.add(runtime)
        sandbox = FakeSandbox(self, next(self._numbers), runtime)
        self.made.append(sandbox)
        return sandbox

    async def close(self) -> None:
        left = [sandbox.id for sandbox in self.made if not sandbox.destroyed]
        if left:
            raise SetupFailed(f"left behind: {left}")
        self.closed = True

    @property
    def living(self) -> list[FakeSandbox]:
        """Those not destroyed."""
        return [sandbox for sandbox in self.made if not sandbox.destroyed]
