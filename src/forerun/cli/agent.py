"""``agent``: one machine of a cluster. People run ``forerun join``, which keeps it running."""

import click

from forerun.cli.failures import Misuse
from forerun.cli.options import check_zone, parse_pairs
from forerun.errors import InvalidInput
from forerun.settings import Settings


@click.command()
@click.option(
    "--data",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False),
    help="Where its identity is, which `forerun join` has written, and where code is kept.",
)
@click.option(
    "--listen", metavar="HOST:PORT", help="Where control planes reach it. Default: 127.0.0.1:9701."
)
@click.option(
    "--advertise",
    metavar="HOST:PORT",
    help="Where others reach what it listens on. Default: the same.",
)
@click.option(
    "--zone",
    default="",
    metavar="ZONE",
    callback=check_zone,
    help="The zone that this machine is in.",
)
@click.option(
    "--label", "labels", metavar="K=V", multiple=True, help="What else is to be known of it."
)
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "jail", "process"]),
    help="How functions are isolated. Default: auto.",
)
@click.option("--json-logs", is_flag=True, default=None, help="Its log as JSON lines.")
def agent(
    data: str,
    listen: str | None,
    advertise: str | None,
    zone: str,
    labels: tuple[str, ...],
    sandbox: str | None,
    json_logs: bool | None,
) -> None:
    """Run functions on this machine for the control planes of its cluster, until it is told to stop (SIGTERM).

    The line "ready {...}" on stdout says who it is.
    """
    try:
        settings = Settings.load(
            server_data_dir=data,
            cluster_listen=listen,
            cluster_advertise=advertise,
            sandbox_mode=sandbox,
            server_json_logs=json_logs,
        )
    except InvalidInput as error:
        raise Misuse(error.message) from error
    # All that a host needs: only this command needs it.
    from forerun.app import serve_agent

    named = parse_pairs(labels, "--label")
    raise click.exceptions.Exit(serve_agent(settings, zone=zone, labels=named))
