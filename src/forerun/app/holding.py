"""The duties, while this control plane has them: all that comes by itself, and the whole platform's answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.api.application import Application
from forerun.app.closing import Closing
from forerun.app.core import Core
from forerun.app.eventing import Load
from forerun.app.fenced import fenced
from forerun.app.ground import Part
from forerun.app.plane import Plane
from forerun.app.state import State
from forerun.control.elsewhere import Desk
from forerun.control.relaying import Distant
from forerun.events import Watch
from forerun.host import Host
from forerun.settings import Settings
from forerun.storage.gated import Gate
from forerun.storage.leases import Lease
from forerun.storage.settled import Settle

log = logging.getLogger("forerun.duties")

# What is lost has nothing to write, and is let go in the background when it takes longer.
LOST_S = 1.0
# What is given back is waited for by another control plane.
DRAIN_S = 5.0
AFTERWARDS_S = 60.0


class Stage(NamedTuple):
    """What the duties stand on. ``settle`` returns when all control planes know what was changed.

    ``more`` has further routes and commands, and ``beside`` what else runs while the duties are here: it begins it, and adds to the closing
    how to end it.
    """

    settings: Settings
    state: State
    clock: Clock
    core: Core
    host: Host
    base_url: str
    runtimes: Callable[[], Mapping[str, str]]
    settle: Settle
    more: Callable[[Plane], Part]
    beside: Callable[["Plane", Closing], Awaitable[None]]


class Holding:
    """Implements ``control.duties.Work``."""

    def __init__(self, stage: Stage, lease: Lease, afterwards: TaskOwner) -> None:
        self._stage = stage
        self._afterwards = afterwards
        self._gate = Gate()
        self._closing = Closing(stage.clock, min(DRAIN_S, stage.settings.server.drain_s))
        self._plane = Plane(
            stage.settings,
            fenced(
                stage.state,
                lease,
                self._gate,
                stage.settle,
                settings=stage.settings,
                clock=stage.clock,
            ),
            stage.clock,
            base_url=stage.base_url,
            runtimes=stage.runtimes,
            closing=self._closing,
            shared=stage.core.shared,
        )
        self._built = False
        self.desk: Desk | None = None

    @property
    def application(self) -> Application:
        """What answers everything, once they have begun."""
        return self._plane.application

    async def begin(self) -> None:
        """See ``Work``."""
        plane, core = self._plane, self._stage.core
        await plane.open()
        await plane.services.identities.start()
        more = self._stage.more(plane)
        await plane.build(self._stage.host, more.routes, more.commands)
        self._built = True
        await plane.prepare()
        await plane.begin()
        watching = plane.watching
        distant = Distant(
            watching.bus,
            plane.foresight,
            plane.services.estate.registry,
            watching.exchange.take_of,
        )
        self._closing.add(_closer(distant.close))
        core.invoker.connect(plane.invoker)
        core.lookout.look(plane.foresight)
        core.relay.tell(distant, self._watched)
        core.quiet = Load(watching.activity.load, watching.activity.loads)
        self.desk = Desk(
            outlet=core.events.outlet,
            run=plane.invoker.run,
            registry=plane.services.estate.registry,
            distant=distant,
            watched=lambda: watching.bus.watching,
        )
        await self._stage.beside(plane, self._closing)

    async def end(self, *, lost: bool) -> None:
        """See ``Work``."""
        core = self._stage.core
        self.desk = None
        core.stand_alone()
        core.relay.tell(None, None)
        if not lost:
            self.leave()
            await self._closing.close()
            return
        self._gate.shut()
        closing = self._afterwards.spawn(self._close_lost(), name="close")
        await asyncio.wait({closing}, timeout=LOST_S)

    def leave(self) -> None:
        """Send clients away who wait."""
        if self._built:
            self._plane.leave()

    def _watched(self, account: str, name: str) -> Watch:
        return self._plane.watching.bus.watched(account, name)

    async def _close_lost(self) -> None:
        try:
            async with asyncio.timeout(AFTERWARDS_S):
                self.leave()
                await self._closing.close(at_once=True)
        except TimeoutError:
            log.warning("some of the duties that were lost are still not closed")


def _closer(close: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def closer() -> None:
        close()

    return closer
