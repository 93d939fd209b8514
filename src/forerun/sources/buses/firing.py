"""Rules that act by the clock: at a rate, or by a calendar in UTC.

Of the moments that passed while the server was down, the latest one is fired at the start: a nightly run is late rather
than left out, and a rate does not flood its target. EventBridge promises neither. The event of a moment has an id that is
made of rule and moment, so that one that is handed over again, because the server died, is not a second one.
"""

import math
import uuid
from collections.abc import Iterator
from typing import Any

from forerun.aio import Clock
from forerun.errors import InvalidInput
from forerun.model import Message
from forerun.scheduling import Schedule, latest_due, parse_schedule
from forerun.sources import Outbox, Timetable
from forerun.sources.buses.envelope import Event, event_time
from forerun.sources.buses.names import Place
from forerun.sources.buses.targets import Occurrence, aim_of, message_to
from forerun.storage.buses import BusStore, RuleConfig, StoredRule, StoredTarget

PAGE = 5000
AT_ONCE = 128
NEXT = 5


def times_of(config: RuleConfig) -> Schedule:
    """All moments of a rule's schedule. ``InvalidInput`` when it is none that rules have."""
    if not config.schedule.startswith(("rate(", "cron(")):
        raise InvalidInput(
            "Parameter ScheduleExpression is not valid. Reason: it must be rate(value unit) or cron(fields)"
        )
    try:
        return parse_schedule(config.schedule, since=config.anchor)
    except InvalidInput as error:
        raise InvalidInput(
            f"Parameter ScheduleExpression is not valid. Reason: {error.message}"
        ) from None


def first_due(config: RuleConfig) -> float:
    """The first moment after the rule's anchor; ``InvalidInput`` when there is none, which nobody means."""
    found = times_of(config).next_after(config.anchor)
    if found is None:
        raise InvalidInput(
            f"Parameter ScheduleExpression is not valid. Reason: {config.schedule} has no time to come"
        )
    return found


def coming(rule: StoredRule, count: int) -> Iterator[float]:
    """Up to ``count`` firings from the next one on; none while the rule is disabled."""
    moment = rule.due
    times = times_of(rule.config)
    for _ in range(count):
        if moment is None:
            return
        yield moment
        moment = times.next_after(moment)


def firing_of(
    rule: StoredRule, targets: list[StoredTarget], moment: float, place: Place, now: float
) -> list[Message]:
    """The messages of one firing; the same whenever they are made."""
    arn = place.rule_arn(rule.bus, rule.name)
    event = Event(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}?{rule.id}&{moment!r}")),
        detail_type="Scheduled Event",
        source="aws.events",
        account=rule.account,
        time=event_time(moment),
        region=place.region,
        resources=[arn],
        detail=b"{}",
    )
    occurrence = Occurrence(
        event, event.values(), event.encoded(), rule.account, now, event_time(now)
    )
    return [message_to(aim_of(target), arn, rule.name, occurrence) for target in targets]


class Firer:
    """Keeps the moments of all rules; ``start`` then ``close``.

    Messages are handed over before it is written down that they were.
    """

    def __init__(self, store: BusStore, outbox: Outbox, clock: Clock, *, region: str) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._region = region
        self._timetable: Timetable[int] = Timetable("rules", self._fire, clock, at_once=AT_ONCE)

    async def start(self) -> None:
        """Set what is stored, and begin."""
        after = 0
        while page := await self._store.pending(after, PAGE):
            for rule_id, due in page:
                self._timetable.set(rule_id, due)
            after = page[-1][0]
        self._timetable.start()

    async def close(self) -> None:
        """Fire nothing any more."""
        await self._timetable.close()

    def set(self, rule_id: int, due: float | None) -> None:
        """A rule was made or changed, or is gone (``None``); it is due then."""
        if due is None:
            self._timetable.cancel(rule_id)
        else:
            self._timetable.set(rule_id, due)

    async def firings(self, account: str) -> list[dict[str, Any]]:
        """The rules of an account that act by the clock, as ``GET /forerun/schedules`` shows them."""
        now = self._clock.now()
        return [
            _shown(rule, await self._store.targets(rule.id), Place(self._region, account), now)
            for rule in await self._store.scheduled(account)
        ]

    async def _fire(self, rule_id: int, _due: float) -> float | None:
        rule = await self._store.rule_by_id(rule_id)
        if rule is None or rule.due is None:
            return None
        now = self._clock.now()
        if now < rule.due:
            return rule.due
        times = times_of(rule.config)
        moment = latest_due(times, math.nextafter(rule.due, -math.inf), now) or rule.due
        targets = await self._store.targets(rule.id)
        if targets:
            place = Place(self._region, rule.account)
            await self._outbox.send(firing_of(rule, targets, moment, place, now))
        return await self._settle(rule, times.next_after(moment), moment, now)

    async def _settle(
        self, rule: StoredRule, due: float | None, moment: float, now: float
    ) -> float | None:
        """Write down that it fired; when it is due next, which a change that came meanwhile may have said."""
        current: StoredRule | None = rule
        while current is not None and current.due == rule.due:
            if await self._store.fired(current, due, moment, now):
                return due
            current = await self._store.rule_by_id(rule.id)
        return current.due if current is not None else None


def _shown(
    rule: StoredRule, targets: list[StoredTarget], place: Place, now: float
) -> dict[str, Any]:
    last = None
    if rule.last is not None:
        last = {"Moment": rule.last, "At": rule.last_at, "Outcome": "sent"}
    return {
        "Kind": "rule",
        "Name": rule.name,
        "Group": rule.bus,
        "Arn": place.rule_arn(rule.bus, rule.name),
        "State": rule.config.state,
        "Expression": rule.config.schedule,
        "Timezone": "UTC",
        "WindowMinutes": 0,
        "Targets": [target.arn for target in targets],
        "Next": list(coming(rule, NEXT)),
        "Late": rule.due is not None and rule.due < now - 1,
        "Last": last,
    }
