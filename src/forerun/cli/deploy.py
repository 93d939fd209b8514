"""``deploy``: a folder, a file, a zip, or a template."""

import re
from pathlib import Path
from typing import Any

import click

from forerun.cli.connection import Connection, connect
from forerun.cli.deploying import (
    Applied,
    Applier,
    FunctionWriter,
    Stack,
    bundle,
    detect,
    is_template,
    load_template,
)
from forerun.cli.failures import Failure, Misuse
from forerun.cli.options import data_option, json_option, parse_pairs
from forerun.cli.output import emit_json, progress, remark, table

_ROLE = "forerun-default"
_ONLY_CODE = (
    "handler",
    "runtime",
    "memory",
    "timeout",
    "env",
    "role",
    "layer",
    "url",
    "egress",
    "publish",
)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Function or, for a template, stack. Default: the folder's name.")
@click.option("--handler", help="FILE.FUNCTION. Default: found in the files.")
@click.option("--runtime", help="Such as python3.12 or nodejs20.x. Default: the newest that fits.")
@click.option("--memory", type=int, help="MB, 128 to 10240.")
@click.option("--timeout", type=int, help="Seconds, 1 to 900.")
@click.option("--env", "env", multiple=True, metavar="K=V", help="Environment variable.")
@click.option("--role", help=f"ARN of the execution role. Default: {_ROLE}, which need not exist.")
@click.option("--layer", multiple=True, metavar="ARN", help="Layer version.")
@click.option("--url", is_flag=True, help="Give it a URL that anybody may call.")
@click.option(
    "--egress",
    type=click.Choice(["none", "platform", "open"]),
    help="What it may reach over the network.",
)
@click.option("--publish", is_flag=True, help="Publish a version.")
@click.option("--parameter", multiple=True, metavar="K=V", help="Parameter of the template.")
@data_option
@json_option
def deploy(path: Path, data: str | None, as_json: bool, **options: Any) -> None:
    """Deploy PATH: a folder, a source file, a zip, or a SAM or CloudFormation template.

    Creates what is new, updates what differs, leaves the rest alone, and returns when all can be called.
    Options that are not given keep what a function has.
    """
    if not path.exists():
        raise Failure(f"{path} does not exist.")
    if is_template(path):
        _refuse_options(options, _ONLY_CODE, "The template says that itself")
        applied, outputs = _deploy_template(connect(data), path, options, quiet=as_json)
    else:
        _refuse_options(options, ("parameter",), "Only templates have parameters")
        applied, outputs = _deploy_function(connect(data), path, options, quiet=as_json)
    if as_json:
        emit_json({"resources": [item.as_json() for item in applied], "outputs": outputs})
        return
    table(
        ["resource", "type", "action", "name", "detail"],
        [
            [
                item.logical_id,
                item.type.removeprefix("AWS::"),
                item.action,
                _short(item),
                item.detail,
            ]
            for item in applied
        ],
    )
    for key, value in outputs.items():
        click.echo(f"{key}: {value}")
    for item in applied:
        if item.type == "AWS::Lambda::Function":
            remark(f"Call it with: forerun invoke {item.physical_id}")
            break


def _refuse_options(options: dict[str, Any], names: tuple[str, ...], reason: str) -> None:
    for name in names:
        if options.get(name):
            raise Misuse(f"--{name} does not fit here. {reason}.")


def _deploy_template(
    server: Connection, path: Path, options: dict[str, Any], *, quiet: bool
) -> tuple[list[Applied], dict[str, str]]:
    name = options["name"] or _name_of(path.resolve().parent)
    parameters = parse_pairs(options["parameter"], "--parameter")
    with progress(quiet=quiet) as say:
        say(f"Reading {path}")
        stack = Stack(name=name, region=server.region, account=_account(server))
        template = load_template(path, stack, parameters)
        applier = Applier(template, name, server.client)
        say("Packing code")
        applier.prepare()
        return applier.apply(say), applier.outputs()


def _deploy_function(
    server: Connection, path: Path, options: dict[str, Any], *, quiet: bool
) -> tuple[list[Applied], dict[str, str]]:
    name = options["name"] or _name_of(path.resolve())
    variables = parse_pairs(options["env"], "--env")
    with progress(quiet=quiet) as say:
        say(f"Packing {path}")
        package = bundle(path)
        client = server.client("lambda")
        current = _current(client, name)
        runtime = options["runtime"] or current.get("Runtime")
        handler = options["handler"] or current.get("Handler")
        if not (runtime and handler):
            served = _served_runtimes(server)
            runtime, handler = detect(package, served, runtime=runtime, handler=handler)
        configuration: dict[str, Any] = {"Runtime": runtime, "Handler": handler}
        role = options["role"] or current.get("Role")
        configuration["Role"] = role or f"arn:aws:iam::{_account(server)}:role/{_ROLE}"
        if options["memory"] is not None:
            configuration["MemorySize"] = options["memory"]
        if options["timeout"] is not None:
            configuration["Timeout"] = options["timeout"]
        if variables:
            configuration["Environment"] = {"Variables": variables}
        if options["layer"]:
            configuration["Layers"] = list(options["layer"])
        tags = {"forerun:egress": options["egress"]} if options["egress"] else {}
        say(f"Deploying {name} ({runtime}, {handler})")
        writer = FunctionWriter(client)
        ensured = writer.ensure_function(name, package, configuration, tags=tags)
        applied = [
            Applied(name, "AWS::Lambda::Function", ensured.action, name, f"{runtime}, {handler}")
        ]
        outputs = {}
        if options["publish"]:
            published = writer.publish(name)
            number = published.answer["Version"]
            applied.append(
                Applied("Version", "AWS::Lambda::Version", published.action, f"{name}:{number}")
            )
        if options["url"]:
            url = writer.ensure_url(name, {"AuthType": "NONE"})
            writer.open_url(name)
            applied.append(Applied("Url", "AWS::Lambda::Url", url.action, name))
            outputs["Url"] = str(url.answer["FunctionUrl"])
        return applied, outputs


def _current(client: Any, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.get_function_configuration(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return {}
    return found


def _served_runtimes(server: Connection) -> list[str]:
    return [str(name) for name in server.get("/forerun/status").get("runtimes") or ()]


def _account(server: Connection) -> str:
    return server.account or str(server.client("sts").get_caller_identity()["Account"])


def _name_of(path: Path) -> str:
    """A name within the grammar from a folder's or file's name."""
    stem = path.stem if path.is_file() else path.name
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:64]
    if not name:
        raise Misuse(f"No name can be made of {str(path)!r}.", "Give one with --name")
    return name


def _short(item: Applied) -> str:
    """ARNs without what is the same for all."""
    return (
        item.physical_id.split(":", 5)[-1]
        if item.physical_id.startswith("arn:")
        else item.physical_id
    )
