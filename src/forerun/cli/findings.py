"""``findings``: what is worth changing in functions, with the numbers behind it."""

import shutil
import textwrap
from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, milliseconds, remark, table

_WIDEST = 110
_COLORS = {"high": "green", "medium": "yellow", "low": "cyan"}
_SURE = {"high": "measured", "medium": "likely", "low": "candidate"}


@click.command()
@click.argument("name", required=False)
@click.option(
    "--version", metavar="V", help="Of this version or alias. Default: the latest watched."
)
@click.option("--kind", metavar="KIND", help="Only those of one kind, as sequential-calls.")
@data_option
@json_option
def findings(
    *, name: str | None, version: str | None, kind: str | None, data: str | None, as_json: bool
) -> None:
    """Say what is worth changing in the function NAME, or list it for all functions.

    Each finding has its evidence, what a change would gain and how that was computed.
    """
    if version and not name:
        raise click.UsageError("--version needs the NAME of a function.")
    answer = connect(data).get("/forerun/findings", FunctionName=name, Qualifier=version)
    found = [each for each in answer["Findings"] if kind in (None, each["kind"])]
    if as_json:
        emit_json(found)
        return
    if not found:
        remark(_nothing(answer, kind))
        return
    if name:
        for number, each in enumerate(found, 1):
            _print(number, each)
        return
    table(
        ["function", "version", "finding", "kind", "sure", "gain"],
        [
            [
                each["function"],
                each["version"],
                each["title"],
                each["kind"],
                _SURE[each["confidence"]],
                gain_of(each["gain"]),
            ]
            for each in found
        ],
    )
    remark("forerun findings NAME says how each was found, and what to do.")


def gain_of(gain: dict[str, Any]) -> str:
    """As ``60 ms (30 %)``."""
    amount = f"{gain['amount']:.0f}" if gain["unit"] == "MB" else milliseconds(gain["amount"])
    return f"{amount} {gain['unit']} ({gain['share'] * 100:.0f} %)"


def measured(measure: dict[str, Any]) -> str:
    """As ``calls that fail 8.2 % (7.1 to 9.4)``."""
    value = f"{measure['value']:,.1f}".removesuffix(".0")
    text = f"{measure['what']} {value}"
    if unit := measure.get("unit"):
        text += f" {unit}"
    if measure.get("low") is not None and measure.get("high") is not None:
        text += f" ({measure['low']:.1f} to {measure['high']:.1f})"
    return text


def _print(number: int, finding: dict[str, Any]) -> None:
    sure = click.style(_SURE[finding["confidence"]], fg=_COLORS[finding["confidence"]])
    click.echo(
        f"{click.style(f'{number}. ' + finding['title'], bold=True)}  [{finding['kind']}, {sure}]"
    )
    gain = finding["gain"]
    evidence = "; ".join(measured(each) for each in finding["evidence"])
    _field("gain", f"{gain_of(gain)} of each {gain['per']}: {gain['how']}")
    _field("do", finding["advice"])
    if finding["condition"]:
        _field("if", finding["condition"])
    _field("seen", f"{evidence}.")
    _field("from", f"{clock_time(finding['since'])} to {clock_time(finding['until'])}")
    click.echo()


def _field(name: str, text: str) -> None:
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    head = f"   {name:<6}"
    lines = textwrap.wrap(text, max(40, width - len(head)), break_on_hyphens=False)
    click.echo(f"{click.style(head, dim=True)}{lines[0] if lines else ''}")
    for line in lines[1:]:
        click.echo(" " * len(head) + line)


def _nothing(answer: dict[str, Any], kind: str | None) -> str:
    """Why there is nothing, and what to do for there to be something."""
    watched, least = answer["Watched"], answer["AtLeast"]
    if kind:
        return f"Nothing of kind {kind} is known; there are {len(answer['Findings'])} findings of other kinds."
    if watched < least:
        return (
            f"{watched} executions were watched; findings need {least}. "
            "Call the function, or have more of its calls watched: forerun monitor NAME on."
        )
    return f"Nothing was found worth changing in {watched:,} executions that were watched."
