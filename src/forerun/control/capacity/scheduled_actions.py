"""Scheduled actions: other bounds for a scalable target, once or at times that come again."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.control.capacity.scaling import (
    ACTIONS,
    LimitReached,
    Touched,
    Wanted,
    missing,
    no_target,
    page_of_named,
    parse_resource,
    require_bounds,
)
from forerun.control.paging import Page
from forerun.errors import InvalidInput
from forerun.scheduling import Schedule, parse_schedule
from forerun.storage.autoscaling import AutoscalingStore, ScheduledAction

# The end of 2199, as far as schedules reach.
LAST_S = 7_258_118_399.0


class ActionChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives of an action; ``None`` leaves what is there. Times are epoch seconds."""

    schedule: str | None = None
    zone: str | None = None
    since: float | None = None
    until: float | None = None
    low: int | None = None
    high: int | None = None


class ScheduledActions:
    """Puts, lists and deletes; ``touched`` hears of every change."""

    def __init__(self, *, store: AutoscalingStore, clock: Clock, touched: Touched) -> None:
        self._store = store
        self._clock = clock
        self._touched = touched

    async def put(
        self, account: str, resource: str, name: str, change: ActionChange
    ) -> ScheduledAction:
        """Set an action. Raises ``InvalidInput`` naming the member, ``NotFound`` without a target, ``LimitReached``."""
        parse_resource(resource)
        if await self._store.target(account, resource) is None:
            raise no_target(resource)
        known = {each.action: each for each, _ in await self._store.actions_of(account, resource)}
        now = self._clock.now()
        given: dict[str, Any] = {
            member: value
            for member in change.__struct_fields__
            if (value := getattr(change, member)) is not None
        }
        old = known.get(name)
        if old is None:
            if change.schedule is None:
                raise InvalidInput("Schedule is required for a new scheduled action")
            if len(known) >= ACTIONS:
                raise LimitReached(f"A scalable target has at most {ACTIONS} scheduled actions")
            old = ScheduledAction(
                account=account,
                resource=resource,
                action=name,
                id=str(uuid.uuid4()),
                schedule=change.schedule,
                created=now,
            )
        action = msgspec.structs.replace(old, **given)
        _check(action)
        await self._store.put_action(action, seen=now)
        self._touched(account, resource)
        return action

    async def page(
        self,
        account: str,
        token: str | None,
        limit: int | None,
        *,
        resource: str | None = None,
        names: Sequence[str] | None = None,
    ) -> Page[ScheduledAction]:
        """Actions by resource and name."""
        return await page_of_named(
            Wanted(account, token, limit, resource, names),
            member="scheduledActionNames",
            every=self._store.actions,
            of=self._of,
            key=lambda each: (each.resource, each.action),
        )

    async def _of(self, account: str, resource: str) -> list[ScheduledAction]:
        return [action for action, _ in await self._store.actions_of(account, resource)]

    async def delete(self, account: str, resource: str, name: str) -> None:
        """Delete an action; bounds that it has set stay."""
        if not await self._store.remove_action(account, resource, name):
            raise missing("scheduled action", name, resource)
        self._touched(account, resource)


def schedule_of(action: ScheduledAction) -> Schedule:
    """Its times, within its begin and its end."""
    begun = action.since if action.since is not None else action.created
    times = parse_schedule(action.schedule, action.zone, since=begun)
    return _Within(times, action.since, action.until)


class _Within:
    def __init__(self, times: Schedule, since: float | None, until: float | None) -> None:
        self._times = times
        self._since = since
        self._until = until

    def next_after(self, moment: float) -> float | None:
        if self._since is not None and moment < self._since:
            # The begin itself may be one of the times.
            moment = self._since - 1e-3
        found = self._times.next_after(moment)
        return found if found is None or self._until is None or found <= self._until else None


def _check(action: ScheduledAction) -> None:
    schedule_of(action)
    if action.low is None and action.high is None:
        raise InvalidInput("ScalableTargetAction must give MinCapacity, MaxCapacity or both")
    require_bounds(action.low, action.high)
    for name, moment in (("StartTime", action.since), ("EndTime", action.until)):
        if moment is not None and not 0 <= moment <= LAST_S:
            raise InvalidInput(f"{name} must be a time from 1970 to 2199")
    if action.since is not None and action.until is not None and action.since >= action.until:
        raise InvalidInput("StartTime must be before EndTime")
