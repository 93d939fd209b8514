"""``doctor``: what this machine can isolate, what it lacks for a cluster, and what to install."""

from typing import Any

import click

from forerun.cli.failures import Misuse
from forerun.cli.options import json_option, read_secret
from forerun.cli.output import emit_json, remark, table
from forerun.errors import InvalidInput
from forerun.settings import Settings


@click.command()
@click.option(
    "--cluster",
    is_flag=True,
    help="Also say what is missing for forerun up --cluster, or with --join for forerun join.",
)
@click.option("--join", default="", metavar="ADDRESS", help="The control plane it is to join at.")
@click.option("--database", metavar="URL", help="The cluster's database, as for forerun up.")
@click.option("--cluster-listen", metavar="IP:PORT", help="As for forerun up.")
@click.option("--engine", type=click.Choice(["ray", "none"]), help="As for forerun up.")
@json_option
def doctor(
    cluster: bool,
    join: str,
    database: str | None,
    cluster_listen: str | None,
    engine: str | None,
    as_json: bool,
) -> None:
    """Say what this machine can isolate, and what to install.

    Exit code 1 when something is missing that the jail needs or that functions commonly use, or that was asked for.
    """
    # The sandbox room loads kernel interfaces; no other command needs it.
    from forerun.sandbox import probe

    findings: list[Any] = list(probe())
    if cluster or join or database or cluster_listen or engine:
        try:
            settings = Settings.load(
                cluster_database=read_secret(database, "--database") if database else None,
                cluster_listen=cluster_listen,
                cluster_engine=engine,
            )
        except InvalidInput as error:
            raise Misuse(error.message) from error
        # The whole platform: only this needs it.
        from forerun.app import cluster_needs

        findings += cluster_needs(settings, join)
    if as_json:
        emit_json(
            [{"name": f.name, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings]
        )
    else:
        table(
            ["what", "state", "found"],
            [[f.name, "ok" if f.ok else "missing", f.detail] for f in findings],
        )
        for finding in findings:
            if not finding.ok and finding.remedy:
                remark(f"{finding.name}: {finding.remedy}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)
