"""``limits``: how many calls may run at once, and where."""

from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table

SHOWN_HOSTS = 6


@click.command()
@data_option
@json_option
def limits(data: str | None, as_json: bool) -> None:
    """Say how many calls may run at once: what the account's functions share, and each reservation.

    On many machines the current limit grows with the load, by steps that hosts get, up to the maximum. One machine counts by
    itself: there the current limit always is the maximum.
    """
    content = connect(data).get("/forerun/limits")
    if as_json:
        emit_json(content)
        return
    table(
        ["limit of", "running", "current", "maximum", "hosts"],
        [
            [
                each["FunctionName"] or "all other functions",
                each["Running"],
                each["Current"],
                each["Maximum"],
                _hosts(each["Hosts"]),
            ]
            for each in content["Limits"]
        ],
    )
    if content["Step"]:
        remark(f"One step is {content['Step']} concurrent calls on one host.")
    else:
        remark("One machine counts by itself: the current limit always is the maximum.")


def _hosts(hosts: list[dict[str, Any]]) -> str:
    shown = [_host(each) for each in hosts[:SHOWN_HOSTS]]
    more = len(hosts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _host(host: dict[str, Any]) -> str:
    words = f"{host['Name']} {host['Running']}/{host['Limit']}"
    # It has not said yet that it keeps to less.
    return words + (f" (counts as {host['Counted']})" if host["Counted"] > host["Limit"] else "")
