"""``dead-letters``: what nobody could process, why, and how to try it again."""

import json
from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.failures import Misuse
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table

SHOWN_DETAIL = 60


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages and events that nobody could process: list, show, send again, delete."""


@dead_letters.command("list")
@click.option("--target", help="Function, queue, ARN or URL that they were for.")
@click.option("--reason", help="Such as RetriesExhausted, AccessDenied, RecursionDetected.")
@click.option("--shelf", help="'platform', or the ARN of a dead-letter queue.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@data_option
@json_option
def list_(
    target: str | None,
    reason: str | None,
    shelf: str | None,
    limit: int,
    data: str | None,
    as_json: bool,
) -> None:
    """List dead letters, the oldest first."""
    content = connect(data).get(
        "/forerun/dead-letters", Target=target, Reason=reason, Shelf=shelf, MaxItems=limit
    )
    if as_json:
        emit_json(content)
        return
    letters = content["DeadLetters"]
    if not letters:
        remark("There are no such dead letters." if target or reason or shelf else "None.")
        return
    table(
        ["id", "failed", "target", "reason", "tries", "detail"],
        [
            [
                each["Id"],
                clock_time(each["FailedAt"]),
                _short(each["Target"]),
                each["Reason"],
                each["Attempts"],
                _detail(each["Detail"]),
            ]
            for each in letters
        ],
    )
    if content["NextMarker"]:
        remark(f"There are more than {limit}.")
    remark(
        "See one with: forerun dead-letters show ID; try again with: forerun dead-letters redrive ID"
    )


@dead_letters.command("show")
@click.argument("letter")
@data_option
@json_option
def show(letter: str, data: str | None, as_json: bool) -> None:
    """Show the dead LETTER with its payload and error."""
    content = connect(data).get("/forerun/dead-letter", Id=letter)
    if as_json:
        emit_json(content)
        return
    rows = [
        ["kept by", content["Shelf"]],
        ["from", content["Source"] or "an invocation"],
        ["for", content["Target"]],
        ["failed", clock_time(content["FailedAt"])],
        ["tries", content["Attempts"]],
        ["reason", content["Reason"]],
    ]
    table(["", letter], rows)
    click.echo(_indented(content["Detail"]))
    remark(f"payload, {content['Bytes']} bytes:")
    click.echo(_indented(content.get("Payload") or content.get("PayloadBase64", "")))


@dead_letters.command("redrive")
@click.argument("letters", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--target", help="All for this function, queue, ARN or URL.")
@click.option("--reason", help="All with this reason.")
@click.option("--memory", type=click.IntRange(128, 10_240), help="MB for that run only.")
@click.option("--timeout", type=click.IntRange(1, 900), help="Seconds for that run only.")
@data_option
@json_option
def redrive(
    letters: tuple[str, ...],
    everything: bool,
    target: str | None,
    reason: str | None,
    memory: int | None,
    timeout: int | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Send LETTERS again, and take them off the list."""
    wish = _chosen(letters, everything, target, reason)
    content = connect(data).post(
        "/forerun/redrive-dead-letters", **wish, MemorySize=memory, Timeout=timeout
    )
    _tell(content, "Redriven", "sent again", as_json=as_json)


@dead_letters.command("delete")
@click.argument("letters", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--target", help="All for this function, queue, ARN or URL.")
@click.option("--reason", help="All with this reason.")
@data_option
@json_option
def delete(
    letters: tuple[str, ...],
    everything: bool,
    target: str | None,
    reason: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Forget LETTERS."""
    wish = _chosen(letters, everything, target, reason)
    content = connect(data).post("/forerun/delete-dead-letters", **wish)
    _tell(content, "Deleted", "deleted", as_json=as_json)


def _chosen(
    letters: tuple[str, ...], everything: bool, target: str | None, reason: str | None
) -> dict[str, object]:
    if letters and (everything or target or reason):
        raise Misuse("Name dead letters, or choose them by --all, --target and --reason.")
    if not letters and not (everything or target or reason):
        raise Misuse("Which dead letters?", "Name them, or give --target, --reason or --all.")
    if letters:
        return {"Ids": list(letters)}
    return {"All": everything or None, "Target": target, "Reason": reason}


def _tell(content: dict[str, Any], member: str, done: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(content)
        return
    remark(f"{content[member]} {done}.")
    for each in content["Skipped"]:
        remark(f"{each['Id']} stays: {each['Reason']}")
    if content["More"]:
        remark("There were more than are taken at once; repeat the command for the rest.")


def _short(target: str) -> str:
    return target.split(":", 5)[-1] if target.startswith("arn:") else target


def _detail(text: str) -> str:
    """The error of a function in a few words, or the beginning of a sentence."""
    try:
        error = json.loads(text)
    except ValueError:
        error = None
    if isinstance(error, dict) and "errorMessage" in error:
        text = f"{error.get('errorType', 'Error')}: {error['errorMessage']}"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_DETAIL else line[: SHOWN_DETAIL - 1] + "…"


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
