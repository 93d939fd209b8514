"""Takes messages from sources, and brings them to their targets at least once.

A message to a function is an event of the durable queue when ``send`` returns; one that the function must not or cannot
be given is a dead letter by then, or on its way to its dead-letter queue. All others are in the outbox, from where workers,
one for each target and a bounded number at once, claim, deliver and settle them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.control.delivery.functions import FunctionTargets
from forerun.control.delivery.lanes import Lanes
from forerun.control.delivery.targets import URL, Targets, service_of
from forerun.control.delivery.undeliverable import (
    Refusal,
    message_key,
    next_try,
    put_away,
    refused_for_good,
)
from forerun.errors import ForerunError, StorageFailed
from forerun.events import Bus, DeadLetterKept
from forerun.model import DeadLetter, Message
from forerun.scheduling import Backoff
from forerun.storage import QueuedEvent
from forerun.storage.outbox import OutboxStore, Settlement, Waiting

log = logging.getLogger("forerun.outbox")

BATCH = 64
URL_BATCH = 8
LOOK_S = 1.0
DRAIN_S = 2.0
ORDERED = ".fifo"
FOREVER_S = 1e10
_FAILED_S = 1.0


class Workers(NamedTuple):
    """How many targets are served at once: URLs, which may be slow, and all others."""

    urls: int = 48
    others: int = 16


class OutboxStatus(NamedTuple):
    """Messages on their way, their bytes, to how many targets; seconds for which targets that failed are left alone."""

    messages: int
    bytes: int
    targets: int
    paused: dict[str, float]


class _Sorted(NamedTuple):
    """What becomes of messages that are sent."""

    events: list[QueuedEvent]
    waiting: list[Waiting]
    letters: list[DeadLetter]


class DurableOutbox:
    """``sources.Outbox``. ``recover``, then ``start`` when all sinks are there, then ``close``, once each."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        store: OutboxStore,
        functions: FunctionTargets,
        targets: Targets,
        backoff: Backoff,
        clock: Clock,
        bus: Bus,
        workers: Workers | None = None,
    ) -> None:
        self._store = store
        self._functions = functions
        self._targets = targets
        self._backoff = backoff
        self._clock = clock
        self._bus = bus
        self._free = workers or Workers()
        self._lanes = Lanes()
        self._working = {True: 0, False: 0}
        self._latest = 0.0
        self._wake = asyncio.Event()
        self._owner = TaskOwner("outbox")
        self._closing = False
        self._random = Random()  # noqa: S311 jitter, not secrets

    async def recover(self) -> None:
        """Take over what an earlier server left; before anything is sent."""
        lanes = await self._store.recover()
        # What waits longer than any retry was written before the clock was set back.
        latest = self._clock.now() + self._backoff.system_max_s
        await self._store.hasten(latest, FOREVER_S)
        for name, depth in lanes.items():
            self._lanes.added(name, min(depth.due_at or 0.0, latest))

    def start(self) -> None:
        """Deliver what there is and what comes."""
        self._owner.spawn(self._run(), name="deliver")

    async def close(self) -> None:
        """Begin no more deliveries; those under way have ``DRAIN_S`` seconds to end. What is left is delivered after the next start."""
        self._closing = True
        self._wake.set()
        deadline = self._clock.monotonic() + DRAIN_S
        while any(self._working.values()) and self._clock.monotonic() < deadline:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), deadline - self._clock.monotonic())
        await self._owner.close()

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``sources.Outbox``."""
        events, waiting, letters = await self._sorted(messages)
        writes = []
        if events:
            writes.append(self._functions.enqueue(events))
        if waiting or letters:
            writes.append(self._put(waiting, letters))
        if len(writes) == 1:
            await writes[0]
        elif writes:
            # Both are over when one fails, so that nothing is written after the sender was told.
            for result in await asyncio.gather(*writes, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Put dead letters with the platform's others; they are on disk when this returns. ``StorageFailed``."""
        await self._put([], letters)

    async def run_again(self, message: Message, *, memory_mb: int = 0, timeout_s: int = 0) -> None:
        """Send a message that was given up; to a function, with another memory and timeout where they are given.

        It is on disk when this returns. A target that refuses is told at once: ``NotFound``, ``AccessDenied``, ``InvalidInput``.
        """
        if service_of(message.target) == "lambda":
            event = await self._functions.prepared(
                message, memory_mb=memory_mb, timeout_s=timeout_s
            )
            await self._functions.enqueue([event])
        else:
            await self._put([self._waiting(message)], [])

    def status(self) -> OutboxStatus:
        """How much is on its way."""
        messages, size = self._store.size()
        now = self._clock.now()
        paused = {name: until - now for name, until in self._lanes.paused(now).items()}
        return OutboxStatus(messages, size, len(self._lanes), paused)

    async def set_back(self, seconds: float) -> None:
        """The clock was set back: what waits by the old time is due as if it were not, and in its order."""
        # What is sent from now on comes after all that.
        self._latest = soon = self._clock.now() + LOOK_S
        await self._store.hasten(soon, seconds)
        self._lanes.hasten(soon, seconds)
        self._wake.set()

    async def _sorted(self, messages: Sequence[Message]) -> _Sorted:
        found = _Sorted([], [], [])
        for message in messages:
            try:
                if service_of(message.target) != "lambda":
                    found.waiting.append(self._waiting(message))
                    continue
                found.events.append(await self._functions.prepared(message))
            except ForerunError as error:
                refusal = refused_for_good(error)
                if refusal is None:
                    # It cannot be said now whether the function may be given it.
                    found.waiting.append(self._waiting(message))
                else:
                    self._give_up(message, refusal, 0, found.waiting, found.letters)
        return found

    def _waiting(self, message: Message) -> Waiting:
        # Messages to one target keep the order they came in, whatever the clock does.
        now = self._clock.now()
        self._latest = max(self._latest, now)
        return Waiting(
            id=message_key(message),
            lane=message.target,
            message=message,
            accepted_at=now,
            due_at=self._latest,
        )

    def _give_up(
        self,
        message: Message,
        refusal: Refusal,
        attempts: int,
        waiting: list[Waiting],
        letters: list[DeadLetter],
    ) -> None:
        log.info(
            "a message of %s for %s is given up (%s): %s",
            message.source,
            message.target,
            refusal.reason,
            refusal.detail,
        )
        away = put_away(message, refusal, attempts=attempts, now=self._clock.now())
        if isinstance(away, Waiting):
            waiting.append(away)
        else:
            letters.append(away)

    async def _put(self, waiting: Sequence[Waiting], letters: Sequence[DeadLetter]) -> None:
        self._notice(await self._store.put(waiting, letters))
        self._tell(letters)

    def _notice(self, lanes: dict[str, int]) -> None:
        now = self._clock.now()
        for name in lanes:
            self._lanes.added(name, now)
        if lanes:
            self._wake.set()

    async def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            now = self._clock.now()
            self._begin(now)
            due = self._lanes.next_at()
            wait = LOOK_S if due is None else min(LOOK_S, max(0.01, due - now))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    def _begin(self, now: float) -> None:
        for name in self._lanes.ready(now):
            slow = _slow(name)
            most = self._free.urls if slow else self._free.others
            if self._working[slow] < most:
                self._working[slow] += 1
                self._lanes.begin(name)
                self._owner.spawn(self._serve(name, slow=slow), name=f"to-{name[:200]}")

    async def _serve(self, lane: str, *, slow: bool) -> None:
        """The lane's worker: claims and delivers until nothing of it is due, or its target needs a pause."""
        due: float | None = self._clock.now() + _FAILED_S
        try:
            limit = URL_BATCH if slow else BATCH
            going = not self._closing
            while going:
                batch = await self._store.claim(lane, limit, now=self._clock.now())
                if not batch:
                    break
                going = await self._deliver(lane, batch) and not self._closing
            due = (await self._store.depth(lane)).due_at
        except StorageFailed as error:
            log.warning("messages to %s wait: %s", lane, error.message)
        finally:
            self._lanes.end(lane, due)
            self._working[slow] -= 1
            self._wake.set()

    async def _deliver(self, lane: str, batch: list[Waiting]) -> bool:
        """Deliver and settle; whether the lane's worker may go on."""
        settlement, ordered, stopped = Settlement(), lane.endswith(ORDERED), False
        for part in one_of_each_group(batch) if ordered else [batch]:
            if stopped:
                # What came before was not taken yet.
                settlement.again += part
                continue
            answers = await self._answers(lane, [each.message for each in part])
            for waiting, error in zip(part, answers, strict=True):
                if error is None:
                    settlement.done.append(waiting)
                else:
                    self._refused(lane, waiting, error, settlement)
            stopped = ordered and bool(settlement.again)
        await self._settle(lane, settlement)
        now, failed = self._clock.now(), len(settlement.again)
        going = self._lanes.outcome(lane, now, delivered=len(batch) - failed, failed=failed)
        return going and not stopped

    def _refused(
        self, lane: str, waiting: Waiting, error: ForerunError, settlement: Settlement
    ) -> None:
        """Try it again later, or give it up."""
        now, chance = self._clock.now(), self._random.random()
        after = next_try(waiting, error, self._backoff, now=now, chance=chance)
        if isinstance(after, Refusal):
            settlement.done.append(waiting)
            self._give_up(
                waiting.message, after, waiting.attempt, settlement.instead, settlement.letters
            )
            return
        waiting.attempt += 1
        if lane.endswith(ORDERED):
            # It keeps its place; all of the lane waits.
            self._lanes.pause(lane, after)
        else:
            waiting.due_at = after
        settlement.again.append(waiting)

    async def _settle(self, lane: str, settlement: Settlement) -> None:
        """Until the disk takes it: what is not settled would be nobody's before the next start."""
        while True:
            try:
                self._notice(await self._store.settle(settlement))
            except StorageFailed as error:
                log.warning("what became of messages to %s waits: %s", lane, error.message)
                await asyncio.sleep(_FAILED_S)
            else:
                self._tell(settlement.letters)
                return

    def _tell(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            target = letter.message.target
            parts = target.split(":") if target.startswith("arn:") else []
            self._bus.note(
                DeadLetterKept(
                    account=letter.message.account,
                    target=target,
                    reason=letter.reason,
                    at=letter.failed_at,
                    function=parts[6] if parts[5:6] == ["function"] and len(parts) > 6 else "",
                    source=letter.message.source,
                    attempts=letter.attempts,
                )
            )

    async def _answers(
        self, lane: str, messages: Sequence[Message]
    ) -> Sequence[ForerunError | None]:
        try:
            return await self._targets.deliver(lane, messages)
        except Exception:
            log.exception("delivering to %s failed", lane)
            return [StorageFailed("The platform failed to deliver it.")] * len(messages)


def one_of_each_group(batch: Sequence[Waiting]) -> list[list[Waiting]]:
    """A batch in parts that have at most one message of a group each, every group in its order."""
    parts: list[list[Waiting]] = []
    seen: dict[str, int] = {}
    for waiting in batch:
        group = waiting.message.attributes.get("MessageGroupId", "")
        number = seen[group] = seen.get(group, -1) + 1
        if number == len(parts):
            parts.append([])
        parts[number].append(waiting)
    return parts


def _slow(target: str) -> bool:
    """Whether delivering to it may take seconds."""
    try:
        return service_of(target) == URL
    except ForerunError:
        return False
