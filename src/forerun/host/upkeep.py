"""What a host does from time to time, whether calls come or not. An actor: it looks at the clock and at the machine."""

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from forerun.aio import Clock
from forerun.host.dispatch import Dispatcher
from forerun.host.preparing import Preparations
from forerun.host.works import Works

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox

log = logging.getLogger("forerun.host")

TICK_S = 0.25
LOOK_S = 1.0


class Upkeep:
    """Tells the dispatcher what time it is, and what the machine has left.

    ``available_mb`` answers the last, in MiB, of which ``floor_mb`` shall stay; ``None`` when nobody knows. What standbys lack is
    then made by ``preparations``.
    """

    def __init__(
        self,
        dispatch: "Dispatcher[Sandbox]",
        works: Works,
        preparations: Preparations,
        clock: Clock,
        *,
        available_mb: Callable[[], int | None],
        floor_mb: int,
    ) -> None:
        self._dispatch = dispatch
        self._works = works
        self._preparations = preparations
        self._clock = clock
        self._available_mb = available_mb
        self._floor_mb = floor_mb
        self._look_at = -math.inf

    async def run(self) -> None:
        """Never returns; owned by the host's timer."""
        while True:
            await self._clock.sleep(TICK_S)
            now = self._clock.monotonic()
            self._works.act(self._dispatch.tick(now))
            self._preparations.go_on()
            if now >= self._look_at:
                self._look_at = now + LOOK_S
                self._look()

    def _look(self) -> None:
        available_mb = self._available_mb()
        if available_mb is None:
            return
        was_short = self._dispatch.short
        effects = self._dispatch.relieve(available_mb, self._floor_mb)
        if self._dispatch.short and (effects or not was_short):
            log.warning(
                "the machine has only %d MB left, %d should be: %d idle sandboxes give way",
                available_mb,
                self._floor_mb,
                len(effects.destroy),
            )
        self._works.act(effects)
