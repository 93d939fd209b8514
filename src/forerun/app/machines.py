"""The hosts as a control plane has them: its connections, what it knows of them, and the one ``Host`` that they are together."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from forerun.aio import Clock, SystemClock, TaskOwner
from forerun.app.closing import Closing
from forerun.cluster import (
    AgentLinks,
    Giving,
    Knocker,
    Peer,
    Terms,
    TreeShelf,
    TreeSource,
    Upstream,
)
from forerun.control.fleet.limits import FleetLimits
from forerun.control.fleet.router import FleetHost
from forerun.control.fleet.services import LikelyServices
from forerun.errors import ForerunError
from forerun.model import Habits, Phase
from forerun.profiles import read_habits
from forerun.settings import Settings
from forerun.storage import Db
from forerun.storage.machines import HostStore, KnownHost
from forerun.storage.profiles import ProfileStore
from forerun.storage.shares import ShareStore

log = logging.getLogger("forerun.fleet")

LOOK_S = 5.0


class Machines:
    """``start`` once; ``closing`` undoes it. ``renew`` says whether hosts may be told to go on with what this one has them do."""

    def __init__(
        self,
        settings: Settings,
        db: Db,
        traces: Db,
        knocker: Knocker,
        *,
        address: str,
        renew: Callable[[], bool],
    ) -> None:
        cluster = settings.cluster
        # What hosts promise is measured by clocks that nobody sets.
        clock: Clock = SystemClock()
        self._address = address
        self._owner = TaskOwner("machines")
        self.store = HostStore(db)
        self.shares = ShareStore(db, limit=settings.limits.account_concurrency)
        self.known: Sequence[KnownHost] = ()
        self.links = AgentLinks(
            knocker,
            clock=clock,
            terms=Terms(dead_s=cluster.dead_s, lease_s=cluster.lease_s),
            address=address,
            renew=lambda: renew() and self.limits.may_renew(),
        )
        self.limits = FleetLimits(self.shares, self.links, clock, cluster)
        self._profiles = ProfileStore(traces)
        self._services = LikelyServices(
            self._read_habits,
            clock,
            likelihood=cluster.likelihood,
            min_executions=cluster.min_executions,
            tell=self._measure,
        )
        self.host = FleetHost(
            self.links,
            clock=clock,
            settings=cluster,
            waiting=settings.host,
            limits=self.limits,
            services=self._services,
        )
        self._clock = clock
        # What was read earlier must not be acted upon later.
        self._looking = asyncio.Lock()
        self._expelled: frozenset[str] | None = None
        self.on_expelled: Callable[[], None] = lambda: None
        """Called when hosts were expelled."""

    def admits(self, peer: Peer) -> bool:
        """Whether somebody with a certificate is let in; no host is before it is known who was expelled."""
        if peer.role != "host":
            return True
        return self._expelled is not None and peer.name not in self._expelled

    async def start(
        self, closing: Closing, upstream: Upstream, shelf: TreeShelf, name: str
    ) -> None:
        """Connect to the hosts that stand in the database. Raises ``StorageFailed``."""
        self.host.on_beat = self.limits.heard
        giving = Giving(
            upstream=upstream,
            shelf=shelf,
            holders=self.links.holders,
            own=TreeSource(self._address, name, "control"),
        )
        closing.add(self.links.close)
        closing.add(self.host.close)
        self.host.start()
        self.links.start(giving)
        await self.look()
        await self.limits.start()
        closing.add(self.limits.close)
        self._owner.spawn(self._keep_looking(), name="look")
        self._owner.spawn(self._services.run(), name="services")
        closing.add(self._owner.close)

    def changed(self) -> None:
        """The hosts in the database are others than before."""
        self._owner.spawn(self._look_again(), name="changed")

    async def look(self) -> None:
        """Follow the hosts that stand in the database. Raises ``StorageFailed``."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        everybody = await self.store.all()
        expelled = frozenset(
            known.info.name for known in everybody if known.info.phase is Phase.EXPELLED
        )
        self.known = [known for known in everybody if known.info.name not in expelled]
        self.links.follow([known.info for known in self.known])
        self.links.expel(sorted(expelled))
        if expelled != self._expelled:
            self._expelled = expelled
            self.on_expelled()

    def runtimes(self) -> Mapping[str, str]:
        """What functions may be made for."""
        joined = {runtime for known in self.known for runtime in known.info.runtimes}
        return dict.fromkeys(sorted(joined.union(self.host.runtimes())), "")

    async def _look_again(self) -> None:
        try:
            await self.look()
        except ForerunError as error:
            log.warning("the hosts cannot be read: %s", error.message)

    async def _keep_looking(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            await self._look_again()

    async def _read_habits(self, account: str, name: str, version: str) -> Habits:
        return read_habits(await self._profiles.outline(account, name, version))

    def _measure(self, services: Sequence[str]) -> None:
        for host in self.links.hosts.values():
            host.measure(services)
