"""Sees to it that there are as many hosts as calls need: asks the engine for more ahead of them, and lets go what is not needed."""

import logging
from collections.abc import Awaitable, Callable

from forerun.aio import Clock, TaskOwner
from forerun.cluster import Fleet
from forerun.control.fleet.router import FleetHost
from forerun.control.fleet.sizing import HostLoad, Sizer, Sizing
from forerun.errors import ForerunError
from forerun.model import Phase

log = logging.getLogger("forerun.fleet")

TURN_S = 5.0


class FleetCapacity:
    """One control plane has it at a time. ``wish`` writes down what is wished of a host; a draining one is dismissed by whoever keeps the
    hosts, when its calls are over. ``start`` then ``close``, once each.
    """

    def __init__(
        self,
        host: FleetHost,
        fleet: Fleet,
        *,
        wish: Callable[[str, Phase], Awaitable[None]],
        sizing: Sizing,
        clock: Clock,
    ) -> None:
        self._host = host
        self._fleet = fleet
        self._wish = wish
        self._sizer = Sizer(sizing)
        self._clock = clock
        self._owner = TaskOwner("fleet-capacity")
        self._leaving: set[str] = set()
        self._refused = host.sending.refused

    def start(self) -> None:
        """Begin to look."""
        self._owner.spawn(self._run(), name="turns")

    async def close(self) -> None:
        """Look no more; what is wished stays so."""
        await self._owner.close()

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except ForerunError as error:
                log.warning("the number of hosts stays as it is: %s", error.message)
            except Exception:
                log.exception("a look at the number of hosts failed")
            await self._clock.sleep(TURN_S)

    async def turn(self) -> None:
        """Look once. Raises ``StorageFailed`` and what ``Fleet.scale`` raises."""
        host = self._host
        refused, self._refused = host.sending.refused - self._refused, host.sending.refused
        wish = self._sizer.decide(
            self._loads(),
            expected_mb=host.expected_mb(),
            refused=refused + host.sending.parked,
            now=self._clock.monotonic(),
        )
        for name in wish.keep:
            await self._wish(name, Phase.ACTIVE)
            self._leaving.discard(name)
            log.info("%s stays after all: there is more to do", name)
        await self._fleet.scale(wish.hosts, wish.memory_mb)
        if wish.leave:
            self._leaving.add(wish.leave)
            log.info("%s is let go when its calls are over: there is little to do", wish.leave)
            await self._wish(wish.leave, Phase.DRAINING)

    def _loads(self) -> list[HostLoad]:
        """The hosts that count: those that get calls, and those that this has told to leave and may keep."""
        loads = []
        for state in self._host.view:
            if state.open and state.info.phase is Phase.ACTIVE:
                self._leaving.discard(state.name)
            leaving = state.name in self._leaving and state.info.phase is Phase.DRAINING
            if state.open or leaving:
                used_mb = max(0, state.memory_mb - state.room_mb)
                loads.append(
                    HostLoad(
                        name=state.name,
                        memory_mb=state.memory_mb,
                        used_mb=used_mb,
                        leaving=leaving,
                    )
                )
        return loads
