"""Messages to URLs: one POST each, within a deadline, to an address that may be posted to.

2xx is success. 400, 401, 403, 404, 405, 410, 411, 413, 414, 415 and 422 say that trying again cannot help; redirects are not
followed and are for good, too. Everything else, timeouts and refused connections among it, is tried again. The address is
resolved once and that address is connected to, so that a name cannot lead elsewhere after it was examined.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import httptools
import msgspec

from forerun.errors import AccessDenied, ForerunError, InvalidInput, NotFound
from forerun.model import Message

HEADER: Final = "header:"
"""How attributes of a message begin that are headers of its request."""

_MOST_ANSWER = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_GONE = frozenset({404, 410})
_REFUSED = frozenset({400, 405, 411, 413, 414, 415, 422})
_FORBIDDEN = frozenset({401, 403})
_OWN = frozenset({"host", "content-length", "connection", "transfer-encoding", "expect"})
# Beside what is link-local: where machines of some providers are told of themselves.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unreachable(ForerunError):
    """The URL could not be reached, or did not take the message this time."""


class Url(msgspec.Struct, frozen=True):
    """Where a request goes. ``authority`` is for the ``Host`` header, ``target`` for the request line."""

    secure: bool
    host: str
    port: int
    authority: str
    target: str


class UrlTarget:
    """``Deliverer`` to URLs; the messages of a batch at the same time."""

    def __init__(self, *, timeout_s: float, private: bool) -> None:
        """``private``: addresses that are not public may be posted to."""
        self._timeout_s = timeout_s
        self._private = private
        self._tls: ssl.SSLContext | None = None

    async def deliver(
        self, target: str, messages: Sequence[Message]
    ) -> Sequence[ForerunError | None]:
        """Post each; for each ``None`` or why not."""
        return await asyncio.gather(*(self._answer(target, each) for each in messages))

    async def _answer(self, target: str, message: Message) -> ForerunError | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(read_url(target), message)
        except TimeoutError:
            return Unreachable(f"{target} did not answer within {self._timeout_s:g} s")
        except ForerunError as error:
            return error
        except UnicodeError as error:
            return InvalidInput(f"{target} has a host that cannot be looked up: {error}")
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return Unreachable(f"{target} could not be reached: {error}")
        return meaning_of(status, target)

    async def _post(self, url: Url, message: Message) -> int:
        address = await resolve(url, private=self._private)
        reader, writer = await asyncio.open_connection(
            str(address),
            url.port,
            ssl=self._context() if url.secure else None,
            server_hostname=url.host if url.secure else None,
        )
        try:
            writer.write(request_of(url, message))
            await writer.drain()
            return await _status(reader)
        finally:
            writer.transport.abort()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


async def resolve(url: Url, *, private: bool) -> Address:
    """The address to connect to; ``AccessDenied`` when it is none that may be asked, ``OSError`` when there is none."""
    try:
        address: Address = ipaddress.ip_address(url.host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        )
        addresses = [ipaddress.ip_address(each[4][0]) for each in found]
        for each in addresses:
            require_address(each, url, private=private)
        return addresses[0]
    require_address(address, url, private=private)
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


def require_address(address: Address, url: Url, *, private: bool) -> None:
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


def request_of(url: Url, message: Message) -> bytes:
    """The whole request."""
    given = {
        name.removeprefix(HEADER).lower(): value
        for name, value in message.attributes.items()
        if name.startswith(HEADER)
    }
    headers: Mapping[str, str] = {
        "content-type": "application/json",
        "user-agent": "Forerun",
        **{name: value for name, value in given.items() if name not in _OWN},
        "host": url.authority,
        "content-length": str(len(message.payload)),
        "connection": "close",
    }
    lines = [f"POST {url.target} HTTP/1.1"]
    for name, value in headers.items():
        if not _is_token(name) or not value.isprintable():
            raise InvalidInput(f"The header {name[:100]!r} cannot be sent")
        lines.append(f"{name}: {value}")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + message.payload


def meaning_of(status: int, target: str) -> ForerunError | None:
    """What an answer says of the message: ``None`` when it was taken."""
    if 200 <= status < 300:
        return None
    said = f"{target} answered {status}"
    if status in _GONE:
        return NotFound(said)
    if status in _FORBIDDEN:
        return AccessDenied(said)
    if status in _REFUSED:
        return InvalidInput(said)
    if 300 <= status < 400:
        return InvalidInput(f"{said}; redirects are not followed")
    return Unreachable(said)


class _Answer:
    """Waits for the head of the final answer."""

    def __init__(self) -> None:
        self.status = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()


async def _status(reader: asyncio.StreamReader) -> int:
    answer, read = _Answer(), 0
    while answer.status < 200:
        data = await reader.read(4096)
        if not data:
            raise Unreachable("The connection ended before the answer")
        read += len(data)
        if read > _MOST_ANSWER:
            raise Unreachable(f"The head of the answer is longer than {_MOST_ANSWER} bytes")
        answer.parser.feed_data(data)
    return answer.status


def _is_token(name: str) -> bool:
    return (
        bool(name)
        and name.isascii()
        and all(each.isalnum() or each in "-_.~!#$%&'*+^`|" for each in name)
    )
