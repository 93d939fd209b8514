"""Queues as lines of ``GET /forerun/sources``."""

from collections.abc import Mapping, Sequence
from typing import Any

from forerun.aio import Clock
from forerun.sources.queues import Queues, Traffic

MOST = 1000


class QueueRows:
    """One row for each queue; ``PerSecond`` were taken of late."""

    def __init__(self, queues: Queues, traffic: Traffic, clock: Clock) -> None:
        self._queues = queues
        self._traffic = traffic
        self._clock = clock

    async def rows(self, account: str) -> Sequence[Mapping[str, Any]]:
        """The queues of an account, the first thousand by name; counters are those since the server started."""
        found = []
        for queue in self._queues.page(account, most=MOST):
            backlog = await self._traffic.backlog(queue)
            redrive, tally = queue.settings.redrive, queue.tally
            found.append(
                {
                    "Source": queue.arn,
                    "Kind": "queue",
                    "Id": queue.record.name,
                    "Waiting": backlog.visible,
                    "Hidden": backlog.hidden,
                    "Delayed": backlog.delayed,
                    "OldestSeconds": round(backlog.oldest_s, 3),
                    "PerSecond": round(tally.rate.per_second(self._clock.monotonic()), 3),
                    "Clients": sum(waiter.guest for waiter in queue.line.waiters),
                    "Sent": tally.sent,
                    "Received": tally.received,
                    "Deleted": tally.deleted,
                    "Expired": tally.expired,
                    "GivenUp": tally.given_up,
                    **({"DeadLetters": redrive.target} if redrive is not None else {}),
                }
            )
        return found
