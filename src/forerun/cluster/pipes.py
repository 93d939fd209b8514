"""Connections that sandboxes open to the platform, each passed on to a control plane byte by byte."""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from forerun.aio import TaskOwner, cut
from forerun.cluster.knocking import Knocked
from forerun.errors import HostUnreachable
from forerun.model import Credentials

log = logging.getLogger("forerun.cluster")

CONNECTIONS = 4096
OF_ONE = 128
# Of all sandboxes of one account on a host: others reach the platform from there, too.
OF_ACCOUNT = CONNECTIONS // 2
# Doors bear so many handshakes from one address at once, and more.
KNOCKING = 64
HIGH_WATER = 256 * 1024
_BODY = (
    b'{"Type":"Service","message":"No control plane can be reached from this host now; try again."}'
)
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"x-amzn-errortype: ServiceUnavailableException\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)

Reach = Callable[[str, Credentials | None], Awaitable[Knocked]]
"""A connection to the platform for an account and the sandbox with these credentials. Raises ``HostUnreachable``."""


class Pipes:
    """``listen`` on sockets inside sandboxes; ``close`` at the end."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._owner = TaskOwner("pipes")
        self._open: set[_End] = set()
        self._of_account: Counter[str] = Counter()
        self._knocking = asyncio.Semaphore(KNOCKING)
        self._servers: list[asyncio.Server] = []

    async def listen(
        self, sock: socket.socket, account: str, credentials: Credentials | None
    ) -> Callable[[], None]:
        """Pass on what connects to ``sock``, as that of an account's sandbox; what is returned stops it."""
        mine: set[_End] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Inner(self, mine, account, credentials), sock=sock, backlog=OF_ONE
        )
        self._servers.append(server)

        def stop() -> None:
            server.close()
            with contextlib.suppress(ValueError):
                self._servers.remove(server)
            for end in list(mine):
                end.abort()

        return stop

    async def close(self) -> None:
        """End all connections."""
        for server in self._servers:
            server.close()
        for end in list(self._open):
            end.abort()
        await self._owner.close()

    def enter(self, inner: "_Inner", mine: "set[_End]") -> bool:
        """A sandbox has connected; whether there is room."""
        full = len(mine) >= OF_ONE or len(self._open) >= CONNECTIONS
        if full or (inner.account and self._of_account[inner.account] >= OF_ACCOUNT):
            return False
        mine.add(inner)
        self._open.add(inner)
        self._of_account[inner.account] += 1
        self._owner.spawn(self._join(inner), name="join")
        return True

    def left(self, inner: "_Inner", mine: "set[_End]") -> None:
        """It is over."""
        mine.discard(inner)
        if inner in self._open:
            self._open.remove(inner)
            self._of_account[inner.account] -= 1
            if not self._of_account[inner.account]:
                del self._of_account[inner.account]

    async def _join(self, inner: "_Inner") -> None:
        try:
            async with self._knocking:
                if inner.transport.is_closing():
                    return
                knocked = await self._reach(inner.account, inner.credentials)
        except HostUnreachable as error:
            log.warning("a sandbox of %s cannot reach the platform: %s", inner.account, error)
            inner.transport.write(UNAVAILABLE)
            inner.transport.close()
            return
        if inner.transport.is_closing():
            cut(knocked.transport)
            return
        outer = _End()
        outer.other = inner
        knocked.hand_over(outer)
        inner.join(outer)


class _End(asyncio.Protocol):
    """One end of a pipe: what comes goes to the other."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.other: _End | None = None

    def abort(self) -> None:
        if self.transport is not None:
            cut(self.transport)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


class _Inner(_End):
    """The end in a sandbox."""

    def __init__(
        self, pipes: Pipes, mine: "set[_End]", account: str, credentials: Credentials | None
    ) -> None:
        super().__init__()
        self._pipes = pipes
        self._mine = mine
        self._early = bytearray()
        self.account = account
        self.credentials = credentials

    def join(self, outer: _End) -> None:
        """There is somewhere for what comes."""
        self.other = outer
        if self._early:
            outer.transport.write(bytes(self._early))
            self._early.clear()
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            # The loop begins to read behind ``connection_made``, whatever was said there.
            self._early += data
            self.transport.pause_reading()
        else:
            self.other.transport.write(data)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._pipes.enter(self, self._mine):
            transport.write(UNAVAILABLE)
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._pipes.left(self, self._mine)
