"""What has to be undone at the end, from the last that was begun to the first."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from forerun.aio import Clock

log = logging.getLogger("forerun")

Closer = Callable[[], Awaitable[Any]]


class Closing:
    """Holds closers; ``close`` runs them in the reverse order, whatever becomes of each, once."""

    def __init__(self, clock: Clock, drain_s: float) -> None:
        self._clock = clock
        self._drain_s = drain_s
        self._drained_at: float | None = None
        self._closers: list[Closer] = []

    def add(self, closer: Closer) -> None:
        """Run ``closer`` before all that were added so far."""
        self._closers.append(closer)

    def left(self) -> float:
        """Seconds that what still runs may take: ``drain_s`` altogether, from ``close`` on."""
        if self._drained_at is None:
            return self._drain_s
        return max(0.0, self._drained_at - self._clock.monotonic())

    async def close(self, *, at_once: bool = False) -> None:
        """Undo all of it; what fails is logged, and the rest is undone all the same. What runs has no time when it is ``at_once``."""
        self._drained_at = self._clock.monotonic() + (0.0 if at_once else self._drain_s)
        while self._closers:
            closer = self._closers.pop()
            try:
                await closer()
            except Exception:
                log.exception("closing was not clean")
