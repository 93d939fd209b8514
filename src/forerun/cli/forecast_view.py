"""How a forecast reads: what is expected, what that rests on, what is held, and how right it has been."""

from collections.abc import Mapping
from typing import Any

from forerun.cli.output import clock_time

Json = Mapping[str, Any]

_REASONS = {
    "recent": "it was called a moment ago",
    "period": "it is called every {cause} s",
    "habit": "gaps like this are usual for it",
    "leader": "{cause} was called, which it follows",
    "caller": "execution {cause} is likely to call it",
    "provisioned": "somebody has asked for it",
}
_MOST_DAYS = 8


def moment(epoch_s: float) -> str:
    """The time of the day."""
    return clock_time(epoch_s)[11:19]


def span(seconds: float) -> str:
    """As ``4 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 7200:
        return f"{seconds / 60:.1f}".removesuffix(".0") + " min"
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"


def share(value: float | None) -> str:
    """As ``98 %``."""
    return "-" if value is None else f"{value * 100:.0f} %"


def expected_line(window: Json, now: float) -> str:
    """One expectation: when, how many, how likely, why."""
    calls = "a call" if window["count"] == 1 else f"{window['count']} calls at once"
    since = "now" if window["since"] <= now else f"from {moment(window['since'])}"
    why = _why(str(window["reason"]), str(window["cause"]))
    chance = f"{window['probability'] * 100:.0f} %"
    return f"{since} until {moment(window['until'])}: {calls}, {chance}: {why}"


def _why(reason: str, cause: str) -> str:
    if reason == "period" and not cause:
        return "it is often called at this time"
    return _REASONS.get(reason, reason).format(cause=cause)


def basis_lines(forecast: Json, now: float) -> list[str]:
    """What the expectations rest on."""
    lines = [
        f"{forecast['calls']:,} calls, the last {span(max(0.0, now - forecast['last']))} ago; "
        f"{forecast['burst']} at once"
    ]
    if forecast["regularity"] > 0:
        lines.append(
            f"a period of {span(forecast['period_s'])}, kept to {forecast['regularity'] * 100:.0f} %"
        )
    lines += [_habit_line(habit) for habit in forecast["habits"]]
    days = forecast["days"]
    if days:
        shown = ", ".join(minute for minute, _ in days[:_MOST_DAYS])
        more = f" and {len(days) - _MOST_DAYS} more" if len(days) > _MOST_DAYS else ""
        lines.append(f"called at {shown}{more} (UTC) on days before")
    lines += [
        f"follows {leader['name']} after {span(leader['lag_s'])}: {leader['seen']} times, correlation "
        f"{leader['correlation']:.2f}, {leader['gain']:g} calls for each"
        for leader in forecast["leaders"]
        if leader["believed"]
    ]
    return lines


def _habit_line(habit: Json) -> str:
    chances = ", ".join(f"{level} {chance:.1%}" for level, chance in habit["chances"].items())
    return (
        f"{habit['gaps']} gaps of {span(habit['shortest_s'])} to {span(habit['longest_s'])}, mostly "
        f"{span(habit['median_s'])}" + (f"; a call now by {chances}" if chances else "")
    )


def held_line(held: Json) -> str:
    """What the host holds of a version."""
    parts = []
    if held["Provisioned"]:
        parts.append(f"{held['Provisioned']} provisioned")
    if held["Idle"]:
        parts.append(f"{held['Idle']} idle")
    if held["LingerS"] is not None:
        linger = held["LingerS"]
        parts.append(
            f"others {span(linger)} after their call" if linger else "others go after their call"
        )
    standing = held["Standing"]
    there = f"there are {standing['idle']} idle, {standing['working']} at work"
    if standing["preparing"]:
        there += f", {standing['preparing']} in the making"
    failure = f"; {standing['failure']}" if standing["failure"] else ""
    wanted = ", ".join(parts) or "nothing"
    return f"version {held['Version']}: {wanted}, for {span(held['LeaseS'])} ({held['Reason']}); {there}{failure}"


def told_right(score: Json) -> list[str]:
    """How right it has been."""
    lines = [
        f"{score['Calls']:,} calls; {score['Hits']:,} found a sandbox that was there because they were expected, "
        f"{score['Misses']:,} had to wait for a start"
    ]
    if score["Expected"]:
        came = f"{score['Came']:,} of {score['Expected']:,} expected came"
        if score["LeadS"] is not None:
            came += f", {span(score['LeadS'])} after their sandboxes were begun"
        lines.append(came)
    lines.append(f"waiting sandboxes have cost {score['WastedGbS']:,.3f} GB-s")
    return lines
