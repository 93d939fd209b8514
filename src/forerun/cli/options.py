"""Options that many commands share, so that they are spelled and explained once."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

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


def parse_pairs(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """``K=V`` arguments as a dictionary; a value may hold further ``=``."""
    result = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not of the form K=V", param_hint=option)
        result[name] = value
    return result
