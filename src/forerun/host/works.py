"""Carries out the dispatcher's effects: makes and destroys sandboxes in owned tasks, and wakes those who wait for one."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError, SandboxError, SetupFailed
from forerun.host.dispatch import Dispatcher
from forerun.host.effects import Effects
from forerun.host.line import Ticket
from forerun.host.slots import Slot, State
from forerun.host.subpools import made_as

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox, Sandboxes

log = logging.getLogger("forerun.host")

DESTROY_S = 30.0


class Copier(Protocol):
    """Makes the sandboxes of some pools in its own way."""

    def copies(self, pool: str) -> bool:
        """Whether the pool is one of those."""
        ...

    async def copy(self, pool: str) -> "Sandbox":
        """As ``Sandboxes.create``."""
        ...


class Works:
    """The hands of a host. ``copier`` makes the sandboxes of its pools; ``on_destroy`` hears of each that goes. ``create_s`` guards against a factory that hangs; it has a shorter limit of its own."""

    def __init__(
        self,
        name: str,
        sandboxes: "Sandboxes",
        dispatch: "Dispatcher[Sandbox]",
        clock: Clock,
        *,
        create_s: float,
    ) -> None:
        self._sandboxes = sandboxes
        self._dispatch = dispatch
        self._clock = clock
        self._create_s = create_s
        self._futures: dict[Ticket, asyncio.Future[Slot[Sandbox] | None]] = {}
        self._by_id: dict[str, Slot[Sandbox]] = {}
        self.copier: Copier | None = None
        self.on_destroy: Callable[[Slot[Sandbox]], None] | None = None
        self.owner = TaskOwner(f"host-{name}")
        self.destroyed = 0
        self.failed = 0

    def find(self, sandbox_id: str) -> "Slot[Sandbox] | None":
        """The entry of a sandbox that exists."""
        return self._by_id.get(sandbox_id)

    async def close(self) -> None:
        """Wait until what is being made or destroyed is gone, for a bounded time."""
        while len(self.owner) and await self.owner.drain(timeout_s=DESTROY_S):
            # A sandbox that was still being made is destroyed by a task that began meanwhile.
            pass
        await self.owner.close()

    async def ask(self, ticket: Ticket) -> "Slot[Sandbox]":
        """Put a ticket to the dispatcher and wait for what comes of it; its error is raised."""
        future = self.expect(ticket)
        try:
            self.act(self._dispatch.ask(ticket, self._clock.monotonic()))
        except ForerunError:
            self.forget(ticket)
            raise
        return await self.settled(ticket, future)

    def expect(self, ticket: Ticket) -> "asyncio.Future[Slot[Sandbox] | None]":
        """What ``settled`` waits for; ask the dispatcher after this, so that the answer finds it."""
        future = asyncio.get_running_loop().create_future()
        self._futures[ticket] = future
        return future

    async def settled(
        self, ticket: Ticket, future: "asyncio.Future[Slot[Sandbox] | None]"
    ) -> "Slot[Sandbox]":
        """The ticket's sandbox; its error is raised. A caller that is cancelled leaves nothing behind."""
        try:
            slot = await future
        except asyncio.CancelledError:
            self._futures.pop(ticket, None)
            given = None if future.cancelled() else future.result()
            now = self._clock.monotonic()
            if given is None:
                self.act(self._dispatch.withdraw(ticket))
            elif given.state is State.BUSY:
                self.act(self._dispatch.release(given, now))
            else:
                self.act(self._dispatch.discard(given))
            raise
        if slot is None:
            raise ticket.error or SandboxError()
        return slot

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits for this ticket; it was refused at once."""
        del self._futures[ticket]

    def act(self, effects: "Effects[Sandbox]") -> None:
        """Begin all of it."""
        for slot in effects.destroy:
            self.owner.spawn(self._destroy(slot), name=f"destroy-{slot.id}")
        for slot in effects.create:
            self.owner.spawn(self._create(slot), name=f"create-{slot.id}")
        for ticket, given in effects.settled:
            future = self._futures.pop(ticket, None)
            if future is not None and not future.done():
                future.set_result(given)
            elif given is not None:
                self.act(self._dispatch.discard(given))

    async def _create(self, slot: "Slot[Sandbox]") -> None:
        error: ForerunError
        try:
            async with asyncio.timeout(self._create_s):
                sandbox = await self._make(slot)
        except ForerunError as failure:
            error = failure
        except TimeoutError:
            error = SetupFailed(f"a sandbox for {slot.runtime} was not ready in time")
        except OSError as failure:
            error = SetupFailed(f"a sandbox for {slot.runtime} could not be made: {failure}")
        except BaseException:
            self._not_created(slot, SetupFailed(f"making a sandbox for {slot.runtime} broke off"))
            raise
        else:
            self._by_id[sandbox.id] = slot
            self.act(self._dispatch.created(slot, sandbox, self._clock.monotonic()))
            return
        self._not_created(slot, error)

    async def _make(self, slot: "Slot[Sandbox]") -> "Sandbox":
        if self.copier is not None and self.copier.copies(slot.runtime):
            return await self.copier.copy(slot.runtime)
        kind = made_as(slot.runtime)
        slot.zygote = self._sandboxes.ready(kind)
        return await self._sandboxes.create(kind)

    def _not_created(self, slot: "Slot[Sandbox]", error: ForerunError) -> None:
        self.failed += 1
        log.warning("%s", error.message)
        self.act(self._dispatch.not_created(slot, error, self._clock.monotonic()))

    async def _destroy(self, slot: "Slot[Sandbox]") -> None:
        sandbox = slot.sandbox
        if self.on_destroy is not None:
            self.on_destroy(slot)
        try:
            if sandbox is not None:
                async with asyncio.timeout(DESTROY_S):
                    await sandbox.destroy()
        finally:
            # Even if it failed, which its task's owner reports: memory that nobody can free helps nobody.
            if sandbox is not None:
                self._by_id.pop(sandbox.id, None)
            self.destroyed += 1
            self.act(self._dispatch.gone(slot))
