"""Requests to URLs that users name: where they may go, and the head of the answer.

The address is resolved once for each request, examined, and connected to, so that a name cannot lead elsewhere after it
was examined; libraries for HTTP look names up again when they connect.
"""

import asyncio
import ipaddress
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools
import msgspec

from forerun.errors import AccessDenied, InvalidInput

_MOST_HEAD = 64 * 1024
_PORTS = {"http": 80, "https": 443}
# Beside what is link-local: where machines of some providers are told of themselves.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Url(msgspec.Struct, frozen=True):
    """Where a request goes. ``authority`` is for the ``Host`` header, ``target`` for the request line."""

    secure: bool
    host: str
    port: int
    authority: str
    target: str


class Head(NamedTuple):
    """Of an answer; names of headers are in lower case."""

    status: int
    headers: dict[str, str]


class Outside:
    """Asks; ``private``: addresses that are not public may be asked, too."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._tls: ssl.SSLContext | None = None

    async def ask(self, url: Url, request: bytes) -> Head:
        """Send a whole request and return the head of its final answer; the caller sets the deadline.

        Raises ``AccessDenied`` for an address that may not be asked, ``OSError`` where none answers or the answer ends
        early, ``httptools``' errors for what is no HTTP.
        """
        address = await _resolve(url, private=self._private)
        reader, writer = await asyncio.open_connection(
            str(address),
            url.port,
            ssl=self._context() if url.secure else None,
            server_hostname=url.host if url.secure else None,
        )
        try:
            writer.write(request)
            await writer.drain()
            return await _read(reader)
        finally:
            writer.transport.abort()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class _Parsing:
    """Takes the head of an answer from the parser; a preliminary one is forgotten when the next begins."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()


async def _resolve(url: Url, *, private: bool) -> Address:
    """The address to connect to; ``AccessDenied`` when it is none that may be asked, ``OSError`` when there is none."""
    try:
        address: Address = ipaddress.ip_address(url.host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        )
        addresses = [ipaddress.ip_address(each[4][0]) for each in found]
        for each in addresses:
            _require_address(each, url, private=private)
        return addresses[0]
    _require_address(address, url, private=private)
    return address


def read_url(text: str) -> Url:
    """Take a URL apart; ``InvalidInput`` for what cannot be posted to."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"{text[:200]} is not a URL: {error}") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or not host:
        raise InvalidInput(f"{text[:200]} is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("A URL that messages are posted to must not hold a user or password")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = f"[{host}]" if ":" in host else host
    for piece in (target, authority):
        if not piece.isascii() or not piece.isprintable() or " " in piece:
            raise InvalidInput(f"{text[:200]} has characters that a URL must have encoded")
    if port is not None:
        authority = f"{authority}:{port}"
    return Url(parts.scheme == "https", host, port or _PORTS[parts.scheme], authority, target)


def _require_address(address: Address, url: Url, *, private: bool) -> None:
    """``AccessDenied`` for an address that nothing may be posted to."""
    real = _embedded(address)
    if (
        real.is_link_local
        or real.is_multicast
        or real.is_unspecified
        or (real.version == 4 and real.is_reserved)
        or real in _METADATA
    ):
        raise AccessDenied(f"Nothing is posted to {url.authority}: its address is {address}")
    if not private and not real.is_global:
        raise AccessDenied(
            f"Nothing is posted to {url.authority}: its address {address} is not public, and "
            "events.private_urls is false"
        )


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, where it is made of one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


async def _read(reader: asyncio.StreamReader) -> Head:
    parsing, read = _Parsing(), 0
    while parsing.status < 200:
        data = await reader.read(4096)
        read += len(data)
        if not data:
            raise ConnectionError("the connection ended before the answer")
        if read > _MOST_HEAD:
            raise ConnectionError(f"the head of the answer is longer than {_MOST_HEAD} bytes")
        parsing.parser.feed_data(data)
    return Head(parsing.status, parsing.headers)
