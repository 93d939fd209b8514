"""Duties that only a cluster has: hosts, what is wished of them, their limits, and the tokens that let machines join."""

from collections.abc import Mapping

from forerun.aio import Clock
from forerun.api.cluster import ClusterRoutes, Tell
from forerun.api.heat import HeatRoutes
from forerun.api.hosts import HostRoutes, TokenRoutes
from forerun.api.limits import LimitRoutes
from forerun.api.platform import Command, Route
from forerun.app.closing import Closing
from forerun.app.engine import make_fleet
from forerun.app.entering import Entered
from forerun.app.ground import Part
from forerun.app.host_keeping import HostKeeping, ShownHosts
from forerun.app.machines import Machines
from forerun.app.plane import Plane
from forerun.cluster import EngineHere, Fleet, StaticFleet, authority_hash
from forerun.control.fleet.capacity import FleetCapacity
from forerun.control.fleet.shrinking import Shrinking
from forerun.control.fleet.sizing import Sizing
from forerun.control.heat import Heatmap
from forerun.settings import ClusterSettings, Settings
from forerun.storage.machines import HostStore
from forerun.storage.shares import ShareStore
from forerun.storage.trust import TrustStore


class ClusterDuties:
    """Made anew whenever the duties come here."""

    def __init__(  # noqa: PLR0913 wiring, what the duties stand on
        self,
        settings: Settings,
        entered: Entered,
        machines: Machines,
        here: EngineHere,
        static: StaticFleet,
        clock: Clock,
        *,
        tell: Tell,
    ) -> None:
        """``tell`` says which control planes there are."""
        self._tell = tell
        self._here = here
        self._settings = settings
        self._entered = entered
        self._machines = machines
        self._static = static
        self._clock = clock
        self._fleet: Fleet = static

    def part(self, plane: Plane) -> Part:
        """What can be asked, and done."""
        store = HostStore(plane.state.db)

        def operator() -> str:
            return plane.services.identities.accounts()[0].id

        heat = Heatmap(self._clock)
        plane.watching.bus.listen("heat", heat.consume)
        hosts = HostRoutes(ShownHosts(store, self._machines, self._clock, self._failures), operator)
        tokens = TokenRoutes(
            TrustStore(plane.state.db),
            authority_hash(self._entered.authority.pem),
            self._clock,
            operator,
            door=self._door,
        )
        limits = LimitRoutes(self._machines.limits)
        routes: Mapping[str, Route] = {
            **hosts.routes(),
            **tokens.routes(),
            **limits.routes(),
            **HeatRoutes(heat).routes(),
            # What any control plane answers, for the console's pages, which are here.
            **ClusterRoutes(self._tell, operator).routes(),
        }
        commands: Mapping[str, Command] = {**hosts.commands(), **tokens.commands()}
        return Part(routes=routes, commands=commands)

    async def start(self, plane: Plane, closing: Closing) -> None:
        """Begin to keep hosts and their limits."""
        settings, machines = self._settings, self._machines
        self._fleet = make_fleet(
            settings, TrustStore(plane.state.db), self._here, self._static, self._clock
        )
        closing.add(self._fleet.close)
        keeping = HostKeeping(
            HostStore(plane.state.db), machines, self._fleet, self._clock, settings.cluster
        )
        await keeping.start(closing)
        capacity = FleetCapacity(
            machines.host,
            self._fleet,
            wish=keeping.wish,
            sizing=_sizing(settings.cluster),
            clock=self._clock,
        )
        capacity.start()
        closing.add(capacity.close)
        shares = ShareStore(plane.state.db, limit=settings.limits.account_concurrency)
        shrinking = Shrinking(shares, machines.limits, self._clock, settings.cluster)
        shrinking.start()
        closing.add(shrinking.close)
        plane.services.estate.changes.listen(shrinking.changed)

    async def _door(self) -> str:
        return self._entered.advertise

    def _failures(self) -> dict[str, str]:
        return {member.name: member.failure for member in self._fleet.members()}


def _sizing(settings: ClusterSettings) -> Sizing:
    return Sizing(
        low=settings.scale_low,
        high=settings.scale_high,
        quiet_s=settings.scale_quiet_s,
        least=settings.scale_least,
    )
