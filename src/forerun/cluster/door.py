"""The door: where one process of a cluster takes the connections of the others, each for what its first frame says.

A handler gets a ``Guest``: it may refuse it, speak with it by streams, or hand it over to a protocol of its own. When the handler
returns the connection is closed, unless it was handed over.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from forerun.aio import HttpServer, TaskOwner, cut
from forerun.aio.http import App
from forerun.cluster import greeting
from forerun.cluster.greeting import Hello, Malformed, Welcome
from forerun.cluster.identity import Identity
from forerun.cluster.knocking import adopt, no_delay, streams
from forerun.cluster.strangers import Strangers
from forerun.cluster.tls import NOBODY, Peer, peer_of, renew, server_context

log = logging.getLogger("forerun.cluster")

HELLO_S = 10.0
CONNECTIONS = 8192
FEW = 64
BACKLOG = 512
PAUSE_S = 0.1


class Guest:
    """One connection that was let in. ``fields`` are what it brought; ``protocol`` is what both speak."""

    def __init__(
        self, transport: Any, peer: Peer, hello: Hello, protocol: int, rest: bytes
    ) -> None:
        self.transport = transport
        self.peer = peer
        self.kind = hello.kind
        self.fields = hello.fields
        self.protocol = protocol
        self.handed_over = False
        self._rest = rest
        self._answered = False

    @property
    def name(self) -> str:
        """The name in its certificate; empty without one."""
        return self.peer.name

    @property
    def role(self) -> str:
        """The role in its certificate; empty without one."""
        return self.peer.role

    def welcome(self, fields: dict[str, Any] | None = None) -> None:
        """Let it go on; once."""
        self._answer(Welcome(protocol=self.protocol, fields=fields or {}))

    def refuse(self, code: str, message: str) -> None:
        """Say why not. The connection ends when the handler returns."""
        self._answer(Welcome(refused=code, message=message))

    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Speak with it by streams; it is welcomed if it was not yet."""
        reader, protocol, writer = streams(self.transport)
        self._adopt(protocol)
        return reader, writer

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Let a protocol have the connection for good; the guest is welcomed if it was not yet."""
        self.handed_over = True
        self._adopt(protocol)

    def _adopt(self, protocol: asyncio.Protocol) -> None:
        if not self._answered:
            self.welcome()
        rest, self._rest = self._rest, b""
        adopt(self.transport, protocol, rest)

    def _answer(self, welcome: Welcome) -> None:
        if self._answered:
            raise RuntimeError("a guest is answered once")
        self._answered = True
        self.transport.write(greeting.pack(welcome))


Handler = Callable[[Guest], Awaitable[None]]


class Door:
    """One listener of a process. ``serve`` what it is for, ``listen``, and ``close``."""

    def __init__(
        self,
        identity: Identity,
        *,
        connections: int = CONNECTIONS,
        admits: Callable[[Peer], bool] = lambda _: True,
    ) -> None:
        """``admits`` says who is let in of those whose certificates hold."""
        self._admits = admits
        self._context = server_context(identity)
        self._connections = connections
        self._handlers: dict[str, Handler] = {}
        self._roles: dict[str, Collection[str]] = {}
        self._owner = TaskOwner("door")
        self._socket: socket.socket | None = None
        self._open: set[_Entry] = set()
        self.strangers = Strangers()
        self._prune_at = min(FEW, connections)

    def serve(self, kind: str, handler: Handler, *, roles: Collection[str]) -> None:
        """Let connections of this kind in, of these roles; ``""`` stands for who has no certificate."""
        self._handlers[kind], self._roles[kind] = handler, tuple(roles)

    def renew(self, identity: Identity) -> None:
        """Show another certificate from the next connection on. Raises ``SetupFailed``."""
        renew(self._context, identity)

    async def listen(self, sock: socket.socket) -> None:
        """Take connections on a socket that is bound; it is closed with the door."""
        sock.listen(BACKLOG)
        sock.setblocking(False)  # noqa: FBT003
        self._socket = sock
        self._owner.spawn(self._accept(sock), name="accept")

    async def _accept(self, sock: socket.socket) -> None:
        """Strangers are counted before anything is spent on them: a handshake takes a quarter of a megabyte."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(sock)
            except OSError as error:
                log.warning("no connection can be taken: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            who = str(address[0])
            if self.strangers.enter(who):
                self._owner.spawn(self._shake_hands(connection, who), name="handshake")
            else:
                connection.close()

    async def _shake_hands(self, connection: socket.socket, who: str) -> None:
        entry = _Entry(self, who)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: entry,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HELLO_S,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, EOFError) as error:
            log.info("no handshake with %s: %s", who, error)
        finally:
            if entry.transport is None:
                connection.close()
                self.strangers.leave(who)

    async def close(self) -> None:
        """Take no more, and end all connections."""
        for entry in list(self._open):
            cut(entry.transport)
        await self._owner.close()
        for entry in list(self._open):
            # Let in at the last moment.
            cut(entry.transport)
        if self._socket is not None:
            self._socket.close()

    def expel(self) -> None:
        """End the connections of those that are not let in any more."""
        for entry in list(self._open):
            if entry.peer.role and not self._admits(entry.peer):
                cut(entry.transport)

    def entered(self, entry: "_Entry") -> bool:
        """Whether there is room for one more."""
        if len(self._open) >= self._prune_at:
            self._prune()
        if len(self._open) >= self._connections or self._has_enough(entry.peer):
            return False
        self._open.add(entry)
        return True

    def _has_enough(self, peer: Peer) -> bool:
        """Nobody may have more than half of what there is."""
        half = (self._connections + 1) // 2
        if not peer.role or len(self._open) < half:
            return False
        self._prune()
        return sum(each.peer == peer for each in self._open) >= half

    def _prune(self) -> None:
        """Forget connections that have ended under the protocol that they were handed over to."""
        self._open = {entry for entry in self._open if not entry.transport.is_closing()}
        self._prune_at = min(self._connections, max(FEW, 2 * len(self._open)))

    def left(self, entry: "_Entry") -> None:
        """A connection is over."""
        self._open.discard(entry)

    def greet(self, entry: "_Entry", hello: Hello, rest: bytes) -> None:
        """Somebody has said what it wants."""
        transport = entry.transport
        peer = entry.peer
        reply = greeting.answer(hello, peer.role, self._roles)
        if peer.role and not self._admits(peer):
            reply = Welcome(refused="expelled", message=f"{peer.role} {peer.name} is not let in")
        if reply.refused:
            log.warning(
                "refused %s of %s %r from %s: %s",
                hello.kind[:40],
                peer.role or "nobody",
                peer.name,
                transport.get_extra_info("peername"),
                reply.message,
            )
            transport.write(greeting.pack(reply))
            transport.close()
            return
        guest = Guest(transport, peer, hello, reply.protocol, rest)
        transport.pause_reading()
        self._owner.spawn(self._handle(entry, guest), name=hello.kind)

    async def _handle(self, entry: "_Entry", guest: Guest) -> None:
        try:
            await self._handlers[guest.kind](guest)
        except (OSError, EOFError, Malformed) as error:
            log.info("%s of %s %r ended: %s", guest.kind, guest.role, guest.name, error)
        finally:
            if not guest.handed_over:
                self.left(entry)
                guest.transport.close()


class _Entry(asyncio.Protocol):
    """A connection until it has said what it is for."""

    def __init__(self, door: Door, address: str) -> None:
        self._door = door
        self._address = address
        self._strange = True
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._silent = False
        self.transport: Any = None
        self.peer = NOBODY

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.peer = peer_of(transport)
        if self.peer.role:
            self._known()
        if not self._door.entered(self):
            transport.write(
                greeting.pack(
                    Welcome(refused="busy", message="there are too many connections; try again")
                )
            )
            transport.close()
            self._known()
            return
        self._silent = True
        no_delay(transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HELLO_S, cut, transport)

    def data_received(self, data: bytes) -> None:
        if not self._silent:
            return
        self._buffer += data
        try:
            found = greeting.split(self._buffer)
            if found is None:
                return
            hello = greeting.read_hello(found[0])
        except Malformed as error:
            self.transport.write(
                greeting.pack(Welcome(refused="malformed", message=error.message[:500]))
            )
            self.transport.close()
            return
        self._spoken()
        self._door.greet(self, hello, found[1])

    def connection_lost(self, _: Exception | None) -> None:
        self._spoken()
        self._door.left(self)

    def _spoken(self) -> None:
        self._silent = False
        self._known()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _known(self) -> None:
        if self._strange:
            self._strange = False
            self._door.strangers.leave(self._address)


def serve_http(server: HttpServer, app_for: Callable[[Guest], App]) -> Handler:
    """A handler that serves HTTP on guests' connections, each with the application for it."""

    async def handle(guest: Guest) -> None:
        guest.hand_over(server.protocol(app_for(guest)))

    return handle
