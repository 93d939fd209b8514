"""``once``: which functions run no more often than wanted, and what they depend on."""

from typing import Any
from urllib.parse import urlsplit

import click

from forerun.cli.connection import Connection, connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table


@click.group()
def once() -> None:
    """Have functions run once for what comes several times, or not at all when nothing changed."""


@once.command("list")
@data_option
@json_option
def list_once(data: str | None, as_json: bool) -> None:
    """List the functions that run once."""
    found = _all(connect(data))
    if as_json:
        emit_json(found)
        return
    if not found:
        remark(
            "No function runs once. Have one do so with: forerun once put FUNCTION --key EXPRESSION"
        )
        return
    table(
        ["function", "key", "successes", "expires s", "depends on", "ids", "records"],
        [
            [
                each["FunctionName"],
                each["Key"],
                each["Successes"],
                f"{each['ExpiresSeconds']:g}",
                ", ".join(map(_place, each["DependsOn"])) or None,
                each["Ids"],
                each["Records"],
            ]
            for each in found
        ],
    )


@once.command()
@click.argument("function")
@data_option
@json_option
def show(function: str, data: str | None, as_json: bool) -> None:
    """Show how FUNCTION runs once, and the states of what it depends on now."""
    [found] = connect(data).get("/forerun/once", FunctionName=function)["Once"]
    if as_json:
        emit_json(found)
    else:
        _print(found)


@once.command()
@click.argument("function")
@click.option(
    "--key",
    metavar="EXPRESSION",
    help="JMESPath over the event, as 'order.id' or, with batches of one, 'Records[0].messageId'.",
)
@click.option("--successes", type=int, metavar="N", help="How often each may succeed. Default: 1.")
@click.option(
    "--expires", type=float, metavar="SECONDS", help="How long that is remembered. Default: 3600."
)
@click.option(
    "--depends-on",
    "depends_on",
    multiple=True,
    metavar="WHAT",
    help="s3://BUCKET/KEY, http(s)://..., the ARN of a queue or queue:NAME, or the path of a directory; may be given several times.",
)
@click.option("--no-results", is_flag=True, help="Keep no results: later callers get null.")
@data_option
@json_option
def put(
    function: str,
    *,
    key: str | None,
    successes: int | None,
    expires: float | None,
    depends_on: tuple[str, ...],
    no_results: bool,
    data: str | None,
    as_json: bool,
) -> None:
    """Have FUNCTION run once for each key, and only when something that it depends on has changed.

    What is given replaces all that was put before. Callers may also name an execution themselves, with the header
    X-Forerun-Execution-Id.
    """
    answer = connect(data).post(
        "/forerun/put-once",
        FunctionName=function,
        Key=key,
        Successes=successes,
        ExpiresSeconds=expires,
        DependsOn=[_read(each) for each in depends_on] or None,
        KeepResults=False if no_results else None,
    )["Once"]
    if as_json:
        emit_json(answer)
    else:
        _print(answer)


@once.command()
@click.argument("function")
@data_option
def delete(function: str, data: str | None) -> None:
    """Let FUNCTION run for every call again."""
    connect(data).post("/forerun/delete-once", FunctionName=function)
    remark(f"{function} runs for every call again.")


def _all(server: Connection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    marker: str | None = None
    while True:
        page = server.get("/forerun/once", Marker=marker)
        found += page["Once"]
        marker = page.get("NextMarker")
        if not marker:
            return found


def _read(text: str) -> dict[str, str]:
    """A dependency as people write it."""
    if text.startswith(("http://", "https://")):
        return {"Type": "http", "Url": text}
    if text.startswith("s3://"):
        parts = urlsplit(text)
        return {"Type": "s3", "Bucket": parts.netloc, "Key": text[len(parts.netloc) + 6 :]}
    if text.startswith("arn:aws:sqs:"):
        return {"Type": "queue", "Queue": text}
    if text.startswith("queue:"):
        return {"Type": "queue", "Queue": text.removeprefix("queue:")}
    if text.startswith("/"):
        return {"Type": "directory", "Path": text}
    raise click.BadParameter(
        f"{text} is none of s3://BUCKET/KEY, http(s)://..., queue:NAME, the ARN of a queue, or an absolute path"
    )


def _place(spec: dict[str, Any]) -> str:
    where = [value for name, value in spec.items() if name not in ("Type", "State")]
    return f"{spec['Type']} {'/'.join(map(str, where))}"


def _print(shown: dict[str, Any]) -> None:
    rows: list[list[object]] = [
        ["key", shown["Key"]],
        ["successes", shown["Successes"]],
        ["expires after", f"{shown['ExpiresSeconds']:g} s"],
        ["results", "kept" if shown["KeepResults"] else "not kept"],
        ["known ids", shown["Ids"]],
        ["known inputs", shown["Records"]],
        ["changed", clock_time(shown["Modified"])[:19]],
    ]
    rows += [
        [f"depends on {_place(spec)}", spec.get("State") or "cannot be told now: it is executed"]
        for spec in shown["DependsOn"]
    ]
    table(["what", "value"], rows, title=shown["FunctionName"])
