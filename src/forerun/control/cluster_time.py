"""Keeps a control plane's clock at the time of the database that all of them share."""

import logging

from forerun.aio import Clock, CorrectedClock, Reading, TaskOwner, difference
from forerun.errors import ForerunError
from forerun.storage import Db
from forerun.storage.leases import POSTGRESQL_NOW

log = logging.getLogger("forerun.clock")

EVERY_S = 10.0
READINGS = 5


class ClusterTime:
    """``start`` then ``close``, once each. ``clock`` is right when ``start`` has returned, unless the database could not be asked."""

    def __init__(self, db: Db, machine: Clock) -> None:
        self._db = db
        self._machine = machine
        self._owner = TaskOwner("cluster-time")
        self.clock = CorrectedClock(machine)

    async def start(self) -> None:
        """Measure, and go on to measure. Raises ``StorageFailed`` when the database cannot be asked."""
        await self.measure()
        self._owner.spawn(self._run(), name="run")

    async def close(self) -> None:
        """Leave the clock as it is."""
        await self._owner.close()

    async def measure(self) -> float:
        """Look several times and correct the clock; by how many seconds. Raises ``StorageFailed``."""
        readings = []
        for _ in range(READINGS):
            asked = self._machine.monotonic()
            [[moment]] = await self._db.fetch("SELECT " + POSTGRESQL_NOW)
            readings.append(Reading(asked, moment, self._machine.monotonic()))
        return self.clock.correct(difference(readings, self.clock.offset))

    async def _run(self) -> None:
        while True:
            await self._machine.sleep(EVERY_S)
            try:
                await self.measure()
            except ForerunError as error:
                log.warning("the database's time cannot be asked: %s", error.message)
