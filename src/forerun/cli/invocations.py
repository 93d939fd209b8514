"""``invocations``: what each call of a function went through."""

import re
from collections.abc import Mapping
from typing import Any

import click

from forerun.cli.connection import Connection, connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table

_STEPS = ("admitted", "dequeued", "acquired", "loaded", "started", "ended", "answered")
_NAMES = {
    "admitted": "admit",
    "dequeued": "queue",
    "acquired": "sandbox",
    "loaded": "load",
    "started": "enter",
    "ended": "run",
    "answered": "answer",
}
_COLUMNS = (
    "at",
    "request",
    "version",
    "status",
    "start",
    "host",
    "ahead",
    *_NAMES.values(),
    "total",
    "MB",
)
_PAGE = 1000
_REQUEST_ID = re.compile(r"[0-9a-f-]{36}")


@click.command()
@click.argument("name")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000))
@data_option
@json_option
def invocations(name: str, limit: int, data: str | None, as_json: bool) -> None:
    """List the latest calls of function NAME: start types and timing steps in milliseconds.

    \b
    admit    signature, policy and concurrency     load    code and init
    queue    waiting for its turn or for memory    enter   until the handler was entered
    sandbox  until a sandbox was there             run     the handler
    ahead    because of what a sandbox was there, or miss: it had to be started
    """
    records = fetch(connect(data), name, limit)
    if as_json:
        emit_json([{**record, "steps_ms": steps(record.get("timings", {}))} for record in records])
        return
    if not records:
        remark(f"{name} has not been called yet. Call it with: forerun invoke {name}")
        return
    rows = [_row(record) for record in records]
    # A step that no call took would only push the others off a narrow terminal.
    shown = [i for i in range(len(_COLUMNS)) if any(row[i] is not None for row in rows)]
    table(
        [_COLUMNS[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
        title=f"{name}, milliseconds",
    )


def fetch(server: Connection, name: str, limit: int) -> list[dict[str, Any]]:
    """The latest ``limit`` records of a function, newest first."""
    records: list[dict[str, Any]] = []
    marker: str | None = None
    while len(records) < limit:
        page = server.get(
            "/forerun/invocations",
            FunctionName=name,
            MaxItems=min(limit - len(records), _PAGE),
            Marker=marker,
        )
        records += page.get("Invocations", [])
        marker = page.get("NextMarker")
        if not marker:
            break
    return records[:limit]


def steps(timings: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds of each step that was reached, from epoch seconds; 0.0 there means not reached."""
    result = {}
    before = timings.get("received", 0.0)
    for step in _STEPS:
        at = timings.get(step, 0.0)
        if at and before:
            result[_NAMES[step]] = round(max(at - before, 0.0) * 1000, 3)
            before = max(at, before)
    return result


def total_ms(timings: Mapping[str, float]) -> float | None:
    """Milliseconds from receipt to the last step that was reached."""
    received = timings.get("received", 0.0)
    last = max((timings.get(step, 0.0) for step in _STEPS), default=0.0)
    return round((last - received) * 1000, 3) if received and last >= received else None


def _ahead(record: Mapping[str, Any]) -> str | None:
    foresight = record.get("foresight")
    if foresight == "hit":
        cause = str(record.get("cause") or "hit")
        return cause[:8] if _REQUEST_ID.fullmatch(cause) else cause
    return foresight or None


def _row(record: Mapping[str, Any]) -> list[object]:
    timings = record.get("timings", {})
    reached = steps(timings)
    received = timings.get("received", 0.0)
    return [
        clock_time(received)[-12:] if received else None,
        str(record.get("request_id", "-"))[:8],
        record.get("version"),
        record.get("error_type") or record.get("status"),
        record.get("start_type"),
        record.get("host") if record.get("placed") else None,
        _ahead(record),
        *(reached.get(name) for name in _NAMES.values()),
        total_ms(timings),
        record.get("max_memory_mb") or None,
    ]
