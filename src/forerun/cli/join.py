"""``join``: makes this machine a host of a cluster."""

import re
from pathlib import Path

import click

from forerun.cli.failures import Misuse
from forerun.cli.options import check_zone, parse_pairs, read_secret
from forerun.errors import InvalidInput
from forerun.settings import Settings


@click.command()
@click.argument("address")
@click.option(
    "--token",
    default="",
    envvar="FORERUN_CLUSTER_TOKEN",
    metavar="TOKEN",
    help="From forerun token create; needed the first time. - reads it from the input, @FILE from a file: "
    "what stands on a command line everybody on the machine can read.",
)
@click.option("--name", metavar="NAME", help="Name of this host. Default: the machine's.")
@click.option(
    "--zone",
    default="",
    metavar="ZONE",
    callback=check_zone,
    help="Where it is: functions with the tag forerun:zone=ZONE run in that zone alone.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="K=V", help="What else is to be known of it."
)
@click.option(
    "--listen",
    default="",
    metavar="IP:PORT",
    help="Where control planes and other hosts reach it. Default: the address that ADDRESS is reached with, port 9701.",
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where it keeps what it needs. Default: $FORERUN_DATA, else ~/.local/share/forerun.",
)
@click.option("--json-logs", is_flag=True, default=None, help="Its log as JSON lines.")
def join(
    address: str,
    token: str,
    name: str | None,
    zone: str,
    labels: tuple[str, ...],
    listen: str,
    data: str | None,
    json_logs: bool | None,
) -> None:
    """Make this machine a host of the cluster with a control plane at ADDRESS (HOST:PORT).

    It stays one until it is told to stop (SIGTERM or Ctrl-C) or is drained; then its calls have time to finish. The line
    "ready ..." on stdout says that it takes calls. Started again with the same data it needs no token.
    """
    try:
        settings = Settings.load(server_data_dir=data, server_json_logs=json_logs)
    except InvalidInput as error:
        raise Misuse(error.message) from error
    # Cryptography and the wire: only this command needs them.
    from forerun.app import Joining
    from forerun.app import join as run

    wanted = Joining(
        address=address,
        token=read_secret(token, "--token"),
        name=name or _machine_name(),
        data_dir=Path(settings.server.data_dir),
        listen=listen,
        zone=zone,
        labels=parse_pairs(labels, "--label"),
        drain_s=settings.server.drain_s,
        json_logs=settings.server.json_logs,
    )
    raise click.exceptions.Exit(run(wanted))


def _machine_name() -> str:
    import socket

    first = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", first).strip("-")[:63] or "host"
