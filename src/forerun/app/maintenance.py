"""What time asks for: old logs, records and traces go, unused code goes, keys made elsewhere are noticed."""

import logging
from collections.abc import Awaitable, Callable

from forerun.aio import Clock
from forerun.app.services import Services
from forerun.app.state import State
from forerun.errors import ForerunError
from forerun.settings import RetentionSettings

log = logging.getLogger("forerun.maintenance")

REFRESH_S = 1.0
SWEEP_S = 60.0
DAY_S = 86_400.0


class Maintenance:
    """One task; what fails is said and tried again at the next turn. ``sweep`` does others' part of it."""

    def __init__(
        self,
        retention: RetentionSettings,
        state: State,
        services: Services,
        clock: Clock,
        *,
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._retention = retention
        self._state = state
        self._services = services
        self._clock = clock
        self._also_sweep = sweep

    async def run(self) -> None:
        """Until cancelled."""
        swept = self._clock.monotonic()
        while True:
            await self._clock.sleep(REFRESH_S)
            try:
                await self._services.identities.refresh()
                if self._clock.monotonic() - swept >= SWEEP_S:
                    swept = self._clock.monotonic()
                    await self._sweep()
            except ForerunError as error:
                log.warning("%s", error.message)

    async def _sweep(self) -> None:
        now = self._clock.now()
        await self._state.invocations.trim(
            before=now - self._retention.invocation_days * DAY_S,
            max_rows=self._retention.invocation_rows,
        )
        await self._services.logs.expire(now)
        await self._services.estate.sweep()
        if self._state.files is not None:
            await self._state.files.sweep()
        await self._also_sweep()
