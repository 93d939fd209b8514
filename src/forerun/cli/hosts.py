"""``hosts``, ``cordon``, ``uncordon``, ``drain`` and ``expel``: the machines of a cluster; ``token``: what lets further ones join."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from forerun.aio.clock import SystemClock
from forerun.cli.connection import connect
from forerun.cli.failures import Failure, Misuse, Refused
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, plain, remark, table

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Nobody has the duties just after the start, and while they go from one control plane to another.
_NOBODY = 503
_PATIENCE_S = 20.0
_AGAIN_S = 0.3


@click.command()
@data_option
@json_option
def hosts(data: str | None, as_json: bool) -> None:
    """List the hosts of the cluster: whether they are there, and what they do."""
    with _of_a_cluster():
        content = _once_somebody_answers(lambda: connect(data).get("/forerun/hosts"))
    found = content["Hosts"]
    if as_json:
        emit_json(content)
        return
    if not found:
        remark("There are no hosts yet; let one join with: forerun token create")
        return
    columns = [
        "host",
        "phase",
        "state",
        "zone",
        "sandboxes",
        "running",
        "memory MB",
        "disk free MB",
    ]
    table([*columns, "beat s ago", "version", "address"], [_row(each) for each in found])
    for each in found:
        if each["Failure"]:
            remark(plain(f"{each['Name']}: {each['Failure']}"))


@contextmanager
def _of_a_cluster() -> Iterator[None]:
    """What a single machine does not have, and what is not there, is told with the next step."""
    try:
        yield
    except Refused as error:
        if error.status != 404:
            raise
        if error.said.startswith(("There is no /forerun/", "There is no POST /forerun/")):
            raise Failure(
                "This server is a single machine, not a cluster.",
                "Make it one with: forerun migrate --to URL, then forerun up --cluster --database URL",
            ) from error
        next_step = "" if "forerun " in error.said else "See which there are with: forerun hosts"
        raise Failure(error.said, next_step) from error


def _once_somebody_answers(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a control plane answers, once one has the duties; asking twice does no harm."""
    clock = SystemClock()
    deadline = clock.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except Refused as error:
            if error.status != _NOBODY or clock.monotonic() >= deadline:
                raise
        time.sleep(_AGAIN_S)


def _row(host: dict[str, Any]) -> list[object]:
    age = host["BeatAgeS"]
    return [
        host["Name"],
        host["Phase"],
        "alive" if host["Alive"] else "gone",
        host["Zone"] or None,
        host["Sandboxes"],
        host["Running"],
        f"{host['BookedMb']} of {host['MemoryMb']}",
        host["DiskFreeMb"],
        None if age is None else float(age),
        host["Version"],
        host["Address"],
    ]


@click.command()
@click.argument("host")
@data_option
@json_option
def cordon(host: str, data: str | None, as_json: bool) -> None:
    """Give HOST no new calls; those that run go on."""
    _wish("cordon", host, data, "gets no new calls", as_json=as_json)


@click.command()
@click.argument("host")
@data_option
@json_option
def uncordon(host: str, data: str | None, as_json: bool) -> None:
    """Give HOST calls again."""
    _wish("uncordon", host, data, "gets calls again", as_json=as_json)


@click.command()
@click.argument("host")
@data_option
@json_option
def drain(host: str, data: str | None, as_json: bool) -> None:
    """Give HOST no new calls, and let it leave the cluster when those that run are over."""
    done = "gets no new calls and leaves when the last is over"
    _wish("drain", host, data, done, as_json=as_json)


@click.command()
@click.argument("host")
@data_option
@json_option
def expel(host: str, data: str | None, as_json: bool) -> None:
    """Let HOST in nowhere any more, at once and for good: its machine or its key is in wrong hands.

    Calls that run there are lost. Its name is not given again as long as a certificate of it may hold. Where the engine is Ray, it
    must be started anew with another secret, too.
    """
    _wish("expel", host, data, "is let in nowhere any more", as_json=as_json)


def _wish(command: str, host: str, data: str | None, done: str, *, as_json: bool) -> None:
    with _of_a_cluster():
        content = _once_somebody_answers(
            lambda: connect(data).post(f"/forerun/{command}", Host=host)
        )
    if as_json:
        emit_json(content)
    else:
        remark(f"{host} {done}.")


@click.group()
def token() -> None:
    """Make, list and revoke the tokens that let machines join the cluster."""


@token.command("create")
@click.option(
    "--role",
    type=click.Choice(["host", "control"]),
    default="host",
    help="What may join: a host, or a further control plane. Default: host.",
)
@click.option(
    "--ttl", default="1h", metavar="TIME", help="For how long: 90s, 10m, 1h, 7d. Default: 1h."
)
@click.option("--uses", default=1, help="How many machines may join with it. Default: 1.")
@data_option
@json_option
def create_token(role: str, ttl: str, uses: int, data: str | None, as_json: bool) -> None:
    """Make a token. It is shown this once; whoever has it can join until it is used or has expired."""
    with _of_a_cluster():
        content = _once_somebody_answers(
            lambda: connect(data).post(
                "/forerun/create-join-token", Role=role, TtlSeconds=_seconds(ttl), Uses=uses
            )
        )
    if as_json:
        emit_json(content)
        return
    click.echo(content["Token"])
    command = (
        f"forerun join {content['Address']}"
        if role == "host"
        else "forerun up --cluster --database URL"
    )
    remark(f"On the other machine: {command} --token {content['Token']}")


@token.command("list")
@data_option
@json_option
def list_tokens(data: str | None, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    with _of_a_cluster():
        content = _once_somebody_answers(lambda: connect(data).get("/forerun/join-tokens"))
    if as_json:
        emit_json(content)
        return
    rows: list[list[object]] = [
        [
            each["Id"],
            each["Role"],
            each["Uses"],
            "usable" if each["Usable"] else "over",
            clock_time(each["Expires"]),
        ]
        for each in content["Tokens"]
    ]
    table(["token", "for", "uses left", "state", "expires"], rows)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@data_option
@json_option
def revoke_token(token_id: str, data: str | None, as_json: bool) -> None:
    """Let nobody join any more with the token of this ID. Machines that have joined stay."""
    with _of_a_cluster():
        content = _once_somebody_answers(
            lambda: connect(data).post("/forerun/revoke-join-token", Id=token_id)
        )
    if as_json:
        emit_json(content)
    else:
        remark(f"{token_id} is revoked.")


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        raise Misuse(f"--ttl must be a number with s, m, h or d behind it, not {text!r}")
    return int(number) * _UNITS[unit]
