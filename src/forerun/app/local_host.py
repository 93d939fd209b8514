"""This machine as a host: its sandboxes, the agent that runs calls in them, the zygotes they come from, and bytecode."""

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from forerun.aio import Clock
from forerun.api.platform import Route
from forerun.api.zygotes import ZygoteRoutes
from forerun.app.closing import Closing
from forerun.app.machine import Segments, connections_of, make_sandboxes, nursery_of
from forerun.app.zygote_view import ZygoteView
from forerun.app.zygotes import Prefer, Zygotes
from forerun.host import Compiler, HostAgent
from forerun.model import Credentials, SandboxSpec
from forerun.sandbox import Connection, Sandbox, ServePlatform
from forerun.settings import Settings


class Upward(NamedTuple):
    """What a host asks of the platform above it.

    ``serve_platform`` answers the platform's API on a socket inside a sandbox's network, ``segments`` takes traces,
    ``credentials`` issues those of a new sandbox, or ``issue`` where another machine does, ``bring`` sees that the code of a
    version is on the disk.
    """

    serve_platform: ServePlatform
    segments: Segments
    credentials: Callable[[SandboxSpec], Credentials] | None
    bring: Callable[[SandboxSpec], Awaitable[None]]
    issue: Callable[[SandboxSpec], Awaitable[Credentials | None]] | None = None


class LocalHost:
    """``start`` once; ``closing`` undoes it. ``name`` is the machine's own when it is empty. Raises ``SetupFailed`` where no sandboxes can be made."""

    def __init__(
        self, settings: Settings, clock: Clock, endpoint: str, upward: Upward, *, name: str = ""
    ) -> None:
        self._settings = settings
        self._zygotes = Zygotes(clock, settings.sandbox, settings.host.pool_min)
        self._sandboxes = make_sandboxes(
            settings,
            upward.serve_platform,
            self._exited,
            endpoint,
            upward.segments,
            self._zygotes.loaded,
        )
        self._compiler = Compiler(self._sandboxes, clock=clock)
        self.agent = HostAgent(
            self._sandboxes,
            clock=clock,
            settings=settings.host,
            sandbox_settings=settings.sandbox,
            credentials=upward.credentials,
            on_loaded=self._compiler.loaded,
            issue=upward.issue,
            bring=upward.bring,
            name=name or socket.gethostname(),
        )

    @property
    def isolation(self) -> str:
        """How code is isolated here: ``jail`` or ``process``."""
        return self._sandboxes.isolation

    def connections(self) -> Callable[[], Awaitable[Sequence[Connection]]] | None:
        """What tells the connections out of sandboxes, where they can be told from the machine's own."""
        return connections_of(self._sandboxes)

    @property
    def summary(self) -> str:
        """For the ready line: how code is isolated, and which runtimes there are."""
        return f"sandbox {self._sandboxes.isolation}; runtimes {', '.join(self.runtimes())}"

    def runtimes(self) -> Mapping[str, str]:
        """Its interpreters, by the name of the runtime."""
        return self._sandboxes.runtimes()

    def routes(self) -> dict[str, Route]:
        """What can be asked of it under ``/forerun/``."""
        return ZygoteRoutes(ZygoteView(self._zygotes)).routes()

    async def start(self, closing: Closing, prefer: Prefer) -> None:
        """Begin to make sandboxes; ``prefer`` is told which pools suit functions best."""
        await self.agent.start()
        closing.add(lambda: self.agent.close(grace_s=closing.left()))
        self._zygotes.start(nursery_of(self._sandboxes), self.agent.hold_pool, prefer)
        closing.add(self._zygotes.close)
        closing.add(self._compiler.close)

    def _exited(self, sandbox: Sandbox) -> None:
        self.agent.exited(sandbox)
