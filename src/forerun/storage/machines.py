"""The machines of a cluster: its control planes and its hosts, each by a name that only one of them has at a time.

Moments are the database's, so that clocks that differ make nobody seem gone. Whoever has the name of one that was seen of late is
refused, unless it is surely the same machine again: it has the same address, where no two can listen.
"""

from collections.abc import Iterable
from typing import LiteralString, NamedTuple

import msgspec

from forerun.errors import AlreadyExists, NotFound
from forerun.model import HostInfo, Phase
from forerun.storage.db import Db, Row, Statement
from forerun.storage.leases import POSTGRESQL_NOW

_ANNOUNCE_HOST: LiteralString = (
    "INSERT INTO hosts (name, incarnation, address, phase, node, info, joined, seen)"
    " VALUES ($1, $2, $3, $4, $5, $6, {now}, {now})"
    " ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, address = excluded.address,"
    " node = excluded.node, info = excluded.info, seen = excluded.seen"
    " WHERE hosts.phase <> 'expelled' AND (hosts.incarnation = excluded.incarnation"
    " OR hosts.address = excluded.address OR hosts.seen < excluded.seen - $7) RETURNING name"
)
_EXPEL_HOST: LiteralString = (
    "INSERT INTO hosts (name, incarnation, address, phase, node, info, joined, seen)"
    " VALUES ($1, '', '', $2, '', $3, {now}, {now})"
    " ON CONFLICT (name) DO UPDATE SET phase = excluded.phase, incarnation = '', seen = excluded.seen"
)
_SEE_HOST: LiteralString = (
    "/*free*/ UPDATE hosts SET seen = {now} WHERE name = $1 AND incarnation = $2"
)
_HOSTS: LiteralString = "SELECT info, phase, node, joined, {now} - seen FROM hosts"
_ANNOUNCE_PLANE: LiteralString = (
    "INSERT INTO control_planes (name, incarnation, door, api, version, started, seen)"
    " VALUES ($1, $2, $3, $4, $5, {now}, {now})"
    " ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, door = excluded.door,"
    " api = excluded.api, version = excluded.version, started = excluded.started, seen = excluded.seen"
    " WHERE control_planes.incarnation = excluded.incarnation OR control_planes.door = excluded.door"
    " OR control_planes.seen < excluded.seen - $6 RETURNING name"
)
_SEE_PLANE: LiteralString = "/*free*/ UPDATE control_planes SET seen = {now} WHERE name = $1 AND incarnation = $2 RETURNING name"
_PLANES: LiteralString = (
    "SELECT name, incarnation, door, api, version, started, {now} - seen FROM control_planes"
    " ORDER BY name"
)


class KnownHost(NamedTuple):
    """A host that joined; ``info.phase`` is what is wished of it. ``node`` is the engine's name of its machine, or empty.

    ``seen_s``: seconds since it was seen last.
    """

    info: HostInfo
    node: str
    joined: float
    seen_s: float


class KnownPlane(NamedTuple):
    """A control plane. ``door`` is ``HOST:PORT`` for the cluster's processes, ``api`` the URL for clients.

    ``incarnation`` is new at each start. ``seen_s``: seconds since it said that it is there.
    """

    name: str
    incarnation: str
    door: str
    api: str
    version: str
    started: float = 0.0
    seen_s: float = 0.0


class HostStore:
    """Hosts, over ``Db``. ``now`` is SQL for the time of the database, in seconds."""

    def __init__(self, db: Db, *, now: LiteralString = POSTGRESQL_NOW) -> None:
        self._db = db
        self._announce = _ANNOUNCE_HOST.replace("{now}", now)
        self._see = _SEE_HOST.replace("{now}", now)
        self._expel = _EXPEL_HOST.replace("{now}", now)
        self._all = _HOSTS.replace("{now}", now)

    async def announce(self, info: HostInfo, *, node: str = "", gone_s: float) -> None:
        """Take in a host, or what has changed of it; its phase stays what it was.

        Raises ``AlreadyExists`` when another machine has its name and was seen within ``gone_s`` seconds.
        """
        body = msgspec.json.encode(info)
        args = (info.name, info.incarnation, info.address, info.phase.value, node, body)
        [rows] = await self._db.write(Statement(self._announce, (*args, float(gone_s))))
        if not rows:
            raise AlreadyExists(
                f"There is a host {info.name} already; give this one another name, or end that one first."
            )

    async def see(self, hosts: Iterable[HostInfo]) -> None:
        """These are there now; those that have another incarnation by now are let be."""
        statements = [Statement(self._see, (info.name, info.incarnation)) for info in hosts]
        if statements:
            await self._db.write(*statements, durable=False)

    async def wish(self, name: str, phase: Phase) -> None:
        """What is to become of it. Raises ``NotFound``, also for one that was expelled: that is for good."""
        sql: LiteralString = (
            "UPDATE hosts SET phase = $2 WHERE name = $1 AND phase <> 'expelled' RETURNING name"
        )
        [rows] = await self._db.write(Statement(sql, (name, phase.value)))
        if not rows:
            raise NotFound(f"There is no host {name}, or it was expelled.")

    async def expel(self, name: str) -> None:
        """Let nobody of that name in any more, whether or not it has ever announced itself; ``remove`` forgets that."""
        unknown = HostInfo(
            name=name,
            address="",
            incarnation="",
            version="",
            protocols=(1, 1),
            isolation="",
            memory_mb=0,
            cpus=0,
            runtimes=(),
        )
        args = (name, Phase.EXPELLED.value, msgspec.json.encode(unknown))
        await self._db.write(Statement(self._expel, args))

    async def remove(self, name: str) -> None:
        """Forget it; should it come again, it is a new one."""
        await self._db.write(Statement("DELETE FROM hosts WHERE name = $1", (name,)))

    async def get(self, name: str) -> KnownHost:
        """One of them. Raises ``NotFound``."""
        rows = await self._db.fetch(self._all + " WHERE name = $1", name)
        if not rows:
            raise NotFound(f"There is no host {name}.")
        return _known_host(rows[0])

    async def all(self) -> list[KnownHost]:
        """All that joined, by name, whether they are there or not."""
        return [_known_host(row) for row in await self._db.fetch(self._all + " ORDER BY name")]


class ControlPlaneStore:
    """Control planes, over ``Db``. ``now`` is SQL for the time of the database, in seconds."""

    def __init__(self, db: Db, *, now: LiteralString = POSTGRESQL_NOW) -> None:
        self._db = db
        self._announce = _ANNOUNCE_PLANE.replace("{now}", now)
        self._see = _SEE_PLANE.replace("{now}", now)
        self._all = _PLANES.replace("{now}", now)

    async def announce(self, plane: KnownPlane, *, gone_s: float) -> None:
        """Take it in. Raises ``AlreadyExists`` when another has its name and was seen within ``gone_s`` seconds."""
        args = (plane.name, plane.incarnation, plane.door, plane.api, plane.version)
        [rows] = await self._db.write(Statement(self._announce, (*args, float(gone_s))))
        if not rows:
            raise AlreadyExists(
                f"There is a control plane {plane.name} already; give this one another name, or end that one first."
            )

    async def see(self, name: str, incarnation: str) -> bool:
        """It is there now; false when another has its name by now."""
        [rows] = await self._db.write(Statement(self._see, (name, incarnation)), durable=False)
        return bool(rows)

    async def remove(self, name: str, incarnation: str) -> None:
        """It ends."""
        await self._db.write(
            Statement(
                "DELETE FROM control_planes WHERE name = $1 AND incarnation = $2",
                (name, incarnation),
            )
        )

    async def all(self) -> list[KnownPlane]:
        """All that there are, or were and said no goodbye, by name."""
        return [KnownPlane(*row) for row in await self._db.fetch(self._all)]


def _known_host(row: Row) -> KnownHost:
    body, phase, node, joined, seen_s = row
    info = msgspec.structs.replace(msgspec.json.decode(body, type=HostInfo), phase=Phase(phase))
    return KnownHost(info, node, joined, seen_s)
