"""``traces`` and ``trace``: which executions caused each other, and one such chain as a waterfall with its logs."""

import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from forerun.aio.clock import SystemClock
from forerun.cli.connection import Connection, connect
from forerun.cli.logs import parse_age
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table
from forerun.cli.waterfall import Node, Row, headline, names_width, rows

_PAGE = 500
_PIPE_COLUMNS = 120
_LONGEST_LINE = 10_000
_MOST_LOG_EVENTS = 10_000
_LATE_MS = 2_000
# The platform's own lines about an execution: the waterfall says all that they do.
_FRAME = re.compile(r"(?:START|END|REPORT) RequestId: |\{\"time\":.*\"type\":\"platform\.")
_STYLES = {
    "ok": "green",
    "error": "yellow",
    "throttle": "magenta",
    "fault": "red",
    "unfinished": "cyan",
}


@click.command()
@click.argument("function", required=False)
@click.option("--errors", is_flag=True, help="Only those in which an execution failed.")
@click.option("--since", default="1h", show_default=True, metavar="AGE", help="30s, 10m, 2h, 7d.")
@click.option(
    "--slower-than", type=click.FloatRange(0, 1e9), metavar="MS", help="Longer executions only."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@data_option
@json_option
def traces(
    *,
    function: str | None,
    errors: bool,
    since: str,
    slower_than: float | None,
    limit: int,
    data: str | None,
    as_json: bool,
) -> None:
    """List the latest traces, or those in which FUNCTION took part.

    With FUNCTION, --errors and --slower-than are about its own executions.
    """
    start = SystemClock.now() - parse_age(since) / 1000
    query = {
        "FunctionName": function,
        "Errors": "true" if errors else None,
        "Since": f"{start:.3f}",
        "MinDurationMs": f"{slower_than:.3f}" if slower_than else None,
    }
    found = _fetch(connect(data), query, limit)
    if as_json:
        emit_json(found)
        return
    if not found:
        remark(
            f"No such trace in the last {since}. "
            "Rare functions are monitored whole, busy ones now and then."
        )
        return
    table(
        ["at", "trace", "began with", "functions", "runs", "errors", "spans", "status", "ms"],
        [_listed(each) for each in found],
    )


@click.command()
@click.argument("trace_id", metavar="ID")
@click.option("--logs", is_flag=True, help="Show what each execution wrote, in its place.")
@data_option
@json_option
def trace(*, trace_id: str, logs: bool, data: str | None, as_json: bool) -> None:
    """Show one trace as a waterfall.

    ID is a trace's, in either form, or that of a request which was part of it.
    """
    server = connect(data)
    tree = server.get("/forerun/trace", TraceId=trace_id)
    if as_json:
        if logs:
            reader = _Logs(server)
            for node in _nodes(tree):
                if lines := reader(node):
                    node["logs"] = lines
        emit_json(tree)
        return
    _draw(tree, _Logs(server) if logs else None)


def _fetch(server: Connection, query: dict[str, str | None], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    marker: str | None = None
    while len(found) < limit:
        most = min(limit - len(found), _PAGE)
        page = server.get("/forerun/traces", **query, MaxItems=most, Marker=marker)
        found += page["Traces"]
        marker = page.get("NextMarker")
        if not marker:
            break
    return found[:limit]


def _listed(summary: dict[str, Any]) -> list[object]:
    functions = summary["functions"]
    shown = ", ".join(functions[:3]) + (f" +{len(functions) - 3}" if len(functions) > 3 else "")
    return [
        clock_time(summary["started"])[-12:],
        summary["trace_id"],
        summary["root"] or None,
        shown or None,
        summary["executions"],
        summary["errors"] or None,
        summary["spans"],
        summary["status"],
        float(summary["duration_s"] * 1000),
    ]


def _draw(tree: dict[str, Any], lines: "_Logs | None") -> None:
    # rich costs 60 ms to import: only this drawing needs it.
    from rich.console import Console

    seen = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if seen else _PIPE_COLUMNS
    console = Console(width=width if seen else _LONGEST_LINE, soft_wrap=True, highlight=False)
    console.print(f"{headline(tree)}, began {clock_time(tree['started'])}", markup=False)
    for row in rows(tree, width, lines):
        console.print(
            _painted(row, names_width(width)), no_wrap=True, overflow="ellipsis", crop=True
        )


def _painted(row: Row, width: int) -> Any:
    from rich.text import Text

    if row.status == "log":
        return Text.assemble((row.guides, "dim"), (row.detail, "dim"))
    style = _STYLES[row.status]
    name = Text.assemble((row.guides, "dim"), (row.text, "bold" if row.status == "ok" else style))
    if row.detail:
        name.append(f"  {row.detail}", style="dim" if row.status == "ok" else style)
    name.truncate(width, overflow="ellipsis", pad=True)
    return Text.assemble(name, f" {row.duration:>10}  ", (row.bar, style))


def _nodes(tree: dict[str, Any]) -> list[Node]:
    found = list(tree["roots"])
    for node in found:
        found += node["children"]
    return found


class _Logs:
    """What an execution wrote: its sandbox's stream between the first and the last line that names the request."""

    def __init__(self, server: Connection) -> None:
        self._logs = server.client("logs")
        self._functions = server.client("lambda")
        self._groups: dict[str, str] = {}

    def __call__(self, node: Node) -> Sequence[str]:
        """The lines, oldest first; none for what is no execution."""
        request_id = str(node["attributes"].get("faas.invocation_id", ""))
        if node["source"] != "forerun" or node["kind"] != "server" or not request_id:
            return []
        streams: dict[str, list[str]] = {}
        for event in self._events(node):
            streams.setdefault(event["logStreamName"], []).append(event["message"].rstrip("\n"))
        for lines in streams.values():
            named = [index for index, line in enumerate(lines) if request_id in line]
            if named:
                own = [line for line in lines[named[0] : named[-1] + 1] if not _FRAME.match(line)]
                return [part for line in own for part in line.expandtabs(2).splitlines() or [""]]
        return []

    def _events(self, node: Node) -> list[dict[str, Any]]:
        off_ms = node["skew_ms"]
        start = int(node["started"] * 1000 - off_ms) - 1
        end = int((node["ended"] or node["started"]) * 1000 - off_ms) + _LATE_MS
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._group(node["service"]), startTime=start, endTime=end
        )
        events: list[dict[str, Any]] = []
        try:
            for page in pages:
                events += page.get("events", [])
                if len(events) >= _MOST_LOG_EVENTS:
                    break
        except self._logs.exceptions.ResourceNotFoundException:
            return []
        return events

    def _group(self, name: str) -> str:
        if name not in self._groups:
            group = f"/aws/lambda/{name}"
            try:
                found = self._functions.get_function_configuration(FunctionName=name)
                group = found.get("LoggingConfig", {}).get("LogGroup") or group
            except self._functions.exceptions.ResourceNotFoundException:
                # It was deleted; its log may still be there, under the name that it has by default.
                pass
            self._groups[name] = group
        return self._groups[name]
