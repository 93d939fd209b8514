"""The sockets that an application is served on: one for clients, and those inside of sandboxes."""

import socket
from collections.abc import Callable

from forerun.aio import App, Bounds, HttpServer
from forerun.api.inside import from_inside
from forerun.api.s3.addressing import is_long
from forerun.app.closing import Closing
from forerun.model import SandboxSpec
from forerun.settings import ServerSettings

# An object, with what its framing adds.
LONG_BODY_BYTES = 6 * 1024**3


class Listening:
    """Two servers of one application: functions that are finishing may still call it when nobody from outside may any more."""

    def __init__(self, app: App, settings: ServerSettings, closing: Closing) -> None:
        self._app = app
        self._closing = closing
        self._outside = HttpServer(app, name="api", bounds=_bounds(settings), long=is_long)
        inside = Bounds(long_body_bytes=LONG_BODY_BYTES)
        self._inside = HttpServer(app, name="api-inside", bounds=inside, long=is_long)
        closing.add(lambda: self._inside.close(grace_s=0.0))

    async def listen(self, listener: socket.socket, leave: Callable[[], None]) -> None:
        """Take what comes from outside; ``leave`` is called at the end, before requests that run are waited for."""
        await self._outside.listen(listener)

        async def close() -> None:
            leave()
            await self._outside.close(grace_s=self._closing.left())

        self._closing.add(close)

    async def serve_inside(
        self, sock: socket.socket, _sandbox_id: str, spec: SandboxSpec
    ) -> Callable[[], None]:
        """The platform's API on a socket inside a sandbox's network, to whom it is known whose sandbox that is."""
        server = await self._inside.listen(sock, from_inside(self._app, spec.account))
        return lambda: self._inside.forget(server)


def endpoint_of(listener: socket.socket) -> str:
    """Where clients of this machine reach what listens there."""
    host, port = listener.getsockname()[:2]
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 only shown
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _bounds(settings: ServerSettings) -> Bounds:
    return Bounds(
        head_bytes=settings.max_header_bytes,
        head_s=settings.header_timeout_s,
        body_bytes=settings.max_body_bytes,
        body_gap_s=settings.body_timeout_s,
        keep_alive_s=settings.idle_timeout_s,
        connections=settings.max_connections,
        long_body_bytes=LONG_BODY_BYTES,
    )
