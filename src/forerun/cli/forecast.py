"""``forecast``: which calls are expected, why, what is held ready for them, and how right that has been."""

from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.forecast_view import (
    basis_lines,
    expected_line,
    held_line,
    moment,
    share,
    told_right,
)
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table

_MOST_WINDOWS = 12


@click.command()
@click.argument("name", required=False)
@click.option(
    "--qualifier", metavar="Q", help="Of calls to this version or alias. Default: those without."
)
@data_option
@json_option
def forecast(*, name: str | None, qualifier: str | None, data: str | None, as_json: bool) -> None:
    """Say which calls of the function NAME are expected, why, and how right that has been; or list all functions."""
    if qualifier and not name:
        raise click.UsageError("--qualifier needs the NAME of a function.")
    found = connect(data).get("/forerun/forecast", FunctionName=name, Qualifier=qualifier)
    if as_json:
        emit_json(found)
        return
    if not found["Enabled"]:
        remark("Nothing is done ahead: foresight.enabled is false.")
    if name:
        _one(found)
    else:
        _all(found)


def _one(found: dict[str, Any]) -> None:
    qualifier, now = found["Qualifier"], found["Now"]
    name = found["FunctionName"] + (f":{qualifier}" if qualifier else "")
    basis = found["Forecast"]
    others = [each for each in found["Qualifiers"] if each != qualifier]
    if others:
        remark(f"It is also called as {', '.join(each or 'no qualifier' for each in others)}.")
    if basis is None and not found["Expected"]:
        remark(f"{name} has not been called that way yet: nothing is known of it.")
        return
    click.secho(name, bold=True)
    windows = found["Expected"] or []
    far = [each for each in (basis or {}).get("windows", []) if each["since"] > now]
    _section(
        "expected",
        [expected_line(each, now) for each in windows[:_MOST_WINDOWS]] or ["nothing now"],
    )
    known = {each["since"] for each in windows}
    later = [each for each in far if each["since"] not in known]
    if later:
        _section("later", [expected_line(each, now) for each in later[:_MOST_WINDOWS]])
    if basis is not None:
        _section("because", basis_lines(basis, now))
    held = [held_line(each) for each in found["Held"]]
    _section("held", held or ["what the host keeps by itself"])
    start = found["StartMs"]
    if start["typical"]:
        _section(
            "a start",
            [
                f"costs {start['typical']:.1f} ms, at most {start['slow']:.1f}; {found['MemoryMb']:.0f} MB are held"
            ],
        )
    _section("right", told_right(found["Score"]))


def _section(title: str, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        head = title if number == 0 else ""
        click.echo(f"  {click.style(f'{head:<10}', dim=True)}{line}")


def _all(found: dict[str, Any]) -> None:
    functions = found["Functions"]
    if not functions:
        remark("No function was called yet.")
        return
    table(
        [
            "function",
            "calls",
            "next",
            "because of",
            "hits",
            "misses",
            "expected",
            "came",
            "lead s",
            "idle GB-s",
        ],
        [
            [
                each["FunctionName"] + (f":{each['Qualifier']}" if each["Qualifier"] else ""),
                each["Calls"],
                moment(each["Next"]["since"]) if each["Next"] else None,
                reason_of(each["Next"]),
                each["Hits"],
                each["Misses"],
                each["Expected"],
                each["Came"],
                each["LeadS"],
                each["WastedGbS"],
            ]
            for each in functions
        ],
    )
    total = found["Total"]
    remark(
        f"Of {total['Hits'] + total['Misses']:,} calls that would have waited for a start {share(total['HitShare'])} did not; "
        f"sandboxes waited for {total['WastedGbS']:,.1f} GB-s. forerun forecast NAME says why."
    )


def reason_of(window: dict[str, Any] | None) -> str | None:
    """As ``period 30``."""
    return f"{window['reason']} {window['cause']}".rstrip() if window else None
