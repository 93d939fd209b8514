"""Scales provisioned concurrency: carries out what targets, policies and scheduled actions ask for.

One task. It looks at what is in use once a sample, decides when a period is over, when something was changed and when a
scheduled action is due, and writes down what it did and why. What was due while the server was down is made up for at the
start.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.capacity.provisioned import Provisioned
from forerun.control.capacity.provisioning import Met, Provisioning
from forerun.control.capacity.scaling import parse_resource
from forerun.control.capacity.scaling_log import FAILED, SUCCESSFUL, ScalingLog
from forerun.control.capacity.scaling_policies import (
    TRACKING,
    Predictive,
    predictive_of,
    tracking_of,
)
from forerun.control.capacity.scheduled_actions import schedule_of
from forerun.errors import ForerunError, StorageFailed
from forerun.model import Expectation, Qualified
from forerun.scheduling import (
    Bounds,
    Forecast,
    Load,
    Periods,
    Schedule,
    Target,
    Wanted,
    foreseen,
    latest_due,
    settle,
    track,
)
from forerun.storage.autoscaling import (
    AutoscalingStore,
    ScalableTarget,
    ScalingPolicy,
    ScheduledAction,
)

log = logging.getLogger("forerun.scaling")

Foretell = Callable[[Qualified, float], Sequence[Expectation]]
"""When a function is expected to be called from now on."""

FORETELL_S = 5.0
TRIM_EVERY_S = 3600.0


def nothing_foreseen(_function: Qualified, _now: float) -> Sequence[Expectation]:
    """Where nobody looks ahead."""
    return ()


class _Timed(NamedTuple):
    action: ScheduledAction
    schedule: Schedule
    seen: float


class _Watched:
    """A target with all that belongs to it, as it was read last. ``keys`` are those of the sandboxes that serve it."""

    __slots__ = (
        "actions", "changed_in_at", "changed_out_at", "due_at", "function", "keys", "load", "obstacle", "policies",
        "refused", "rules", "target", "told_at",
    )  # fmt: skip

    def __init__(self, target: ScalableTarget, load: Load) -> None:
        self.target = target
        self.function = Qualified(target.account, *parse_resource(target.resource))
        self.load = load
        self.policies: list[ScalingPolicy] = []
        self.rules: list[Target | Predictive] = []
        self.actions: list[_Timed] = []
        self.due_at = math.inf
        self.keys: tuple[str, ...] | None = None
        self.changed_out_at = self.changed_in_at = self.told_at = -math.inf
        self.refused = self.obstacle = ""

    def schedule(self, actions: Sequence[tuple[ScheduledAction, float]]) -> None:
        self.actions = [_Timed(action, schedule_of(action), seen) for action, seen in actions]
        times = (each.schedule.next_after(each.seen) for each in self.actions)
        self.due_at = min((at for at in times if at is not None), default=math.inf)

    def due(self, now: float) -> list[tuple[float, ScheduledAction]]:
        """The last time of each action that is due, in the order of these times."""
        found = [(latest_due(each.schedule, each.seen, now), each.action) for each in self.actions]
        late = [(at, action) for at, action in found if at is not None]
        return sorted(late, key=lambda each: (each[0], each[1].action))


class Scaler:
    """``start`` then ``close``, once each; ``turn`` is one round."""

    def __init__(
        self,
        *,
        store: AutoscalingStore,
        provisioned: Provisioned,
        provisioning: Provisioning,
        clock: Clock,
        periods: Periods,
        sample_s: float,
    ) -> None:
        self._store = store
        self._provisioned = provisioned
        self._provisioning = provisioning
        self._clock = clock
        self._periods = periods
        self._sample_s = sample_s
        self._foretell: Foretell = nothing_foreseen
        self._log = ScalingLog(store, clock)
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._touched: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._owner = TaskOwner("scaler")
        self._trim_at = 0.0

    async def start(self, foretell: Foretell = nothing_foreseen) -> None:
        """Take up all targets, and go on; ``foretell`` serves predictive policies."""
        self._foretell = foretell
        for target in await self._store.all_targets():
            self.touched(target.account, target.resource)
        self._owner.spawn(self._run(), name="scale")

    async def close(self) -> None:
        """Stop; capacities stay as they are."""
        await self._owner.close()

    def touched(self, account: str, resource: str) -> None:
        """Something about the scaling of a resource changed."""
        self._touched.add((account, resource))
        self._wake.set()

    def changed(self, account: str, name: str, _retired: Sequence[str] = ()) -> None:
        """Something about a function changed: other sandboxes may serve it from now on."""
        for watched in self._watched.values():
            if watched.function[:2] == (account, name):
                watched.keys = None

    def forecast(
        self,
        target: ScalableTarget,
        policy: ScalingPolicy,
        moments: Sequence[float],
        step_s: float = 0.0,
    ) -> list[tuple[int, int]]:
        """From each moment (epoch seconds) on how many calls at once are expected, and the capacity that is wanted for them."""
        predictive = predictive_of(policy.configuration)
        function = Qualified(target.account, *parse_resource(target.resource))
        windows = self._foretell(function, self._clock.now())
        found = []
        for at in moments:
            count = foreseen(windows, at, step_s)
            wanted = settle(0, [_forecast(predictive, count)], Bounds(target.low, target.high))
            found.append((count, wanted.capacity if wanted else 0))
        return found

    # -- one round -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self._watched:
                await self._wake.wait()
            await self.turn()
            await self._clock.sleep(self._sample_s)

    async def turn(self) -> None:
        """Take notice of what was touched, fire what is due, and look at what is in use."""
        self._wake.clear()
        touched, self._touched = self._touched, set()
        for key in touched:
            await self._guarded(key, self._take_up(*key))
        for key, watched in list(self._watched.items()):
            await self._guarded(key, self._look(watched, again=key in touched))
        await self._guarded(None, self._log.follow(self._met))
        if self._clock.monotonic() >= self._trim_at:
            self._trim_at = self._clock.monotonic() + TRIM_EVERY_S
            await self._guarded(None, self._log.trim())

    async def _guarded(self, key: tuple[str, str] | None, work: Awaitable[None]) -> None:
        """What the store or a service refuses is said, and tried again with the next round."""
        try:
            await work
        except ForerunError as error:
            log.warning("scaling %s: %s", key[1] if key else "activities", error.message)
            if key is not None:
                self._touched.add(key)
        except Exception:
            log.exception("scaling %s failed", key[1] if key else "activities")

    async def _take_up(self, account: str, resource: str) -> None:
        key = (account, resource)
        target = await self._store.target(account, resource)
        if target is None:
            self._watched.pop(key, None)
            self._log.forget(account, resource)
            return
        watched = self._watched.get(key)
        if watched is None:
            await self._log.take_up(account, resource)
            watched = _Watched(target, Load(self._periods, self._clock.monotonic()))
        watched.target = target
        watched.policies = await self._store.policies_of(account, resource)
        watched.rules = [_rule(policy) for policy in watched.policies]
        watched.schedule(await self._store.actions_of(account, resource))
        self._watched[key] = watched

    async def _look(self, watched: _Watched, *, again: bool) -> None:
        now = self._clock.monotonic()
        if watched.due_at <= self._clock.now():
            await self._fire(watched)
            again = True
        if any(isinstance(rule, Target) for rule in watched.rules):
            working = await self._working(watched)
            again = watched.load.sample(working, now) or again
        foretells = any(isinstance(rule, Predictive) for rule in watched.rules)
        if again or (foretells and now - watched.told_at >= FORETELL_S):
            watched.told_at = now
            await self._decide(watched)

    async def _working(self, watched: _Watched) -> int:
        if watched.keys is None:
            watched.keys = await self._provisioning.keys(*watched.function)
        return sum(self._provisioning.stand(key).working for key in watched.keys)

    # -- scheduled actions ---------------------------------------------------------------------------------------

    async def _fire(self, watched: _Watched) -> None:
        """Each that is due, once, in the order of their times; of several missed times of one the last."""
        now = self._clock.now()
        target = watched.target
        due = watched.due(now)
        fired = []
        for _, action in due:
            if target.schedule_suspended:
                break
            low = target.low if action.low is None else action.low
            high = target.high if action.high is None else action.high
            cause = f"scheduled action name {action.action} was triggered"
            text = f"Setting min capacity to {low} and max capacity to {high}"
            if low > high:
                why = "Maximum capacity cannot be less than minimum capacity"
                fired.append(self._log.made(target, text, cause, FAILED, message=why))
                continue
            target = msgspec.structs.replace(target, low=low, high=high)
            done = f"Successfully set min capacity to {low} and max capacity to {high}"
            fired.append(self._log.made(target, text, cause, SUCCESSFUL, message=done))
        await self._store.fire(target, [action for _, action in due], now, fired)
        watched.target = target
        watched.schedule(await self._store.actions_of(target.account, target.resource))

    # -- capacity ------------------------------------------------------------------------------------------------

    async def _decide(self, watched: _Watched) -> None:
        target, function = watched.target, watched.function
        config = await self._provisioned.find(*function)
        capacity = config.requested if config else 0
        wishes = [self._wish(watched, rule, capacity) for rule in watched.rules]
        bounds = Bounds(target.low, target.high, target.out_suspended, target.in_suspended)
        wanted = settle(capacity, wishes, bounds)
        if wanted is None:
            await self._tell_obstacle(watched, wishes, capacity)
        else:
            watched.obstacle = ""
            await self._apply(watched, capacity, wanted)

    def _wish(
        self, watched: _Watched, rule: Target | Predictive, capacity: int
    ) -> int | Forecast | None:
        now = self._clock.monotonic()
        if isinstance(rule, Target):
            return track(
                rule,
                watched.load,
                capacity,
                self._periods,
                since_out_s=now - watched.changed_out_at,
                since_in_s=now - watched.changed_in_at,
            )
        if not rule.acts:
            return None
        present = self._clock.now()
        windows = self._foretell(watched.function, present)
        return _forecast(rule, foreseen(windows, present, rule.ahead_s))

    async def _apply(self, watched: _Watched, capacity: int, wanted: Wanted) -> None:
        cause = _cause(watched, wanted, self._periods, capacity)
        account, name, qualifier = watched.function
        try:
            if wanted.capacity:
                await self._provisioned.put(account, name, qualifier, wanted.capacity)
            else:
                await self._provisioned.delete(account, name, qualifier)
        except StorageFailed:
            raise
        except ForerunError as error:
            # Said once, not with every round.
            if watched.refused != error.message:
                watched.refused = error.message
                await self._log.refused(watched.target, wanted.capacity, cause, error.message)
            return
        watched.refused = ""
        # What bounds ask for is no reason for policies to rest.
        if wanted.policy is not None and wanted.capacity > capacity:
            watched.changed_out_at = self._clock.monotonic()
        elif wanted.policy is not None:
            watched.changed_in_at = self._clock.monotonic()
        await self._log.changed(watched.target, wanted.capacity, cause)

    async def _tell_obstacle(
        self, watched: _Watched, wishes: Sequence[int | Forecast | None], capacity: int
    ) -> None:
        numbers = [each.capacity if isinstance(each, Forecast) else each for each in wishes]
        asked = [number for number in numbers if number is not None]
        obstacle = ""
        if asked and max(asked) > capacity >= watched.target.high:
            obstacle = "AlreadyAtMaxCapacity"
        elif asked and max(asked) < capacity <= watched.target.low:
            obstacle = "AlreadyAtMinCapacity"
        if obstacle and obstacle != watched.obstacle:
            await self._log.not_scaled(watched.target, obstacle, capacity)
        watched.obstacle = obstacle

    async def _met(self, account: str, resource: str) -> Met | None:
        config = await self._provisioned.find(account, *parse_resource(resource))
        return None if config is None else await self._provisioning.met(config)


def _rule(policy: ScalingPolicy) -> Target | Predictive:
    if policy.kind == TRACKING:
        return tracking_of(policy.configuration)
    return predictive_of(policy.configuration)


def _forecast(rule: Predictive, count: int) -> Forecast:
    capacity = math.ceil(count / rule.share - 1e-9)
    return Forecast(capacity, math.ceil(capacity * (1 + rule.buffer)) if rule.raises else 0)


def _cause(watched: _Watched, wanted: Wanted, periods: Periods, capacity: int) -> str:
    if wanted.policy is None:
        bound = "minimum" if wanted.capacity > capacity else "maximum"
        return f"{bound} capacity was set to {wanted.capacity}"
    policy = watched.policies[wanted.policy]
    rule = watched.rules[wanted.policy]
    if isinstance(rule, Predictive):
        return f"the forecast of policy {policy.policy} asked for it"
    out = wanted.capacity > capacity
    count = periods.above if out else periods.below
    uses = [use.peak if rule.by_peak else use.mean for use in watched.load.lately(count)]
    shown = f"{min(uses):.2f} to {max(uses):.2f}" if uses else "nothing"
    return (
        f"{shown} of {capacity} in use for {count} periods of {periods.length_s:g} s was "
        f"{'above' if out else 'below'} the target {rule.share:g} of policy {policy.policy}"
    )
