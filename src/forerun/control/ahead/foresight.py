"""Acts ahead of calls: counts what arrives, asks what is to be expected, and has the host hold it ready.

Calls tell of themselves at once and for a microsecond; what may be expected because of them is asked a few times a second, in
bounded turns, but for the functions that running executions lead to: those cannot wait. Nothing here ever fails a call.
"""

import asyncio
import logging
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from forerun.aio import Clock, TaskOwner
from forerun.control.ahead.aims import Aims, Names
from forerun.control.ahead.notebook import EVERY_S, Notebook
from forerun.control.ahead.outlook import Foreteller, Outlook
from forerun.control.ahead.pools import Pools
from forerun.control.ahead.traffic import GATHER_S, Arrivals, Traffic
from forerun.control.registry import Resolved
from forerun.control.specs import Specs
from forerun.errors import ForerunError
from forerun.host import Host, Run
from forerun.model import (
    FunctionVersion,
    Outcome,
    Qualified,
    StartType,
    Successor,
    Timings,
    TraceContext,
)
from forerun.prediction import Traversals
from forerun.scheduling import Preparer

log = logging.getLogger("forerun.foresight")

TURN_S = 0.25
SHORTEST_TURN_S = 0.02
# A turn holds the loop up for about so long, and turns take about this share of the time when there is more to do.
SLICE_S = 0.003
SHARE = 0.05
OBSERVED_AT_ONCE = 16
ATTENDED_AT_ONCE = 200
DECIDED_AT_ONCE = 50
HURRIED_AT_ONCE = 64
# Functions that running executions lead to are attended to at once, but not more often than this, and not for a larger
# share of the time.
HURRY_S = 0.02
HURRY_SHARE = 0.1
# Executions that are waited for until their handlers begin; shorter starts are not worth it.
STARTING = 1_000
SHORTEST_START_S = 0.05
LEARN_S = 2.0
BREATH = 2_000
COMPLAIN_S = 60.0
# Beside its init a sandbox costs about so much.
FORKED_MS = 8.0

Learned = Callable[[], Awaitable[Mapping[Qualified, Sequence[Successor]]]]


class Foresight:
    """``start`` then ``close``, once each. Moments are epoch seconds that never go back.

    ``learned`` tells whom functions call, of those of which something is new; ``keep_s`` is how long the host keeps idle
    sandboxes at least, ``pool_base`` how many unassigned ones wait by themselves. ``failed`` counts errors of its own, each of
    which cost no more than one look ahead. Unless it is ``active`` it holds only what is required of it.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        host: Host,
        specs: Specs,
        names: Names,
        policy: Foreteller,
        traversals: Traversals,
        learned: Learned,
        arrivals: Arrivals,
        notebook: Notebook,
        clock: Clock,
        keep_s: float,
        pool_base: int,
        most: int,
        active: bool = True,
    ) -> None:
        self._clock = clock
        self._specs = specs
        self.traversals = traversals
        self._learned = learned
        self._notebook = notebook
        self._owner = TaskOwner("foresight")
        self.arrivals = arrivals
        arrivals.follows = traversals.knows
        self.policy = policy
        self.aims = Aims(
            host=host,
            specs=specs,
            names=names,
            preparer=Preparer(keep_s=keep_s),
            owner=self._owner,
            most=most,
            arrivals=arrivals,
            gone=self._gone,
            now=self.now,
        )
        self.outlook = Outlook(policy, traversals, arrivals, self.aims)
        self.pools = Pools(host, pool_base, degree=self.outlook.degree, starts=self._starts_of_late)
        self._last = clock.now()
        self._last_monotonic = clock.monotonic()
        self._due: OrderedDict[Qualified, None] = OrderedDict()
        self._called: OrderedDict[Qualified, None] = OrderedDict()
        self._spent_s = 0.0
        self._hurried: dict[Qualified, None] = {}
        self._starting: dict[str, Timings] = {}
        self._hurrying = False
        self._hurried_at = 0.0
        self._hurry_spent_s = 0.0
        self._complained_at = -COMPLAIN_S
        self._closed = False
        self.active = active
        self.failed = 0
        self.read = 0

    def start(self) -> None:
        """Take up what was learned before, in the background, and begin."""
        self._owner.spawn(self._run(), name="turns")
        if self.active:
            self._owner.spawn(self._learn(), name="learn")
            self._owner.spawn(self._keep(), name="keep")

    async def close(self) -> None:
        """Write what is known, and stop."""
        self._closed = True
        await self._owner.close()
        if not self.active:
            return
        try:
            await self._notebook.write(self.now())
        except ForerunError as error:
            log.warning("what was learned cannot be kept: %s", error.message)

    def now(self) -> float:
        """Epoch seconds; where the machine's clock is set back they go on all the same."""
        monotonic = self._clock.monotonic()
        passed = monotonic - self._last_monotonic
        self._last_monotonic = monotonic
        self._last = max(self._last + max(0.0, passed), self._clock.now())
        return self._last

    # -- told by every call --------------------------------------------------------------------------------------

    def began(
        self, resolved: Resolved, context: TraceContext, request_id: str, timings: Timings
    ) -> Traffic | None:
        """An execution was admitted; what this gives is for ``ended``. ``timings`` go on being filled. Never raises."""
        now = timings.admitted
        try:
            traffic = self.arrivals.began(resolved, now)
            if traffic.followed:
                changed = self.traversals.began(
                    traffic.function,
                    context.span_id,
                    context.origin.execution,
                    request_id,
                    max(now, self._last),
                )
                if len(self._starting) < STARTING:
                    self._starting[context.span_id] = timings
                self._hurry(changed)
        except Exception:  # noqa: BLE001  no call may fail by what is looked ahead
            self._complain()
            return None
        return traffic

    def ended(
        self,
        traffic: Traffic | None,
        resolved: Resolved,
        context: TraceContext,
        run: Run | None,
        timings: Timings,
    ) -> None:
        """It ended; ``run`` is what came of it, ``None`` where it got no sandbox. Never raises."""
        if traffic is None:
            return
        try:
            traffic.running -= 1
            if run is not None:
                if run.idle_mb_s:
                    traffic.counts.idle_mb_s += run.idle_mb_s
                if run.start_type is not StartType.WARM or run.foresight:
                    self._started(traffic, resolved, run, timings)
            if traffic.followed:
                self._starting.pop(context.span_id, None)
                self._hurry(self.traversals.ended(context.span_id, self.now()))
        except Exception:  # noqa: BLE001  no call may fail by what is looked ahead
            self._complain()

    # -- told by others ------------------------------------------------------------------------------------------

    def require(self, function: FunctionVersion, total: int) -> None:
        """Hold so many sandboxes of the version from now on, whatever is expected; 0 takes it back.

        ``function`` as the registry resolves it. Not remembered over restarts.
        """
        self.aims.require(function, total, self.now())

    def changed(self, account: str, name: str, _retired: Sequence[str] = ()) -> None:
        """Something about the function changed; hosts and registry were told before."""
        self.aims.changed(account, name, self.now())

    async def forget(self, account: str, name: str) -> None:
        """The function was deleted: so is what is known of it."""
        for function in await self._notebook.forget(account, name):
            self.outlook.forget(function, self.now())

    # -- turns ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            next_at = min(self.aims.next_at(), self.traversals.next_change(self._last) or 1e18)
            wait_s = min(TURN_S, max(SHORTEST_TURN_S, next_at - self.now()))
            if self._due or self._called:
                wait_s = SHORTEST_TURN_S
            await self._clock.sleep(max(wait_s, self._spent_s / SHARE))
            began = self._clock.monotonic()
            try:
                self.turn()
            except Exception:  # noqa: BLE001  the next turn may do better
                self._complain()
            self._spent_s = self._clock.monotonic() - began

    def turn(self) -> None:
        """Take notice of what has arrived, and see to what is due: a bounded amount of it."""
        now = self.now()
        if self.active:
            end = self._clock.monotonic() + SLICE_S
            self._observe(now, end - SLICE_S / 2)
            self._attend(now, end)
            self._await_starts(now)
            self._hurry(self.traversals.changed(now))
        self.aims.tick(now, DECIDED_AT_ONCE)
        self.pools.turn(now)

    def _observe(self, now: float, end: float) -> None:
        """Calls that have gathered; time passes for the policy when all of them are known."""
        gathered = now - GATHER_S
        while batch := self.arrivals.take(gathered, OBSERVED_AT_ONCE):
            for traffic in batch:
                self._called |= dict.fromkeys(self.outlook.observe(traffic, now))
            if self._clock.monotonic() >= end:
                return
        self._due |= dict.fromkeys(self.outlook.advance(gathered))

    def _attend(self, now: float, end: float) -> None:
        """Those whose time comes before those that were called: what these had a moment ago does for a while."""
        for _ in range(ATTENDED_AT_ONCE):
            functions = self._due or self._called
            if not functions:
                return
            function, _ = functions.popitem(last=False)
            self.outlook.attend(function, now)
            if self._clock.monotonic() >= end:
                return

    def _await_starts(self, now: float) -> None:
        """Executions whose sandboxes are still being started call nobody yet."""
        for execution, timings in list(self._starting.items()):
            if timings.loaded:
                del self._starting[execution]
            began = timings.loaded or now
            if began - timings.admitted > SHORTEST_START_S:
                self._hurry(self.traversals.delayed(execution, began))

    def _hurry(self, functions: Iterable[Qualified]) -> None:
        """Attend to these before the next turn: running executions lead to them."""
        for function in functions:
            self._hurried[function] = None
        if self._hurried and not self._hurrying and not self._closed:
            self._hurrying = True
            apart_s = max(HURRY_S, self._hurry_spent_s / HURRY_SHARE)
            wait_s = self._hurried_at + apart_s - self._clock.monotonic()
            loop = asyncio.get_running_loop()
            loop.call_later(max(0.0, wait_s), self._hurry_on)

    def _hurry_on(self) -> None:
        self._hurrying = False
        if self._closed:
            return
        began = self._clock.monotonic()
        functions = list(self._hurried)[:HURRIED_AT_ONCE]
        try:
            now = self.now()
            for function in functions:
                del self._hurried[function]
                self.outlook.attend(function, now, past=False)
        except Exception:  # noqa: BLE001  no call may fail by what is looked ahead
            self._complain()
        self._hurried_at = self._clock.monotonic()
        self._hurry_spent_s = self._hurried_at - began
        self._hurry(())

    async def _learn(self) -> None:
        while True:
            try:
                learned = await self._learned()
                for function, successors in learned.items():
                    self.traversals.learn(function, successors)
                for number, traffic in enumerate(list(self.arrivals) if learned else (), start=1):
                    traffic.followed = self.traversals.knows(traffic.function)
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
            except ForerunError as error:
                log.warning("whom functions call is not known: %s", error.message)
            except Exception:  # noqa: BLE001  the next turn may do better
                self._complain()
            await self._clock.sleep(LEARN_S)

    async def _keep(self) -> None:
        try:
            self.read = await self._notebook.read()
        except ForerunError as error:
            log.warning("what was learned before cannot be read: %s", error.message)
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                await self._notebook.write(self.now())
            except ForerunError as error:
                log.warning("what was learned cannot be kept: %s", error.message)
            except Exception:  # noqa: BLE001  the next turn may do better
                self._complain()

    # -- the steps -----------------------------------------------------------------------------------------------

    def _started(self, traffic: Traffic, resolved: Resolved, run: Run, timings: Timings) -> None:
        """A call whose sandbox was not simply there."""
        if run.foresight == "hit":
            traffic.counts.hits += 1
        elif run.foresight == "miss":
            traffic.counts.misses += 1
        if run.start_type is StartType.WARM:
            return
        now = timings.loaded or timings.acquired or self._last
        memory_mb = run.outcome.max_memory_mb if isinstance(run.outcome, Outcome) else 0
        traffic.started(now, _start_ms(run, timings), memory_mb)
        pool = self._specs.of(resolved.function).pool
        self.pools.started(pool, traffic.function, now)

    def _starts_of_late(self, function: Qualified, now: float) -> float:
        traffic = self.arrivals.get(function)
        return traffic.starts_of_late(now) if traffic is not None else 0.0

    def _gone(self, function: Qualified) -> None:
        self.outlook.forget(function, self.now())

    def _complain(self) -> None:
        """An error of our own: it is counted, and said once a minute."""
        self.failed += 1
        now = self._clock.monotonic()
        if now - self._complained_at >= COMPLAIN_S:
            self._complained_at = now
            log.error(
                "looking ahead failed (%d times so far)", self.failed, exc_info=sys.exc_info()
            )


def _start_ms(run: Run, timings: Timings) -> float | None:
    """What another start will cost a call, as far as this one shows it.

    The first of a runtime has to wait for its interpreter, which is there from then on.
    """
    if run.init is None or not isinstance(run.outcome, Outcome):
        return None
    if run.start_type is StartType.COLD:
        return run.init.duration_ms + FORKED_MS
    return (timings.loaded - timings.admitted) * 1000
