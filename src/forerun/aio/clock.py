"""Time as an argument, so that deciders stay pure and tests never wait."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Reads time and waits; tests pass a clock of their own."""

    def now(self) -> float:
        """Wall clock, seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of ``monotonic``."""
        ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        await asyncio.sleep(seconds)
