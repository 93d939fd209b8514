"""``up``, ``env`` and ``status``: the server's life as the operator sees it."""

import json
import shlex

import click

from forerun.cli.connection import connect, read_credentials
from forerun.cli.failures import Misuse
from forerun.cli.options import data_option, json_option, read_secret
from forerun.cli.output import emit_json, table
from forerun.errors import InvalidInput
from forerun.settings import ClientSettings, Settings


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen. Default: 127.0.0.1:9700.")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where state is kept. Default: $FORERUN_DATA, else ~/.local/share/forerun.",
)
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "jail", "process"]),
    help="How functions are isolated. Default: auto.",
)
@click.option(
    "--egress",
    type=click.Choice(["none", "platform", "open"]),
    help="What functions may reach unless tagged otherwise. Default: platform.",
)
@click.option("--json-logs", is_flag=True, default=None, help="The server's log as JSON lines.")
@click.option(
    "--cluster",
    is_flag=True,
    help="Run a control plane of a cluster, whose state is in PostgreSQL. The first one makes the cluster.",
)
@click.option(
    "--database",
    metavar="URL",
    help="postgresql://USER:PASSWORD@HOST/NAME that all control planes of the cluster share. @FILE reads it from a file: "
    "what stands on a command line everybody on the machine can read.",
)
@click.option(
    "--cluster-listen",
    metavar="IP:PORT",
    help="Where the cluster's other machines reach this one. Default: 127.0.0.1:9701, this machine alone.",
)
@click.option(
    "--engine",
    type=click.Choice(["ray", "none"]),
    help="Who keeps agents running on hosts: the engine, or nobody but forerun join. Default: ray.",
)
@click.option(
    "--engine-address",
    metavar="IP:PORT",
    help="The head of an engine that is there already, which is used then. Default: the cluster has one of its own.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    help="For a further control plane: forerun token create --role control. - reads it from the input, @FILE from a file.",
)
@click.option("--name", metavar="NAME", help="Name of this control plane. Default: the machine's.")
@click.option(
    "--host/--no-host",
    default=None,
    help="Whether this machine of the cluster runs functions, too. Default: it does.",
)
def up(
    listen: str | None,
    data: str | None,
    sandbox: str | None,
    egress: str | None,
    json_logs: bool | None,
    cluster: bool,
    database: str | None,
    cluster_listen: str | None,
    engine: str | None,
    engine_address: str | None,
    token: str | None,
    name: str | None,
    host: bool | None,
) -> None:
    """Run the platform on this machine until it is told to stop (SIGTERM or Ctrl-C).

    The line "ready ..." on stdout says that it answers, and where.
    """
    try:
        settings = Settings.load(
            listen=listen,
            server_data_dir=data,
            sandbox_mode=sandbox,
            sandbox_egress=egress,
            server_json_logs=json_logs,
            cluster_database=read_secret(database, "--database") if database else None,
            cluster_listen=cluster_listen,
            cluster_engine=engine,
            cluster_engine_address=engine_address,
            cluster_token=read_secret(token, "--token") if token else None,
            cluster_name=name,
            cluster_host=host,
        )
        _check_cluster(settings, wanted=cluster)
    except InvalidInput as error:
        raise Misuse(error.message) from error
    # The whole platform: only this command needs it.
    from forerun.app import serve

    raise click.exceptions.Exit(serve(settings))


def _check_cluster(settings: Settings, *, wanted: bool) -> None:
    """It is the database that makes a cluster; ``--cluster`` says that one is meant."""
    if wanted and not settings.cluster.database:
        raise InvalidInput(
            "--cluster needs a database that all control planes share: --database postgresql://..."
        )


@click.command()
@data_option
@json_option
@click.option(
    "--shell",
    type=click.Choice(["sh", "bash", "zsh", "fish"]),
    help="Syntax of the exports. Default: that of $SHELL.",
)
@click.option(
    "--otlp", is_flag=True, help="Variables of OpenTelemetry instead, to send spans to the server."
)
def env(data: str | None, as_json: bool, shell: str | None, otlp: bool) -> None:
    """Print shell exports that point every AWS tool at the server.

    \b
    bash, zsh:  eval "$(forerun env)"
    fish:       forerun env | source
    """
    client = ClientSettings.load(data_dir=data)
    variables = _otlp_variables(data) if otlp else _aws_variables(client)
    if as_json:
        emit_json(variables)
        return
    fish = (shell or client.shell) == "fish"
    for name, value in variables.items():
        quoted = shlex.quote(value)
        click.echo(f"set -gx {name} {quoted};" if fish else f"export {name}={quoted}")
    if otlp:
        return
    # Left over from other work, these would be sent along and spoil every signature.
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        click.echo(f"set -e {name};" if fish else f"unset {name}")


def _aws_variables(client: ClientSettings) -> dict[str, str]:
    server = read_credentials(client)
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key_id or "",
        "AWS_SECRET_ACCESS_KEY": server.secret_access_key or "",
        "AWS_DEFAULT_REGION": server.region,
        "AWS_REGION": server.region,
    }


def _otlp_variables(data: str | None) -> dict[str, str]:
    server = connect(data)
    told = server.get("/forerun/otlp")
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": told["Headers"],
        "OTEL_EXPORTER_OTLP_PROTOCOL": told["Protocol"],
    }


@click.command()
@data_option
@json_option
def status(data: str | None, as_json: bool) -> None:
    """Show whether the server runs and what it holds."""
    server = connect(data)
    content = server.get("/forerun/status")
    if as_json:
        emit_json({"endpoint": server.endpoint, **content})
        return
    rows: list[list[object]] = [["endpoint", server.endpoint]]
    rows += [[name, _flat(value)] for name, value in content.items()]
    table(["what", "value"], rows)


def _flat(value: object) -> object:
    if isinstance(value, dict):
        return (
            ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items() if inner != "")
            or None
        )
    if isinstance(value, list):
        return ", ".join(str(_flat(inner)) for inner in value) or None
    return json.dumps(value) if isinstance(value, bool) else value
