"""Hosts that count as more than they may run: each is told until it says that it keeps to it, or is surely over.

Every control plane does this for the hosts that it hears, so that one that only some of them reach is not taken for over: who hears a
host renews its row, and a row that nobody has renewed for ``over_s`` is of a host whose leases of work have all ended. That holds
because a control plane renews leases of work only within ``valid_s`` of having looked (``FleetLimits.may_renew``).
"""

import asyncio
import logging
from collections.abc import Collection, Sequence

from forerun.aio import Clock
from forerun.cluster import Links
from forerun.control.fleet.heard import Heard
from forerun.errors import ForerunError
from forerun.scheduling import Waits
from forerun.storage.shares import DrainingShare, ShareStore

log = logging.getLogger("forerun.limits")

TELL_S = 1.0
MOST_AT_ONCE = 256


class Draining:
    """``lease_s`` is how long a host works after it heard of a control plane, at the longest."""

    def __init__(
        self,
        store: ShareStore,
        links: Links,
        heard: Heard,
        clock: Clock,
        *,
        lease_s: float,
        over_s: float,
    ) -> None:
        self._store = store
        self._links = links
        self._heard = heard
        self._clock = clock
        self._lease_s = lease_s
        self._waits = Waits[tuple[str, str, str]](over_s)

    async def look(self, since: float) -> None:
        """Tell hosts, and settle what can be. ``since`` is when this was done before. Raises ``StorageFailed``."""
        found = await self._store.draining()
        asked = self._clock.monotonic()
        over = self._waits.over({each[:3]: (each.epoch, each.renewed) for each in found}, asked)
        # A lease that it got just before may have been in use since then.
        heard = [each for each in found if self._heard.since(each.host, since - self._lease_s)]
        kept = await self.tell(heard)
        alive = set(heard)
        gone = [each for each in found if each[:3] in over and each not in alive]
        for each in gone:
            log.warning(
                "host %s has been silent for so long that nothing of %s runs there any more",
                each.host,
                each.share.key,
            )
        await self._store.settle([*kept, *gone])
        await self._store.renew(alive.difference(kept))

    async def tell(self, found: Collection[DrainingShare]) -> list[DrainingShare]:
        """Tell hosts what they may run from now on; those of it that they keep to."""
        by_host: dict[str, list[DrainingShare]] = {}
        for each in found:
            by_host.setdefault(each.host, []).append(each)
        answers = await asyncio.gather(
            *(
                self._tell(host, rows[begin : begin + MOST_AT_ONCE])
                for host, rows in by_host.items()
                for begin in range(0, len(rows), MOST_AT_ONCE)
            )
        )
        return [each for answer in answers for each in answer]

    async def _tell(self, host: str, rows: Sequence[DrainingShare]) -> list[DrainingShare]:
        remote = self._links.hosts.get(host)
        if remote is None:
            return []
        try:
            async with asyncio.timeout(TELL_S):
                kept = await remote.keep_to([each.share for each in rows])
        except (ForerunError, TimeoutError) as error:
            log.debug("host %s was not told its shares: %s", host, error)
            return []
        return [each for each in rows if kept.get(each.share.key) == each.epoch]
