"""``zygotes``: what sandboxes are forked from, why it has imported what it has, and what functions import."""

from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table

SHOWN_MODULES = 6


@click.command()
@click.argument("function", required=False)
@data_option
@json_option
def zygotes(function: str | None, data: str | None, as_json: bool) -> None:
    """List the zygotes, or what FUNCTION imports.

    Beside those of each runtime, with and without the AWS SDK, there are some that have imported what functions import
    most of the standard library. They are chosen by the time they save for the memory they need.
    """
    content = connect(data).get("/forerun/zygotes", FunctionName=function)
    if as_json:
        emit_json(content)
    elif function is not None:
        _show_imports(content["Functions"])
    else:
        _show_zygotes(content["Zygotes"])
        for each in content["Planned"]:
            what = each.get("trouble") or f"to import {', '.join(each['modules'])}"
            remark(f"{each.get('name') or each['runtime']}: {what}")


def _show_zygotes(found: list[dict[str, Any]]) -> None:
    if not found:
        remark("There are no zygotes; the first call of a function starts one.")
        return
    table(
        ["zygote", "imported", "own MB", "age s", "starts", "saves ms/h", "for"],
        [
            [
                each["name"],
                _some(each["modules"]) or "what most functions import",
                each["own_mb"],
                round(each["age_s"]),
                each["starts"],
                each["saved_ms_per_hour"] or "",
                _some(
                    [
                        f"{', '.join(one['names'])} ({one['spared_ms']:g} ms)"
                        for one in each["functions"]
                    ]
                    + ([f"{each['other_functions']} of others"] if each["other_functions"] else [])
                ),
            ]
            for each in found
        ],
    )


def _show_imports(found: list[dict[str, Any]]) -> None:
    if not found:
        remark("No start of this function was seen since the server was started.")
        return
    for each in found:
        names = ", ".join(f"{name}:{version}" for name, version in each["names"].items())
        remark(f"{names}: from {each['zygote']}")
        table(
            ["module", "origin", "ms"],
            [[one["module"], one["origin"], one["ms"]] for one in each["imports"]],
        )


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN_MODULES
    return ", ".join(names[:SHOWN_MODULES]) + (f" and {more} more" if more > 0 else "")
