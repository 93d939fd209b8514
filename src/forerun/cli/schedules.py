"""``schedules``: what is called by the clock, when it is next, and what came of the last time."""

from typing import Any

import click

from forerun.cli.connection import Connection, connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table


@click.command()
@click.argument("prefix", required=False)
@data_option
@json_option
def schedules(prefix: str | None, data: str | None, as_json: bool) -> None:
    """List schedules, and rules of buses that have one, whose names begin with PREFIX.

    Times are those of your own time zone. With --json the next five times of each are given, as seconds since 1970.
    """
    found = _all(connect(data), prefix)
    if as_json:
        emit_json(found)
        return
    if not found:
        remark("There are no schedules; aws scheduler create-schedule makes one.")
        return
    found.sort(key=lambda each: (each["Next"] or [float("inf")])[0])
    table(
        ["name", "kind", "state", "when", "time zone", "next", "then", "last", "target"],
        [
            [
                _name(each),
                each["Kind"],
                each["State"].lower(),
                each["Expression"],
                each["Timezone"],
                _moment(each["Next"], 0),
                _moment(each["Next"], 1),
                _last(each["Last"]),
                ", ".join(_short(target) for target in each["Targets"]),
            ]
            for each in found
        ],
    )


def _all(connection: Connection, prefix: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    marker: str | None = None
    while True:
        page = connection.get("/forerun/schedules", NamePrefix=prefix, Marker=marker)
        found += page["Schedules"]
        marker = page.get("NextMarker")
        if marker is None:
            return found


def _name(each: dict[str, Any]) -> str:
    group = each.get("Group") or "default"
    return each["Name"] if group == "default" else f"{group}/{each['Name']}"


def _moment(moments: list[float], index: int) -> str:
    return clock_time(moments[index])[:19] if len(moments) > index else "-"


def _last(last: dict[str, Any] | None) -> str:
    if last is None:
        return "-"
    at = f"{clock_time(last['At'])[:19]} " if last.get("At") else ""
    return f"{at}{last.get('Status') or last['Outcome'] or ''}".strip()


def _short(target: str) -> str:
    """The end of an ARN that says enough: what kind, and its name."""
    parts = target.split(":", 5)
    return f"{parts[2]} {parts[5]}" if len(parts) == 6 else target
