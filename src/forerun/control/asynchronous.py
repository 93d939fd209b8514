"""Asynchronous invocations: accepted on disk, run at least once, retried, aged out, and reported to destinations.

An event is claimed from the durable queue, run, and finished only after the record of its last attempt is stored; a
server that dies in between runs it again. What its failure or success destination shall hear is queued before the
event is finished.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from functools import partial

from forerun.aio import Clock, TaskOwner
from forerun.control.claiming import Claiming
from forerun.control.deferring import Deferring
from forerun.control.delivery.functions import EXECUTION_ID
from forerun.control.destinations import (
    SUCCESS,
    Ended,
    Outlet,
    letter_of,
    letter_of_event,
    messages_of,
)
from forerun.control.event_ends import Settlement, record_of_unrun
from forerun.control.event_width import WIDEN_EVERY_S, Width
from forerun.control.invoke import Invocation, Invoker, Reply
from forerun.control.monitoring import Monitor
from forerun.control.overrides import as_asked, other_than_usual
from forerun.control.registry import Registry, Resolved
from forerun.errors import (
    ForerunError,
    HostLost,
    NotFound,
    RecursionDetected,
    SandboxError,
    StorageFailed,
    Throttled,
)
from forerun.model import EventInvokeConfig, Origin
from forerun.scheduling import Backoff, due_at
from forerun.storage import EventQueue, QueuedEvent

log = logging.getLogger("forerun.asynchronous")

LEASE_S = 1200.0
IDLE_S = 5.0
FAILED_S = 1.0
# What is given back is not due at once where claims are kept: it would be claimed before that is known here.
GIVEN_BACK_S = 0.1


class EventInvoker:
    """Accepts events and runs them from the queue: a few at a time, up to ``in_flight`` where they take long.

    Those that ``deferring`` takes in quiet moments run beside them, as many as it says. ``connect`` before ``start``.
    """

    _outlet: Outlet

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        queue: EventQueue,
        registry: Registry,
        invoker: Invoker,
        monitor: Monitor,
        backoff: Backoff,
        deferring: Deferring,
        clock: Clock,
        in_flight: int,
        region: str,
        claiming: Claiming | None = None,
    ) -> None:
        """With ``claiming`` others take from the same queue; without, a claim outlasts every run."""
        self._queue = queue
        self._registry = registry
        self._invoker = invoker
        self._monitor = monitor
        self._backoff = backoff
        self._deferring = deferring
        self._clock = clock
        self._region = region
        self.claiming = claiming
        self._lease_s = LEASE_S if claiming is None else claiming.lease_s
        self._width = Width(in_flight)
        self._running: set[str] = set()
        self._wake = asyncio.Event()
        self._finished: list[str] = []
        self._owner = TaskOwner("events")
        self._random = random.Random()  # noqa: S311 jitter, not secrets

    @property
    def outlet(self) -> Outlet:
        """Who is told what became of events."""
        return self._outlet

    def connect(self, outlet: Outlet) -> None:
        """Tell it what became of events, from now on."""
        self._outlet = outlet

    def start(self) -> None:
        """Begin to run what is queued, what an earlier server left included (after ``EventQueue.recover``)."""
        self._owner.spawn(self._run(), name="poller")
        self._owner.spawn(self._run_deferred(), name="deferred")
        if self.claiming is not None:
            self.claiming.start(self._owner)
        self._wake.set()

    async def accept(
        self, resolved: Resolved, invocation: Invocation, *, patience_s: float = 0.0
    ) -> None:
        """Return when the event is on disk. It starts within ``patience_s`` seconds; at once where that is 0."""
        function = resolved.function
        accepted = invocation.received
        event = QueuedEvent(
            id=invocation.request_id,
            account=function.account,
            name=function.name,
            qualifier=resolved.qualifier,
            payload=invocation.payload,
            client_context=invocation.client_context,
            headers={EXECUTION_ID: invocation.execution_id} if invocation.execution_id else {},
            origin=self._monitor.rooted(invocation.origin, invocation.received),
            accepted_at=accepted,
            due_at=due_at(accepted, patience_s),
            latest_start=accepted + patience_s if patience_s else 0.0,
        )
        await self.enqueue([event])

    async def enqueue(self, events: Sequence[QueuedEvent]) -> None:
        """Return when all of them are on disk; an id that is queued already changes nothing.

        Raises ``Throttled`` when the queue is full, ``StorageFailed``.
        """
        await self._queue.put(*events)
        self._invoker.queued(events)
        self._wake.set()
        if any(event.latest_start for event in events):
            self._deferring.notice()

    def deferrable(self) -> dict[str, object]:
        """How many deferrable events wait and run, and what holds those that wait."""
        return self._deferring.status()

    async def close(self, *, grace_s: float) -> None:
        """Take nothing more; let running attempts end, for at most ``grace_s`` seconds."""
        self._width.close()
        self._deferring.stop()
        deadline = self._clock.monotonic() + grace_s
        while self._running and self._clock.monotonic() < deadline:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), deadline - self._clock.monotonic())
        await self._owner.close()
        # What is not finished on disk is run again.
        with contextlib.suppress(StorageFailed):
            await self._flush_finished()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._flush_finished()
                self._width.widen(self._ordinary, self._clock.monotonic())
                free = self._width.slots - self._ordinary
                events = (
                    await self._queue.claim(free, now=self._clock.now(), lease_s=self._lease_s)
                    if free > 0
                    else []
                )
                self._begin(events)
                if not events:
                    await self._idle()
            except StorageFailed as error:
                log.warning("events wait: %s", error.message)
                await self._clock.sleep(FAILED_S)

    async def _run_deferred(self) -> None:
        while True:
            self._begin(await self._deferring.take())

    def _begin(self, events: list[QueuedEvent]) -> None:
        dequeued = self._clock.now()
        claiming = self.claiming
        for event in events:
            if claiming is not None and not claiming.take(event):
                self._deferring.ended(event.id)
                continue
            self._running.add(event.id)
            task = self._owner.spawn(self._attempt(event, dequeued), name=f"event-{event.id}")
            if claiming is not None:
                claiming.began(event, task)
                task.add_done_callback(partial(self._ended, event))

    def _ended(self, event: QueuedEvent, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            self._release(event)

    @property
    def _ordinary(self) -> int:
        """How many run that were due."""
        return len(self._running) - self._deferring.running

    async def _idle(self) -> None:
        wait = WIDEN_EVERY_S if self._width.may_widen(self._ordinary) else IDLE_S
        if self._width.slots > self._ordinary and (due := await self._queue.due_at()) is not None:
            wait = min(IDLE_S, max(0.0, due - self._clock.now()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)

    async def _flush_finished(self) -> None:
        finished, self._finished = self._finished, []
        if finished:
            try:
                await self._queue.finish(finished)
            except StorageFailed:
                self._finished += finished
                raise
            if self.claiming is not None:
                self.claiming.settled(finished)

    def _finish(self, event: QueuedEvent) -> None:
        self._finished.append(event.id)
        self._wake.set()

    def _release(self, event: QueuedEvent) -> None:
        """Its run is over: another event may run; it is finished once its record is stored."""
        self._running.discard(event.id)
        self._deferring.ended(event.id)
        if self.claiming is not None:
            self.claiming.over(event.id)
        self._wake.set()

    async def _again(self, event: QueuedEvent, delay_s: float, attempt: int) -> None:
        if self.claiming is not None:
            delay_s = max(delay_s, GIVEN_BACK_S)
        while True:
            try:
                await self._queue.retry(event.id, at=self._clock.now() + delay_s, attempt=attempt)
            except StorageFailed as error:
                log.warning("event %s cannot be given back yet: %s", event.id, error.message)
                await self._clock.sleep(FAILED_S)
            else:
                break
        self._release(event)
        if self.claiming is not None:
            self.claiming.settled([event.id])

    async def _attempt(self, event: QueuedEvent, dequeued: float) -> None:
        try:
            try:
                resolved = await self._registry.resolve(
                    event.account, event.name, event.qualifier, self._random.random()
                )
            except NotFound as error:
                await self._outlet.keep(
                    [
                        letter_of_event(
                            event,
                            self._region,
                            reason="NotFound",
                            detail=error.message,
                            at=self._clock.now(),
                        )
                    ]
                )
                self._give_up(event, "ResourceNotFound", error.message)
                return
            await self._run_once(event, resolved, dequeued)
        except Exception as error:
            # Whatever went wrong: an event that nobody runs and nobody gives back would keep its place.
            known = isinstance(error, ForerunError)
            log.warning("event %s: %s; it is tried again", event.id, error, exc_info=not known)
            await self._again(
                event,
                self._backoff.system_delay(event.attempt, self._random.random()),
                event.attempt,
            )

    async def _run_once(self, event: QueuedEvent, resolved: Resolved, dequeued: float) -> None:
        config = resolved.event_config or EventInvokeConfig()
        if self._clock.now() - event.accepted_at > config.max_age_s:
            why = f"It waited longer than the {config.max_age_s} s that events of its function may live."
            await self._report(event, resolved, None, "EventAgeExceeded", why)
            self._give_up(event, "EventAgeExceeded", "it is too old", status="expired")
            return
        resolved = as_asked(event, resolved)
        settlement = Settlement(lambda: self._finish(event))
        began = self._clock.monotonic()
        waited_s = max(0.001, self._clock.now() - event.accepted_at)
        try:
            reply = await self._invoker.run(
                resolved,
                Invocation(
                    request_id=event.id,
                    payload=event.payload,
                    received=event.accepted_at,
                    invocation_type="Event",
                    client_context=event.client_context,
                    origin=event.origin,
                    attempt=event.attempt,
                    deferred_s=waited_s if event.latest_start else 0.0,
                    source=event.source,
                    dequeued=dequeued,
                    execution_id=event.headers.get(EXECUTION_ID, ""),
                ),
                settlement.stored,
            )
        except (Throttled, SandboxError) as error:
            # Where its host was lost it may run on there for a while.
            lost_s = error.over_in_s if isinstance(error, HostLost) else 0.0
            delay_s = max(lost_s, self._refused(event, config))
            await self._again(event, delay_s, event.attempt)
            return
        except RecursionDetected as error:
            await self._report(event, resolved, None, "RecursionDetected", error.message)
            self._release(event)
            settlement.ended()
            return
        if event.memory_mb or event.timeout_s:
            # The record is written behind the answer.
            reply.record.placement = f"{reply.record.placement}; {other_than_usual(event)}"
        self._width.ran(self._clock.monotonic() - began)
        await self._settle(event, resolved, config, reply, settlement)

    def _refused(self, event: QueuedEvent, config: EventInvokeConfig) -> float:
        """Seconds until an event that the platform could not run is due; one that may wait waits on."""
        now = self._clock.now()
        if event.latest_start:
            left = due_at(event.accepted_at, event.latest_start - event.accepted_at) - now
            if left > 0:
                self._deferring.refused()
                return left
        delay = self._backoff.system_delay(event.refusals + 1, self._random.random())
        return max(0.0, min(delay, event.accepted_at + config.max_age_s - now))

    async def _settle(
        self,
        event: QueuedEvent,
        resolved: Resolved,
        config: EventInvokeConfig,
        reply: Reply,
        settlement: Settlement,
    ) -> None:
        if reply.error is None:
            await self._report(event, resolved, reply, SUCCESS)
        elif event.attempt <= config.max_retries:
            delay = self._backoff.retry_delay(event.attempt, self._random.random())
            if self._clock.now() + delay - event.accepted_at <= config.max_age_s:
                await self._again(event, delay, event.attempt + 1)
                return
            await self._report(event, resolved, reply, "EventAgeExceeded")
        else:
            await self._report(event, resolved, reply, "RetriesExhausted")
        self._release(event)
        settlement.ended()

    def _give_up(
        self, event: QueuedEvent, error_type: str, why: str, status: str = "error"
    ) -> None:
        log.info("event %s for %s is dropped: %s", event.id, event.name, why)
        record = record_of_unrun(event, error_type, status=status, now=self._clock.now())
        self._invoker.record(record, lambda: self._finish(event))
        self._release(event)

    async def _report(
        self,
        event: QueuedEvent,
        resolved: Resolved,
        reply: Reply | None,
        condition: str,
        detail: str = "",
    ) -> None:
        """Tell the destination and the dead-letter queue; a failure that neither hears of becomes a dead letter."""
        ended = Ended(
            event=event,
            resolved=resolved,
            condition=condition,
            reply=reply,
            origin=self._origin_afterwards(event, resolved, reply),
            at=self._clock.now(),
            detail=detail,
        )
        if messages := messages_of(ended):
            await self._outlet.send(messages)
        elif condition != SUCCESS:
            await self._outlet.keep([letter_of(ended)])

    def _origin_afterwards(
        self, event: QueuedEvent, resolved: Resolved, reply: Reply | None
    ) -> Origin:
        """The attempt that ended caused it; without an attempt, what caused the event did."""
        if reply is None:
            return event.origin
        return self._monitor.ended(reply.context, resolved.function.account)
