"""Control plane and one host agent in one process, on one event loop: what ``forerun up`` runs."""

import socket
from collections.abc import Callable, Mapping

from forerun.aio import SystemClock
from forerun.api.limits import LimitRoutes
from forerun.app.closing import Closing
from forerun.app.credentials import write_credentials
from forerun.app.listening import Listening, endpoint_of
from forerun.app.local_host import LocalHost, Upward
from forerun.app.plane import Plane
from forerun.app.state import open_state
from forerun.control.limits import OneHost
from forerun.model import SandboxSpec
from forerun.settings import Settings


class Standalone:
    """The whole platform of one machine; ``start`` then ``close``, once each."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self.endpoint = endpoint_of(listener)
        self._clock = SystemClock()
        self._closing = Closing(self._clock, settings.server.drain_s)

    @property
    def summary(self) -> str:
        """For the ready line: how code is isolated, and which runtimes there are."""
        return self._local.summary

    async def start(self) -> None:
        """Open the state, start the host, listen. Raises ``ForerunError`` when something of it cannot be done."""
        settings, clock, closing = self._settings, self._clock, self._closing
        state = await open_state(settings, clock)
        closing.add(state.close)
        plane = Plane(
            settings,
            state,
            clock,
            base_url=self.endpoint,
            runtimes=self._runtimes,
            closing=closing,
        )
        code = plane.services.estate.code
        self._local = LocalHost(
            settings,
            clock,
            self.endpoint,
            Upward(
                serve_platform=self._serve_inside,
                segments=plane.watching.exchange,
                credentials=plane.issue,
                bring=lambda spec: code.bring(spec.code_dir, spec.layers_dir),
            ),
        )
        await plane.open()
        limits = LimitRoutes(OneHost(plane.admission, self._local.agent.name))
        await plane.build(self._local.agent, {**self._local.routes(), **limits.routes()})
        self._listening = Listening(plane.application, settings.server, closing)
        key = await plane.services.identities.start()
        write_credentials(settings.server, self.endpoint, key)
        await plane.prepare()
        await self._local.start(closing, plane.specs.prefer)
        await plane.begin()
        await self._listening.listen(self._listener, plane.leave)

    async def close(self) -> None:
        """Undo ``start`` from its end: accept nothing, finish what runs, write what is known, close the state.

        What runs has ``drain_s`` seconds altogether.
        """
        await self._closing.close()
        self._listener.close()

    def _runtimes(self) -> Mapping[str, str]:
        return self._local.runtimes()

    async def _serve_inside(
        self, sock: socket.socket, sandbox_id: str, spec: SandboxSpec
    ) -> Callable[[], None]:
        return await self._listening.serve_inside(sock, sandbox_id, spec)
