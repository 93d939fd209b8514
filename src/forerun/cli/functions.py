"""``functions``, ``versions`` and ``delete``."""

from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table


@click.command()
@data_option
@json_option
def functions(data: str | None, as_json: bool) -> None:
    """List the functions."""
    client = connect(data).client("lambda")
    found = _pages(client, "list_functions", "Functions")
    if as_json:
        emit_json(found)
        return
    if not found:
        remark("There are no functions yet. Deploy one with: forerun deploy FOLDER")
        return
    table(
        ["name", "runtime", "handler", "memory", "timeout", "state", "changed"],
        [
            [
                item["FunctionName"],
                item.get("Runtime"),
                item.get("Handler"),
                item.get("MemorySize"),
                item.get("Timeout"),
                item.get("State"),
                item.get("LastModified", "")[:19].replace("T", " "),
            ]
            for item in found
        ],
    )


@click.command()
@click.argument("name")
@data_option
@json_option
def versions(name: str, data: str | None, as_json: bool) -> None:
    """List the versions of function NAME and the aliases that point at them."""
    client = connect(data).client("lambda")
    found = _pages(client, "list_versions_by_function", "Versions", FunctionName=name)
    aliases = _pages(client, "list_aliases", "Aliases", FunctionName=name)
    if as_json:
        emit_json({"Versions": found, "Aliases": aliases})
        return
    table(
        ["version", "aliases", "runtime", "memory", "bytes", "changed", "description"],
        [
            [
                item["Version"],
                ", ".join(_pointing(aliases, item["Version"])) or None,
                item.get("Runtime"),
                item.get("MemorySize"),
                item.get("CodeSize"),
                item.get("LastModified", "")[:19].replace("T", " "),
                item.get("Description") or None,
            ]
            for item in found
        ],
    )


@click.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@data_option
@json_option
def delete(name: str, yes: bool, data: str | None, as_json: bool) -> None:
    """Delete function NAME with its versions and aliases. Its log stays."""
    client = connect(data).client("lambda")
    client.get_function_configuration(FunctionName=name)
    if not yes:
        click.confirm(f"Delete {name} with all its versions and aliases?", abort=True, err=True)
    client.delete_function(FunctionName=name)
    if as_json:
        emit_json({"Deleted": name})
    else:
        remark(f"{name} is deleted.")


def _pages(client: Any, operation: str, key: str, **arguments: str) -> list[dict[str, Any]]:
    pages = client.get_paginator(operation).paginate(**arguments)
    return [item for page in pages for item in page.get(key, [])]


def _pointing(aliases: list[dict[str, Any]], version: str) -> list[str]:
    """Aliases that send calls to a version, with their share where it is not all."""
    found = []
    for alias in aliases:
        weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        if version in weights:
            found.append(f"{alias['Name']} {weights[version]:.0%}")
        elif alias["FunctionVersion"] == version:
            rest = 1 - sum(weights.values())
            found.append(f"{alias['Name']} {rest:.0%}" if weights else alias["Name"])
    return found
