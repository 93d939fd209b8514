"""Many hosts as one: ``Host`` over all that are connected, placed by what they say of themselves and by how far services are."""

import logging
import random
from collections.abc import Callable, Sequence

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.cluster import Beat, Links, RemoteHost
from forerun.control.fleet.asks import Asks, ask_of
from forerun.control.fleet.contract import Limits, NoServices, Services, Unlimited
from forerun.control.fleet.pools import FleetPools
from forerun.control.fleet.sending import Sending
from forerun.control.fleet.standbys import Offer, Standbys
from forerun.control.fleet.trip import Trip
from forerun.control.fleet.view import View
from forerun.control.fleet.whole import stats_of_all
from forerun.errors import ForerunError, HostUnreachable
from forerun.host import HostStats, Run, SandboxInfo, Standing
from forerun.model import Call, Habits, Likely, SandboxSpec, Standby, Timings, TraceContext
from forerun.scheduling import Placed, Rule, place, qualified
from forerun.settings import AccountPool, ClusterSettings, HostSettings

log = logging.getLogger("forerun.fleet")

TURN_S = 0.25
SNAPSHOTS = 2


class FleetHost:
    """Implements ``Host`` over many. ``start`` before the first call; ``close`` leaves the hosts as they are.

    ``waiting`` says how long calls wait for room, how many, and what waits for accounts; ``limits`` what each host may run of an
    account; ``services`` what functions call. ``on_beat``, ``on_came`` and ``on_left`` may be set to hear, too, what hosts say, and which get calls from now on or no more.
    """

    name = "fleet"

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        links: Links,
        *,
        clock: Clock,
        settings: ClusterSettings,
        waiting: HostSettings,
        limits: Limits | None = None,
        services: Services | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._links = links
        self._clock = clock
        self._wait_s = waiting.wait_s
        self._reserved = AccountPool.read_all(waiting.account_pools)
        self._limits: Limits = limits or Unlimited()
        self._services: Services = services or NoServices()
        self._chance = chance
        self._rule = Rule(likelihood=settings.likelihood, min_executions=settings.min_executions)
        self.view = View(self._rule, dead_s=settings.dead_s)
        self._asks = Asks()
        self._where: dict[str, str] = {}
        self._runtimes: set[str] = set()
        self._owner = TaskOwner("fleet")
        self.on_beat: Callable[[RemoteHost, Beat], None] = lambda *_: None
        self.on_came: Callable[[str], None] = lambda _: None
        self.on_left: Callable[[str], None] = lambda _: None
        self.sending = Sending(
            links=links,
            view=self.view,
            asks=self._asks,
            limits=self._limits,
            rule=self._rule,
            clock=clock,
            waiting_most=waiting.waiting_calls,
            chance=chance,
            on_sent=self._sent,
        )
        self._standbys = Standbys(
            offers=self._offers, host=self._connected, present=self.view.with_idle
        )
        self._pools = FleetPools(
            hosts=lambda: (state for state in self.view if state.open),
            host=self._connected,
            of_account=lambda account: self._limits.hosts(account, "", None),
        )

    def start(self) -> None:
        """Listen to the hosts."""
        for pool in self._reserved:
            self.hold_pool(pool.name, pool.floor, borrow=pool.borrow)
        self._links.listen(self._beat, self._lost)
        self._owner.spawn(self._run(), name="turns")

    async def close(self) -> None:
        """Look after them no more."""
        await self._owner.close()

    # -- calls ---------------------------------------------------------------------------------------------------

    async def run(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        """See ``Host.run``. Also raises ``HostLost`` when a host was lost while it may have run it, ``HostUnreachable`` where none is."""
        if call.reserved is not None:
            self._asks.reserve(spec.key, call.reserved)
        habits = self._services.habits(spec)
        services = self._qualified(habits)
        deadline = self._clock.monotonic() + self._wait_s
        ask = self._asks.of(spec, habits.start_ms)
        trip = Trip(spec, call, timings, ask, services, deadline)
        try:
            return await self.sending.send(trip)
        finally:
            self._where.pop(call.request_id, None)

    def _qualified(self, habits: Habits) -> Sequence[Likely]:
        return qualified(habits.services, self._rule) if habits.services else ()

    def _sent(self, trip: Trip, name: str, now: float) -> None:
        self._where[trip.call.request_id] = name
        self._standbys.sent(trip.spec.key, name, now)

    # -- ahead of calls, and after them --------------------------------------------------------------------------

    async def take_snapshot(self, spec: SandboxSpec) -> None:
        """See ``Host.take_snapshot``: on the hosts that would serve first. What only the others of them cannot is logged."""
        names = [offer.name for group in self._offers(spec, "") for offer in group]
        if not names:
            call = Call(request_id="", payload=b"", invoked_arn="", deadline_ms=0)
            self.sending.hopeless(Trip(spec, call, Timings(), self._asks.of(spec), (), 0.0))
            raise HostUnreachable("no host of the cluster can take a snapshot now; retry")
        for number, name in enumerate(names[:SNAPSHOTS]):
            host = self._connected(name)
            try:
                if host is not None:
                    await host.take_snapshot(spec)
            except ForerunError as error:
                if not number:
                    raise
                log.info("%s has no snapshot of %s: %s", name, spec.name, error.message)

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """See ``Host.stand_by``: divided among the hosts that would serve first, what an execution causes to where that runs."""
        self._standbys.stand_by(spec, standby, self._clock.monotonic())

    def standing(self, key: str) -> Standing:
        """See ``Host.standing``: of all hosts, as they said last."""
        return self.view.standing(key)

    def hold_ready(self, runtime: str) -> None:
        """See ``Host.hold_ready``: on all that have the runtime."""
        self._pools.hold_ready(runtime)

    def hold_pool(self, pool: str, floor: int, *, borrow: bool = True) -> None:
        """See ``Host.hold_pool``: so many for each host, more on larger ones; an account's altogether."""
        self._pools.hold_pool(pool, floor, borrow=borrow)

    def drop(self, outdated: Callable[[str], bool]) -> int:
        """See ``Host.drop``: everywhere."""
        self._standbys.drop(outdated)
        return sum(host.drop(outdated) for host in self._links.hosts.values())

    def running(self, access_key_id: str) -> TraceContext | None:
        """See ``Host.running``: on any of them."""
        for host in self._links.hosts.values():
            if (context := host.running(access_key_id)) is not None:
                return context
        return None

    def stats(self) -> HostStats:
        """See ``Host.stats``: of all together."""
        said = [state.said for state in self.view if state.said is not None]
        return stats_of_all(self.name, said)

    def sandboxes(self) -> list[SandboxInfo]:
        """See ``Host.sandboxes``: of all, each with its host."""
        return [
            msgspec.structs.replace(info, host=name)
            for name, host in self._links.hosts.items()
            for info in host.sandboxes()
        ]

    def expected_mb(self) -> int:
        """The memory of sandboxes that shall be held ready, and are not there yet."""
        return self._standbys.expected_mb(lambda key: self.view.standing(key).idle)

    def runtimes(self) -> list[str]:
        """What functions may be made for: the runtimes of all hosts that were ever heard of."""
        return sorted(self._runtimes)

    # -- who is there --------------------------------------------------------------------------------------------

    def _connected(self, name: str) -> RemoteHost | None:
        host = self._links.hosts.get(name)
        return host if host is not None and host.alive else None

    def _beat(self, host: RemoteHost, beat: Beat) -> None:
        now = self._clock.monotonic()
        before = self.view.get(host.name)
        was_open = before is not None and before.open
        state = self.view.told(host.info, beat, now)
        if state is not before and was_open:
            self._left(state.name)
            was_open = False
        if state.open and not was_open:
            self._runtimes |= state.runtimes
            self._pools.came(state.name)
            self._standbys.came(now)
            self.on_came(state.name)
        elif was_open and not state.open:
            self._left(state.name)
        self.on_beat(host, beat)

    def _lost(self, host: RemoteHost) -> None:
        if self.view.lost(host.name):
            self._left(host.name)

    def _left(self, name: str) -> None:
        """It gets no calls any more: others hold what it held."""
        self._pools.left(name)
        self._standbys.left(name, self._clock.monotonic())
        self.on_left(name)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(TURN_S)
            try:
                self.turn()
            except Exception:
                log.exception("a look at the hosts failed")

    def turn(self) -> None:
        """From time to time: who is silent, who is near to what, and what has room nowhere yet."""
        now = self._clock.monotonic()
        for name in self.view.silent(now):
            log.warning("nothing was heard of %s for a while: it gets no calls", name)
            self._left(name)
        self.view.refresh()
        self._standbys.turn(now)
        self._pools.turn()

    # -- where things would go -----------------------------------------------------------------------------------

    def _offers(self, spec: SandboxSpec, cause: str) -> list[list[Offer]]:
        """The hosts for a version's next sandboxes, best first: that of the execution that causes them, those on the best channels, others."""
        habits = self._services.habits(spec)
        ask = ask_of(spec, self._where.get(cause, ""), habits.start_ms)
        services = self._qualified(habits)
        allowed = self._limits.hosts(spec.account, spec.name, self._asks.reserved(spec.key))
        chance = self._chance()
        # Where an account has no share yet it may have one; none of the hosts with one may be of the function's zone.
        for among in (allowed or None, None) if ask.narrow else (allowed or None,):
            placed = place(
                ask,
                self.view.candidates(ask, services=services, allowed=among, chance=chance),
                self._rule,
                services=services,
                allowed=among,
                chance=chance,
            )
            if placed is not None:
                return self._grouped(placed, spec, ask.affinity)
        return []

    def _grouped(self, placed: Placed, spec: SandboxSpec, affinity: str) -> list[list[Offer]]:
        nearest = min(channel for _, _, channel, _ in placed.weighed) + self._rule.tie
        first: list[Offer] = []
        near: list[Offer] = []
        far: list[Offer] = []
        for _, _, channel, state in placed.weighed:
            idle = state.idle.get(spec.key, 0)
            offer = Offer(state.name, idle + state.room_mb // max(1, spec.memory_mb), idle)
            group = first if state.name == affinity else near if channel <= nearest else far
            group.append(offer)
        return [group for group in (first, near, far) if group]
