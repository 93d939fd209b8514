"""How many unassigned sandboxes wait for each runtime: fewer where most of what comes keeps to a period and is prepared for."""

import logging
import math
from collections.abc import Callable
from typing import Protocol

from forerun.errors import ForerunError
from forerun.model import Qualified
from forerun.scheduling import Floor, Periodic, pool_floor

log = logging.getLogger("forerun.foresight")

EVERY_S = 1.0
MEMORY_S = 600.0
MOST_POOLS = 64
MOST_FUNCTIONS = 2_000


class Holder(Protocol):
    """What of a host is needed here."""

    def hold_pool(self, pool: str, floor: int, *, borrow: bool = True) -> None:
        """See ``Host.hold_pool``."""
        ...


class _Pool:
    __slots__ = ("at", "floor", "regular", "starts")

    def __init__(self, base: int) -> None:
        self.starts = 0.0
        self.at = 0.0
        self.regular: dict[Qualified, None] = {}
        self.floor = Floor(base, base, 0.0, 0.0, 0)

    def starts_of_late(self, now: float) -> float:
        return self.starts * math.exp(-max(0.0, now - self.at) / MEMORY_S)


class Pools:
    """``base`` wait where nothing keeps to a period. ``degree`` says how strictly a function does so now, from 0 to 1;
    ``starts`` how many sandboxes were started for it of late.
    """

    def __init__(
        self,
        host: Holder,
        base: int,
        *,
        degree: Callable[[Qualified, float], float],
        starts: Callable[[Qualified, float], float],
    ) -> None:
        self._host = host
        self._base = base
        self._degree = degree
        self._starts = starts
        self._pools: dict[str, _Pool] = {}
        self._next = -math.inf

    def started(self, pool: str, function: Qualified, now: float) -> None:
        """A sandbox from this pool was started for a call."""
        entry = self._pools.get(pool)
        if entry is None:
            if len(self._pools) >= MOST_POOLS:
                return
            entry = self._pools[pool] = _Pool(self._base)
        entry.starts = entry.starts_of_late(now) + 1.0
        entry.at = now
        if self._degree(function, now) > 0 and len(entry.regular) < MOST_FUNCTIONS:
            entry.regular[function] = None

    def turn(self, now: float) -> None:
        """Once a second: hold what follows from the present."""
        if now < self._next:
            return
        self._next = now + EVERY_S
        for name, entry in self._pools.items():
            if not entry.regular and entry.floor.floor == self._base:
                continue
            floor = self._floor(entry, now)
            if floor.floor != entry.floor.floor:
                self._hold(name, floor)
            entry.floor = floor

    def shown(self) -> dict[str, Floor]:
        """What is held of each pool, and why."""
        return {name: entry.floor for name, entry in self._pools.items()}

    def _floor(self, entry: _Pool, now: float) -> Floor:
        periodic: list[Periodic] = []
        for function in list(entry.regular):
            degree = self._degree(function, now)
            if degree > 0:
                periodic.append(Periodic(self._starts(function, now), degree))
            else:
                del entry.regular[function]
        return pool_floor(self._base, entry.starts_of_late(now), periodic)

    def _hold(self, name: str, floor: Floor) -> None:
        try:
            self._host.hold_pool(name, floor.floor)
        except ForerunError as error:
            log.warning("the pool %s cannot be held: %s", name, error.message)
