"""Messages through queues: sent, received, finished, given up.

A message is on disk when ``send`` returns. It is hidden while somebody has it and comes again unless it is finished:
at least once. What was received more often than the queue allows goes to its dead-letter queue instead of to whoever
asks; what is older than the queue keeps messages is given to nobody any more.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError, Throttled
from forerun.sources import Backlog
from forerun.sources.queues.faults import NoSuchQueue, TooManyInFlight
from forerun.sources.queues.line import Waiter
from forerun.sources.queues.queue import Queue
from forerun.sources.queues.registry import Queues
from forerun.storage.queue_messages import NewMessage, QueueMessages, StoredMessage

log = logging.getLogger("forerun.queues")

T = TypeVar("T")
MOST_GUESTS = 2_000
MOST_IN_FLIGHT = 120_000
SWEEP_S = 30.0
STALE_S = 1.0
CHEAP = 2000
ROUNDS = 100
FULL_S = 0.5


class Traffic:
    """Moves messages. ``start`` begins to remove what is old; ``dismiss`` sends guests away who wait, for good.

    At most ``guests`` clients wait at the queues of one account, so that it leaves connections to others.
    """

    def __init__(
        self, queues: Queues, messages: QueueMessages, clock: Clock, *, guests: int = MOST_GUESTS
    ) -> None:
        self._queues = queues
        self._messages = messages
        self._clock = clock
        self._most_guests = guests
        self._guests: Counter[str] = Counter()
        self._dismissed = False
        self._closed = False
        self._backlogs: dict[int, tuple[float, Backlog]] = {}
        self._background = TaskOwner("queues")
        # What must be done to its end although nobody waits for it any more; outlives ``close``, as functions do.
        self._works = TaskOwner("queue-works")

    def start(self) -> None:
        """Begin to remove what queues have kept long enough."""
        self._background.spawn(self._sweep(), name="sweep")

    def dismiss(self) -> None:
        """Guests who wait for a message get none, and no guest waits from now on: the server is about to stop."""
        self._dismissed = True
        for queue in self._queues.all():
            queue.line.wake_all()

    async def close(self) -> None:
        """Remove nothing any more, and let nobody wait."""
        self._closed = True
        self.dismiss()
        await self._background.close()
        await self._works.drain(timeout_s=5.0)

    async def send(
        self, messages: Sequence[tuple[Queue, NewMessage]]
    ) -> dict[int, tuple[int, str]]:
        """Return when all are on disk; of those that had been sent before, by number, number and id of the first."""
        if not messages:
            return {}
        return await self._whole(self._send(messages))

    async def _send(
        self, messages: Sequence[tuple[Queue, NewMessage]]
    ) -> dict[int, tuple[int, str]]:
        earlier = await self._messages.put([message for _, message in messages])
        told: dict[Queue, tuple[float, int]] = {}
        for queue, message in messages:
            if message.seq not in earlier:
                due, count = told.get(queue, (message.visible_at, 0))
                told[queue] = min(due, message.visible_at), count + 1
        for queue, (due, count) in told.items():
            queue.total += count
            queue.tally.sent += count
            queue.line.tell(due, count)
        return earlier

    async def receive(
        self, queue: Queue, *, most: int, wait_s: float, hide_s: float, guest: bool = False
    ) -> list[StoredMessage]:
        """Up to ``most`` messages, hidden for ``hide_s`` seconds; waits for the first one up to ``wait_s`` seconds.

        ``guest``: for somebody outside of the platform. Those who wait are served in the order they came. ``TooManyInFlight`` when the queue has that many, and nobody
        waits; ``Throttled`` when too many guests wait at the account's queues; ``NoSuchQueue`` when it is deleted meanwhile.
        """
        line = queue.line
        got: list[StoredMessage] = []
        if not line.waiters or wait_s <= 0:
            got = await self._look(queue, most, hide_s, strict=wait_s <= 0)
        if got or wait_s <= 0 or self._closed or (guest and self._dismissed):
            return got
        account = queue.record.account
        if guest and self._guests[account] >= self._most_guests:
            raise Throttled(
                f"{self._most_guests} requests wait at this account's queues already; try again later",
                reason="CallerRateLimitExceeded",
            )
        waiter = line.join(most, guest=guest)
        self._guests[account] += guest
        try:
            return await self._wait(queue, waiter, wait_s, hide_s)
        finally:
            self._guests[account] -= guest
            line.leave(waiter)

    async def _wait(
        self, queue: Queue, waiter: Waiter, wait_s: float, hide_s: float
    ) -> list[StoredMessage]:
        deadline = self._clock.monotonic() + wait_s
        line = queue.line
        while (left := deadline - self._clock.monotonic()) > 0:
            until = line.seconds_until(waiter, self._clock.now())
            if until > 0 and not waiter.called:
                await waiter.sleep(min(left, until))
            waiter.called = False
            if self._closed or (waiter.guest and self._dismissed):
                break
            if queue.gone:
                raise NoSuchQueue
            if got := await self._look(queue, waiter.most, hide_s, strict=False):
                return got
            if line.due <= self._clock.now() and not waiter.called:
                # As many are in flight as may be.
                await waiter.sleep(min(left, FULL_S))
        return []

    async def _look(
        self, queue: Queue, most: int, hide_s: float, *, strict: bool
    ) -> list[StoredMessage]:
        for _ in range(ROUNDS):
            if queue.line.due > self._clock.now():
                return []
            if queue.total >= MOST_IN_FLIGHT and await self._is_full(queue, strict=strict):
                return []
            taken, kept = await self._shielded(queue, most, hide_s)
            if kept or not taken:
                return kept
        return []

    async def _is_full(self, queue: Queue, *, strict: bool) -> bool:
        full = (await self.backlog(queue)).hidden >= MOST_IN_FLIGHT
        if full and strict:
            raise TooManyInFlight
        return full

    async def _shielded(
        self, queue: Queue, most: int, hide_s: float
    ) -> tuple[int, list[StoredMessage]]:
        """Take; who is cancelled meanwhile has its messages given back."""
        task = self._works.spawn(_caught(self._take(queue, most, hide_s)), name="take")
        try:
            outcome = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._works.spawn(self._give_back(queue, task), name="give-back")
            raise
        if isinstance(outcome, ForerunError):
            raise outcome
        answer: tuple[int, list[StoredMessage]] = outcome
        return answer

    async def _give_back(self, queue: Queue, task: "asyncio.Task[Any]") -> None:
        outcome = await task
        if not isinstance(outcome, ForerunError) and outcome[1]:
            marks = [message.mark for message in outcome[1]]
            await self.release(queue, marks, delay_s=0.0, begun=False)

    async def _take(
        self, queue: Queue, most: int, hide_s: float
    ) -> tuple[int, list[StoredMessage]]:
        now = self._clock.now()
        news = queue.line.news
        taken, due = await self._messages.take(
            queue.id, ordered=queue.settings.ordered, most=most, now=now, until=now + hide_s
        )
        if due is None and not taken and news == queue.line.news:
            queue.total = 0
        queue.line.looked(news, due)
        kept = await self._sorted_out(queue, taken, now) if taken else taken
        queue.tally.received += len(kept)
        queue.tally.rate.count(self._clock.monotonic(), len(kept))
        return len(taken), kept

    async def _sorted_out(
        self, queue: Queue, taken: list[StoredMessage], now: float
    ) -> list[StoredMessage]:
        """Without those that are too old, or were received too often."""
        settings = queue.settings
        oldest = now - settings.retention_s
        kept = [message for message in taken if message.sent_at > oldest]
        if len(kept) < len(taken):
            old = [message.seq for message in taken if message.sent_at <= oldest]
            gone = await self._messages.remove(queue.id, old)
            queue.total -= gone
            queue.tally.expired += gone
            self._unlocked(queue, gone)
        redrive = settings.redrive
        if redrive is None or all(message.received <= redrive.most for message in kept):
            return kept
        try:
            target = self._queues.by_arn(redrive.target)
        except NoSuchQueue:
            return kept
        many = [message.seq for message in kept if message.received > redrive.most]
        moved = await self._messages.move(queue.id, many, to=target.id, source=queue.arn, now=now)
        queue.total -= moved
        queue.tally.given_up += moved
        self._unlocked(queue, moved)
        target.total += moved
        target.line.tell(now, moved)
        return [message for message in kept if message.received <= redrive.most]

    async def finish(
        self, queue: Queue, marks: Sequence[int], *, in_flight: bool = False
    ) -> set[int]:
        """Remove messages; the marks of those that were there, with ``in_flight`` only of those that are hidden now."""
        if not marks:
            return set()
        now = self._clock.now()
        done = await self._whole(self._finish(queue, marks, now if in_flight else None))
        return set(done)

    async def _finish(
        self, queue: Queue, marks: Sequence[int], in_flight_at: float | None
    ) -> list[int]:
        done = await self._messages.finish(queue.id, marks, in_flight_at=in_flight_at)
        queue.total -= len(done)
        queue.tally.deleted += len(done)
        self._unlocked(queue, len(done))
        return done

    def _unlocked(self, queue: Queue, messages: int) -> None:
        """So many are gone: in a queue with order their groups have others that can be had now."""
        if queue.settings.ordered and messages:
            queue.line.tell(self._clock.now(), messages)

    async def remove(self, queue: Queue, numbers: Sequence[int]) -> int:
        """Remove messages by number, whoever has them; how many there were."""
        gone = await self._messages.remove(queue.id, numbers)
        queue.total -= gone
        queue.tally.deleted += gone
        self._unlocked(queue, gone)
        return gone

    async def release(
        self, queue: Queue, marks: Sequence[int], *, delay_s: float, begun: bool = True
    ) -> None:
        """Let messages that are in flight be had after ``delay_s`` seconds; not ``begun``: as if never taken."""
        if marks:
            now = self._clock.now()
            count = await self._messages.release(
                queue.id, marks, now=now, until=now + delay_s, begun=begun
            )
            queue.line.tell(now + delay_s, count)

    async def hide(self, queue: Queue, changes: Sequence[tuple[int, float]]) -> list[bool]:
        """For each mark, hide it for so many seconds from now; whether it was in flight and may be hidden so long."""
        now = self._clock.now()
        untils = [(mark, now + seconds) for mark, seconds in changes]
        done = await self._messages.hide(queue.id, untils, now=now)
        for _, until in untils:
            queue.line.tell(until, 1)
        return done

    async def find(self, queue: Queue, mark: int) -> tuple[float, float] | None:
        """Until when what was taken under this mark is hidden, and when it was taken; ``None`` when it is gone."""
        return await self._messages.find(queue.id, mark)

    async def set_back(self, seconds: float) -> None:
        """The clock was set back: messages can be had as if it were not."""
        now = self._clock.now()
        await self._messages.hasten(now, seconds)
        for queue in self._queues.all():
            queue.line.tell(now, 1)

    async def backlog(self, queue: Queue) -> Backlog:
        """What waits there; of a queue with many hidden messages as it was a second ago."""
        now = self._clock.now()
        kept = self._backlogs.get(queue.id)
        if kept is not None and abs(now - kept[0]) < STALE_S:
            return kept[1]
        hidden, delayed, oldest_at = await self._messages.waiting(queue.id, now)
        backlog = Backlog(
            visible=max(0, queue.total - hidden - delayed),
            hidden=hidden,
            delayed=delayed,
            oldest_s=max(0.0, now - oldest_at) if oldest_at is not None else 0.0,
        )
        self._backlogs.pop(queue.id, None)
        if hidden + delayed > CHEAP:
            self._backlogs[queue.id] = now, backlog
        return backlog

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` to its end, whether or not who asked for it still waits."""
        outcome = await asyncio.shield(self._works.spawn(_caught(work), name="work"))
        if isinstance(outcome, ForerunError):
            raise outcome
        answer: T = outcome
        return answer

    async def _sweep(self) -> None:
        while True:
            try:
                await self.expire()
                while await self._messages.sweep(self._clock.now()):
                    await self._clock.sleep(0.0)
            except ForerunError as error:
                log.warning("old messages could not be removed: %s", error.message)
            await self._clock.sleep(SWEEP_S)

    async def expire(self) -> None:
        """Remove what queues have kept long enough."""
        for queue in self._queues.all():
            before = self._clock.now() - queue.settings.retention_s
            while queue.total > 0 and (gone := await self._messages.expire(queue.id, before)):
                queue.total -= gone
                queue.tally.expired += gone
                self._unlocked(queue, gone)


async def _caught(work: Coroutine[Any, Any, Any]) -> Any:
    """Its result, or the error that it raised: a task's error would be reported although somebody hears of it."""
    try:
        return await work
    except ForerunError as error:
        return error
