"""How a control plane comes into its cluster: it founds it, or joins it with a token, or goes on as one that has joined."""

import asyncio
import contextlib
import logging
import socket
from importlib.metadata import version
from typing import NamedTuple

from forerun.aio import SystemClock
from forerun.app.closing import Closer, Closing
from forerun.app.sockets import listen
from forerun.app.state import State, open_state
from forerun.cluster import (
    Authority,
    Enrolled,
    Identity,
    check_name,
    enrol,
    open_trust,
    split_address,
    take_sealing_key,
)
from forerun.control.cluster_time import ClusterTime
from forerun.errors import ForerunError, SetupFailed
from forerun.settings import Settings
from forerun.storage import Db
from forerun.storage.machines import ControlPlaneStore
from forerun.storage.trust import KeptTrust, TrustStore

log = logging.getLogger("forerun")


class Entered(NamedTuple):
    """What a control plane has then. ``time`` keeps its clock at the database's."""

    name: str
    state: State
    time: ClusterTime
    trust: TrustStore
    authority: Authority
    kept: KeptTrust
    identity: Identity
    sealing_key: bytes
    door: socket.socket
    advertise: str

    def certified(self, now: float) -> Identity:
        """The same identity with a new certificate."""
        return _certified(self.authority, self.name, self.advertise, now)


async def enter(settings: Settings, closing: Closing) -> Entered:
    """Open the state of the cluster, and be somebody in it. Raises ``SetupFailed``, ``StorageFailed``: each says what to do."""
    from forerun.storage.postgresql import open_postgresql  # noqa: PLC0415 an optional dependency

    name = settings.cluster.name or socket.gethostname().partition(".")[0]
    check_name(name)
    db = await open_postgresql(settings.cluster.database, schema="forerun")
    closing.add(db.close)
    if not settings.server.sealing_key_path.exists():
        await _join(settings, name, db)
    time = ClusterTime(db, SystemClock())
    await time.start()
    closing.add(time.close)
    state = await open_state(settings, time.clock)
    closing.add(state.close)
    trust = TrustStore(state.db)
    authority, kept, sealing_key = await open_trust(
        trust, settings.server.sealing_key_path, time.clock
    )
    door = listen(*split_address(settings.cluster.listen), option="--cluster-listen")
    closing.add(_closed(door))
    advertise = settings.cluster.advertise or _address_of(door)
    return Entered(
        name=name,
        state=state,
        time=time,
        trust=trust,
        authority=authority,
        kept=kept,
        identity=_certified(authority, name, advertise, time.clock.now()),
        sealing_key=sealing_key,
        door=door,
        advertise=advertise,
    )


def _certified(authority: Authority, name: str, advertise: str, now: float) -> Identity:
    addresses = _only_ips([split_address(advertise)[0]])
    return authority.issue(name, "control", addresses=addresses, now=now)


async def _join(settings: Settings, name: str, db: Db) -> None:
    """Get the cluster's sealing key for a token, where there is a cluster already."""
    if not await TrustStore(db).authority():
        return
    if not settings.cluster.token:
        raise SetupFailed(
            "This database belongs to a cluster already: make a token on a control plane that runs "
            "(forerun token create --role control), and start this one with --token"
        )
    doors = [plane.door for plane in await ControlPlaneStore(db).all()]
    if not doors:
        raise SetupFailed("No control plane of this cluster runs: start the first one again")
    enrolled = await _enrolled(settings.cluster.token, name, doors)
    await asyncio.to_thread(
        take_sealing_key, settings.server.sealing_key_path, enrolled.sealing_key
    )


async def _enrolled(token: str, name: str, doors: list[str]) -> Enrolled:
    for number, door in enumerate(doors, 1):
        try:
            return await enrol(door, token, name=name, role="control", version=version("forerun"))
        except ForerunError as error:
            if number == len(doors):
                raise
            log.warning("%s lets nobody join now: %s", door, error.message)
    raise AssertionError("unreachable")


def _closed(sock: socket.socket) -> Closer:
    async def close() -> None:
        sock.close()

    return close


def _address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _only_ips(hosts: list[str]) -> list[str]:
    found = []
    for host in hosts:
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                socket.inet_pton(family, host)
                found.append(host)
    return found
