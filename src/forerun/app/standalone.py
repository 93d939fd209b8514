"""Control plane and one host agent in one process, on one event loop: what ``forerun up`` runs."""

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from forerun.aio import Bounds, HttpServer, SystemClock, TaskOwner
from forerun.api.history import HistoryRoutes
from forerun.api.inside import from_inside
from forerun.api.packaging import PackagingRoutes
from forerun.api.s3.addressing import is_long
from forerun.api.zygotes import ZygoteRoutes
from forerun.app.ahead import make_ahead
from forerun.app.capacity import keep_ready
from forerun.app.credentials import write_credentials
from forerun.app.eventing import make_events
from forerun.app.front import Own, make_front
from forerun.app.ground import Ground
from forerun.app.hosting import sandboxes_of, shown
from forerun.app.machine import make_sandboxes, nursery_of
from forerun.app.maintenance import Maintenance
from forerun.app.services import Services, make_services
from forerun.app.sourcing import make_sourcing
from forerun.app.state import State, open_state
from forerun.app.watching import Watching
from forerun.app.zygote_view import ZygoteView
from forerun.app.zygotes import Zygotes
from forerun.control.invoke import Invoker
from forerun.control.recorder import Recorder
from forerun.control.specs import Specs
from forerun.errors import ForerunError, NotFound
from forerun.host import Compiler, HostAgent
from forerun.model import WITH_SDK, Credentials, SandboxSpec, TraceContext
from forerun.sandbox import PLATFORM_INSIDE, Sandbox
from forerun.scheduling import Admission
from forerun.settings import ServerSettings, Settings

log = logging.getLogger("forerun")

SESSION_S = 12 * 3600.0
# An object, with what its framing adds.
LONG_BODY_BYTES = 6 * 1024**3


class Standalone:
    """The whole platform of one machine; ``start`` then ``close``, once each."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        host, port = listener.getsockname()[:2]
        name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 only shown
        self.endpoint = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
        self._clock = SystemClock()
        self._admission = Admission(settings.limits.account_concurrency)
        self._zygotes = Zygotes(self._clock, settings.sandbox, settings.host.pool_min)
        self._owner = TaskOwner("standalone")
        self._closers: list[Callable[[], Awaitable[Any]]] = []

    @property
    def summary(self) -> str:
        """For the ready line: how code is isolated, and which runtimes there are."""
        runtimes = ", ".join(self._sandboxes.runtimes())
        return f"sandbox {self._sandboxes.isolation}; runtimes {runtimes}"

    async def start(self) -> None:
        """Open the state, start the host, listen. Raises ``ForerunError`` when something of it cannot be done."""
        settings, clock = self._settings, self._clock
        state = await open_state(settings, clock)
        self._closers.append(state.close)
        watching = self._watch(state)
        self._sandboxes = make_sandboxes(
            settings,
            self._serve_inside,
            self._exited,
            self.endpoint,
            watching.exchange,
            self._zygotes.loaded,
        )
        services = make_services(
            settings,
            state,
            clock,
            runtimes=self._sandboxes.runtimes,
            base_url=self.endpoint,
            keep=watching.exchange.keep,
        )
        await services.estate.start()
        compiler = Compiler(self._sandboxes, clock=clock)
        self._agent = agent = HostAgent(
            self._sandboxes,
            clock=clock,
            settings=settings.host,
            sandbox_settings=settings.sandbox,
            credentials=_issuer(services),
            on_loaded=compiler.loaded,
            bring=lambda spec: services.estate.code.bring(spec.code_dir, spec.layers_dir),
            name=socket.gethostname(),
        )
        self._estate = services.estate
        services.estate.changes.listen(self._drop_outdated)
        services.estate.changes.listen(self._prepare)
        recorder = Recorder(state.invocations, state.logs)
        invoker = await self._make_invoker(state, services, recorder)
        self._events = make_events(
            settings,
            state,
            clock,
            registry=services.estate.registry,
            invoker=invoker,
            watching=watching,
            admission=self._admission,
            stats=agent.stats,
        )
        ground = self._ground(services, state, invoker)
        self._sourcing = make_sourcing(ground)
        front = make_front(ground, self._sourcing, watching, recorder, self._own())
        self._console = front.console
        # Functions that are finishing may still call the platform when nobody from outside may any more.
        self._application = application = front.application
        bounds = _bounds(self._settings.server)
        self._outside = HttpServer(application, name="api", bounds=bounds, long=is_long)
        inside = Bounds(long_body_bytes=LONG_BODY_BYTES)
        self._inside = HttpServer(application, name="api-inside", bounds=inside, long=is_long)
        self._closers.append(lambda: self._inside.close(grace_s=0.0))
        key = await services.identities.start()
        write_credentials(settings.server, self.endpoint, key)
        if left := await state.queue.recover(clock.now()):
            log.info("%d events of an earlier run will be run again", left)
        recorder.start()
        self._closers.append(recorder.close)
        self._closers.append(self._owner.close)
        await agent.start()
        self._closers.append(lambda: agent.close(grace_s=self._left()))
        self._learn_imports()
        self._closers.append(compiler.close)
        self._start_packager()
        self._closers.append(
            await keep_ready(self._ahead.foresight, services.estate, agent, self._admission)
        )
        await self._begin(state, services)

    async def _begin(self, state: State, services: Services) -> None:
        """Everything is there: run what was accepted, take what comes."""
        events = self._events
        # Who watches executions is there before the first one.
        await self._sourcing.start()
        events.start()
        self._closers.append(lambda: events.close(grace_s=self._left()))
        self._closers.append(self._sourcing.close)
        retention = self._settings.retention
        maintenance = Maintenance(retention, state, services, self._clock, sweep=self._sweep)
        self._owner.spawn(maintenance.run(), name="maintenance")
        await self._outside.listen(self._listener)
        self._closers.append(self._close_outside)

    def _ground(self, services: Services, state: State, invoker: Invoker) -> Ground:
        return Ground(
            settings=self._settings,
            state=state,
            clock=self._clock,
            base_url=self.endpoint,
            services=services,
            invoker=invoker,
            admission=self._admission,
            events=self._events,
            monitor=self._watching.monitor,
            bus=self._watching.bus,
            stats=self._agent.stats,
            profiles=self._watching.profiler.list,
        )

    def _start_packager(self) -> None:
        self._estate.packager.start()
        self._closers.append(self._estate.packager.close)

    def _learn_imports(self) -> None:
        nursery = nursery_of(self._sandboxes)
        self._zygotes.start(nursery, self._agent.hold_pool, self._specs.prefer)
        self._closers.append(self._zygotes.close)

    async def _make_invoker(self, state: State, services: Services, recorder: Recorder) -> Invoker:
        admission = self._admission
        for account, name, amount in await services.estate.concurrency.reservations():
            admission.reserve(account, name, amount)
        self._specs = Specs(services.estate.code)
        self._ahead = make_ahead(
            self._settings,
            state,
            self._clock,
            host=self._agent,
            specs=self._specs,
            registry=services.estate.registry,
            profiler=self._watching.profiler,
        )
        foresight = self._ahead.foresight
        services.estate.changes.listen(foresight.changed)
        self._invoker = Invoker(
            admission=admission,
            host=self._agent,
            recorder=recorder,
            monitor=self._watching.monitor,
            bus=self._watching.bus,
            specs=self._specs,
            clock=self._clock,
            foresight=foresight if foresight.active else None,
        )
        return self._invoker

    def _watch(self, state: State) -> Watching:
        self._watching = Watching(
            self._settings,
            state,
            self._clock,
            running=self._monitored,
            peaks=self._admission.take_peaks,
            platform=frozenset({self.endpoint.partition("://")[2], PLATFORM_INSIDE}),
        )
        self._watching.start()
        self._closers.append(self._watching.close)
        return self._watching

    async def _sweep(self) -> None:
        await self._watching.sweep()
        await self._ahead.sweep(self._clock.now())

    def _monitored(self, access_key_id: str) -> TraceContext | None:
        return self._agent.running(access_key_id)

    async def close(self) -> None:
        """Undo ``start`` from its end: accept nothing, finish what runs, write what is known, close the state.

        What runs has ``drain_s`` seconds altogether.
        """
        self._drained_at = self._clock.monotonic() + self._settings.server.drain_s
        for closer in reversed(self._closers):
            try:
                await closer()
            except Exception:
                log.exception("closing was not clean")
        self._listener.close()

    async def _close_outside(self) -> None:
        self._console.close()
        self._sourcing.dismiss()
        await self._outside.close(grace_s=self._left())

    def _left(self) -> float:
        return max(0.0, self._drained_at - self._clock.monotonic())

    def _own(self) -> Own:
        """What the platform tells of itself."""
        registry, activity = self._estate.registry, self._watching.activity
        routes = {
            **self._watching.routes(registry),
            **self._ahead.routes(registry, self._agent),
            **HistoryRoutes(activity, self._ahead.foresight.arrivals, self._clock).routes(),
            **PackagingRoutes(self._estate.packager).routes(),
            **ZygoteRoutes(ZygoteView(self._zygotes)).routes(),
        }
        return Own(self._agent.name, self._status, self._list_sandboxes, routes)

    async def _serve_inside(
        self, sock: socket.socket, _sandbox_id: str, spec: SandboxSpec
    ) -> Callable[[], None]:
        """The platform's API on a socket inside a sandbox's network, to whom it is known whose sandbox that is."""
        server = await self._inside.listen(sock, from_inside(self._application, spec.account))
        return lambda: self._inside.forget(server)

    def _exited(self, sandbox: Sandbox) -> None:
        self._agent.exited(sandbox)

    def _drop_outdated(self, _account: str, _name: str, retired: Any) -> None:
        if retired:
            gone = tuple(retired)
            prefixes = tuple(f"{key}." for key in gone)
            self._agent.drop(lambda key: key in gone or key.startswith(prefixes))

    def _prepare(self, account: str, name: str, _retired: Any) -> None:
        """Something was deployed: its first call shall find its reservation known and a sandbox of its runtime waiting."""
        self._owner.spawn(self._take_notice(account, name), name="take-notice")

    async def _take_notice(self, account: str, name: str) -> None:
        try:
            resolved = await self._estate.registry.resolve(account, name, None, 0.0)
        except NotFound:
            self._admission.reserve(account, name, None)
            await self._watching.profiler.forget(account, name)
            await self._ahead.foresight.forget(account, name)
        else:
            self._admission.reserve(account, name, resolved.reserved)
            function = resolved.function
            suffix = WITH_SDK if function.uses_sdk else ""
            self._agent.hold_ready(function.runtime + suffix)
            if function.snap_start:
                await self._take_snapshot(account, name)

    async def _take_snapshot(self, account: str, name: str) -> None:
        newest = await self._estate.versions.newest(account, name)
        if newest is not None and newest.snap_start:
            try:
                resolved = await self._estate.registry.resolve(account, name, newest.version, 0.0)
                await self._invoker.prepare(resolved.function)
            except ForerunError as error:
                log.warning("no snapshot of %s yet: %s", newest.qualified_arn, error.message)

    def _status(self) -> dict[str, Any]:
        return {
            **shown(self._agent.stats()),
            "deferrable": self._events.deferrable(),
            "runtimes": list(self._sandboxes.runtimes()),
            "monitoring": self._watching.status(),
        }

    def _list_sandboxes(self, account: str) -> list[dict[str, Any]]:
        """The sandboxes of one account, and those that are nobody's yet."""
        return sandboxes_of(account, self._agent.sandboxes(), self._specs.serving)


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


def _issuer(services: Services) -> Callable[[SandboxSpec], Credentials]:
    def issue(spec: SandboxSpec) -> Credentials:
        session = services.identities.issue_for_function(
            spec.account, spec.role, spec.name, duration_s=SESSION_S
        )
        return session.credentials

    return issue
