"""What a machine lacks to be part of a cluster. Looks, and changes nothing."""

import asyncio
import importlib.metadata
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from forerun.cluster import split_address
from forerun.errors import ForerunError
from forerun.settings import Settings

if TYPE_CHECKING:
    from forerun.storage.postgresql_schema import About

OLDEST_DATABASE = 13
CONNECT_S = 5.0
# For its own agent and the engine's head, a control plane also takes the ports behind its door's.
_BEHIND = ("the door", "the engine's head", "this machine's own agent")


class Need(NamedTuple):
    """One thing that was looked at; ``remedy`` says what to do when it is not ``ok``."""

    name: str
    detail: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done about it."""
        return not self.remedy


def cluster_needs(settings: Settings, join: str = "") -> list[Need]:
    """What a host needs that joins at ``join`` (``HOST:PORT``), or without it a control plane with these settings."""
    found = [_extra(settings.cluster.engine)]
    if join:
        return [*found, _door(join)]
    return [
        *found,
        _database(settings.cluster.database),
        *_listening(settings.cluster.listen, settings.cluster.engine),
    ]


def _extra(engine: str) -> Need:
    name = "cluster extra"
    there = {each: _version(each) for each in ("asyncpg", "ray")}
    detail = ", ".join(f"{each} {number or 'missing'}" for each, number in there.items())
    if not there["asyncpg"] or (engine == "ray" and not there["ray"]):
        without = "" if there["ray"] else "; without ray only with: --engine none"
        return Need(name, detail, f"pip install 'forerun[cluster]'{without}")
    return Need(name, detail)


def _version(distribution: str) -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return ""


def _database(url: str) -> Need:
    name = "database"
    if not url:
        return Need(name, "none is named", "name it with: --database postgresql://...")
    if not _version("asyncpg"):
        return Need(name, "cannot be asked without asyncpg", "install the cluster extra")
    # An optional dependency, and only here.
    from forerun.storage.postgresql_schema import look_at  # noqa: PLC0415

    try:
        about = asyncio.run(look_at(url))
    except ForerunError as error:
        return Need(name, error.message, "start PostgreSQL, or correct the URL")
    return _judged(about)


def _judged(about: "About") -> Need:
    name, detail = "database", f"PostgreSQL {about.version}, {about.encoding}"
    if about.version < OLDEST_DATABASE:
        return Need(name, detail, f"PostgreSQL {OLDEST_DATABASE} or later is needed")
    if about.encoding != "UTF8":
        return Need(name, detail, "the database must be created with ENCODING 'UTF8'")
    if not about.may_create:
        remedy = "its user must be allowed to create schemas: GRANT CREATE ON DATABASE ... TO ..."
        return Need(name, detail, remedy)
    return Need(name, detail)


def _listening(listen: str, engine: str) -> Sequence[Need]:
    try:
        host, port = split_address(listen)
    except ForerunError as error:
        return [Need("address", error.message, "--cluster-listen IP:PORT")]
    needs = [_address(host)]
    for behind, what in enumerate(_BEHIND):
        if port == 0 or port + behind > 65535 or (engine == "none" and behind == 1):
            continue
        needs.append(_port(host, port + behind, what))
    return needs


def _address(host: str) -> Need:
    with suppress(ValueError):
        if ip_address(host).is_loopback:
            return Need(
                "address",
                f"other machines do not reach {host}",
                "name this machine's own with: --cluster-listen IP:9701",
            )
    return Need("address", host)


def _port(host: str, port: int, what: str) -> Need:
    name = f"port {port}"
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except OSError as error:
        remedy = "end what uses it, or choose another with: --cluster-listen IP:PORT"
        return Need(name, f"for {what}: {error.strerror or error}", remedy)
    return Need(name, f"free, for {what}")


def _door(address: str) -> Need:
    name = "control plane"
    try:
        with socket.create_connection(split_address(address), CONNECT_S):
            return Need(name, f"{address} takes connections")
    except ForerunError as error:
        return Need(name, error.message, "forerun token create prints the right one")
    except OSError as error:
        remedy = "is it running with --cluster-listen of an address that is reached from here, and does a firewall let 9701 through?"
        return Need(name, f"{address}: {error.strerror or error}", remedy)
