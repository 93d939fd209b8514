"""What an agent has of its control planes: specs as they are here, credentials asked for ahead, and who is asked for what."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.cluster.failures import heard
from forerun.cluster.frames import DatagramHead, GivenHead, TreeLead, WantHead, WireBroken, encode
from forerun.cluster.knocking import Knocked, Knocker
from forerun.cluster.manifest import is_digest
from forerun.cluster.tls import Peer
from forerun.errors import ForerunError, HostUnreachable, SetupFailed
from forerun.model import Credentials, SandboxSpec

log = logging.getLogger("forerun.cluster")

HELD_MAX = 20_000
AHEAD_MAX = 1000
AHEAD_OF_ONE = 64
AHEAD_S = 60.0
TALKERS_MAX = 20_000
WANT_S = 5.0
LEAD_S = 60.0


class ControlPlane(Protocol):
    """One that is connected."""

    @property
    def name(self) -> str:
        """As its certificate says."""
        ...

    @property
    def address(self) -> str:
        """``HOST:PORT`` of its door; empty for one that did not say."""
        ...

    @property
    def leased(self) -> bool:
        """Whether it is there, and the host may work for it."""
        ...

    def number_of(self, key: str) -> int:
        """The number of a version's spec on its connection, or 0."""
        ...

    async def want(self, want: WantHead) -> GivenHead:
        """Ask it for something. Raises ``HostUnreachable``."""
        ...

    def announce(self, access_key_id: str) -> bool:
        """Say which of its calls runs with these credentials; whether one does."""
        ...

    def send_datagram(self, head: bytes, data: bytes) -> bool:
        """Pass a datagram on; whether it went."""
        ...


class Held:
    """A spec that control planes sent, and what it is here. It changes when another zygote suits it."""

    __slots__ = ("sent", "spec")

    def __init__(self, sent: SandboxSpec, spec: SandboxSpec) -> None:
        self.sent, self.spec = sent, spec


class Here:
    """``path`` says where a tree lies here, by its digest; ``knocker`` knocks at control planes' doors."""

    def __init__(self, path: Callable[[str], str], knocker: Knocker, clock: Clock) -> None:
        self._path = path
        self._knocker = knocker
        self._clock = clock
        self._planes: list[ControlPlane] = []
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._zygote: Callable[[SandboxSpec], str] = lambda _: ""
        self._ahead: dict[str, deque[tuple[asyncio.Task[Credentials | None], float]]] = {}
        self._talkers: OrderedDict[str, None] = OrderedDict()
        self._owner = TaskOwner("asked-ahead")

    def come(self, plane: ControlPlane) -> None:
        """It is connected."""
        self._planes.append(plane)

    def leave(self, plane: ControlPlane) -> None:
        """It is not any more."""
        if plane in self._planes:
            self._planes.remove(plane)

    async def close(self) -> None:
        """Ask for nothing more."""
        await self._owner.close()

    # -- specs ---------------------------------------------------------------------------------------------------

    def hold(self, sent: SandboxSpec) -> Held:
        """The spec as it is on this machine. Raises ``WireBroken`` for one that names no trees."""
        held = self._held.get(sent.key)
        if held is not None and held.sent == sent:
            self._held.move_to_end(sent.key)
            return held
        layers = sent.layers_dir
        if not is_digest(sent.code_dir) or (layers is not None and not is_digest(layers)):
            raise WireBroken(f"the spec {sent.key[:200]!r} names no tree")
        spec = msgspec.structs.replace(
            sent,
            code_dir=self._path(sent.code_dir),
            layers_dir=self._path(layers) if layers else None,
        )
        if ending := self._zygote(spec):
            spec = msgspec.structs.replace(spec, zygote=ending)
        held = self._held[sent.key] = Held(sent, spec)
        self._held.move_to_end(sent.key)
        if len(self._held) > HELD_MAX:
            self._held.popitem(last=False)
        return held

    def prefer(self, zygote: Callable[[SandboxSpec], str]) -> None:
        """New sandboxes come from the pools with these endings from now on, which are empty where the usual one is best."""
        self._zygote = zygote
        for held in self._held.values():
            if held.spec.zygote != (ending := zygote(held.spec)):
                held.spec = msgspec.structs.replace(held.spec, zygote=ending)

    def spec_of(self, key: str) -> SandboxSpec | None:
        """What sandboxes of that key serve; ``None`` for what was not called in a long time."""
        held = self._held.get(key)
        return held.spec if held is not None else None

    # -- credentials ---------------------------------------------------------------------------------------------

    def ask_ahead(self, spec: SandboxSpec, plane: ControlPlane) -> None:
        """Credentials for a sandbox of it will be needed, once that is made."""
        waiting = self._ahead.setdefault(spec.key, deque())
        if len(self._ahead) > AHEAD_MAX:
            self._ahead.pop(next(iter(self._ahead)))
        if len(waiting) < AHEAD_OF_ONE:
            task = self._owner.spawn(_kept(self._ask(spec, plane)), name="credentials")
            waiting.append((task, self._clock.monotonic()))

    async def issue(self, spec: SandboxSpec) -> Credentials | None:
        """Credentials for a new sandbox, those that were asked for ahead if there are. Raises ``SetupFailed``."""
        oldest = self._clock.monotonic() - AHEAD_S
        waiting = self._ahead.get(spec.key)
        while waiting:
            task, asked_at = waiting.popleft()
            if asked_at >= oldest and (found := await asyncio.shield(task)) is not None:
                return found
        self._ahead.pop(spec.key, None)
        failure: ForerunError = SetupFailed("no control plane is there that knows its function")
        for plane in self._ready():
            if plane.number_of(spec.key):
                try:
                    return await self._ask(spec, plane)
                except ForerunError as error:
                    failure = error
        raise SetupFailed(f"a new sandbox got no credentials: {failure.message}")

    async def _ask(self, spec: SandboxSpec, plane: ControlPlane) -> Credentials | None:
        want = WantHead(what="credentials", spec=plane.number_of(spec.key))
        return (await self._want(plane, want, WANT_S)).credentials

    # -- where code is, and what sandboxes ask for ---------------------------------------------------------------

    async def lead(self, digest: str) -> TreeLead:
        """Where to find a tree. Raises ``HostUnreachable``, ``StorageFailed``."""
        failure: ForerunError = HostUnreachable("no control plane is connected")
        for plane in self._ready():
            try:
                given = await self._want(plane, WantHead(what="tree", digest=digest), LEAD_S)
            except ForerunError as error:
                failure = error
                continue
            if given.lead is not None:
                return given.lead
        raise failure

    def talks(self, access_key_id: str) -> bool:
        """Whether the sandbox with these credentials has asked the platform for anything."""
        return access_key_id in self._talkers

    async def reach(self, account: str, credentials: Credentials | None) -> Knocked:
        """A connection to a control plane for what a sandbox asks of the platform: to the one whose call runs in it, else to any.

        The sandbox's own credentials prove whose it is: what a host says of that is not believed. Raises ``HostUnreachable`` when
        there is none.
        """
        access_key_id, token = "", ""
        if credentials is not None:
            access_key_id, token = credentials.access_key_id, credentials.session_token
        if access_key_id:
            self._talkers[access_key_id] = None
            if len(self._talkers) > TALKERS_MAX:
                self._talkers.popitem(last=False)
        planes = sorted(self._ready(), key=lambda plane: not plane.announce(access_key_id))
        failure = HostUnreachable("no control plane is connected")
        for plane in planes:
            if plane.address:
                try:
                    whose = Peer(plane.name, "control")
                    fields = {"account": account, "key": access_key_id, "token": token}
                    return await self._knocker.knock(plane.address, "http", fields, expect=whose)
                except HostUnreachable as error:
                    failure = error
        raise failure

    def take_datagram(self, data: bytes, spec: SandboxSpec | None) -> None:
        """What a function sent to X-Ray's daemon; ``None`` where it is not known whose it is. Lost when nobody takes it."""
        planes, head = self._ready(), DatagramHead("", "", "")
        if spec is not None:
            # Only who has sent the function believes that it is here.
            planes = [plane for plane in planes if plane.number_of(spec.key)]
            head = DatagramHead(spec.account, spec.region, spec.name)
        packed = encode(head)
        any(plane.send_datagram(packed, data) for plane in planes)

    def _ready(self) -> list[ControlPlane]:
        """Those that renew their leases first, newer ones first."""
        return sorted(reversed(self._planes), key=lambda plane: not plane.leased)

    async def _want(self, plane: ControlPlane, want: WantHead, within_s: float) -> GivenHead:
        try:
            async with asyncio.timeout(within_s):
                given = await plane.want(want)
        except TimeoutError:
            raise HostUnreachable(f"control plane {plane.name} did not answer in time") from None
        if given.failure is not None:
            raise heard(f"control plane {plane.name}", given.failure, 0.0)
        return given


async def _kept(asked: Any) -> Credentials | None:
    """What fails ahead of need is asked for again when it is needed."""
    try:
        found: Credentials | None = await asked
    except ForerunError as error:
        log.info("credentials were not there ahead of need: %s", error.message)
        return None
    return found
