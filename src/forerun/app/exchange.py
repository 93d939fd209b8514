"""Spans of others and for others: OpenTelemetry's and X-Ray's, in and out."""

from collections.abc import Iterable

from forerun.aio import Clock
from forerun.api.authentication import Authenticator
from forerun.api.otlp import Guard, OtlpDoor, OtlpTokens
from forerun.api.platform import Route
from forerun.app.sockets import DaemonSocket
from forerun.app.state import State
from forerun.control.authorization import Authorizer
from forerun.events import Bus
from forerun.model import SandboxSpec, Segment
from forerun.settings import Settings
from forerun.traces import Daemon, Exporter, Keeper, collector


class Exchange:
    """Made before the sandboxes; ``start`` then ``close``, once each, while the keeper is open."""

    def __init__(self, settings: Settings, state: State, clock: Clock, keeper: Keeper) -> None:
        self._keeper = keeper
        self._daemon = Daemon(self.keep)
        self._tokens = OtlpTokens(state.sealer.derive(b"otlp"))
        self._exporter: Exporter | None = None
        self._socket = DaemonSocket(self._daemon.take)
        if settings.monitoring.otlp_endpoint:
            post = collector(settings.monitoring.otlp_endpoint)
            self._exporter = Exporter(post, settings.server.region, clock)

    def start(self, bus: Bus) -> None:
        """Begin to listen."""
        self._daemon.start()
        bus.listen("xray-daemon", self._daemon.consume, monitored=True)
        if self._exporter is not None:
            self._exporter.start()
            bus.listen("exporter", self._exporter.consume, monitored=True)

    async def close(self) -> None:
        """Take and send what there is, and stop; the bus is closed already."""
        self._socket.close()
        await self._daemon.close()
        if self._exporter is not None:
            await self._exporter.close()

    async def keep(self, account: str, segments: Iterable[Segment]) -> int:
        """Keep what came in by X-Ray's ways, and send it on. As ``Keeper.keep``."""
        those = list(segments)
        refused = await self._keeper.keep(account, those)
        if self._exporter is not None:
            self._exporter.take(those)
        return refused

    def take_datagram(self, data: bytes, spec: SandboxSpec) -> None:
        """What was sent to the daemon's address inside a sandbox."""
        self._daemon.take(data, spec.account, spec.name)

    def take_of(self, data: bytes, account: str, name: str) -> None:
        """As ``take_datagram``, of a function on another machine."""
        self._daemon.take(data, account, name)

    def open_daemon(self) -> str:
        """The daemon's address for functions that are not in a network of their own."""
        return self._socket.open()

    def door(self, authenticator: Authenticator, authorizer: Authorizer, body_s: float) -> OtlpDoor:
        """Where OpenTelemetry's spans are handed in."""
        guard = Guard(self._tokens, authenticator, authorizer)
        return OtlpDoor(self._keeper.keep, guard, body_s=body_s)

    def routes(self) -> dict[str, Route]:
        """What can be asked under ``/forerun/``."""
        return self._tokens.routes()

    def status(self) -> dict[str, object]:
        """How it is doing."""
        exporter = self._exporter
        return {
            "xray_daemon": self._daemon.stats(),
            **({} if exporter is None else {"otlp_export": exporter.stats()}),
        }
