"""Knocking at the doors of other processes, and what both sides do with a connection once it was let in."""

import asyncio
import contextlib
import socket
from typing import Any, NamedTuple

from forerun.aio import cut
from forerun.cluster import greeting
from forerun.cluster.contract import PROTOCOLS
from forerun.cluster.greeting import Hello, Malformed
from forerun.cluster.identity import Identity
from forerun.cluster.tls import NOBODY, Peer, client_context, peer_of, renew
from forerun.errors import HostUnreachable, SetupFailed

KNOCK_S = 5.0


class Knocked(NamedTuple):
    """A connection that was let in. ``streams`` or ``hand_over`` it, once; or ``close`` the transport."""

    transport: Any
    peer: Peer
    protocol: int
    fields: dict[str, Any]
    rest: bytes

    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Speak by streams."""
        reader, protocol, writer = streams(self.transport)
        adopt(self.transport, protocol, self.rest)
        return reader, writer

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Let a protocol have the connection."""
        adopt(self.transport, protocol, self.rest)


class Knocker:
    """Knocks at doors as one identity; without one as nobody, believing who shows ``authority_pem`` or anybody."""

    def __init__(self, identity: Identity | None, *, authority_pem: str = "") -> None:
        self._context = client_context(identity, authority_pem)

    def renew(self, identity: Identity) -> None:
        """Show another certificate from the next connection on. Raises ``SetupFailed``."""
        renew(self._context, identity)

    async def knock(
        self,
        address: str,
        kind: str,
        fields: dict[str, Any] | None = None,
        *,
        expect: Peer = NOBODY,
        timeout_s: float = KNOCK_S,
    ) -> Knocked:
        """A connection for this. ``expect`` says whose door it must be, empty parts do not matter.

        Raises ``Refused`` when the door says no, ``HostUnreachable`` when there is none, it is another's, or it does not
        answer within ``timeout_s`` seconds.
        """
        host, port = split_address(address)
        hello = greeting.pack(Hello(kind=kind, protocols=PROTOCOLS, fields=fields or {}))
        waiting = _Waiting()
        try:
            async with asyncio.timeout(timeout_s):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: waiting,
                    host,
                    port,
                    ssl=self._context,
                    server_hostname="",
                    ssl_shutdown_timeout=1.0,
                )
                peer = peer_of(transport)
                _check(address, peer, expect)
                transport.write(hello)
                body, rest = await waiting.answer
                welcome = greeting.read_welcome(body)
        except (OSError, EOFError, TimeoutError, UnicodeError, Malformed) as error:
            waiting.abort()
            reason = str(error) or type(error).__name__
            raise HostUnreachable(f"{address} does not answer: {reason}") from error
        except BaseException:
            waiting.abort()
            raise
        return Knocked(transport, peer, welcome.protocol, welcome.fields, rest)


async def knock(
    address: str,
    identity: Identity | None,
    kind: str,
    fields: dict[str, Any] | None = None,
    *,
    authority_pem: str = "",
    timeout_s: float = KNOCK_S,
) -> Knocked:
    """One connection, as ``Knocker.knock``; who makes several keeps a ``Knocker``."""
    knocker = Knocker(identity, authority_pem=authority_pem)
    return await knocker.knock(address, kind, fields, timeout_s=timeout_s)


class _Waiting(asyncio.Protocol):
    """A connection until the door has answered."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: Any = None
        self.answer: asyncio.Future[tuple[bytes, bytes]] = (
            asyncio.get_running_loop().create_future()
        )

    def abort(self) -> None:
        self.answer.cancel()
        if self._transport is not None:
            cut(self._transport)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        no_delay(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.answer.done():
            return
        try:
            found = greeting.split(self._buffer)
        except Malformed as error:
            self.answer.set_exception(error)
            return
        if found is not None:
            # What comes from now on is for whoever gets the connection.
            self._transport.pause_reading()
            self.answer.set_result(found)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(error or EOFError("the connection was closed"))


def _check(address: str, peer: Peer, expect: Peer) -> None:
    if any(want and want != have for want, have in zip(expect, peer, strict=True)):
        who = f"{peer.role or 'nobody'} {peer.name!r}"
        raise HostUnreachable(f"at {address} is {who}, not {expect.role} {expect.name!r}")


def split_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[HOST]:PORT`` as host and port. Raises ``SetupFailed``."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise SetupFailed(f"{address!r} is no address: HOST:PORT is needed")
    return host.removeprefix("[").removesuffix("]"), int(port)


def no_delay(transport: Any) -> None:
    """Frames are written whole, each at once."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def streams(
    transport: Any,
) -> tuple[asyncio.StreamReader, asyncio.StreamReaderProtocol, asyncio.StreamWriter]:
    """Streams for a connection that is given to the protocol among them."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    return reader, protocol, asyncio.StreamWriter(transport, protocol, reader, loop)


def adopt(transport: Any, protocol: asyncio.Protocol, rest: bytes) -> None:
    """Give a connection to another protocol, with what came already."""
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if rest:
        protocol.data_received(rest)
    if not transport.is_closing():
        transport.resume_reading()
