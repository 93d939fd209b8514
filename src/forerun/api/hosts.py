"""``/forerun/hosts`` and what is wished of hosts, and the tokens that let machines join: for the operator's account alone."""

from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any, Protocol

import msgspec

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import Command, Query, Route
from forerun.cluster import check_name, make_token
from forerun.errors import AccessDenied, InvalidInput
from forerun.model import ChannelQuality, Phase
from forerun.storage.trust import TrustStore

TTL_S = 3600.0


class ShownHost(msgspec.Struct, kw_only=True, rename="pascal"):
    """A host as operators see it. What it says of itself is as old as its last beat, ``beat_age_s``; ``None`` before the first.

    ``failure`` is why there is no agent, or why it ended last; ``running`` are calls, ``pools`` unassigned sandboxes that wait.
    """

    name: str
    address: str = ""
    zone: str = ""
    labels: dict[str, str] = {}
    phase: Phase = Phase.ACTIVE
    alive: bool = False
    version: str = ""
    isolation: str = ""
    cpus: int = 0
    memory_mb: int = 0
    booked_mb: int = 0
    disk_free_mb: int | None = None
    sandboxes: int = 0
    running: int = 0
    pools: dict[str, int] = {}
    channels: dict[str, ChannelQuality] = {}
    beat_age_s: float | None = None
    failure: str = ""


class Hosts(Protocol):
    """Who knows the hosts of the cluster."""

    async def shown(self) -> list[ShownHost]:
        """All that joined, by name."""
        ...

    async def wish(self, name: str, phase: Phase) -> None:
        """What is to become of one from now on. Raises ``NotFound``."""
        ...

    async def expel(self, name: str) -> None:
        """Let it in nowhere any more, for good."""
        ...


class HostRoutes:
    """Who may: callers of the account that ``operator`` names, whose policies allow the action."""

    def __init__(self, hosts: Hosts, operator: Callable[[], str]) -> None:
        self._hosts = hosts
        self._operator = operator

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"hosts": self._get}

    def commands(self) -> dict[str, Command]:
        """See ``PlatformRoutes``."""
        return {
            "cordon": self._command(Phase.CORDONED),
            "uncordon": self._command(Phase.ACTIVE),
            "drain": self._command(Phase.DRAINING),
            "expel": self._expel,
        }

    async def _get(self, caller: Caller, _query: Query) -> object:
        require_operator(caller, self._operator)
        return {"Hosts": await self._hosts.shown()}

    async def _expel(self, caller: Caller, given: dict[str, Any]) -> object:
        require_operator(caller, self._operator)
        name = check_name(_text(given, "Host"))
        await self._hosts.expel(name)
        return {"Host": name, "Phase": Phase.EXPELLED}

    def _command(self, phase: Phase) -> Command:
        async def wish(caller: Caller, given: dict[str, Any]) -> object:
            require_operator(caller, self._operator)
            name = _text(given, "Host")
            await self._hosts.wish(name, phase)
            return {"Host": name, "Phase": phase}

        return wish


class TokenRoutes:
    """Makes, lists and revokes join tokens. ``authority_hash`` names the cluster in them."""

    def __init__(
        self,
        store: TrustStore,
        authority_hash: str,
        clock: Clock,
        operator: Callable[[], str],
        *,
        door: Callable[[], Awaitable[str]],
    ) -> None:
        """``door``: where the machines are to knock, ``HOST:PORT``."""
        self._store = store
        self._hash = authority_hash
        self._clock = clock
        self._operator = operator
        self._door = door

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"join-tokens": self._list}

    def commands(self) -> dict[str, Command]:
        """See ``PlatformRoutes``."""
        return {"create-join-token": self._create, "revoke-join-token": self._revoke}

    async def _list(self, caller: Caller, _query: Query) -> object:
        require_operator(caller, self._operator)
        now = self._clock.now()
        return {
            "Tokens": [
                {
                    "Id": each.id,
                    "Role": each.role,
                    "Uses": each.uses,
                    "Expires": each.expires,
                    "Created": each.created,
                    "Usable": each.uses > 0 and each.expires > now,
                }
                for each in await self._store.tokens()
            ]
        }

    async def _create(self, caller: Caller, given: dict[str, Any]) -> object:
        require_operator(caller, self._operator)
        role = given.get("Role", "host")
        if not isinstance(role, str):
            raise InvalidInput("Role must be a string")
        token, kept = make_token(
            self._hash,
            role,
            ttl_s=_number(given, "TtlSeconds", TTL_S),
            uses=int(_number(given, "Uses", 1)),
            now=self._clock.now(),
        )
        await self._store.add_token(kept)
        return {
            "Id": kept.id,
            "Token": str(token),
            "Role": kept.role,
            "Uses": kept.uses,
            "Expires": kept.expires,
            "Address": await self._door(),
        }

    async def _revoke(self, caller: Caller, given: dict[str, Any]) -> object:
        require_operator(caller, self._operator)
        token_id = _text(given, "Id")
        await self._store.revoke_token(token_id)
        return {"Id": token_id}


def require_operator(caller: Caller, operator: Callable[[], str]) -> None:
    """Hosts are everybody's, so only the operator's account may. Raises ``AccessDenied``."""
    if caller.account != operator():
        raise AccessDenied("Hosts belong to the operator's account, which is the first one")


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 63:
        raise InvalidInput(f"{name} must be a string of 1 to 63 characters")
    return value


def _number(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InvalidInput(f"{name} must be a number")
    return float(value)
