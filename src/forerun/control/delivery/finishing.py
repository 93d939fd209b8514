"""Tells a source what was processed: many receipts at a time, gathered for a few milliseconds."""

import asyncio
import logging
from collections.abc import Iterable

from forerun.aio import Clock
from forerun.errors import ForerunError, NotFound
from forerun.sources import Pollable

log = logging.getLogger("forerun.pollers")

GATHER_S = 0.004
AT_ONCE = 1000
TRIES = 5
AGAIN_S = 1.0


class Finisher:
    """Of one source. What cannot be finished, because the store fails, comes again: a message is run at least once."""

    def __init__(self, pollable: Pollable, arn: str, clock: Clock) -> None:
        self._pollable = pollable
        self._arn = arn
        self._clock = clock
        self._receipts: list[str] = []
        self._telling = 0
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether the source knows everything."""
        return not self._receipts and not self._telling

    def add(self, receipts: Iterable[str]) -> None:
        """These were processed."""
        self._receipts.extend(receipts)
        if self._receipts:
            self._wake.set()

    async def run(self) -> None:
        """Tell what is added, for ever."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(GATHER_S)
            self._wake.clear()
            try:
                await self.flush()
            except Exception:
                log.exception("messages of %s could not be finished, so they come again", self._arn)

    async def flush(self) -> None:
        """Tell what was added until now."""
        while self._receipts:
            part, self._receipts = self._receipts[:AT_ONCE], self._receipts[AT_ONCE:]
            self._telling += len(part)
            try:
                await self._tell(part)
            finally:
                self._telling -= len(part)

    async def _tell(self, receipts: list[str]) -> None:
        for left in reversed(range(TRIES)):
            try:
                await self._pollable.finish(self._arn, receipts)
            except NotFound:
                return
            except ForerunError as error:
                log.warning(
                    "%d messages of %s were processed and cannot be finished, %s: %s",
                    len(receipts),
                    self._arn,
                    "which is tried again" if left else "so they come again",
                    error.message,
                )
                if left:
                    await self._clock.sleep(AGAIN_S)
            else:
                return
