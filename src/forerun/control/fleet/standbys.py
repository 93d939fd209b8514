"""Standbys of versions, divided among hosts: where calls would go, and again when hosts go.

A host holds a part until its own standby ends; each change replaces what it held. Parts stay where they are as long as they can.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from forerun.cluster import RemoteHost
from forerun.control.fleet.dividing import among
from forerun.errors import ForerunError
from forerun.model import SandboxSpec, Standby

log = logging.getLogger("forerun.fleet")

MOST = 100_000
LOOKED_AT_ONCE = 200
SWEPT_S = 5.0
NOTHING = Standby()


class Offer(msgspec.Struct, frozen=True):
    """A host for a version: how many sandboxes it has room for, and how many wait there."""

    name: str
    room: int
    idle: int


class _Held:
    """What is held of one version. ``parts`` is what each host was told."""

    __slots__ = ("parts", "short", "spec", "standby", "until")

    def __init__(self, spec: SandboxSpec, standby: Standby, until: float) -> None:
        self.spec = spec
        self.standby = standby
        self.until = until
        self.parts: dict[str, Standby] = {}
        self.short = False


class Standbys:
    """Moments are seconds of the monotonic clock.

    ``offers`` gives the hosts for a version and its cause, best first, in groups that are alike; ``host`` gives a host that is
    connected; ``present`` names those where anything of a version waits.
    """

    def __init__(
        self,
        *,
        offers: Callable[[SandboxSpec, str], Sequence[Sequence[Offer]]],
        host: Callable[[str], RemoteHost | None],
        present: Callable[[str], Iterable[str]],
    ) -> None:
        self._offers = offers
        self._host = host
        self._present = present
        self._held: dict[str, _Held] = {}
        self._by_host: defaultdict[str, set[str]] = defaultdict(set)
        self._short: dict[str, None] = {}
        self._swept_at = 0.0

    def __len__(self) -> int:
        return len(self._held)

    def hosts(self, key: str) -> list[str]:
        """Those that hold something of the version, or have been told how long it is to be kept."""
        held = self._held.get(key)
        return list(held.parts) if held is not None else []

    def stand_by(self, spec: SandboxSpec, standby: Standby, now: float) -> None:
        """See ``Host.stand_by``."""
        held = self._held.get(spec.key)
        asks = standby.idle or standby.total or standby.linger_s is not None
        if not asks or standby.lease_s <= 0:
            if held is not None:
                self._end(held)
            return
        if held is None:
            if len(self._held) >= MOST:
                return
            held = self._held[spec.key] = _Held(spec, standby, now + standby.lease_s)
        held.spec, held.standby, held.until = spec, standby, now + standby.lease_s
        self._divide(held, now)

    def sent(self, key: str, name: str, now: float) -> None:
        """A call of a version went to a host; how long its sandbox is to be kept there it may not know."""
        held = self._held.get(key)
        if held is None or name in held.parts or held.standby.linger_s is None:
            return
        lease_s = held.until - now
        if lease_s > 0:
            part = msgspec.structs.replace(held.standby, idle=0, total=0, lease_s=lease_s)
            self._tell(held, name, part)

    def left(self, name: str, now: float) -> None:
        """A host is gone, or gets no calls: others hold its parts."""
        for key in self._by_host.pop(name, ()):
            held = self._held.get(key)
            if held is None or held.parts.pop(name, None) is None:
                continue
            host = self._host(name)
            if host is not None:
                _stand_by(host, held.spec, NOTHING)
            held.short = True
            self._short[key] = None
        self.turn(now)

    def came(self, now: float) -> None:
        """A host came: what had no room may have it there."""
        self._short |= {key: None for key, held in self._held.items() if held.short}
        self.turn(now)

    def turn(self, now: float) -> None:
        """From time to time: place what could not be placed, forget what is over."""
        for key in list(self._short)[:LOOKED_AT_ONCE]:
            del self._short[key]
            held = self._held.get(key)
            if held is not None and held.until > now:
                self._divide(held, now)
        if now - self._swept_at < SWEPT_S:
            return
        self._swept_at = now
        for held in [held for held in self._held.values() if held.until <= now]:
            # Hosts know by themselves when it is over.
            self._forget(held)

    def expected_mb(self, idle: Callable[[str], int]) -> int:
        """The memory of all that is asked for and is not ``idle`` yet."""
        return sum(
            max(0, max(held.standby.idle, held.standby.total) - idle(key)) * held.spec.memory_mb
            for key, held in self._held.items()
        )

    def drop(self, outdated: Callable[[str], bool]) -> None:
        """Nothing is held of these versions any more; hosts are told so in another way."""
        for held in [held for key, held in self._held.items() if outdated(key)]:
            self._forget(held)

    # -- the steps -----------------------------------------------------------------------------------------------

    def _divide(self, held: _Held, now: float) -> None:
        spec, standby = held.spec, held.standby
        groups = self._offers(spec, standby.cause)
        names = [[offer.name for offer in group] for group in groups]
        known = [offer for group in groups for offer in group]
        room = {offer.name: offer.room for offer in known}
        parts = held.parts
        waiting = {
            each.name: max(each.idle, parts[each.name].idle if each.name in parts else 0)
            for each in known
        }
        provisioned = {name: part.total for name, part in parts.items()}
        idle = among(standby.idle, names, waiting, room)
        total = among(standby.total, names, provisioned, room)
        held.short = not known and bool(standby.idle or standby.total)
        lease_s = max(0.0, held.until - now)
        chosen = dict.fromkeys((*idle, *total))
        if standby.linger_s is not None:
            chosen |= dict.fromkeys((*parts, *self._present(spec.key)))
        for name in chosen:
            part = msgspec.structs.replace(
                standby,
                idle=idle.get(name, 0),
                total=total.get(name, 0),
                lease_s=lease_s,
                calls_per_s=standby.calls_per_s / len(chosen),
            )
            self._tell(held, name, part)
        for name in [name for name in parts if name not in chosen]:
            self._untell(held, name)

    def _tell(self, held: _Held, name: str, part: Standby) -> None:
        host = self._host(name)
        if host is None:
            held.short = True
            return
        held.parts[name] = part
        self._by_host[name].add(held.spec.key)
        _stand_by(host, held.spec, part)

    def _untell(self, held: _Held, name: str) -> None:
        del held.parts[name]
        self._by_host[name].discard(held.spec.key)
        host = self._host(name)
        if host is not None:
            _stand_by(host, held.spec, NOTHING)

    def _end(self, held: _Held) -> None:
        for name in list(held.parts):
            self._untell(held, name)
        self._forget(held)

    def _forget(self, held: _Held) -> None:
        for name in held.parts:
            self._by_host[name].discard(held.spec.key)
        self._held.pop(held.spec.key, None)
        self._short.pop(held.spec.key, None)


def _stand_by(host: RemoteHost, spec: SandboxSpec, part: Standby) -> None:
    try:
        host.stand_by(spec, part)
    except ForerunError as error:
        log.warning("%s cannot hold %s: %s", host.name, spec.name, error.message)
