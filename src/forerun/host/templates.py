"""SnapStart on a host: one initialised sandbox of a version, the template, from which its other sandboxes are copied.

A template is an idle sandbox like others to the dispatcher, under a key of its own: it has booked memory, is kept alive
as long as copies are asked for, and goes under memory pressure. Its copies form a warming pool of their own, which holds
a few of them ready. A version that cannot be copied, or not at present, is served by ordinary sandboxes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from forerun.aio import Clock
from forerun.errors import ForerunError, SandboxDead, SetupFailed
from forerun.host.dispatch import Dispatcher
from forerun.host.line import Ticket
from forerun.host.personal import Personal
from forerun.host.slots import TEMPLATE, Slot, State, version_key
from forerun.host.works import Works
from forerun.model import InitFailure, InitReport, LogLine, SandboxSpec

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox, Sandboxes

log = logging.getLogger("forerun.host")

NO_SNAPSHOT = "Runtime.NoSnapshot"
UNFIT_S = 300.0
REMEMBERED = 1000
_COPIES = "copies of "


class Templates:
    """The templates of a host. ``provide`` before asking for a sandbox, then ask for one of ``pool``.

    ``init_s`` bounds the init of a template, ``wait_s`` the wait for its memory.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service
        self,
        sandboxes: "Sandboxes",
        dispatch: "Dispatcher[Sandbox]",
        works: Works,
        clock: Clock,
        personal: Personal,
        *,
        init_s: float,
        wait_s: float,
        bring: Callable[[SandboxSpec], Awaitable[None]] | None = None,
    ) -> None:
        self._sandboxes = sandboxes
        self._dispatch = dispatch
        self._works = works
        self._clock = clock
        self._personal = personal
        self._init_s, self._wait_s = init_s, wait_s
        self._bring = bring
        self._slots: dict[str, Slot[Sandbox]] = {}
        self._making: dict[str, asyncio.Lock] = {}
        self._unfit: dict[str, float] = {}
        self._logs: dict[str, list[LogLine]] = {}
        works.copier = self
        works.on_destroy = self._gone

    def pool(self, spec: SandboxSpec) -> str:
        """Where the unassigned sandboxes of this version are: copies of its template, or those of its runtime."""
        return _COPIES + spec.key if self._living(spec.key) is not None else spec.pool

    def made_from(self, slot: "Slot[Sandbox]") -> "Slot[Sandbox] | None":
        """The template a sandbox was copied from, while that lives."""
        return (
            self._living(slot.runtime.removeprefix(_COPIES)) if self.copies(slot.runtime) else None
        )

    def take_logs(self, spec: SandboxSpec) -> list[LogLine]:
        """What the template's init has printed; once."""
        return self._logs.pop(spec.key, [])

    async def provide(self, spec: SandboxSpec) -> InitFailure | None:
        """See that there is a template of this version, if there shall be one; a failure of its init is the answer.

        Raises ``Throttled`` when no memory becomes free in time. One that dies while it is made is none.
        """
        key = spec.key
        if not (spec.snap_start and self._sandboxes.snapshots) or self._is_unfit(key):
            return None
        if (slot := self._living(key)) is not None:
            self._touch(slot)
            return None
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if self._living(key) is not None or self._is_unfit(key):
                    return None
                return await self._make(spec)
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    async def _make(self, spec: SandboxSpec) -> InitFailure | None:
        now = self._clock.monotonic()
        key = spec.key + TEMPLATE
        ticket = Ticket(key, spec.pool, spec.memory_mb, now + self._wait_s, ahead_of_need=True)
        slot = await self._works.ask(ticket)
        try:
            loaded = await self._initialise(slot, spec)
        except (SetupFailed, SandboxDead) as error:
            self._give_up(spec.key, error.message)
            self._works.act(self._dispatch.discard(slot))
            return None
        except BaseException:
            self._works.act(self._dispatch.discard(slot))
            raise
        if isinstance(loaded, InitReport):
            return None
        self._works.act(self._dispatch.discard(slot))
        if loaded.error_type != NO_SNAPSHOT:
            return loaded
        self._give_up(spec.key, loaded.payload.decode("utf-8", "replace"))
        return None

    async def _initialise(
        self, slot: "Slot[Sandbox]", spec: SandboxSpec
    ) -> InitReport | InitFailure:
        sandbox = slot.sandbox
        if sandbox is None:
            raise SandboxDead
        if self._bring is not None:
            await self._bring(spec)
        own = await self._personal.awaited_spec(slot, spec)
        began = self._clock.monotonic()
        loaded = await self._sandboxes.snapshot(sandbox, own, deadline=began + self._init_s)
        now = self._clock.monotonic()
        if slot.state is State.DYING:
            raise SandboxDead
        if isinstance(loaded, InitReport):
            self._dispatch.assigned(slot, (now - began) * 1000, now)
            self._slots[spec.key] = slot
            self._logs[spec.key] = loaded.logs
            self._works.act(self._dispatch.release(slot, now))
            self._works.act(self._dispatch.hold_ready(_COPIES + spec.key, now))
        return loaded

    # -- for those who make and destroy sandboxes ----------------------------------------------------------------

    def copies(self, pool: str) -> bool:
        """Whether sandboxes of this pool are copied, not forked."""
        return pool.startswith(_COPIES)

    async def copy(self, pool: str) -> "Sandbox":
        """A copy for this pool. Raises ``SetupFailed``; then the version does without for a while."""
        key = pool.removeprefix(_COPIES)
        slot = self._living(key)
        if slot is None or slot.sandbox is None:
            self._works.act(self._dispatch.abandon(pool))
            raise SetupFailed("the template is gone")
        try:
            made = await self._sandboxes.restore(slot.sandbox)
        except ForerunError as error:
            if self._living(key) is slot:
                self._give_up(key, error.message)
                self._works.act(self._dispatch.discard(slot))
            raise
        if self._living(key) is not slot:
            await made.destroy()
            raise SetupFailed("the template is gone")
        return made

    def _gone(self, slot: "Slot[Sandbox]") -> None:
        """A sandbox is being destroyed; with a template go the copies that wait."""
        if slot.family is None or not slot.family.key.endswith(TEMPLATE):
            return
        key = version_key(slot.family.key)
        if self._slots.get(key) is slot:
            del self._slots[key]
            self._logs.pop(key, None)
            self._works.act(self._dispatch.abandon(_COPIES + key))

    def _living(self, key: str) -> "Slot[Sandbox] | None":
        slot = self._slots.get(key)
        if slot is None or slot.state is State.DYING or slot.doomed:
            return None
        return slot if slot.sandbox is not None and slot.sandbox.alive else None

    def _touch(self, slot: "Slot[Sandbox]") -> None:
        """It is in use: kept alive from now on, the longer the more often."""
        slot.idle_since = self._clock.monotonic()
        if slot.family is not None:
            slot.family.rate.note(slot.idle_since)

    def _is_unfit(self, key: str) -> bool:
        return self._unfit.get(key, 0.0) > self._clock.monotonic()

    def _give_up(self, key: str, why: str) -> None:
        log.warning("no snapshot of %s for now: %s", key, why)
        if len(self._unfit) >= REMEMBERED:
            self._unfit.clear()
        self._unfit[key] = self._clock.monotonic() + UNFIT_S
