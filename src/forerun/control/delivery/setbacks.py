"""Notices when the clock on the wall is set back: what is due by the old time would wait until that comes again."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from forerun.aio import Clock, TaskOwner
from forerun.errors import StorageFailed

log = logging.getLogger("forerun.setbacks")

LOOK_S = 1.0
# Clocks are slowed down and hastened by less than that.
LEAST_S = 1.0

Told = Callable[[float], Awaitable[None]]


class Setbacks:
    """Tells ``told`` by how many seconds the clock was set back, about a second after it was."""

    def __init__(self, clock: Clock, told: Sequence[Told]) -> None:
        self._clock = clock
        self._told = list(told)
        self._owner = TaskOwner("setbacks")
        self._last = clock.now(), clock.monotonic()
        # What could not be told, by listener.
        self._owed = [0.0] * len(told)

    def add(self, told: Told) -> None:
        """Tell this one, too."""
        self._told.append(told)
        self._owed.append(0.0)

    def start(self) -> None:
        """Begin to look."""
        self._owner.spawn(self._run(), name="look")

    async def close(self) -> None:
        """Look no more."""
        await self._owner.close()

    async def look(self) -> None:
        """Compare the clock with that which never goes back."""
        now, ticks = self._clock.now(), self._clock.monotonic()
        before, ticks_before = self._last
        back = before + (ticks - ticks_before) - now
        self._last = now, ticks
        if back >= LEAST_S:
            log.warning(
                "the clock was set back by %.1f s; what waits is due as if it were not", back
            )
            self._owed = [owed + back for owed in self._owed]
        for index, tell in enumerate(self._told):
            if self._owed[index]:
                try:
                    await tell(self._owed[index])
                except StorageFailed as error:
                    log.warning("what waits cannot be hastened yet: %s", error.message)
                else:
                    self._owed[index] = 0.0

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            await self.look()
