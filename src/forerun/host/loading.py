"""Gives an unassigned sandbox its code. An actor."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from forerun.aio import Clock
from forerun.errors import SandboxDead
from forerun.host.dispatch import Dispatcher
from forerun.host.personal import Personal
from forerun.host.slots import Slot, State
from forerun.host.templates import Templates
from forerun.host.works import Works
from forerun.model import InitFailure, InitReport, SandboxSpec

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox


class Loader:
    """Assigns sandboxes, each within ``init_s``; ``on_loaded`` is told of each code that was loaded.

    ``bring`` sees to it that code is on this machine before it is assigned.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service
        self,
        dispatch: "Dispatcher[Sandbox]",
        works: Works,
        templates: Templates,
        personal: Personal,
        clock: Clock,
        *,
        init_s: float,
        on_loaded: Callable[[SandboxSpec], None] | None,
        bring: Callable[[SandboxSpec], Awaitable[None]] | None = None,
    ) -> None:
        self._dispatch = dispatch
        self._works = works
        self._templates = templates
        self._personal = personal
        self._clock = clock
        self._init_s = init_s
        self._on_loaded = on_loaded
        self._bring = bring

    async def load(self, slot: "Slot[Sandbox]", spec: SandboxSpec) -> InitReport | InitFailure:
        """Load the code. The sandbox is given up when that fails in any way."""
        sandbox = slot.sandbox
        if sandbox is None:
            raise SandboxDead
        try:
            if self._bring is not None:
                await self._bring(spec)
            own = await self._personal.awaited_spec(slot, spec)
            began = self._clock.monotonic()
            loaded = await sandbox.assign(own, deadline=began + self._init_s)
        except BaseException:
            self._works.act(self._dispatch.discard(slot))
            raise
        ended = self._clock.monotonic()
        still_ours(slot)
        if isinstance(loaded, InitFailure):
            self._works.failed += 1
            self._works.act(self._dispatch.discard(slot))
        else:
            self._dispatch.assigned(slot, (ended - began) * 1000, ended)
            if (origin := self._templates.made_from(slot)) is not None:
                # Clients that were made in the template hold its credentials.
                slot.retire_at = origin.retire_at
                loaded.logs = self._templates.take_logs(spec) + loaded.logs
            if self._on_loaded is not None:
                self._on_loaded(spec)
        return loaded


def still_ours(slot: "Slot[Sandbox]") -> None:
    """Raises ``SandboxDead`` for a sandbox that is being destroyed: a host that closes does so under its callers."""
    if slot.state is State.DYING:
        raise SandboxDead
