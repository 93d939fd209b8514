"""Takes what waits at a source for one event source mapping, and has the function run it.

Nothing is taken that could not be started: the poller asks for the free concurrency of function and account first. What
was taken is finished when the function has answered, and comes again when the function failed, or the server died.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from forerun.aio import TaskOwner
from forerun.control.delivery.batch_runs import (
    BROKEN,
    NOTHING_YET,
    Around,
    BatchRuns,
    Ran,
    Wish,
    refused,
)
from forerun.control.delivery.batching import Batcher
from forerun.control.delivery.finishing import GATHER_S, Finisher
from forerun.control.delivery.metering import Meter
from forerun.control.delivery.pacing import WIDEN_EVERY_S, Pace
from forerun.errors import ForerunError, NotFound
from forerun.model import FunctionVersion
from forerun.sources import Pollable, Pulled

log = logging.getLogger("forerun.pollers")

# One wait at an idle source; what is sent meanwhile ends it. One that was busy comes to rest after a shorter one.
WAIT_S = 10.0
REST_S = 2.0
# How often a source is asked what it is set to, and the role's rights are looked at again.
CHECK_EVERY_S = 5.0
# Others give concurrency back without telling.
FREE_AGAIN_S = 0.05
# Between looks at windows that are over while all slots are busy; these are filled by themselves, too.
WINDOW_LOOK_S = 0.02
# Until how long before it is shown again a message may still begin to run.
MARGIN_S = 0.5
LEAST_HIDDEN_S = 1.0


class Poller:
    """Of one mapping: ``start``, then ``stop``; ``drained`` is called once nothing of it runs any more.

    ``orphaned`` is called when the function, or its qualifier, is gone.
    """

    def __init__(
        self,
        wish: Wish,
        pollable: Pollable,
        around: Around,
        *,
        orphaned: Callable[[], None] = lambda: None,
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        self.wish = wish
        self.result = NOTHING_YET
        self.polling = False
        self.taken, self.failed = Meter(), Meter()
        self._pollable = pollable
        self._around = around
        self._clock = around.clock
        self._orphaned = orphaned
        self._drained = drained
        self._runs = BatchRuns(wish, around)
        self._batcher = Batcher(wish.limits)
        self._pace = Pace(most=wish.at_once, size=wish.limits.messages)
        self._finisher = Finisher(pollable, wish.source, around.clock)
        self._running: dict[int, tuple[float, int]] = {}
        self._number = 0
        self._changed, self._arrival = asyncio.Event(), asyncio.Event()
        self._hide_s = self._check_at = 0.0
        self._stopped = False
        self._takers: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []
        self._owner = TaskOwner(f"poller-{wish.name}")
        self._random = random.Random()  # noqa: S311 jitter, not secrets

    @property
    def running(self) -> int:
        """How many batches run."""
        return len(self._running)

    @property
    def in_flight(self) -> int:
        """How many messages were taken and are not done with."""
        return len(self._batcher) + sum(size for _, size in self._running.values())

    @property
    def at_once(self) -> int:
        """How many batches may run at once now."""
        return self._pace.slots

    def start(self) -> None:
        """Begin to take."""
        self._takers.append(self._owner.spawn(self._take(), name="taker"))
        self._others.append(self._owner.spawn(self._finisher.run(), name="finisher"))
        if self.wish.limits.window_s > 0:
            self._takers.append(self._owner.spawn(self._watch_windows(), name="windows"))

    def stop(self) -> None:
        """Take nothing more. What runs goes on to its end; what does not run yet goes back to the source."""
        if self._stopped:
            return
        self._stopped, self.polling = True, False
        for taker in self._takers:
            taker.cancel()
        self._others.append(self._owner.spawn(self._wind_up(), name="end"))

    async def close(self, *, grace_s: float) -> None:
        """Stop, wait for what runs for at most ``grace_s`` seconds, then cut it off."""
        self.stop()
        await asyncio.wait(self._others[-1:], timeout=grace_s)
        await self._finisher.flush()
        await self._owner.close()

    # Taking

    async def _take(self) -> None:
        while True:
            try:
                await self._take_once()
            except ForerunError as error:
                await self._back_off(f"PROBLEM: {error.message}")
            except Exception:
                log.exception("%s could not be taken from", self.wish.source)
                await self._back_off(BROKEN)

    async def _take_once(self) -> None:
        self._changed.clear()
        now = self._clock.monotonic()
        if now < self._pace.paused_until:
            await self._clock.sleep(self._pace.paused_until - now)
            self._begin()
            return
        try:
            resolved = await self._runs.resolve()
        except NotFound as error:
            self._orphaned()
            raise ForerunError(error.message) from error
        function = resolved.function
        if now >= self._check_at:
            await self._check(function, now)
        self.polling = True
        free = self._around.admission.free(function.account, function.name, resolved.reserved)
        most = self._pace.room(
            now, running=len(self._running), waiting=len(self._batcher), free=free
        )
        if most <= 0:
            await self._wait_for_room(free)
            return
        wait_s = WAIT_S if self._pace.at_rest else REST_S
        messages = await self._pollable.receive(self.wish.source, most=most, wait_s=wait_s)
        self._arrived(messages, most)

    async def _check(self, function: FunctionVersion, now: float) -> None:
        """Ask what may have changed at the source."""
        self._hide_s = await self._pollable.hide_s(self.wish.source)
        await self._around.require(function, self.wish.source)
        self._check_at = now + CHECK_EVERY_S

    async def _wait_for_room(self, free: int) -> None:
        if free <= 0 and not self._running:
            await self._clock.sleep(FREE_AGAIN_S * (1.0 + self._random.random()))
            return
        now = self._clock.monotonic()
        longest = now - next((began for began, _ in self._running.values()), now)
        if self._pace.widen(now, running=len(self._running), longest_s=longest):
            self._begin()
        else:
            await self._wait_for_change(WIDEN_EVERY_S)

    async def _wait_for_change(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _back_off(self, result: str) -> None:
        self.result = result
        self._check_at = 0.0
        now = self._clock.monotonic()
        until = self._pace.refused(now, self._random.random())
        await self._clock.sleep(max(0.0, until - now))

    def _arrived(self, messages: list[Pulled], asked: int) -> None:
        self._pace.took(asked, len(messages), sum(len(message.record) for message in messages))
        if not messages:
            return
        self.taken.count(self._clock.monotonic(), len(messages))
        hidden_until = messages[0].taken_at + max(LEAST_HIDDEN_S, self._hide_s - MARGIN_S)
        self._batcher.add(self._wanted(messages), hidden_until=hidden_until)
        self._begin()
        self._arrival.set()

    def _wanted(self, messages: list[Pulled]) -> list[Pulled]:
        """What the filter lets through; the rest is done with, as on AWS."""
        wants = self.wish.wants
        if wants is None:
            return messages
        wanted: list[Pulled] = []
        unwanted: list[str] = []
        for message in messages:
            if wants(message):
                wanted.append(message)
            else:
                unwanted.append(message.receipt)
        self._finisher.add(unwanted)
        return wanted

    async def _watch_windows(self) -> None:
        while True:
            self._arrival.clear()
            if not len(self._batcher):
                await self._arrival.wait()
            now = self._clock.now()
            left = self._batcher.due(now) - now
            await self._clock.sleep(min(max(left, WINDOW_LOOK_S), self.wish.limits.window_s))
            self._begin()

    # Running

    def _begin(self) -> None:
        """Start what may run, as far as there are slots; nothing while there is no room."""
        if self._clock.monotonic() < self._pace.paused_until:
            return
        while not self._stopped and len(self._batcher) and len(self._running) < self._pace.slots:
            cut = self._batcher.next(self._clock.now())
            if cut.lost:
                self._let_go(cut.lost)
            if not cut.batch:
                return
            self._number += 1
            self._running[self._number] = self._clock.monotonic(), len(cut.batch)
            self._owner.spawn(self._run(self._number, cut.batch), name="batch")

    async def _run(self, number: int, batch: list[Pulled]) -> None:
        try:
            try:
                ran = await self._runs.run(batch)
            except Exception:
                log.exception("a batch of %s could not be run", self.wish.source)
                ran = refused(batch, BROKEN)
            await self._settle(number, batch, ran)
        finally:
            self._running.pop(number, None)
            self._changed.set()
            self._begin()

    async def _settle(self, number: int, batch: list[Pulled], ran: Ran) -> None:
        self.result = ran.result
        self._finisher.add(message.receipt for message in ran.verdict.finish)
        dropped = self._batcher.ended(batch, ran.failed_groups)
        if ran.refused:
            dropped += self._batcher.clear()
            self._pace.refused(self._clock.monotonic(), self._random.random())
            if ran.gone:
                self._orphaned()
            await self._release(ran.verdict.release + dropped, begun=False)
            return
        began, _ = self._running[number]
        self._pace.ran(self._clock.monotonic() - began, ran.handler_s)
        if ran.verdict.release:
            self.failed.count(self._clock.monotonic())
            await self._release(ran.verdict.release, begun=True)
        if dropped:
            await self._release(dropped, begun=False)

    def _let_go(self, messages: list[Pulled]) -> None:
        self._owner.spawn(self._release(messages, begun=False), name="release")

    async def _release(self, messages: Sequence[Pulled], *, begun: bool) -> None:
        """Give back: what was tried comes again when the source had hidden it for long enough, the rest at once."""
        delay = 0.0
        if begun:
            delay = messages[0].taken_at + self._hide_s - self._clock.now()
            # At most that, also when the clock was set back.
            delay = min(max(0.0, delay), self._hide_s)
        receipts = [message.receipt for message in messages]
        try:
            await self._pollable.release(self.wish.source, receipts, delay_s=delay, begun=begun)
        except ForerunError as error:
            # They come again by themselves, only later.
            log.info("%d messages could not be given back: %s", len(receipts), error.message)

    async def _wind_up(self) -> None:
        if self._takers:
            await asyncio.wait(self._takers)
        if waiting := self._batcher.clear():
            await self._release(waiting, begun=False)
        while self._running:
            self._changed.clear()
            await self._wait_for_change(WIDEN_EVERY_S)
        await self._finisher.flush()
        while not self._finisher.idle:
            await self._clock.sleep(GATHER_S)
        for other in self._others[:-1]:
            other.cancel()
        self._drained()
