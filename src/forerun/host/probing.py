"""Probes the paths to services that placement asks for: a TCP connection that is opened and closed, from the host's own network.

What it measures is the kernel's: the round trip of the handshake, not when this process got to see it. Few at once, each a moment
apart from the others, to addresses alone that functions with open egress reach themselves; so that it is no port scanner for
those who write functions.
"""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from forerun.aio import Clock
from forerun.host.channels import Sample
from forerun.model import service_address
from forerun.sandbox import TCP_INFO, TCP_INFO_SIZE, read_tcp_info

MOST_WATCHED = 100
LEASE_S = 60.0
TIMEOUT_S = 2.0
AT_ONCE = 8

_RESOLVE_S = 60.0
_LOOK_UP_S = 1.0
_MOST_ADDRESSES = 4
_LARGEST_JITTER = 0.2
_SANDBOXES = ipaddress.ip_network("100.96.0.0/12")


def may_probe(address: str, *, local: bool = False) -> bool:
    """Whether a probe may go there (pure): where open egress leads. ``local``: to this machine, too."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback:
        return local
    return not (
        parsed.is_link_local
        or parsed.is_multicast
        or parsed.is_unspecified
        or parsed.is_reserved
        or parsed == ipaddress.IPv4Address("255.255.255.255")
        or (parsed.version == 4 and parsed in _SANDBOXES)
    )


class Watched:
    """The services to probe, each until its lease ends, and where their names lead. Pure, but for what it is told.

    At most ``MOST_WATCHED``: others must wait until one is not asked for any more.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._addresses: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._names: dict[tuple[str, int], str] = {}

    def watch(self, services: Iterable[str], now: float) -> None:
        """These are asked for; what is no ``HOST:PORT`` is ignored."""
        self._forget(now)
        for service in services:
            if service in self._until:
                self._until[service] = now + LEASE_S
            elif len(self._until) < MOST_WATCHED and service_address(service) is not None:
                self._until[service] = now + LEASE_S
                self._due[service] = now

    def due(self, now: float) -> list[str]:
        """Those whose time has come, the one that waits longest first."""
        self._forget(now)
        found = [service for service, at in self._due.items() if at <= now]
        return sorted(found, key=self._due.__getitem__)

    def next_at(self, service: str, at: float) -> None:
        """When to probe it again."""
        if service in self._until:
            self._due[service] = at

    def name_of(self, address: str, port: int) -> str:
        """What functions call the service at an address: its name where one is known to lead there."""
        name = self._names.get((address, port))
        if name is not None:
            return name
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def addresses(self, service: str, now: float) -> tuple[tuple[str, ...], bool]:
        """Where it is, or was, as far as that is known; and whether it must be looked up."""
        at, known = self._addresses.get(service, (-_RESOLVE_S, ()))
        return known, now >= at + _RESOLVE_S or not known

    def found(self, service: str, addresses: Sequence[str], now: float) -> None:
        """Where it is, as was looked up now."""
        where = service_address(service)
        if service in self._until and where is not None:
            self._addresses[service] = (now, tuple(addresses))
            for address in addresses:
                self._names[address, where[1]] = service

    def _forget(self, now: float) -> None:
        for service in [each for each, until in self._until.items() if until <= now]:
            del self._until[service], self._due[service]
            self._addresses.pop(service, None)
            self._names = {at: name for at, name in self._names.items() if name != service}


Lookup = Callable[[str, int], Sequence[str]]


def look_up(host: str, port: int) -> list[str]:
    """The addresses behind a name, by the resolver of this machine; it may take long. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Prober:
    """Measures what is watched, ``every_s`` apart. ``tell`` hears what was found; ``local`` lets it probe this machine, too."""

    def __init__(
        self,
        tell: Callable[[Sample], None],
        clock: Clock,
        *,
        every_s: float,
        local: bool = False,
        look: Lookup = look_up,
    ) -> None:
        self.watched = Watched()
        self._tell = tell
        self._clock = clock
        self._every_s = every_s
        self._local = local
        self._look = look
        self._resolver = ThreadPoolExecutor(2, "probe-names")
        self._chance = random.Random()  # noqa: S311 no secret

    def close(self) -> None:
        """Look up no more names."""
        self._resolver.shutdown(wait=False, cancel_futures=True)

    async def turn(self) -> None:
        """Probe what is due, ``AT_ONCE`` at a time."""
        now = self._clock.monotonic()
        services = self.watched.due(now)
        for service in services:
            jitter = self._chance.uniform(-_LARGEST_JITTER, _LARGEST_JITTER)
            self.watched.next_at(service, now + self._every_s * (1 + jitter))
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._probe(service, gate) for service in services))

    async def _probe(self, service: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            await self._measure(service)

    async def _measure(self, service: str) -> None:
        where = service_address(service)
        if where is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                addresses = await self._addresses(service, *where)
                if not addresses:
                    return
                address = self._chance.choice(addresses)
                if not self._local and _is_own(address):
                    return
                sample = await _connect(service, address, where[1])
        except (OSError, TimeoutError, UnicodeError):
            sample = Sample(service, failed=True)
        self._tell(sample)

    async def _addresses(self, service: str, host: str, port: int) -> Sequence[str]:
        """Where the service is. While names cannot be looked up, where it was. Raises ``OSError``, ``TimeoutError``."""
        now = self._clock.monotonic()
        known, old = self.watched.addresses(service, now)
        if not old:
            return known
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                found = await loop.run_in_executor(self._resolver, self._look, host, port)
        except (OSError, TimeoutError):
            if known:
                return known
            raise
        allowed = [each for each in found if may_probe(each, local=self._local)]
        self.watched.found(service, allowed[:_MOST_ADDRESSES], now)
        return allowed[:_MOST_ADDRESSES]


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_own(address: str) -> bool:
    """Whether the address is one of this machine; nothing is sent."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        return str(sock.getsockname()[0]) == address


async def _connect(service: str, address: str, port: int) -> Sample:
    with socket.socket(_family(address), socket.SOCK_STREAM) as sock:
        sock.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        told = None
        with suppress(OSError):
            told = read_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, TCP_INFO_SIZE))
    if told is None:
        return Sample(service)
    sent = max(1, told.segments)
    return Sample(service, latency_ms=told.rtt_ms or None, sent=sent, resent=told.resent)
