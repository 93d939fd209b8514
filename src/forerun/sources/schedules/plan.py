"""When a schedule fires: which moments it has, and what is to be done about one that is due, or was. Pure.

A moment is the scheduled time; it is *due* then, or somewhat later when the schedule has a flexible window. Epoch seconds.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from forerun.errors import InvalidInput
from forerun.scheduling import Schedule, latest_due, parse_schedule
from forerun.storage.schedules import Firing, ScheduleConfig

MAX_AGE_S = 86_400.0
# A time that has passed by less is taken for now: nobody's clock is exact, and one request takes a while.
JUST_NOW_S = 60.0
_ANY_RATE = re.compile(r"rate\((\d{1,9}) (minute|hour|day)s?\)", re.ASCII)
_RATE_S = {"minute": 60, "hour": 3600, "day": 86_400}

Chance = Callable[[], float]
"""A number from 0 to 1, 1 excluded, drawn anew at each call."""


class Verdict(NamedTuple):
    """What to do now: fire for the scheduled time ``moment``, or note that it was ``missed``."""

    moment: float
    missed: bool


def times_of(config: ScheduleConfig) -> Schedule:
    """All moments of an expression, whatever its begin and end. ``InvalidInput`` when it is none.

    A rate fires at its anchor for the first time.
    """
    expression = config.expression.strip()
    if rate := _ANY_RATE.fullmatch(expression):
        count, unit = int(rate[1]), rate[2]
        expression = f"rate({count} {unit}{'' if count == 1 else 's'})"
        return parse_schedule(expression, config.zone, since=config.anchor - count * _RATE_S[unit])
    return parse_schedule(expression, config.zone)


def is_once(config: ScheduleConfig) -> bool:
    """Whether it has one moment only, ``at(...)``."""
    return config.expression.lstrip().startswith("at(")


def next_moment(config: ScheduleConfig, after: float) -> float | None:
    """The first moment later than ``after`` within the schedule's begin and end, ``None`` when there is none."""
    if is_once(config):
        return times_of(config).next_after(after)
    if config.since is not None:
        after = max(after, math.nextafter(config.since, -math.inf))
    found = times_of(config).next_after(after)
    if found is not None and config.until is not None and found > config.until:
        return None
    return found


def following(config: ScheduleConfig, now: float, count: int) -> Iterator[float]:
    """Up to ``count`` moments after ``now``."""
    at: float | None = now
    for _ in range(count):
        at = next_moment(config, at) if at is not None else None
        if at is None:
            return
        yield at


def begin(config: ScheduleConfig, now: float, chance: Chance) -> Firing:
    """Where a schedule stands that was just made or changed.

    Raises ``InvalidInput`` when it would never fire, since that is never what somebody means.
    """
    moment = next_moment(config, math.nextafter(now - JUST_NOW_S, -math.inf))
    if moment is not None and not is_once(config) and moment < now:
        # Only what counts from now itself may be a moment ago.
        moment = moment if moment == config.anchor else next_moment(config, now)
    if moment is None:
        raise InvalidInput(
            f"Invalid Schedule Expression {config.expression}. It has no time to come"
            + ("" if config.until is None else " before its EndDate")
        )
    return Firing(moment=moment, due=moment + _delay(config, chance))


def judge(config: ScheduleConfig, firing: Firing, now: float) -> Verdict | None:
    """What to do about a schedule whose time has come; ``None`` when it has not.

    Of moments that passed unnoticed, because the server was down or the clock jumped, the latest one stands for all.
    """
    if firing.moment is None or firing.due is None or now < firing.due:
        return None
    moment, delay = firing.moment, firing.due - firing.moment
    if not is_once(config):
        until = now - delay if config.until is None else min(now - delay, config.until)
        before = math.nextafter(moment, -math.inf)
        moment = latest_due(times_of(config), before, until) or moment
    return Verdict(moment, missed=now - (moment + delay) > max_age_s(config))


def done(
    config: ScheduleConfig, firing: Firing, verdict: Verdict, now: float, chance: Chance
) -> Firing:
    """Where it stands after that: its next moment, or none when it was the last."""
    moment = next_moment(config, verdict.moment)
    kept = (firing.last, firing.last_at) if verdict.missed else (verdict.moment, now)
    return Firing(
        moment=moment,
        due=None if moment is None else moment + _delay(config, chance),
        last=kept[0],
        last_at=kept[1],
        outcome="missed" if verdict.missed else "sent",
    )


def max_age_s(config: ScheduleConfig) -> float:
    """For how long after its time a firing is still worth something."""
    age = (config.target.get("RetryPolicy") or {}).get("MaximumEventAgeInSeconds")
    return MAX_AGE_S if age is None else float(age)


def _delay(config: ScheduleConfig, chance: Chance) -> float:
    return chance() * config.window_minutes * 60 if config.window_minutes else 0.0
