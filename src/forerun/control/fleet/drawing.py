"""Limits follow the paths and the load: a host with a better way to what a function calls, or with less to do, gets a share, so that
placement may choose it.
"""

from collections.abc import Mapping

from forerun.aio import Clock
from forerun.control.fleet.contract import Limits
from forerun.control.fleet.trip import Trip
from forerun.control.fleet.view import View
from forerun.model import Share
from forerun.scheduling import Rule, load_ms, place

LOOK_S = 1.0
MOST = 10_000


class Drawing:
    """Looks for it at a call of each version now and then."""

    def __init__(self, view: View, limits: Limits, rule: Rule, clock: Clock) -> None:
        self._view = view
        self._limits = limits
        self._rule = rule
        self._clock = clock
        self._looked: dict[str, float] = {}

    def look(self, trip: Trip, shares: Mapping[str, Share], chance: float) -> None:
        """To be called where services count, or the host of a call is loaded; ``shares`` are those that its account has now."""
        now, ask, services = self._clock.monotonic(), trip.ask, trip.services
        if now - self._looked.get(ask.key, -LOOK_S) < LOOK_S:
            return
        if len(self._looked) >= MOST:
            self._looked.clear()
        self._looked[ask.key] = now
        view = self._view
        hosts = {
            each.name: each
            for allowed in (None, shares)
            for each in view.candidates(ask, services=services, allowed=allowed, chance=chance)
        }
        found = place(ask, hosts.values(), self._rule, services=services, chance=chance)
        if found is None:
            return
        staying = {
            host.name: channel + load_ms(host.load, self._rule)
            for _, _, channel, host in found.weighed
        }
        best = min(staying, key=staying.__getitem__)
        own = [ms for name, ms in staying.items() if name in shares]
        if own and min(own) - staying[best] > self._rule.tie:
            spec = trip.spec
            self._limits.draw(spec.account, spec.name, trip.call.reserved, best)
