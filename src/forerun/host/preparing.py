"""Makes what standbys lack. An actor: what is lacking, and whether it may be made now, the dispatcher decides."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from forerun.aio import Clock
from forerun.errors import ForerunError, InvalidInput, Throttled
from forerun.host.dispatch import Dispatcher
from forerun.host.hold import Hold
from forerun.host.line import Ticket
from forerun.host.loading import Loader
from forerun.host.slots import Slot
from forerun.host.templates import Templates
from forerun.host.works import Works
from forerun.model import InitFailure, SandboxSpec, Standby

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox

log = logging.getLogger("forerun.host")

SANDBOXES_MAX = 10_000
SERVED_AT_ONCE = 64
FAILURE_CHARS = 500


class Preparations:
    """Prepares sandboxes for holds in tasks of its own. ``runs`` says whether this host has a runtime; ``wait_s`` bounds the wait for a sandbox."""

    def __init__(  # noqa: PLR0913 the wiring of a service
        self,
        dispatch: "Dispatcher[Sandbox]",
        works: Works,
        templates: Templates,
        loader: Loader,
        clock: Clock,
        *,
        runs: Callable[[str], bool],
        wait_s: float,
    ) -> None:
        self._dispatch = dispatch
        self._works = works
        self._templates = templates
        self._loader = loader
        self._clock = clock
        self._runs = runs
        self._wait_s = wait_s
        self._loading: dict[str, list[asyncio.Future[Slot[Sandbox] | None]]] = {}

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """See ``Host.stand_by``."""
        _check(standby)
        now = self._clock.monotonic()
        self._works.act(self._dispatch.stand_by(spec, standby, now))
        self.go_on()

    def go_on(self) -> None:
        """Begin what is lacking, as far as it may be; call it whenever time has passed."""
        for hold in self._dispatch.holds.hungry(SERVED_AT_ONCE):
            self._serve(hold)

    async def join(self, key: str) -> "Slot[Sandbox] | None":
        """The sandbox of this version that is loading its code now, once it is ready: busy, and the caller's.

        ``None`` when there is none that nobody else waits for, or when it came to nothing. It is there sooner than another
        that were begun now.
        """
        loading = self._loading.get(key)
        if not loading:
            return None
        future = loading.pop(0)
        try:
            return await future
        except asyncio.CancelledError:
            slot = None if future.cancelled() else future.result()
            if slot is not None:
                self._works.act(self._dispatch.release(slot, self._clock.monotonic()))
            raise

    def _serve(self, hold: Hold) -> None:
        holds = self._dispatch.holds
        if hold.retry_at > self._clock.monotonic():
            return
        if not self._runs(hold.spec.runtime):
            why = f"this machine has no interpreter for {hold.spec.runtime}"
            hold.failed(why, self._clock.monotonic())
            self._dispatch.pool.touch(hold)
            return
        provisioned, others = holds.lacks(hold)
        for number in range(provisioned + others):
            obstacle = self._dispatch.obstacle(hold.spec.memory_mb, self._templates.pool(hold.spec))
            if obstacle is not None:
                hold.failure = obstacle or hold.failure
                holds.starve(hold)
                return
            first = number < provisioned
            holds.begin(hold, provisioned=first)
            self._works.owner.spawn(self._prepare(hold, provisioned=first), name="prepare")

    async def _prepare(self, hold: Hold, *, provisioned: bool) -> None:
        standby, turn = hold.standby, hold.turn
        spec = msgspec.structs.replace(hold.spec, provisioned=provisioned)
        taker: asyncio.Future[Slot[Sandbox] | None]
        taker = asyncio.get_running_loop().create_future()
        slot = None
        try:
            slot = await self._loaded(spec, taker)
            hold.failure = ""
        except Throttled as error:
            # Calls need what is left: nothing is wrong, it is made when they are done.
            hold.failure = error.message
        except ForerunError as error:
            log.warning("no sandbox prepared for %s: %s", spec.function_arn, error.message)
            hold.failed(error.message[:FAILURE_CHARS], self._clock.monotonic())
        finally:
            awaited = self._is_awaited(spec.key, taker)
            self._dispatch.holds.ended(hold, provisioned=provisioned)
            if slot is None and awaited:
                taker.set_result(None)
        if slot is not None:
            now = self._clock.monotonic()
            if now >= slot.retire_at:
                hold.failed("what it was copied from is about to go", now)
            wanted = self._dispatch.prepared(
                slot, hold, standby, turn=turn, provisioned=provisioned
            )
            if awaited:
                taker.set_result(slot)
            elif wanted:
                self._works.act(self._dispatch.release(slot, now))
            else:
                self._works.act(self._dispatch.discard(slot))
        self.go_on()

    async def _loaded(
        self, spec: SandboxSpec, taker: "asyncio.Future[Slot[Sandbox] | None]"
    ) -> "Slot[Sandbox]":
        """A busy sandbox with the code loaded; an init that failed is raised, too. A call may join it meanwhile."""
        failure = await self._templates.provide(spec)
        if failure is not None:
            raise InitFailed(failure)
        ticket = Ticket(
            spec.key,
            self._templates.pool(spec),
            spec.memory_mb,
            self._clock.monotonic() + self._wait_s,
            yielding=True,
        )
        slot = await self._works.ask(ticket)
        self._loading.setdefault(spec.key, []).append(taker)
        loaded = await self._loader.load(slot, spec)
        if isinstance(loaded, InitFailure):
            raise InitFailed(loaded)
        return slot

    def _is_awaited(self, key: str, taker: "asyncio.Future[Slot[Sandbox] | None]") -> bool:
        """Whether a call has joined and still waits; no other can from now on."""
        loading = self._loading.get(key, [])
        if taker in loading:
            loading.remove(taker)
            taker.cancel()
        if not loading:
            self._loading.pop(key, None)
        return not taker.done()


class InitFailed(ForerunError):
    """The code could not be loaded."""

    def __init__(self, failure: InitFailure) -> None:
        super().__init__(_told(failure))


def _told(failure: InitFailure) -> str:
    """What the function's own error says; it is the user's code that wrote it."""
    try:
        said = msgspec.json.decode(failure.payload, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = {}
    return f"{failure.error_type}: {said.get('errorMessage', 'init failed')}"


def _check(standby: Standby) -> None:
    for name, count in (("idle", standby.idle), ("total", standby.total)):
        if not 0 <= count <= SANDBOXES_MAX:
            raise InvalidInput(f"a standby's {name} must be from 0 to {SANDBOXES_MAX}, not {count}")
    linger_s = 0.0 if standby.linger_s is None else standby.linger_s
    times = (("lease_s", standby.lease_s), ("linger_s", linger_s))
    for name, value in (*times, ("calls_per_s", standby.calls_per_s)):
        # Neither does a number that is none compare.
        if not value >= 0:
            raise InvalidInput(f"a standby's {name} must be 0 or more, not {value}")
