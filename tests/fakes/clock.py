"""A clock that stands still until it is told to go on."""

import asyncio
import heapq
import itertools

SETTLE_ROUNDS = 20


async def settle(rounds: int = SETTLE_ROUNDS) -> None:
    """Let every task run until it waits for something that does not come by itself."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class FakeClock:
    """Implements ``forerun.aio.Clock``; sleepers wake in order while ``advance`` goes past their time."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._epoch = now
        self._time = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._epoch + self._time

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(
            self._sleepers, (self._time + max(0.0, seconds), next(self._numbers), future)
        )
        await future

    def jump(self, seconds: float) -> None:
        """Go on without waking anybody: the machine was asleep."""
        self._time += seconds

    async def advance(self, seconds: float) -> None:
        """Go on by so many seconds, running whatever wakes on the way."""
        end = self._time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._time, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self._time = end
        await settle()
