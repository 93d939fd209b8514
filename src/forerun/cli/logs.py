"""``logs``: a function's log from now back, or as it is written."""

import json
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import click

from forerun.aio.clock import SystemClock
from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time

_SINCE = re.compile(r"(\d+)\s*([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_POLL_S = 0.5
_OVERLAP_MS = 10_000  # events may be stored this much later than they are dated
_REMEMBERED = 20_000


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written, until Ctrl-C.")
@click.option("--since", default="10m", show_default=True, metavar="AGE", help="30s, 10m, 2h, 7d.")
@click.option("--filter", "pattern", metavar="PATTERN", help="CloudWatch filter pattern.")
@data_option
@json_option
def logs(
    name: str, follow: bool, since: str, pattern: str | None, data: str | None, as_json: bool
) -> None:
    """Print the log of function NAME (or of a log group, when NAME begins with /)."""
    age_ms = parse_age(since)
    client = connect(data).client("logs")
    group = name if name.startswith("/") else f"/aws/lambda/{name}"
    start = int(SystemClock.now() * 1000) - age_ms
    query: dict[str, Any] = {"logGroupName": group}
    if pattern:
        query["filterPattern"] = pattern
    try:
        for event in events(client, query, start, follow=follow):
            _print(event, as_json=as_json)
    except KeyboardInterrupt:
        # The way to end following; not an error.
        if not follow:
            raise


def parse_age(text: str) -> int:
    """``30s``, ``10m``, ``2h``, ``7d`` in milliseconds."""
    match = _SINCE.match(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not an age such as 30s, 10m, 2h or 7d")
    return int(match[1]) * _UNIT_S[match[2]] * 1000


def events(
    client: Any, query: dict[str, Any], start_ms: int, *, follow: bool
) -> Iterator[dict[str, Any]]:
    """Log events from ``start_ms`` on, each once; with ``follow`` without end."""
    seen: OrderedDict[str, None] = OrderedDict()
    while True:
        newest = start_ms
        for event in _scan(client, query, start_ms, follow=follow):
            newest = max(newest, event["timestamp"])
            if event["eventId"] in seen:
                continue
            seen[event["eventId"]] = None
            yield event
        if not follow:
            return
        while len(seen) > _REMEMBERED:
            seen.popitem(last=False)
        start_ms = max(start_ms, newest - _OVERLAP_MS)
        time.sleep(_POLL_S)


def _scan(
    client: Any, query: dict[str, Any], start_ms: int, *, follow: bool
) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator("filter_log_events").paginate(**query, startTime=start_ms)
    try:
        for page in pages:
            yield from page.get("events", [])
    except client.exceptions.ResourceNotFoundException:
        # The group appears with the first line that is written.
        if not follow:
            raise


def _print(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    when = clock_time(event["timestamp"] / 1000)
    click.echo(f"{click.style(when, dim=True)} {event['message'].rstrip()}")
