"""What watches executions: who recognises and chooses, who is told what happened, and who keeps it."""

import logging
from collections.abc import Callable, Container, Mapping

from forerun.aio import Clock
from forerun.api.findings import FindingRoutes
from forerun.api.monitoring import MonitoringRoutes
from forerun.api.platform import Route
from forerun.api.profiles import ProfileRoutes
from forerun.api.traces import TraceRoutes
from forerun.app.exchange import Exchange
from forerun.app.state import State
from forerun.control.monitoring import Monitor
from forerun.control.registry import Registry
from forerun.errors import ForerunError
from forerun.events import Bus
from forerun.model import TraceContext
from forerun.profiles import Activity, Profiler
from forerun.settings import Settings
from forerun.storage.activity import ActivityStore
from forerun.storage.profiles import ProfileStore
from forerun.traces import Keeper

log = logging.getLogger("forerun.watching")

# Half a second to gather and one transaction: what a killed server loses stays below a second.
GATHER_S = 0.5


class Watching:
    """Made before what it watches; ``start`` then ``close``, once each, while the state is open.

    ``running`` finds the monitored execution that runs now in the sandbox with the given access key; ``platform`` are the
    addresses (``host:port``) that functions know the server by; ``peaks`` tells how many executions of each function ran at
    once at most since it was asked before.
    """

    def __init__(
        self,
        settings: Settings,
        state: State,
        clock: Clock,
        *,
        running: Callable[[str], TraceContext | None],
        platform: Container[str],
        peaks: Callable[[], Mapping[tuple[str, str], int]],
    ) -> None:
        watched = settings.monitoring
        self.bus = Bus()
        self.monitor = Monitor(
            watched, key=state.sealer.derive(b"trace-information"), running=running
        )
        self.keeper = Keeper(
            state.traces, clock, days=watched.trace_days, max_bytes=watched.trace_bytes
        )
        self.profiler = Profiler(
            ProfileStore(state.traces_db), clock, platform, days=watched.activity_days
        )
        self.activity = Activity(
            ActivityStore(state.traces_db), clock, days=watched.activity_days, peaks=peaks
        )
        self.exchange = Exchange(settings, state, clock, self.keeper)
        self._state = state
        self._clock = clock

    def start(self) -> None:
        """Begin to listen."""
        self.keeper.start()
        self.activity.start()
        self.bus.listen("traces", self.keeper.consume, monitored=True)
        self.exchange.start(self.bus)
        self.bus.listen("profiles", self.profiler.consume, monitored=True, gather_s=GATHER_S)
        self.bus.listen("activity", self.activity.consume)

    async def close(self) -> None:
        """Take notice of what was told, write it, and stop."""
        await self.bus.close()
        await self.exchange.close()
        await self.keeper.close()
        await self.activity.close()

    async def sweep(self) -> None:
        """Remove what is kept no longer; where that fails, the rest is removed all the same."""
        for what, trim in (
            ("traces", self.keeper.trim),
            ("profiles", self.profiler.trim),
            ("activity", self.activity.sweep),
        ):
            try:
                await trim()
            except ForerunError as error:
                log.warning("%s cannot be trimmed: %s", what, error.message)

    def routes(self, registry: Registry) -> dict[str, Route]:
        """What can be asked under ``/forerun/``."""
        return {
            **MonitoringRoutes(self.monitor, registry, self._clock).routes(),
            **self.exchange.routes(),
            **TraceRoutes(self._state.traces, self._state.invocations).routes(),
            **FindingRoutes(self.profiler, registry).routes(),
            **ProfileRoutes(self.profiler, self.activity, registry, self._clock).routes(),
        }

    def status(self) -> dict[str, object]:
        """How it is doing, for the status of the server."""
        return {
            "traces": self.keeper.stats(),
            **self.exchange.status(),
            "missed": self.bus.dropped(),
        }
