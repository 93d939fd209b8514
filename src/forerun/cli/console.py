"""``console``: a link that signs a browser in."""

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark


@click.command()
@click.option("--open", "open_it", is_flag=True, help="Open it in this machine's browser, too.")
@data_option
@json_option
def console(open_it: bool, data: str | None, as_json: bool) -> None:
    """Print a link to the web console that works once, within a minute.

    Whoever opens it is signed in, for twelve hours, as the owner of the key that this command uses.
    """
    server = connect(data)
    link = server.get("/forerun/console-link")
    url = server.endpoint + link["Path"]
    if as_json:
        emit_json({"url": url, "valid_s": link["ValidSeconds"]})
    else:
        click.echo(url)
        remark(f"It works once, within {link['ValidSeconds']} seconds.")
    if open_it:
        click.launch(url)
