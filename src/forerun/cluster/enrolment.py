"""How a machine becomes one of the cluster: the door's side of ``enrol``, and that of who comes.

A connection of kind ``enrol`` asks one thing and gets the answer in its welcome. Who comes without a certificate first asks who the
``authority`` is and holds that to the hash in its token; only to a door that proves itself by that authority does it tell
the token. ``join`` gives a certificate for a token, ``renew`` a new one for one that holds, ``engine`` where the engine is.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from forerun.aio import Clock, cut
from forerun.cluster.door import Guest
from forerun.cluster.identity import Identity, Role
from forerun.cluster.knocking import Knocker
from forerun.cluster.tls import Peer
from forerun.cluster.tokens import check_name, check_token, hash_secret, parse_token
from forerun.cluster.trust import Authority, authority_hash, make_request
from forerun.errors import AccessDenied, AlreadyExists, ForerunError, InvalidInput
from forerun.storage.trust import TrustStore

log = logging.getLogger("forerun.cluster")

FAILURES = 10
FAILURES_PER_S = 60.0
STRANGERS = 4096
ENROL_S = 20.0
ENROL_ROLES = ("", "host", "control")


class Wish(msgspec.Struct, kw_only=True):
    """What somebody asks. ``name``, ``role``, ``secret`` and ``version`` belong to ``join``; ``request`` to ``renew``, too."""

    ask: str
    name: str = ""
    role: str = "host"
    secret: str = ""
    version: str = ""
    request: str = ""


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine is reached. ``kind`` as in the settings; ``address`` is empty while it is nowhere.

    A ``foreign`` one was there before the cluster, and knows nothing of our certificates.
    """

    kind: str = "none"
    address: str = ""
    secret: str = ""
    foreign: bool = False


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody brings home. ``doors`` are those of the control planes; ``sealing_key`` is for control planes alone."""

    identity: Identity
    engine: Engine
    doors: list[str] = []
    sealing_key: bytes = b""


class Failures:
    """How often who has failed of late, by address. Pure; the clock is an argument."""

    def __init__(self, limit: int = FAILURES, per_s: float = FAILURES_PER_S) -> None:
        self._limit, self._per_s = limit, per_s
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, who: str, now: float) -> None:
        """One more."""
        began, number = self._seen.pop(who, (now, 0))
        if now - began >= self._per_s:
            began, number = now, 0
        self._seen[who] = (began, number + 1)
        while len(self._seen) > STRANGERS:
            self._seen.popitem(last=False)

    def too_many(self, who: str, now: float) -> bool:
        """Whether it has to wait."""
        began, number = self._seen.get(who, (now, 0))
        return number >= self._limit and now - began < self._per_s


class Register(Protocol):
    """Who is in the cluster, as far as those who come must know."""

    async def engine(self) -> Engine:
        """How the engine is reached now."""
        ...

    async def doors(self) -> list[str]:
        """``HOST:PORT`` of the doors of control planes that are there."""
        ...

    async def taken(self, name: str, role: Role) -> bool:
        """Whether somebody of this role has the name and is there."""
        ...


class Enroller:
    """Answers at the door of a control plane; serve it as ``enrol`` to ``ENROL_ROLES``."""

    def __init__(
        self,
        authority: Authority,
        store: TrustStore,
        clock: Clock,
        *,
        sealing_key: bytes,
        register: Register,
    ) -> None:
        self._authority = authority
        self._store = store
        self._clock = clock
        self._sealing_key = sealing_key
        self._register = register
        self._failures = Failures()

    async def handle(self, guest: Guest) -> None:
        """One connection."""
        address = guest.transport.get_extra_info("peername")
        who = str(address[0]) if address else ""
        try:
            guest.welcome(await self.answer(guest.fields, Peer(guest.name, guest.role), who))
        except ForerunError as error:
            log.warning(
                "refused to enrol %r from %s: %s",
                str(guest.fields.get("name"))[:80],
                who,
                error.message,
            )
            guest.refuse(type(error).__name__, error.message)

    async def answer(self, fields: dict[str, Any], peer: Peer, who: str) -> dict[str, Any]:
        """What is answered to somebody with a certificate, or without one, who comes from the address ``who``.

        Raises ``InvalidInput``, ``AccessDenied``, ``AlreadyExists``, ``StorageFailed``: each says what to do.
        """
        try:
            wish = msgspec.convert(fields, Wish)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"The wish to enrol cannot be read: {error}") from None
        if wish.ask == "authority":
            return {"authority": self._authority.pem}
        if wish.ask == "join":
            return await self._join(wish, who)
        if not peer.role:
            raise AccessDenied(f"{wish.ask[:40]!r} needs a certificate of this cluster")
        if wish.ask == "renew":
            return await self._certified(wish.request, peer.name, _role(peer.role))
        if wish.ask == "engine":
            return {
                "engine": msgspec.to_builtins(await self._register.engine()),
                "doors": await self._register.doors(),
            }
        raise InvalidInput("ask must be authority, join, renew or engine")

    async def _join(self, wish: Wish, who: str) -> dict[str, Any]:
        now = self._clock.monotonic()
        if self._failures.too_many(who, now):
            raise AccessDenied(
                f"Too many attempts to join from {who} failed; wait a minute and try again"
            )
        role = _role(wish.role)
        check_name(wish.name)
        hashed = hash_secret(wish.secret)
        kept = await self._store.token(hashed)
        try:
            check_token(kept, wish.secret, role, now=self._clock.now())
        except AccessDenied:
            self._failures.count(who, now)
            raise
        if await self._register.taken(wish.name, role):
            raise AlreadyExists(
                f"There is a {role} {wish.name} already, and it is there, or was expelled; "
                "give this one another name (--name), or end that one first"
            )
        answer = await self._certified(wish.request, wish.name, role)
        if not await self._store.use_token(hashed, now=self._clock.now()):
            # Somebody else has used it up meanwhile.
            check_token(await self._store.token(hashed), wish.secret, role, now=self._clock.now())
            raise AccessDenied("The token has been used as often as it may; make another one")
        log.info("%s %s joined from %s, version %s", role, wish.name, who, wish.version[:40])
        if role == "control":
            answer["sealing_key"] = self._sealing_key
        return answer

    async def _certified(self, request: str, name: str, role: Role) -> dict[str, Any]:
        return {
            "certificate": self._authority.certify(request, name, role, now=self._clock.now()),
            "authority": self._authority.pem,
            "engine": msgspec.to_builtins(await self._register.engine()),
            "doors": await self._register.doors(),
        }


async def enrol(
    address: str,
    token: str,
    *,
    name: str,
    role: Role = "host",
    addresses: Sequence[str] = (),
    version: str = "",
) -> Enrolled:
    """Join the cluster with a control plane's door at ``address``. ``addresses`` are this machine's, for the certificate.

    Raises ``InvalidInput`` for a token that is none, ``AccessDenied`` when the door there is not the token's cluster's,
    ``Refused`` (a ``HostUnreachable``) with the door's reason, ``HostUnreachable`` when nobody answers.
    """
    secret, expected = parse_token(token)
    check_name(name)
    stranger = await Knocker(None).knock(address, "enrol", {"ask": "authority"}, timeout_s=ENROL_S)
    cut(stranger.transport)
    authority_pem = str(stranger.fields.get("authority", ""))
    if authority_hash(authority_pem) != expected:
        raise AccessDenied(
            f"At {address} is another cluster than the one that the token is for; nothing was told to it"
        )
    key_pem, request = make_request(name, addresses)
    wish = Wish(ask="join", name=name, role=role, secret=secret, version=version, request=request)
    joined = await Knocker(None, authority_pem=authority_pem).knock(
        address,
        "enrol",
        msgspec.to_builtins(wish),
        expect=Peer("", "control"),
        timeout_s=ENROL_S,
    )
    cut(joined.transport)
    blank = Identity(
        name=name, role=role, key_pem=key_pem, certificate_pem="", authority_pem=authority_pem
    )
    return _brought(blank, joined.fields)


async def renew(address: str, identity: Identity, addresses: Sequence[str] = ()) -> Enrolled:
    """A new key and certificate in place of one that still holds. Raises ``HostUnreachable``."""
    key_pem, request = make_request(identity.name, addresses)
    found = await Knocker(identity).knock(
        address,
        "enrol",
        msgspec.to_builtins(Wish(ask="renew", request=request)),
        expect=Peer("", "control"),
        timeout_s=ENROL_S,
    )
    cut(found.transport)
    return _brought(msgspec.structs.replace(identity, key_pem=key_pem), found.fields)


async def ask_engine(address: str, identity: Identity) -> tuple[Engine, list[str]]:
    """Where the engine is, and the doors of control planes. Raises ``HostUnreachable``."""
    found = await Knocker(identity).knock(
        address, "enrol", {"ask": "engine"}, expect=Peer("", "control"), timeout_s=ENROL_S
    )
    cut(found.transport)
    return _convert(found.fields.get("engine"), Engine), _convert(
        found.fields.get("doors", []), list[str]
    )


def _brought(blank: Identity, fields: dict[str, Any]) -> Enrolled:
    identity = msgspec.structs.replace(
        blank,
        certificate_pem=_convert(fields.get("certificate"), str),
        authority_pem=_convert(fields.get("authority"), str),
    )
    return Enrolled(
        identity=identity,
        engine=_convert(fields.get("engine"), Engine),
        doors=_convert(fields.get("doors", []), list[str]),
        sealing_key=_convert(fields.get("sealing_key", b""), bytes),
    )


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The control plane's answer cannot be read: {error}") from None


def _role(role: str) -> Role:
    if role == "host":
        return "host"
    if role == "control":
        return "control"
    raise InvalidInput(f"role must be host or control, not {role[:40]!r}")
