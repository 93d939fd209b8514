"""``invoke``: one call, its result on stdout, how it went on stderr."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.failures import Misuse
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, milliseconds, remark

_READ_TIMEOUT_S = 960.0  # the longest function takes 900
_LATEST_START = "X-Forerun-Latest-Start-S"


@click.command()
@click.argument("name")
@click.argument("payload", default="{}")
@click.option("--event", is_flag=True, help="Accept now, run later; nothing is returned.")
@click.option(
    "--latest-start",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="With --event: run it when the machine has room, within so many seconds.",
)
@click.option("--qualifier", help="Version or alias. Default: $LATEST.")
@click.option("--log/--no-log", default=False, help="Also print the end of the call's log.")
@data_option
@json_option
def invoke(
    name: str,
    payload: str,
    event: bool,
    latest_start: int | None,
    qualifier: str | None,
    log: bool,
    data: str | None,
    as_json: bool,
) -> None:
    """Call function NAME with PAYLOAD: JSON, @FILE, or - for stdin. Default: {}.

    Exit code 1 when the function answers with an error.
    """
    if latest_start is not None and not event:
        raise Misuse("--latest-start is for events: nobody waits for those", "Add --event.")
    body = _read_payload(payload)
    arguments: dict[str, Any] = {"FunctionName": name, "Payload": body}
    if qualifier:
        arguments["Qualifier"] = qualifier
    if event:
        arguments["InvocationType"] = "Event"
    elif log:
        arguments["LogType"] = "Tail"
    client = connect(data).client("lambda", read_timeout_s=_READ_TIMEOUT_S)
    if latest_start is not None:
        _defer(client, latest_start)
    answer = client.invoke(**arguments)
    result = answer["Payload"].read()
    if as_json:
        emit_json(_summary(answer, result))
    else:
        _print(answer, result, event=event)
    if answer.get("FunctionError"):
        raise click.exceptions.Exit(1)


def _defer(client: Any, latest_start_s: int) -> None:
    """Let its calls say until when they may wait."""

    def add(params: dict[str, Any], **_: object) -> None:
        params["headers"][_LATEST_START] = str(latest_start_s)

    client.meta.events.register("before-call.lambda.Invoke", add)


def _read_payload(payload: str) -> bytes:
    if payload == "-":
        text = sys.stdin.buffer.read()
    elif payload.startswith("@"):
        text = Path(payload[1:]).read_bytes()
    else:
        text = payload.encode()
    try:
        json.loads(text)
    except ValueError as error:
        raise Misuse(
            f"The payload is not JSON: {error}", "Strings need quotes: '\"text\"'"
        ) from error
    return text


def _print(answer: dict[str, Any], result: bytes, *, event: bool) -> None:
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    if result:
        click.echo(result if _is_binary(result) else _pretty(result))
    if "LogResult" in answer:
        remark(base64.b64decode(answer["LogResult"]).decode(errors="replace").rstrip())
    request_id = answer["ResponseMetadata"].get("RequestId", "-")
    if event:
        how = "accepted and deferred" if _deferred(headers) else "accepted"
        remark(f"{how}, request {request_id}; follow it with: forerun logs -f")
        return
    parts = [answer.get("FunctionError") or "success"]
    if start := headers.get("x-forerun-start-type"):
        parts.append(f"{start} start")
    if duration := headers.get("x-forerun-duration-ms"):
        parts.append(f"{milliseconds(_number(duration))} ms")
    parts += [f"version {answer.get('ExecutedVersion', '-')}", f"request {request_id}"]
    remark(" | ".join(parts))


def _summary(answer: dict[str, Any], result: bytes) -> dict[str, Any]:
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    summary = {
        "StatusCode": answer["StatusCode"],
        "RequestId": answer["ResponseMetadata"].get("RequestId"),
        "ExecutedVersion": answer.get("ExecutedVersion"),
        "FunctionError": answer.get("FunctionError"),
        "StartType": headers.get("x-forerun-start-type"),
        "DurationMs": _number(headers.get("x-forerun-duration-ms")),
    }
    if _deferred(headers):
        summary["Deferred"] = True
    if "LogResult" in answer:
        summary["Log"] = base64.b64decode(answer["LogResult"]).decode(errors="replace")
    try:
        summary["Payload"] = json.loads(result) if result else None
    except ValueError:
        summary["PayloadBase64"] = base64.b64encode(result).decode()
    return summary


def _pretty(result: bytes) -> str:
    try:
        return json.dumps(json.loads(result), indent=2, ensure_ascii=False)
    except ValueError:
        return result.decode()


def _is_binary(result: bytes) -> bool:
    try:
        result.decode()
    except UnicodeDecodeError:
        return True
    return False


def _deferred(headers: dict[str, str]) -> bool:
    return headers.get("x-forerun-deferred") == "true"


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
