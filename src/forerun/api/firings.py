"""``/forerun/schedules``: whatever an account has called by the clock, when that is next, and what came of it last."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.control.paging import from_marker, to_marker
from forerun.errors import InvalidInput
from forerun.sources.schedules import Schedules, following, schedule_arn
from forerun.storage.schedules import StoredSchedule

NEXT = 5
PAGE = 200
Shown = dict[str, Any]
Others = Callable[[str], Awaitable[Sequence[Shown]]]
"""What else an account (by its id) has called by the clock, in the same form as schedules are shown here."""


class FiringRoutes:
    """Answers ``GET /forerun/schedules``.

    Each entry has ``Kind`` (``schedule``, or ``rule`` of a bus), ``Name``, ``Group``, ``Arn``, ``State``, ``Expression``,
    ``Timezone``, ``Targets`` (ARNs), ``Next`` (up to five moments), ``Last`` (``Moment``, ``At``, ``Outcome``, or null).
    Moments are epoch seconds. Schedules come in pages, ``NextMarker`` gets the next one; ``others`` come with the first.
    """

    def __init__(self, schedules: Schedules, clock: Clock, others: Sequence[Others] = ()) -> None:
        self._schedules = schedules
        self._clock = clock
        self._others = others

    def routes(self) -> dict[str, Route]:
        """Names below ``/forerun/``."""
        return {"schedules": self.show}

    async def show(self, caller: Caller, query: Query) -> object:
        """Schedules by group and name, with ``NamePrefix`` those whose name begins so."""
        group, name = from_marker(query.get("Marker"), ("", ""))
        size = _size(query.get("MaxItems", ""))
        prefix = query.get("NamePrefix", "")
        found = await self._schedules.page(
            caller.account, (str(group), str(name)), size + 1, prefix=prefix
        )
        now = self._clock.now()
        shown = [_shown(caller, each, now) for each in found[:size]]
        if not query.get("Marker"):
            for others in self._others:
                rules = await others(caller.account)
                shown += [each for each in rules if str(each.get("Name", "")).startswith(prefix)]
        answer: Shown = {"Schedules": shown}
        if len(found) > size:
            answer["NextMarker"] = to_marker((found[size - 1].group, found[size - 1].name))
        return answer


def _size(text: str) -> int:
    if not text:
        return PAGE
    if not text.isdecimal() or not 1 <= int(text) <= PAGE:
        raise InvalidInput(f"MaxItems must be a number from 1 to {PAGE}, not '{text[:100]}'")
    return int(text)


def _shown(caller: Caller, schedule: StoredSchedule, now: float) -> Shown:
    config, firing = schedule.config, schedule.firing
    coming: list[float] = []
    if schedule.enabled and firing.moment is not None:
        coming = [firing.moment, *following(config, firing.moment, NEXT - 1)]
    last = None
    if firing.last is not None or firing.outcome is not None:
        last = {"Moment": firing.last, "At": firing.last_at, "Outcome": firing.outcome}
    return {
        "Kind": "schedule",
        "Name": schedule.name,
        "Group": schedule.group,
        "Arn": schedule_arn(caller.region, caller.account, schedule.group, schedule.name),
        "State": "ENABLED" if schedule.enabled else "DISABLED",
        "Expression": config.expression,
        "Timezone": config.zone,
        "WindowMinutes": config.window_minutes,
        "Targets": [config.target["Arn"]],
        "Next": coming,
        "Late": bool(coming and (firing.due or now) < now - 1),
        "Last": last,
    }
