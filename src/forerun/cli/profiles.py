"""``profile``, ``map`` and ``monitor``: what functions are like, who calls whom, and whether they are watched."""

import re
import shutil
import sys
from typing import Any

import click

from forerun.cli.connection import Connection, connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark

_TAG = "forerun:monitoring"
_VALUE = re.compile(r"on|off|auto|[1-9][0-9]{0,6}")
_PIPED_COLUMNS = 140


@click.command()
@click.argument("name")
@click.option(
    "--version", metavar="V", help="Of this version or alias. Default: the latest watched."
)
@click.option("--graph", is_flag=True, help="Show everything that an execution may lead to.")
@click.option("--compare", nargs=2, metavar="V1 V2", help="Say what changed between two versions.")
@click.option("--hours", metavar="N", type=int, help="Of the last 1 to 24 hours only.")
@click.option("--drift", metavar="N", type=int, help="Say what differs in the last N hours.")
@data_option
@json_option
def profile(
    *,
    name: str,
    version: str | None,
    graph: bool,
    compare: tuple[str, str] | None,
    hours: int | None,
    drift: int | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Say what the function NAME is like: how long it takes, whom it calls, how likely, what it waits for."""
    server = connect(data)
    asked: dict[str, Any] = {"FunctionName": name, "Qualifier": version}
    if compare or drift:
        _compare(server, asked, compare, drift, as_json)
        return
    if graph:
        found = server.get("/forerun/reach", **asked)
    else:
        found = server.get("/forerun/profile", **asked, Hours=hours)["Profile"]
    if as_json:
        emit_json(found)
        return
    # rich costs 60 ms to import: the JSON does without.
    from forerun.cli.profile_view import graph_view, profile_view

    _draw(graph_view(found) if graph else profile_view(found))


@click.command("map")
@data_option
@json_option
def map_(data: str | None, as_json: bool) -> None:
    """Show who calls whom, over all functions of the account."""
    found = connect(data).get("/forerun/map")
    if as_json:
        emit_json(found)
        return
    if not found["edges"]:
        remark("No function was seen to call anybody yet.")
        return
    from forerun.cli.profile_view import map_view

    _draw(map_view(found))


@click.command()
@click.argument("name")
@click.argument("value", required=False, metavar="[on|off|auto|N]")
@data_option
@json_option
def monitor(name: str, value: str | None, data: str | None, as_json: bool) -> None:
    """Say which executions of the function NAME are watched and why, or set it.

    on watches every one, off none, N one in N; auto leaves it to the platform: rare functions are watched whole, busy ones
    as often as the settings allow.
    """
    server = connect(data)
    if value is not None:
        if not _VALUE.fullmatch(value):
            raise click.BadParameter(
                f"{value!r} is not on, off, auto or a number", param_hint="VALUE"
            )
        _set(server, name, value)
    found = server.get("/forerun/monitoring", FunctionName=name)
    if as_json:
        emit_json(found)
        return
    one_in = found["OneIn"]
    chosen = {0: "no execution is watched", 1: "every execution is watched"}.get(
        one_in, f"one in {one_in} executions is watched"
    )
    click.echo(f"{name}: {chosen}: {found['Reason']}")
    click.echo(
        f"{found['CallsPerHour']:,.0f} calls an hour; {found['Monitored']:,} of {found['Executions']:,} were watched "
        "since the server began"
    )


def _set(server: Connection, name: str, value: str) -> None:
    client = server.client("lambda")
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    if value == "auto":
        client.untag_resource(Resource=arn, TagKeys=[_TAG])
    else:
        client.tag_resource(Resource=arn, Tags={_TAG: value})


def _compare(
    server: Connection,
    asked: dict[str, Any],
    versions: tuple[str, str] | None,
    hours: int | None,
    as_json: bool,
) -> None:
    before, after = versions or (None, None)
    found = server.get("/forerun/compare", **asked, From=before, To=after, Hours=hours)
    if as_json:
        emit_json(found)
        return
    whose, whom = (_watched(found[side]) for side in ("From", "To"))
    click.echo(
        f"all time ({whose}) and the last {hours} h ({whom})" if hours else f"{whose} and {whom}"
    )
    for change in found["Changes"]:
        click.echo(f"  {change['words']}")
    if not found["Changes"]:
        remark("Nothing differs by more than chance explains.")


def _watched(side: dict[str, Any]) -> str:
    return f"version {side['version']}, {side['sampled']:,} executions"


def _draw(what: Any) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else max(_PIPED_COLUMNS, shutil.get_terminal_size().columns)
    Console(width=width, highlight=False).print(what)
