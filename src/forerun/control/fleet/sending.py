"""Sends a call to the host that is best for it, and to the next at once when that one refuses."""

import logging
from collections.abc import Callable, Mapping

from forerun.aio import Clock
from forerun.cluster import NOT_IDLE, SHARE, Links
from forerun.control.fleet.asks import Asks
from forerun.control.fleet.contract import Limits
from forerun.control.fleet.drawing import Drawing
from forerun.control.fleet.trip import REASON, Trip, late, never
from forerun.control.fleet.view import View
from forerun.errors import HostLost, HostUnreachable, Throttled
from forerun.host import SPENT, Run
from forerun.model import Outcome, Placement, Share
from forerun.scheduling import Placed, Rule, could_ever, place

log = logging.getLogger("forerun.fleet")

# How long a call waits in the line of one host before it looks for room elsewhere again, and at least how long it does not look again.
PARKED_S = 1.0
APART_S = 0.25


class Sending:
    """``on_sent`` hears which host a call goes to. ``refused`` counts calls for which no host had room at once, ``parked`` those that wait now."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        links: Links,
        view: View,
        asks: Asks,
        limits: Limits,
        rule: Rule,
        clock: Clock,
        waiting_most: int,
        chance: Callable[[], float],
        on_sent: Callable[[Trip, str, float], None],
    ) -> None:
        self._links = links
        self._view = view
        self._asks = asks
        self._limits = limits
        self._rule = rule
        self._clock = clock
        self._waiting_most = waiting_most
        self._chance = chance
        self._on_sent = on_sent
        self._drawing = Drawing(view, limits, rule, clock)
        self.refused = 0
        self.parked = 0

    async def send(self, trip: Trip) -> Run:
        """Have it run. Raises as ``Host.run``, ``HostLost`` and ``HostUnreachable``."""
        parked = False
        while True:
            run = await self._round(trip)
            if run is None:
                if await self._grow(trip):
                    continue
                self.refused += not parked
                parked = True
                run = await self._park(trip)
            if run is not None:
                return run

    async def _round(self, trip: Trip) -> Run | None:
        """Try all that can run it now, best first; ``None`` when all of them refused."""
        while True:
            shares = self._shares(trip)
            placed = self._place(trip, shares)
            if placed is None:
                trip.allowed = shares
                return None
            trip.call.wait_s = 0.0
            for number, name in enumerate(placed.hosts):
                trip.call.idle_only = placed.idle_elsewhere(trip.ask.key, number)
                run = await self._try(trip, name, shares)
                if run is not None:
                    _explain(run, placed.placement(name))
                    return run

    def _shares(self, trip: Trip) -> Mapping[str, Share] | None:
        return self._limits.hosts(trip.spec.account, trip.spec.name, trip.call.reserved)

    def _place(self, trip: Trip, shares: Mapping[str, Share] | None) -> Placed | None:
        chance, ask, services = self._chance(), trip.ask, trip.services
        candidates = self._view.candidates(ask, services=services, allowed=shares, chance=chance)
        if trip.refusals:
            candidates = [each for each in candidates if not trip.tried(each.name)]
        owed_ms = self._asks.owed_ms(ask.key)
        placed = place(
            ask,
            candidates,
            self._rule,
            services=services,
            allowed=shares,
            owed_ms=owed_ms,
            chance=chance,
        )
        loaded = placed is not None and placed.weighed[0][3].load > 1.0
        if shares and (services or loaded):
            self._drawing.look(trip, shares, chance)
        if placed is not None:
            if placed.extra_ms > 0:
                self._asks.owe(ask.key, placed.extra_ms)
            elif owed_ms and placed.weighed[0][1] > 0:
                self._asks.paid(ask.key)
        return placed

    async def _try(self, trip: Trip, name: str, shares: Mapping[str, Share] | None) -> Run | None:
        """One host; ``None`` when it refused, so that the call may go to another."""
        view, call, ask = self._view, trip.call, trip.ask
        host, state = self._links.hosts.get(name), view.get(name)
        if host is None or state is None or not host.alive:
            trip.away.add(name)
            return None
        call.share = shares.get(name) if shares is not None else None
        now = self._clock.monotonic()
        warm = view.sent(state, ask, now)
        self._on_sent(trip, name, now)
        idle, reason = False, ""
        try:
            run = await host.run(trip.spec, call, trip.timings)
            idle = isinstance(run.outcome, Outcome) and run.outcome.alive
        except HostUnreachable as error:
            log.info("%s takes no call: %s", name, error.message)
            trip.away.add(name)
        except Throttled as error:
            reason = error.reason
            idle = warm and reason == SHARE
            if reason == SPENT:
                trip.spent = error
            if reason != NOT_IDLE:
                (trip.shared if reason == SHARE else trip.full).add(name)
        except HostLost as error:
            raise HostLost(
                f"the host {name} was lost while it may have run the call; retry it, unless it must not run twice",
                over_in_s=error.over_in_s,
            ) from error
        else:
            return run
        finally:
            freed_mb = 0 if idle or warm else ask.memory_mb
            view.ended(state, ask, self._clock.monotonic(), idle=idle, freed_mb=freed_mb)
        if reason == NOT_IDLE:
            view.not_idle(state, ask)
        elif name in trip.full:
            view.refused(state, ask)
        trip.began_anew()
        return None

    async def _grow(self, trip: Trip) -> bool:
        """Whether one host more may run it, or one of them more, since all of its account's have refused it."""
        if self._shares(trip) is None:
            return False
        spec, reserved, ask = trip.spec, trip.call.reserved, trip.ask
        if ask.narrow:
            self.hopeless(trip)
        # More of the limit helps only where the limit was what lacked, and on hosts that have none of it yet.
        without_room = (trip.allowed or {}).keys() - trip.shared
        full = trip.full | trip.away | without_room | self._view.unsuited(ask)
        if await self._limits.grow(
            spec.account, spec.name, reserved, full=full, tried=trip.allowed
        ):
            trip.shared.clear()
            return True
        lacking = bool(trip.shared) or not self._shared(trip)
        if lacking and self._limits.used_up(spec.account, spec.name, reserved):
            raise self._limits.exhausted(spec.account, spec.name, reserved)
        return False

    def _shared(self, trip: Trip) -> bool:
        """Whether a host with a share may run it; so, too, where none of its zone is there, which the limit cannot help."""
        shares, ask = self._shares(trip), trip.ask
        if not ask.narrow:
            return bool(shares)
        suiting = self._view.suiting(ask)
        return not suiting or any(state.name in (shares or ()) for state in suiting)

    async def _park(self, trip: Trip) -> Run | None:
        """Wait for room where it will be soonest; ``None`` when it is time to look again. Raises when it has waited long enough."""
        self.hopeless(trip)
        if trip.spent is not None:
            raise trip.spent
        shares = self._shares(trip)
        left = trip.deadline - self._clock.monotonic()
        if left <= 0:
            suiting = self._view.suiting(trip.ask, allowed=None if trip.ask.narrow else shares)
            raise late(
                connected=any(state.open for state in self._view),
                reachable=any(state.name not in trip.away for state in suiting),
                zone=trip.ask.zone,
            )
        if self.parked >= self._waiting_most:
            raise Throttled("too many calls wait for memory on the hosts", reason=REASON)
        name = self._line(trip, shares)
        trip.again()
        trip.call.wait_s = min(PARKED_S, left)
        trip.call.idle_only = False
        self.parked += 1
        try:
            run = await self._try(trip, name, shares) if name else None
            if run is not None:
                _explain(run, Placement(host=run.host or name, reason="waited there for room"))
            else:
                # A host whose line is full refuses at once.
                waited = left - (trip.deadline - self._clock.monotonic())
                await self._clock.sleep(max(0.0, min(APART_S, left) - waited))
        finally:
            self.parked -= 1
        return run

    def _line(self, trip: Trip, shares: Mapping[str, Share] | None) -> str:
        """The host in whose line it waits: where fewest do, and least runs; empty where there is none."""
        suiting = self._view.suiting(trip.ask, allowed=shares, chance=self._chance())
        near = [
            each for each in suiting if each.name not in trip.away and each.name not in trip.shared
        ]
        best = min(near, key=lambda each: (each.waiting, each.load), default=None)
        return best.name if best is not None else ""

    def hopeless(self, trip: Trip) -> None:
        """Raise ``NoSuchRuntime`` or ``SetupFailed`` for what no host that has joined could ever run."""
        if not len(self._view):
            return
        able, largest_mb = could_ever(trip.ask, self._view)
        if able and largest_mb >= trip.ask.memory_mb:
            return
        runtimes = {runtime for state in self._view for runtime in state.runtimes}
        zones = {host.info.zone for host in self._links.hosts.values() if host.info.zone}
        if error := never(trip.ask, largest_mb if able else None, runtimes, zones):
            raise error


def _explain(run: Run, placement: Placement) -> None:
    """Where it ran and why, in the values that its record is made of."""
    run.host = placement.host
    run.placed = placement
    words = f"{run.placement}; on {placement.host}: {placement.reason}"
    if placement.service:
        scores = ", ".join(f"{name} {ms:.1f} ms" for name, ms in placement.scores.items())
        words += f"; likelihood {placement.likelihood:.2f}; expected {scores}"
    run.placement = words
