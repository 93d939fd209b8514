"""``doctor``: what this machine can isolate, and what to install."""

import click

from forerun.cli.options import json_option
from forerun.cli.output import emit_json, remark, table


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can isolate, and what to install.

    Exit code 1 when something is missing that the jail needs or that functions commonly use.
    """
    # The sandbox room loads kernel interfaces; no other command needs it.
    from forerun.sandbox import probe

    findings = list(probe())
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
