"""Who waits at one queue, in which order, and what is known of when something can be had there.

While nothing can be had the database is not asked: ``due`` is never later than the moment at which the next message
can be taken. What is sent wakes those that have waited longest; the first in line also wakes when ``due`` has come.
"""

import asyncio
import contextlib
import math
from collections import deque
from itertools import islice


class Waiter:
    """One in line; ``most`` is what it takes, ``guest`` whether it is somebody outside of the platform."""

    def __init__(self, most: int, *, guest: bool) -> None:
        self.most = most
        self.guest = guest
        self.called = False
        self._sleep: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let it look."""
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Until it is woken, at most so long."""
        self._sleep = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._sleep
        self._sleep = None


class Line:
    """The waiters of one queue, and when it is worth looking; ``due`` in epoch seconds, past when it is not known."""

    def __init__(self) -> None:
        self.due = -math.inf
        self.waiters: deque[Waiter] = deque()
        self._news = 0

    @property
    def news(self) -> int:
        """Grows with everything that was told; to be given to ``looked``."""
        return self._news

    def tell(self, due: float, messages: int) -> None:
        """So many messages can be had from ``due`` on."""
        self._news += 1
        self.due = min(self.due, due)
        for waiter in list(islice(self.waiters, messages)):
            waiter.called = True
            waiter.wake()
            messages -= waiter.most
            if messages <= 0:
                break

    def looked(self, news: int, due: float | None) -> None:
        """The database was asked after ``news``: the next can be had at ``due``."""
        found = math.inf if due is None else due
        self.due = found if news == self._news else min(self.due, found)

    def join(self, most: int, *, guest: bool = False) -> Waiter:
        """Stand at the end."""
        waiter = Waiter(most, guest=guest)
        self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Go; who is first then looks when something can be had."""
        self.waiters.remove(waiter)
        if self.waiters:
            self.waiters[0].wake()

    def seconds_until(self, waiter: Waiter, now: float) -> float:
        """For how long ``waiter`` need not look by itself."""
        if self.waiters and self.waiters[0] is waiter:
            return max(0.0, self.due - now)
        return math.inf

    def wake_all(self) -> None:
        """Let everybody look whether they shall go."""
        for waiter in self.waiters:
            waiter.wake()
