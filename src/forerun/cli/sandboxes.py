"""``sandboxes``: what is alive on the server now."""

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table


@click.command()
@data_option
@json_option
def sandboxes(data: str | None, as_json: bool) -> None:
    """List the sandboxes of this server: whose they are and what they do."""
    content = connect(data).get("/forerun/sandboxes").get("Sandboxes", [])
    if as_json:
        emit_json(content)
        return
    if not content:
        remark("There are no sandboxes now; the next call makes one.")
        return
    columns = list(dict.fromkeys(name for item in content for name in item))
    table(
        [column.replace("_", " ") for column in columns],
        [[item.get(column) for column in columns] for item in content],
    )
