"""``sources``: where events come from, how much waits there, and how fast it is taken."""

from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table

DISABLED = "Disabled"
FINE = ("", "OK", "No records processed")


@click.command()
@data_option
@json_option
def sources(data: str | None, as_json: bool) -> None:
    """List what starts functions: each source with its target, its backlog and its rate.

    Waiting messages are those that could be taken now; the age is that of the oldest of them.
    """
    content = connect(data).get("/forerun/sources")
    if as_json:
        emit_json(content)
        return
    found = content["Sources"]
    if not found:
        remark(
            "There are no sources. Let a queue feed a function with: "
            "aws lambda create-event-source-mapping --function-name NAME --event-source-arn ARN"
        )
        return
    table(
        [
            "source",
            "kind",
            "target",
            "state",
            "waiting",
            "oldest s",
            "in flight",
            "at once",
            "per s",
            "failures/min",
        ],
        [
            [
                _short(each.get("Source", "")),
                each.get("Kind", ""),
                _short(each.get("Target", "")),
                each.get("State", ""),
                each.get("Waiting", "-"),
                _rounded(each.get("OldestSeconds")),
                each.get("InFlight", "-"),
                each.get("AtOnce", "-"),
                _rounded(each.get("PerSecond")),
                each.get("FailuresPerMinute", "-"),
            ]
            for each in found
        ],
    )
    for each in found:
        if trouble := _trouble(each):
            remark(f"{_short(each.get('Source', ''))}: {trouble}")


def _trouble(row: dict[str, Any]) -> str:
    """What somebody should know of a source beyond its numbers."""
    result = row.get("LastResult", "")
    if result not in FINE:
        return str(result)
    if row.get("State") == DISABLED and row.get("Reason", "") not in ("", "USER_INITIATED"):
        return str(row["Reason"])
    return ""


def _short(arn: str) -> str:
    """An ARN without what is the same for all: ``sqs:jobs``, ``lambda:work:live``."""
    parts = arn.split(":", 5)
    return f"{parts[2]}:{parts[5].removeprefix('function:')}" if len(parts) == 6 else arn


def _rounded(value: float | None) -> object:
    return "-" if value is None else round(value, 1)
