"""Duties about hosts: those that the engine has are written into the database, what is wished of them is carried out."""

import logging
from collections.abc import Callable, Sequence

from forerun.aio import Clock, TaskOwner
from forerun.api.hosts import ShownHost
from forerun.app.closing import Closing
from forerun.app.machines import Machines
from forerun.cluster import Beat, Fleet, Member
from forerun.errors import ForerunError, NotFound
from forerun.model import Phase
from forerun.settings import ClusterSettings
from forerun.storage.machines import HostStore, KnownHost

log = logging.getLogger("forerun.fleet")

TURN_S = 1.0
# Longer than any certificate that it may have had holds.
EXPELLED_S = 91 * 86_400.0


class HostKeeping:
    """While the duties are here: ``start``; ``closing`` undoes it. ``store`` writes by the holder's fence."""

    def __init__(
        self,
        store: HostStore,
        machines: Machines,
        fleet: Fleet,
        clock: Clock,
        settings: ClusterSettings,
    ) -> None:
        self._store = store
        self._machines = machines
        self._fleet = fleet
        self._clock = clock
        self._gone_s = settings.lease_s
        self._owner = TaskOwner("host-keeping")
        self._written: dict[str, str] = {}
        self._cordoned: dict[str, bool] = {}
        self._dismissed: set[str] = set()

    async def start(self, closing: Closing) -> None:
        """Begin to keep them."""
        closing.add(self._owner.close)
        self._owner.spawn(self._begin(), name="engine")
        self._owner.spawn(self._run(), name="turns")

    async def wish(self, name: str, phase: Phase) -> None:
        """Write down what is wished of a host. Raises ``NotFound``, ``StorageFailed``."""
        await self._store.wish(name, phase)
        self._machines.changed()

    async def _begin(self) -> None:
        """The engine may take long to come; nothing waits for it."""
        while True:
            try:
                await self._fleet.start(self._changed)
            except ForerunError as error:
                log.warning("the engine is not there: %s", error.message)
                await self._clock.sleep(TURN_S)
            else:
                return

    def _changed(self, members: Sequence[Member]) -> None:
        self._owner.spawn(self._take(members), name="members")

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(TURN_S)
            try:
                await self._take(self._fleet.members())
                await self.turn()
            except ForerunError as error:
                log.warning("hosts: %s", error.message)

    async def _take(self, members: Sequence[Member]) -> None:
        """Write down who is there. What cannot be written is tried again at the next turn."""
        for member in members:
            agent = member.agent
            try:
                if agent is not None and member.alive:
                    if self._written.get(member.name) != agent.incarnation:
                        await self._store.announce(agent, node=member.node, gone_s=self._gone_s)
                        self._written[member.name] = agent.incarnation
                        self._cordoned.pop(member.name, None)
                        self._machines.changed()
                else:
                    # Its agent may go on where the engine does not see it: the name is given away when it is seen no more.
                    self._written.pop(member.name, None)
            except ForerunError as error:
                log.warning("host %s: %s", member.name, error.message)

    async def turn(self) -> None:
        """See who is there, and carry out what is wished. Raises ``StorageFailed``."""
        links = self._machines.links.hosts
        alive = [host.info for host in links.values() if host.alive]
        await self._store.see(alive)
        for known in await self._store.all():
            await self._carry_out(known)

    async def _carry_out(self, known: KnownHost) -> None:
        name, phase = known.info.name, known.info.phase
        host = self._machines.links.hosts.get(name)
        if host is None or not host.alive:
            self._cordoned.pop(name, None)
            drained = phase is Phase.DRAINING and known.seen_s > self._gone_s
            if drained or (phase is Phase.EXPELLED and known.seen_s > EXPELLED_S):
                await self._store.remove(name)
                self._written.pop(name, None)
                self._dismissed.discard(name)
                self._machines.changed()
            return
        wanted = phase is not Phase.ACTIVE
        if self._cordoned.get(name, False) != wanted:
            host.cordon(wanted)
            self._cordoned[name] = wanted
        if phase is Phase.DRAINING and name not in self._dismissed and _calls(host.beat) == 0:
            try:
                await self._fleet.dismiss(name)
            except NotFound as error:
                log.warning("host %s is drained, and cannot be dismissed: %s", name, error.message)
            self._dismissed.add(name)


def _calls(beat: Beat | None) -> int:
    """How many it may still run: one at least, before it has said that it takes no more."""
    if beat is None or beat.phase is Phase.ACTIVE:
        return 1
    states = beat.stats.states
    return beat.stats.waiting + sum(states.get(each, 0) for each in ("busy", "assigning"))


class ShownHosts:
    """``api.hosts.Hosts`` of this control plane; ``store`` writes what is wished."""

    def __init__(
        self,
        store: HostStore,
        machines: Machines,
        clock: Clock,
        failures: Callable[[], dict[str, str]],
    ) -> None:
        self._store = store
        self._machines = machines
        self._clock = clock
        self._failures = failures

    async def shown(self) -> list[ShownHost]:
        """See ``Hosts``."""
        failures = self._failures()
        return [
            self._one(known, failures.get(known.info.name, "")) for known in await self._store.all()
        ]

    async def wish(self, name: str, phase: Phase) -> None:
        """See ``Hosts``."""
        await self._store.wish(name, phase)
        await self._machines.look()

    async def expel(self, name: str) -> None:
        """See ``Hosts``."""
        await self._store.expel(name)
        await self._machines.look()

    def _one(self, known: KnownHost, failure: str) -> ShownHost:
        info = known.info
        host = self._machines.links.hosts.get(info.name)
        state = self._machines.host.view.get(info.name)
        stats = state.said if state is not None else None
        shown = ShownHost(
            name=info.name,
            address=info.address,
            zone=info.zone,
            labels=dict(info.labels),
            phase=info.phase,
            alive=host is not None and host.alive,
            version=info.version,
            isolation=info.isolation,
            cpus=info.cpus,
            memory_mb=info.memory_mb,
            failure=failure,
        )
        if host is not None and host.beat is not None:
            shown.disk_free_mb = host.beat.disk_free_mb
        if state is not None and stats is not None:
            shown.booked_mb = stats.booked_mb
            shown.sandboxes = sum(stats.states.values())
            shown.running = state.busy
            shown.pools = {pool: waiting for pool, (waiting, _) in stats.pools.items()}
            shown.channels = dict(state.channels)
            shown.beat_age_s = round(self._clock.monotonic() - state.heard_at, 3)
        return shown
