"""Options that many commands share, so that they are spelled and explained once."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from forerun.model import is_zone

_SECRET_MAX = 4096

F = TypeVar("F", bound=Callable[..., Any])

data_option: Callable[[F], F] = click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Data directory of the server. Default: $AWS_ENDPOINT_URL's server, else $FORERUN_DATA, "
    "else ~/.local/share/forerun.",
)
json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for machines."
)


def read_secret(given: str, option: str) -> str:
    """A secret that need not stand on the command line, which everybody on the machine can read.

    ``-`` stands for the first line of the input, ``@FILE`` for that of a file; anything else is the secret itself.
    """
    try:
        if given == "-":
            return sys.stdin.readline(_SECRET_MAX).strip()
        if given.startswith("@"):
            with Path(given[1:]).open(encoding="utf-8") as file:
                return file.readline(_SECRET_MAX).strip()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"it cannot be read: {error}", param_hint=option) from error
    return given


def check_zone(_context: click.Context, _option: click.Parameter, zone: str) -> str:
    """The zone that a machine is in; empty where none is given."""
    if zone and not is_zone(zone):
        raise click.BadParameter("1 to 63 letters, digits, or . _ -, the first a letter or a digit")
    return zone


def parse_pairs(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """``K=V`` arguments as a dictionary; a value may hold further ``=``."""
    result = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not of the form K=V", param_hint=option)
        result[name] = value
    return result
