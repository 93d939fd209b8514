"""``hooks``: URLs that others send signed webhooks to, and what they run."""

from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table

SCHEMES = ("standard", "github", "stripe", "slack", "none")
FORMATS = ("cloudevent", "raw", "http")


@click.group()
def hooks() -> None:
    """Webhooks: URLs that GitHub, Stripe, Slack and others call, and what is run then."""


@hooks.command("list")
@data_option
@json_option
def list_hooks(data: str | None, as_json: bool) -> None:
    """List the hooks, with what came since the server was started."""
    found = connect(data).get("/forerun/hooks")["Hooks"]
    if as_json:
        emit_json(found)
        return
    if not found:
        remark("There are no hooks. Make one with: forerun hooks put NAME --target FUNCTION")
        return
    table(
        ["name", "scheme", "target", "format", "accepted", "duplicates", "refused", "last", "url"],
        [
            [
                each["Name"],
                each["Scheme"],
                _short(each["Target"]),
                each["TargetFormat"],
                each["Accepted"],
                each["Duplicates"],
                each["Refused"],
                clock_time(each["LastDelivery"])[:19] if each["LastDelivery"] else None,
                each["Url"],
            ]
            for each in found
        ],
    )
    for each in found:
        if "Warning" in each:
            remark(f"{each['Name']}: {each['Warning']}")


@hooks.command()
@click.argument("name")
@click.option(
    "--target",
    required=True,
    help="A function's name, the ARN of a function, queue, topic or bus, or a URL.",
)
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default="standard",
    show_default=True,
    help="How the sender signs; with none anybody who knows the URL may send.",
)
@click.option(
    "--format",
    "target_format",
    type=click.Choice(FORMATS),
    default="cloudevent",
    show_default=True,
    help="What the target gets: a CloudEvent, the body as it came, or the whole request.",
)
@click.option(
    "--secret", help="The sender's secret; left out, one is made where the sender takes yours."
)
@click.option(
    "--max-age",
    type=float,
    help="Seconds for which a delivery is valid and known again. Default: 300.",
)
@click.option("--rate", type=float, help="Deliveries a second that are taken. Default: 100.")
@click.option(
    "--content-type",
    "content_types",
    multiple=True,
    help="A content type that is taken; may be repeated.",
)
@data_option
@json_option
def put(
    name: str,
    target: str,
    scheme: str,
    target_format: str,
    secret: str | None,
    max_age: float | None,
    rate: float | None,
    content_types: tuple[str, ...],
    data: str | None,
    as_json: bool,
) -> None:
    """Make the hook NAME, or change it; its URL stays, and its secret if none is given."""
    given = {
        "Name": name,
        "Target": target,
        "Scheme": scheme,
        "TargetFormat": target_format,
        "Secret": secret,
        "MaxAgeSeconds": max_age,
        "RatePerSecond": rate,
        "ContentTypes": list(content_types),
    }
    _show(connect(data).post("/forerun/put-hook", **given), as_json=as_json)


@hooks.command()
@click.argument("name")
@click.option("--secret", help="The sender's new secret, where the sender makes it.")
@click.option(
    "--keep",
    type=float,
    help="Seconds for which the secret before is good as well. Default: a day.",
)
@data_option
@json_option
def rotate(
    name: str, secret: str | None, keep: float | None, data: str | None, as_json: bool
) -> None:
    """Give the hook NAME another secret."""
    given = {"Name": name, "Secret": secret, "KeepSeconds": keep}
    _show(connect(data).post("/forerun/rotate-hook", **given), as_json=as_json)


@hooks.command()
@click.argument("name")
@data_option
def delete(name: str, data: str | None) -> None:
    """Delete the hook NAME; its URL is never used again."""
    connect(data).post("/forerun/delete-hook", Name=name)
    remark(f"The hook {name} is gone.")


def _show(hook: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(hook)
        return
    click.echo(f"url     {hook['Url']}")
    if "Secret" in hook:
        click.echo(f"secret  {hook['Secret']}")
        remark("The secret is not shown again.")
    if "Warning" in hook:
        remark(f"warning: {hook['Warning']}")


def _short(target: str) -> str:
    """A function by its name, others as they are."""
    return target.partition(":function:")[2] or target
