"""The agent of a machine: carries out what the dispatcher decides.

It makes and destroys sandboxes in tasks of its own and runs calls in the caller's task. A call that finds an idle
sandbox starts no task, waits for nothing and takes no lock.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from forerun.aio import Clock, TaskOwner
from forerun.errors import NoSuchRuntime, SandboxDead, SetupFailed, Throttled
from forerun.host import subpools
from forerun.host.dispatch import Dispatcher
from forerun.host.evictor import Evictor
from forerun.host.face import HostStats, Run, SandboxInfo, Standing
from forerun.host.ledger import Ledger
from forerun.host.line import REASON, Ticket
from forerun.host.loading import Loader, still_ours
from forerun.host.machine import available_memory_mb, machine_memory_mb, sandbox_memory_mb
from forerun.host.personal import Personal
from forerun.host.preparing import Preparations
from forerun.host.replenish import RefillPolicy, Replenisher
from forerun.host.runs import COPIED, not_copied, not_loaded, run_in
from forerun.host.showing import sandboxes_of, stats_of
from forerun.host.slots import Slot, State, version_key
from forerun.host.templates import Templates
from forerun.host.upkeep import Upkeep
from forerun.host.works import Works
from forerun.model import (
    WITH_SDK,
    Call,
    Credentials,
    InitFailure,
    SandboxSpec,
    Standby,
    StartType,
    Timings,
)
from forerun.settings import AccountPool, HostSettings, SandboxSettings

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox, Sandboxes

log = logging.getLogger("forerun.host")

# Sandboxes hold credentials that last twelve hours; a call that begins before this ends before those.
LIFETIME_S = 11 * 3600.0
ATTEMPTS = 3


class HostAgent:
    """Implements ``Host`` on one machine. ``start`` before the first call, ``close`` at the end.

    ``credentials`` issues those of a new sandbox, or ``issue`` where another machine does; ``available_mb`` says what the machine has left; ``on_loaded`` is
    told of each code that was loaded; ``bring`` sees to it that a version's code is on this machine. The sandboxes belong to the agent: it starts and closes them, and whoever made
    them passes ``exited`` on to be told of sandboxes that end unasked.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        sandboxes: "Sandboxes",
        *,
        clock: Clock,
        settings: HostSettings | None = None,
        sandbox_settings: SandboxSettings | None = None,
        credentials: Callable[[SandboxSpec], Credentials | None] | None = None,
        issue: Callable[[SandboxSpec], Awaitable[Credentials | None]] | None = None,
        available_mb: Callable[[], int | None] = available_memory_mb,
        on_loaded: Callable[[SandboxSpec], None] | None = None,
        bring: Callable[[SandboxSpec], Awaitable[None]] | None = None,
        name: str = "local",
    ) -> None:
        self.name = name
        self._sandboxes = sandboxes
        self._clock = clock
        self._settings = settings = settings or HostSettings()
        self._timeouts = sandbox_settings or SandboxSettings()
        self._personal = Personal(clock, credentials, issue)
        self.running = self._personal.running
        self._dispatch: Dispatcher[Sandbox] = Dispatcher(
            ledger=Ledger(settings.memory_mb or sandbox_memory_mb(), settings.max_sandboxes),
            evictor=Evictor(min_s=settings.keep_alive_min_s, max_s=settings.keep_alive_max_s),
            replenisher=Replenisher(
                RefillPolicy(floor=settings.pool_min, ceiling=settings.pool_max)
            ),
            waiting_max=settings.waiting_calls,
            creations_max=settings.concurrent_creations,
            weigh=lambda sandbox: sandbox.memory_bytes(),
            lifetime_s=LIFETIME_S,
        )
        self._pool = self._dispatch.pool
        self._works = Works(
            name, sandboxes, self._dispatch, clock, create_s=2 * self._timeouts.start_timeout_s
        )
        self._templates = Templates(
            sandboxes,
            self._dispatch,
            self._works,
            clock,
            self._personal,
            init_s=self._timeouts.init_timeout_s,
            wait_s=settings.wait_s,
            bring=bring,
        )
        self._loader = Loader(
            self._dispatch,
            self._works,
            self._templates,
            self._personal,
            clock,
            init_s=self._timeouts.init_timeout_s,
            on_loaded=on_loaded,
            bring=bring,
        )
        self._preparations = Preparations(
            self._dispatch,
            self._works,
            self._templates,
            self._loader,
            clock,
            runs=lambda runtime: runtime in sandboxes.runtimes(),
            wait_s=settings.wait_s,
        )
        self._upkeep = Upkeep(
            self._dispatch,
            self._works,
            self._preparations,
            clock,
            available_mb=available_mb,
            floor_mb=int(machine_memory_mb() * settings.machine_floor_percent / 100),
        )
        self._timer = TaskOwner(f"host-{name}-timer")
        self._running = 0
        self._closing = False
        self._quiet = asyncio.Event()
        self._starts = dict.fromkeys(StartType, 0)

    async def start(self) -> None:
        """Start the sandboxes' machinery and the agent's timer. Raises ``SetupFailed``."""
        await self._sandboxes.start()
        for pool in AccountPool.read_all(self._settings.account_pools):
            try:
                self.hold_pool(pool.name, pool.floor, borrow=pool.borrow)
            except NoSuchRuntime as error:
                raise SetupFailed(f"host.account_pools: {error.message}") from None
        self._timer.spawn(self._upkeep.run(), name="upkeep")

    async def close(self, *, grace_s: float) -> None:
        """Take no more calls, let those in flight end for at most ``grace_s`` seconds, destroy every sandbox."""
        self._closing = True
        self._dispatch.close()
        if self._running:
            await self._wait_quiet(grace_s)
        for ticket in self._dispatch.line:
            self._works.act(self._dispatch.withdraw(ticket, _closing()))
        for slot in self._pool:
            if slot.state is not State.CREATING:
                self._works.act(self._dispatch.discard(slot))
        await self._timer.close()
        await self._works.close()
        await self._sandboxes.close()

    # -- calls ---------------------------------------------------------------------------------------------------

    async def run(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        """See ``Host.run``."""
        if self._closing:
            raise _closing()
        self._running += 1
        try:
            while (slot := self._pool.claim(spec.key)) is not None:
                start = StartType.WARM if slot.calls else slot.start
                timings.acquired = timings.loaded = self._clock.now()
                with contextlib.suppress(SandboxDead):
                    return await self._invoke(slot, start, spec, call, timings)
            return await self._run_in_new(spec, call, timings)
        finally:
            self._running -= 1
            if self._closing and not self._running:
                self._quiet.set()

    async def _run_in_new(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        """Nothing is idle and ready: take or make a sandbox; again when it died before it began."""
        attempt = 0
        while True:
            if (slot := await self._preparations.join(spec.key)) is not None:
                timings.acquired = timings.loaded = self._clock.now()
                with contextlib.suppress(SandboxDead):
                    return await self._invoke(slot, slot.start, spec, call, timings)
            if (failure := await self._templates.provide(spec)) is not None:
                timings.acquired = timings.loaded = self._clock.now()
                self._starts[StartType.ZYGOTE] += 1
                stream = self._personal.log_stream(spec)
                return not_copied(failure, self._sandboxes.isolation, stream)
            ticket, slot = await self._obtain(spec, call)
            timings.acquired = self._clock.now()
            init = None
            try:
                if slot.state is State.ASSIGNING:
                    attempt += 1
                    loaded = await self._loader.load(slot, spec)
                    timings.loaded = self._clock.now()
                    if isinstance(loaded, InitFailure):
                        self._starts[ticket.start] += 1
                        isolation = self._sandboxes.isolation
                        return not_loaded(loaded, ticket.start, slot, isolation)
                    init = loaded
                else:
                    still_ours(slot)
                    timings.loaded = timings.acquired
                run = await self._invoke(slot, ticket.start, spec, call, timings)
            except SandboxDead:
                if attempt >= ATTEMPTS or self._closing:
                    raise
                continue
            run.init = init
            if init is not None and init.restored:
                run.placement = COPIED
            if ticket.waited:
                run.placement += ", after a wait for memory"
            return run

    async def _invoke(
        self,
        slot: "Slot[Sandbox]",
        start: StartType,
        spec: SandboxSpec,
        call: Call,
        timings: Timings,
    ) -> Run:
        """Run the call in a sandbox that is ours, and give the sandbox back or up."""
        sandbox = slot.sandbox
        if sandbox is None:
            raise SandboxDead
        dispatch, monotonic = self._dispatch, self._clock.monotonic
        idle_mb_s = dispatch.called(slot, monotonic())
        timed_here = not call.deadline_ms
        if timed_here:
            call.deadline_ms = int((timings.loaded + spec.timeout_s) * 1000)
        if call.began is not None:
            call.began()
        self._personal.began(slot, call)
        try:
            outcome = await sandbox.invoke(call)
        except BaseException:
            if timed_here:
                call.deadline_ms = 0
            self._works.act(dispatch.discard(slot))
            raise
        finally:
            self._personal.ended(slot)
        now = monotonic()
        effects = dispatch.release(slot, now) if outcome.alive else dispatch.discard(slot)
        if effects:
            self._works.act(effects)
        # A sandbox that died in the call cannot say when the handler began.
        outcome.started = outcome.started or timings.loaded
        timings.started = outcome.started
        timings.ended = outcome.ended = outcome.ended or self._clock.now()
        self._starts[start] += 1
        return run_in(slot, sandbox, outcome, start, idle_mb_s)

    async def _obtain(self, spec: SandboxSpec, call: Call) -> "tuple[Ticket, Slot[Sandbox]]":
        """Ask for a sandbox and wait for it, at most as long as the settings and the call's own deadline allow."""
        self._check_runtime(spec.runtime)
        wait_s = min(self._settings.wait_s, call.wait_s or math.inf)
        if call.deadline_ms:
            wait_s = min(wait_s, call.deadline_ms / 1000 - self._clock.now())
        own = self._templates.pool(spec)
        while True:
            now = self._clock.monotonic()
            pool = self._dispatch.warming.source(spec.key, own, spec.account, now)
            ticket = Ticket(
                spec.key,
                pool,
                spec.memory_mb,
                now + wait_s,
                account=spec.account,
                impatient=call.wait_s == 0,
            )
            try:
                return ticket, await self._works.ask(ticket)
            except SetupFailed:
                # Its template is gone, or cannot be copied.
                if own == spec.pool:
                    raise
                own = spec.pool

    def _check_runtime(self, runtime: str) -> None:
        if runtime not in self._sandboxes.runtimes():
            raise NoSuchRuntime(f"this machine has no interpreter for {runtime}")

    # -- ahead of calls, and after them --------------------------------------------------------------------------

    async def take_snapshot(self, spec: SandboxSpec) -> None:
        """See ``Host.take_snapshot``."""
        self._check_runtime(spec.runtime)
        await self._templates.provide(spec)

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """See ``Host.stand_by``; a runtime this machine does not have is told by ``standing``."""
        if not self._closing:
            self._preparations.stand_by(spec, standby)

    def standing(self, key: str) -> Standing:
        """See ``Host.standing``."""
        return self._dispatch.holds.standing(key)

    def hold_pool(self, pool: str, floor: int, *, borrow: bool = True) -> None:
        """See ``Host.hold_pool``."""
        self._check_runtime(subpools.check(pool, floor))
        now = self._clock.monotonic()
        self._works.act(self._dispatch.hold_pool(pool, floor, now, borrow=borrow))

    def hold_ready(self, runtime: str) -> None:
        """See ``Host.hold_ready``; a runtime this machine does not have is ignored."""
        if runtime.removesuffix(WITH_SDK) in self._sandboxes.runtimes():
            self._works.act(self._dispatch.hold_ready(runtime, self._clock.monotonic()))

    def drop(self, outdated: Callable[[str], bool]) -> int:
        """See ``Host.drop``."""
        count, effects = self._dispatch.drop(
            lambda key: outdated(version_key(key)), self._clock.monotonic()
        )
        self._works.act(effects)
        return count

    def exited(self, sandbox: "Sandbox") -> None:
        """A sandbox ended unasked. One that works says so itself, by the outcome of its call or init."""
        slot = self._works.find(sandbox.id)
        if slot is not None and slot.state in (State.IDLE, State.POOLED):
            self._works.act(self._dispatch.died(slot, self._clock.monotonic()))

    def stats(self) -> HostStats:
        """See ``Host.stats``."""
        about = (self.name, self._sandboxes.isolation)
        now = self._clock.monotonic()
        return stats_of(about, self._dispatch, self._works, self._starts, now)

    def sandboxes(self) -> list[SandboxInfo]:
        """See ``Host.sandboxes``."""
        return sandboxes_of(self._dispatch, self._clock.monotonic())

    def idle(self) -> dict[str, int]:
        """How many sandboxes wait for a call, by the key of their version."""
        families = self._pool.families()
        return {
            one.key: one.idle for one in families if one.idle and one.key == version_key(one.key)
        }

    def is_idle(self, key: str) -> bool:
        """Whether one waits for a call of this version."""
        family = self._pool.family(key)
        return family is not None and family.idle > 0

    def standings(self) -> dict[str, Standing]:
        """Those of all versions that have a standby."""
        return self._dispatch.holds.standings()

    async def _wait_quiet(self, grace_s: float) -> None:
        quiet = self._timer.spawn(self._quiet.wait(), name="quiet")
        limit = self._timer.spawn(self._clock.sleep(grace_s), name="grace")
        await asyncio.wait({quiet, limit}, return_when=asyncio.FIRST_COMPLETED)
        quiet.cancel()
        limit.cancel()


def _closing() -> Throttled:
    return Throttled("this host is shutting down", reason=REASON)
