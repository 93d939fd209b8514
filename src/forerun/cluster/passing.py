"""Passes HTTP requests on to another process's door, as they came: body and response are streamed, the signature is not touched.

What only the first process knows of a request (its client's address, its id, whose sandbox it came from) goes along in a header
that is believed from control planes alone, and taken off whatever came from a client.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

import httptools
import msgspec

from forerun.aio import App, Receive, Scope, Send, TaskOwner, cut
from forerun.cluster.knocking import Knocker
from forerun.cluster.tls import Peer
from forerun.errors import HostUnreachable

log = logging.getLogger("forerun.cluster")

HEADER: Final = b"x-forerun-passed"
PASSED: Final = "forerun.passed"
NOT_HERE: Final = b"x-forerun-not-here"
"""A header of an answer that is none: whoever is asked does not answer such requests any more."""
IDLE: Final = 32
CHUNK: Final = 64 * 1024
# Longer than anything that is asked for takes: a function runs for 15 minutes at most.
GAP_S: Final = 1000.0
_HOP = frozenset({b"connection", b"keep-alive", b"expect", b"upgrade", HEADER})
_OWN = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server"})


class Passed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What goes along with a request. ``account`` is whose sandbox it came from, if it came from one."""

    request_id: str = ""
    client: tuple[str, int] | None = None
    account: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Passed).decode


class Gone(HostUnreachable):
    """The other process cannot be reached, or left in the middle.

    ``asked`` when it may have done what was asked, ``begun`` when some of its answer was sent already.
    """

    def __init__(self, message: str, *, asked: bool = False, begun: bool = False) -> None:
        super().__init__(message)
        self.asked = asked
        self.begun = begun


class Passing:
    """Connections to doors, of which idle ones wait for the next request. ``close`` at the end."""

    def __init__(self, knocker: Knocker, kind: str) -> None:
        self._knocker = knocker
        self._kind = kind
        self._idle: dict[str, list[_Connection]] = {}

    async def pass_on(
        self, address: str, peer: Peer, passed: Passed, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Have the door at ``address``, which must be ``peer``'s, answer a request. Raises ``Gone``."""
        connection = self._waiting(address) or await self._connect(address, peer)
        try:
            reusable = await connection.ask(passed, scope, receive, send)
        except (OSError, EOFError, TimeoutError, httptools.HttpParserError) as error:
            connection.close()
            reason = str(error) or type(error).__name__
            raise Gone(
                f"{address} is gone: {reason}", asked=True, begun=connection.begun
            ) from error
        except BaseException:
            connection.close()
            raise
        idle = self._idle.setdefault(address, [])
        if reusable and len(idle) < IDLE:
            idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """End those that wait."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    def _waiting(self, address: str) -> "_Connection | None":
        # Those of processes that are gone are not asked for any more.
        for other in [other for other in self._idle if other != address and len(self._idle) > 4]:
            for connection in self._idle.pop(other):
                connection.close()
        idle = self._idle.get(address, [])
        while idle:
            connection = idle.pop()
            if connection.alive:
                return connection
            connection.close()
        return None

    async def _connect(self, address: str, peer: Peer) -> "_Connection":
        try:
            knocked = await self._knocker.knock(address, self._kind, expect=peer)
        except HostUnreachable as error:
            raise Gone(error.message) from error
        return _Connection(*knocked.streams())


class _Connection:
    """One request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.begun = self._sent = self._over = False

    @property
    def alive(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        cut(self._writer.transport)

    async def ask(self, passed: Passed, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether another request may follow."""
        self.begun = self._sent = self._over = False
        owner = TaskOwner("passing")
        answer = _Answer(only_head=scope["method"] == "HEAD")
        try:
            head, chunked, bare = _head(passed, scope)
            self._writer.write(head)
            owner.spawn(self._send_body(receive, chunked=chunked, bare=bare), name="body")
            while not answer.complete:
                async with asyncio.timeout(GAP_S):
                    data = await self._reader.read(CHUNK)
                if not data:
                    raise EOFError("the connection was closed")
                answer.feed(data)
                if answer.not_here:
                    raise Gone("it does not answer this any more")
                self.begun, self._over = self.begun or answer.begun, answer.complete
                await answer.forward(send)
            return self._sent and answer.reusable
        finally:
            await owner.close()

    async def _send_body(self, receive: Receive, *, chunked: bool, bare: bool) -> None:
        """Send it, and end the connection when the client leaves."""
        more = not bare
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.close()
                    return
                body, more = message.get("body", b""), message.get("more_body", False)
                if chunked and body:
                    body = b"%x\r\n%b\r\n" % (len(body), body)
                if chunked and not more:
                    body += b"0\r\n\r\n"
                self._writer.write(body)
                await self._writer.drain()
            self._sent = True
            while (await receive())["type"] != "http.disconnect":
                pass
        except OSError:
            log.debug("a body could not be passed on", exc_info=True)
        if not self._over:
            self.close()


class _Answer:
    """What came of the response, and was not forwarded yet."""

    def __init__(self, *, only_head: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._only_head = only_head
        self._headers: list[tuple[bytes, bytes]] = []
        self._messages: list[dict[str, Any]] = []
        self.begun = self.complete = self.not_here = False
        self._keep = False

    @property
    def reusable(self) -> bool:
        return self._keep and not self._only_head

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    async def forward(self, send: Send) -> None:
        messages, self._messages = self._messages, []
        for message in messages:
            await send(message)

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered not in _OWN:
            self._headers.append((lowered, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = []
            return
        self.not_here = any(name == NOT_HERE for name, _ in self._headers)
        self.begun = True
        self._messages.append(
            {"type": "http.response.start", "status": status, "headers": self._headers}
        )
        if self._only_head:
            self._end()

    def on_body(self, body: bytes) -> None:
        self._messages.append({"type": "http.response.body", "body": body, "more_body": True})

    def on_message_complete(self) -> None:
        if self.begun:
            self._keep = self._parser.should_keep_alive()
            self._end()

    def _end(self) -> None:
        if not self.complete:
            self.complete = True
            self._messages.append({"type": "http.response.body", "body": b""})


def _head(passed: Passed, scope: Scope) -> tuple[bytes, bool, bool]:
    """The head of the request, whether its body is chunked, and whether there is none."""
    target = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOP]
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    sized = any(name == b"content-length" and value != b"0" for name, value in headers)
    headers.append((HEADER, _encode(passed)))
    lines = [b"%b: %b\r\n" % header for header in headers]
    line = b"%b %b HTTP/1.1\r\n" % (scope["method"].encode("latin-1"), target)
    return line + b"".join(lines) + b"\r\n", chunked, not (chunked or sized)


async def post(
    passing: Passing, address: str, peer: Peer, path: str, body: bytes
) -> tuple[int, bytes]:
    """Ask another process something of our own; the status and the body that it answers. Raises ``Gone``."""
    status, parts, asked = 0, [], False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    scope: Scope = {
        "method": "POST",
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"cluster"), (b"content-length", str(len(body)).encode())],
    }
    await passing.pass_on(address, peer, Passed(), scope, receive, send)
    return status, b"".join(parts)


def from_others(app: App) -> App:
    """``app`` for requests that another control plane passes on: it is told what that one knows of them."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        passed, headers = _taken(scope["headers"])
        scope["headers"] = headers
        scope[PASSED] = passed
        scope["client"] = passed.client
        # It came here by TLS, which its client knows nothing of: a cookie for TLS alone would be lost.
        scope["scheme"] = "http"
        if passed.request_id:
            scope["forerun.request-id"] = passed.request_id
        await app(scope, receive, send)

    return serve


def _taken(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Passed, list[tuple[bytes, bytes]]]:
    passed, kept = Passed(), []
    for name, value in headers:
        if name == HEADER:
            try:
                passed = _decode(value)
            except msgspec.DecodeError:
                log.warning("what was passed on with a request cannot be read")
        else:
            kept.append((name, value))
    return passed, kept
