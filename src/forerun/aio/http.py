"""An HTTP/1.1 server for ASGI applications, on sockets that may come and go.

uvicorn's protocol does the work; this adds what it leaves open: a deadline and a size for the request head, a
refusal of anything that is not HTTP/1.0 or 1.1, errors as JSON, and sockets that are added while it runs (each
sandbox brings its own).
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from forerun.aio.tasks import TaskOwner

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

T = TypeVar("T")
BACKLOG = 2048
DRAINED = 4


class Bounds(NamedTuple):
    """What one client may cost: bytes, seconds, and connections of all clients together."""

    head_bytes: int = 64 * 1024
    head_s: float = 15.0
    body_bytes: int = 72 * 1024 * 1024
    body_gap_s: float = 60.0
    keep_alive_s: float = 75.0
    connections: int = 65_536
    long_body_bytes: int = 0
    """For requests whose application reads the body piece by piece; see ``HttpServer.long``."""


class BodyTooLarge(Exception):
    """The request body is longer than the limit."""


class BodyTooSlow(Exception):
    """The request body did not arrive in time, or the client left."""


class HttpServer:
    """Serves one application on any number of sockets until ``close``.

    ``long`` says by its target and headers of a request whose announced body is too long whether it may have ``long_body_bytes``.
    """

    def __init__(
        self,
        app: App,
        *,
        name: str = "http",
        bounds: Bounds | None = None,
        long: Callable[[bytes, Headers], bool] | None = None,
    ) -> None:
        self._bounds = bounds or Bounds()
        self._long = long
        self._config = Config(
            app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=round(self._bounds.keep_alive_s),
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._owner = TaskOwner(name)
        self._sweeping = False

    async def listen(self, sock: socket.socket, app: App | None = None) -> asyncio.Server:
        """Accept connections on ``sock`` from now on; close the returned server to stop with this socket alone.

        ``app`` serves those who come this way, if it is another one for them.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: self.protocol(app),
            sock=sock,
            backlog=BACKLOG,
        )
        self._servers.append(server)
        return server

    def protocol(self, app: App | None = None) -> asyncio.Protocol:
        """What serves one connection that was made elsewhere, with ``app`` or the server's own."""
        if not self._sweeping:
            self._sweeping = True
            self._owner.spawn(self._sweep(), name="slow-clients")
        return _GuardedProtocol(self._config, self._state, self._bounds, app, self._long)

    def forget(self, server: asyncio.Server) -> None:
        """Stop listening on one socket."""
        server.close()
        with contextlib.suppress(ValueError):
            self._servers.remove(server)

    async def close(self, *, grace_s: float) -> None:
        """Accept nothing more, let running requests finish for at most ``grace_s`` seconds, then cut."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=grace_s)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.close()
        await self._owner.close()

    async def _sweep(self) -> None:
        """Close connections whose request takes too long: one look a second instead of a timer each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            now = loop.time()
            for connection in list(self._state.connections):
                if isinstance(connection, _GuardedProtocol) and (late := connection.late(now)):
                    connection.refuse(408, "RequestTimeout", f"The request {late} did not arrive.")


class _JoinedWrites:
    """A transport that sends head and body of a response in one write: two wake the client twice.

    What is written first waits for the next write, or for the end of the loop's turn.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._flush: asyncio.Handle | None = None
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        if self._flush is None:
            self._held = data
            self._flush = self._loop.call_soon(self.flush)
        else:
            self._held = self._held + data if self._held else data
            self.flush()

    def flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            held, self._flush, self._held = self._held, None, None
            if held:
                self._transport.write(held)

    def close(self) -> None:
        self.flush()
        self._transport.close()


class _GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on what a client may send and how long it may take."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        bounds: Bounds,
        app: App | None,
        long: Callable[[bytes, Headers], bool] | None,
    ) -> None:
        super().__init__(config, state, {})
        if app is not None:
            self.app = cast("Any", app)
        self._bounds = bounds
        self._long = long
        self._head_since: float | None = self.loop.time()
        self._head_bytes = 0
        self._body_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", _JoinedWrites(transport, self.loop)))
        if len(self.connections) > self._bounds.connections:
            self.refuse(503, "ServiceUnavailable", "There are too many connections.")

    def late(self, now: float) -> str | None:
        """Which part of a request has been awaited for too long at ``now`` (loop time)."""
        if self._head_since is not None and self._head_since < now - self._bounds.head_s:
            return "head"
        if self._body_since is not None and self._body_since < now - self._bounds.body_gap_s:
            return "body"
        return None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self._bounds.head_bytes and not self.transport.is_closing():
                self.refuse(
                    431,
                    "RequestHeaderSectionTooLarge",
                    f"The request head exceeds {self._bounds.head_bytes} bytes.",
                )

    def on_message_begin(self) -> None:
        self._head_since = self.loop.time()
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_since = None
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self.refuse(505, "HttpVersionNotSupported", "Use HTTP/1.1.")
            return
        length = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if int(length) > DRAINED * self._bounds.body_bytes:
            most = self._bounds.body_bytes
            if self._long is not None and self._long(self.url, self.headers):
                most = self._bounds.long_body_bytes
            if int(length) > most:
                self.refuse(
                    413,
                    "RequestEntityTooLargeException",
                    f"The request body must be at most {most} bytes.",
                )
                return
        self._body_since = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_since = self.loop.time()
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_since = None
        if self.cycle is not None:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "BadRequest", msg)

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error in AWS's JSON form and close."""
        self._head_since = self._body_since = None
        if self.transport.is_closing():
            return
        body = f'{{"Type":"User","message":"{message}"}}'.encode()
        self.transport.write(
            f"HTTP/1.1 {status} {code}\r\ncontent-type: application/json\r\nx-amzn-errortype: {code}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()


class ClientLeft(Exception):
    """The client closed its connection before it was answered."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client leaves before; then raises ``ClientLeft``.

    For work that mostly waits. The request's body must have been read.
    """
    owner = TaskOwner("client")
    doing = owner.spawn(_kept(work), name="work")
    leaving = owner.spawn(_kept(receive()), name="leaving")
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientLeft
        result, error = doing.result()
        if error is not None:
            raise error
        answer: T = result
        return answer
    finally:
        await owner.close()


async def _kept(work: Coroutine[Any, Any, Any] | Awaitable[Any]) -> tuple[Any, Exception | None]:
    try:
        return await work, None
    except Exception as error:  # noqa: BLE001 it is raised where the task is awaited
        return None, error


async def read_body(receive: Receive, *, limit: int, timeout_s: float) -> bytes:
    """The whole request body.

    Raises ``BodyTooLarge`` beyond ``limit`` bytes and ``BodyTooSlow`` when it takes longer than ``timeout_s`` seconds
    after its first piece. A body that is somewhat too large is read to its end, unkept, because most clients read no
    answer before they have sent all.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise BodyTooSlow
    body: bytes = message["body"]
    if not message["more_body"]:
        if len(body) > limit:
            raise BodyTooLarge
        return body
    parts, size = [body], len(body)
    try:
        async with asyncio.timeout(timeout_s):
            while message["more_body"]:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyTooSlow
                size += len(message["body"])
                if size <= limit:
                    parts.append(message["body"])
                elif size > DRAINED * limit:
                    raise BodyTooLarge
    except TimeoutError:
        raise BodyTooSlow from None
    if size > limit:
        raise BodyTooLarge
    return b"".join(parts)
