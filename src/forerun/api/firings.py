"""``/forerun/schedules``: whatever an account has called by the clock, when that is next, and what came of it last."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.numbers import whole_number
from forerun.api.platform import Query, Route
from forerun.api.sources import calls
from forerun.control.delivery.undeliverable import message_key
from forerun.control.paging import from_marker, to_marker
from forerun.model import InvocationRecord
from forerun.sources.schedules import Schedules, following, make_message, schedule_arn
from forerun.storage.schedules import StoredSchedule

NEXT = 5
PAGE = 200
# Schedules that one request looks through when it wants those of one function.
LOOK = 5_000
Shown = dict[str, Any]
Ended = Callable[[str], Awaitable[InvocationRecord | None]]
"""The last attempt of a request that has ended, by its id."""
Others = Callable[[str], Awaitable[Sequence[Shown]]]
"""What else an account (by its id) has called by the clock, in the same form as schedules are shown here."""


class FiringRoutes:
    """Answers ``GET /forerun/schedules``.

    Each entry has ``Kind`` (``schedule``, or ``rule`` of a bus), ``Name``, ``Group``, ``Arn``, ``State``, ``Expression``,
    ``Timezone``, ``Targets`` (ARNs), ``Next`` (up to five moments), ``Last`` (``Moment``, ``At``, ``Outcome``, or null). Of a
    function that was called ``Last`` has the ``RequestId``, and the ``Status`` of its last attempt when that has ended. Moments are epoch seconds. Schedules come in pages, ``NextMarker`` gets the next one; ``others`` come with the first.
    """

    def __init__(
        self, schedules: Schedules, ended: Ended, clock: Clock, others: Sequence[Others] = ()
    ) -> None:
        self._schedules = schedules
        self._ended = ended
        self._clock = clock
        self._others = others

    def routes(self) -> dict[str, Route]:
        """Names below ``/forerun/``."""
        return {"schedules": self.show}

    async def show(self, caller: Caller, query: Query) -> object:
        """Schedules by group and name; with ``NamePrefix`` those whose name begins so, with ``FunctionName`` those that
        call this function, as far as one request looks for them: ``NextMarker`` goes on."""
        group, name = from_marker(query.get("Marker"), ("", ""))
        size = whole_number(query, "MaxItems", PAGE, PAGE)
        prefix, function = query.get("NamePrefix", ""), query.get("FunctionName", "")
        look = LOOK if function else size
        found = await self._schedules.page(
            caller.account, (str(group), str(name)), look + 1, prefix=prefix
        )
        now = self._clock.now()
        wanted = [each for each in found[:look] if _wanted(caller, [_target(each)], function)]
        shown = [await self._shown(caller, each, now) for each in wanted[:size]]
        if not query.get("Marker"):
            for others in self._others:
                shown += [
                    each
                    for each in await others(caller.account)
                    if str(each.get("Name", "")).startswith(prefix)
                    and _wanted(caller, each["Targets"], function)
                ]
        answer: Shown = {"Schedules": shown}
        if len(wanted) > size or len(found) > look:
            last = wanted[size - 1] if len(wanted) > size else found[look - 1]
            answer["NextMarker"] = to_marker((last.group, last.name))
        return answer

    async def _shown(self, caller: Caller, schedule: StoredSchedule, now: float) -> Shown:
        config, firing = schedule.config, schedule.firing
        coming: list[float] = []
        if schedule.enabled and firing.moment is not None:
            coming = [firing.moment, *following(config, firing.moment, NEXT - 1)]
        return {
            "Kind": "schedule",
            "Name": schedule.name,
            "Group": schedule.group,
            "Arn": schedule_arn(caller.region, caller.account, schedule.group, schedule.name),
            "State": "ENABLED" if schedule.enabled else "DISABLED",
            "Expression": config.expression,
            "Timezone": config.zone,
            "WindowMinutes": config.window_minutes,
            "Targets": [_target(schedule)],
            "Next": coming,
            "Late": bool(coming and (firing.due or now) < now - 1),
            "Last": await self._last(caller, schedule),
        }

    async def _last(self, caller: Caller, schedule: StoredSchedule) -> Shown | None:
        firing = schedule.firing
        if firing.last is None and firing.outcome is None:
            return None
        last: Shown = {"Moment": firing.last, "At": firing.last_at, "Outcome": firing.outcome}
        if firing.last is not None:
            message = make_message(schedule, firing.last, firing.last, caller.region)
            if ":function:" in message.target:
                request_id = message_key(message)
                record = await self._ended(request_id)
                last["RequestId"] = request_id
                last["Status"] = record.status if record is not None else None
        return last


def _target(schedule: StoredSchedule) -> str:
    return str(schedule.config.target["Arn"])


def _wanted(caller: Caller, targets: Sequence[str], function: str) -> bool:
    return not function or any(calls(each, caller.account, function) for each in targets)
