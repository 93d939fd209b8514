"""Everything above a host: what users own, who runs and watches it, what comes by itself, and the application in front."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.api.application import Application
from forerun.api.history import HistoryRoutes
from forerun.api.packaging import PackagingRoutes
from forerun.api.platform import Command, Route
from forerun.app.ahead import make_ahead
from forerun.app.capacity import keep_ready
from forerun.app.closing import Closing
from forerun.app.deployed import Deployed
from forerun.app.eventing import Load, make_events
from forerun.app.front import Own, make_front
from forerun.app.ground import Ground
from forerun.app.hosting import sandboxes_of, shown
from forerun.app.maintenance import Maintenance
from forerun.app.services import make_services
from forerun.app.sourcing import make_sourcing
from forerun.app.state import State
from forerun.app.watching import Watching
from forerun.control.ahead.foresight import Foresight
from forerun.control.asynchronous import EventInvoker
from forerun.control.invoke import Invoker
from forerun.control.recorder import Recorder
from forerun.control.specs import Specs
from forerun.host import Host
from forerun.model import Credentials, SandboxSpec, TraceContext
from forerun.sandbox import PLATFORM_INSIDE
from forerun.scheduling import Admission
from forerun.settings import Settings

log = logging.getLogger("forerun")

SESSION_S = 12 * 3600.0


class Shared(NamedTuple):
    """What is there whether or not this process has the duties: who runs events, who records, who counts calls."""

    events: EventInvoker
    recorder: Recorder
    admission: Admission


class Plane:
    """``open``, ``build`` over a host, ``prepare``, ``begin``, once each, while the state is open; ``closing`` undoes them.

    ``base_url`` is where clients reach the platform, ``runtimes`` tells the interpreters that hosts have.
    """

    application: Application

    def __init__(  # noqa: PLR0913 the wiring of all services, mostly by keyword
        self,
        settings: Settings,
        state: State,
        clock: Clock,
        *,
        base_url: str,
        runtimes: Callable[[], Mapping[str, str]],
        closing: Closing,
        shared: Shared | None = None,
    ) -> None:
        """``shared`` where other control planes serve the same platform; else it is made, and closed, here."""
        self._settings = settings
        self.state = state
        self._clock = clock
        self._base_url = base_url
        self._runtimes = runtimes
        self._closing = closing
        self._shared = shared
        self.admission = (
            Admission(settings.limits.account_concurrency) if shared is None else shared.admission
        )
        self._owner = TaskOwner("plane")
        self.watching = Watching(
            settings,
            state,
            clock,
            running=self._monitored,
            peaks=self.admission.take_peaks,
            platform=frozenset({base_url.partition("://")[2], PLATFORM_INSIDE}),
        )
        self.services = make_services(
            settings,
            state,
            clock,
            runtimes=runtimes,
            base_url=base_url,
            keep=self.watching.exchange.keep,
        )
        self.specs = Specs(self.services.estate.code)
        self._recorder = (
            Recorder(state.invocations, state.logs) if shared is None else shared.recorder
        )

    async def open(self) -> None:
        """Begin to watch, and make ready what lies on disk."""
        self.watching.start()
        self._closing.add(self.watching.close)
        await self.services.estate.start()

    async def build(
        self, host: Host, own: Mapping[str, Route], commands: Mapping[str, Command] | None = None
    ) -> None:
        """Put all of it together over ``host``; ``own`` and ``commands`` are further ones below ``/forerun/``."""
        self._host = host
        settings, clock, services = self._settings, self._clock, self.services
        estate = services.estate
        deployed = Deployed(estate, host, self.admission, self._owner, self._forget)
        estate.changes.listen(deployed.drop_outdated)
        estate.changes.listen(deployed.prepare)
        for account, name, amount in await estate.concurrency.reservations():
            self.admission.reserve(account, name, amount)
        self._ahead = make_ahead(
            settings,
            self.state,
            clock,
            host=host,
            specs=self.specs,
            registry=estate.registry,
            profiler=self.watching.profiler,
        )
        foresight = self._ahead.foresight
        estate.changes.listen(foresight.changed)
        invoker = Invoker(
            admission=self.admission,
            host=host,
            recorder=self._recorder,
            monitor=self.watching.monitor,
            bus=self.watching.bus,
            specs=self.specs,
            clock=clock,
            foresight=foresight if foresight.active else None,
        )
        deployed.start(invoker)
        self.invoker = invoker
        self._events = self._make_events(invoker) if self._shared is None else self._shared.events
        ground = self._ground(invoker)
        self._sourcing = make_sourcing(ground)
        front = make_front(
            ground, self._sourcing, self.watching, self._recorder, self._own(own, commands or {})
        )
        self._console = front.console
        self.application = front.application

    def _make_events(self, invoker: Invoker) -> EventInvoker:
        activity = self.watching.activity
        return make_events(
            self._settings,
            self.state,
            self._clock,
            registry=self.services.estate.registry,
            invoker=invoker,
            monitor=self.watching.monitor,
            load=Load(activity.load, activity.loads),
            admission=self.admission,
            stats=self._host.stats,
        )

    async def prepare(self) -> None:
        """Take over what an earlier server left, and write down what happens from now on."""
        if self._shared is None:
            if left := await self.state.queue.recover(self._clock.now()):
                log.info("%d events of an earlier run will be run again", left)
            self._recorder.start()
            self._closing.add(self._recorder.close)
        self._closing.add(self._owner.close)

    async def begin(self) -> None:
        """The host is there: hold ready what shall be, run what was accepted, take what comes by itself."""
        closing, estate = self._closing, self.services.estate
        estate.packager.start()
        closing.add(estate.packager.close)
        closing.add(await keep_ready(self._ahead.foresight, estate, self._host, self.admission))
        # Who watches executions is there before the first one.
        await self._sourcing.start()
        if self._shared is None:
            self._events.start()
            closing.add(lambda: self._events.close(grace_s=closing.left()))
        closing.add(self._sourcing.close)
        maintenance = Maintenance(
            self._settings.retention, self.state, self.services, self._clock, sweep=self._sweep
        )
        self._owner.spawn(maintenance.run(), name="maintenance")

    @property
    def foresight(self) -> Foresight:
        """Who acts ahead of calls."""
        return self._ahead.foresight

    def leave(self) -> None:
        """Send clients away who wait: the end is near."""
        self._console.close()
        self._sourcing.dismiss()

    def issue(self, spec: SandboxSpec) -> Credentials:
        """Credentials for a new sandbox."""
        session = self.services.identities.issue_for_function(
            spec.account, spec.role, spec.name, duration_s=SESSION_S
        )
        return session.credentials

    def _ground(self, invoker: Invoker) -> Ground:
        return Ground(
            settings=self._settings,
            state=self.state,
            clock=self._clock,
            base_url=self._base_url,
            services=self.services,
            invoker=invoker,
            admission=self.admission,
            events=self._events,
            monitor=self.watching.monitor,
            bus=self.watching.bus,
            stats=self._host.stats,
            profiles=self.watching.profiler.list,
            left=self._closing.left,
        )

    def _own(self, more: Mapping[str, Route], commands: Mapping[str, Command]) -> Own:
        """What the platform tells of itself."""
        estate = self.services.estate
        routes = {
            **self.watching.routes(estate.registry),
            **self._ahead.routes(estate.registry, self._host),
            **HistoryRoutes(
                self.watching.activity, self._ahead.foresight.arrivals, self._clock
            ).routes(),
            **PackagingRoutes(estate.packager).routes(),
            **more,
        }
        return Own(self._host.name, self._status, self._list_sandboxes, routes, commands)

    def _status(self) -> dict[str, Any]:
        return {
            **shown(self._host.stats()),
            "deferrable": self._events.deferrable(),
            "runtimes": list(self._runtimes()),
            "monitoring": self.watching.status(),
        }

    def _list_sandboxes(self, account: str) -> list[dict[str, Any]]:
        """The sandboxes of one account, and those that are nobody's yet."""
        return sandboxes_of(account, self._host.sandboxes(), self.specs.serving)

    def _monitored(self, access_key_id: str) -> TraceContext | None:
        return self._host.running(access_key_id)

    async def _forget(self, account: str, name: str) -> None:
        await self.watching.profiler.forget(account, name)
        await self._ahead.foresight.forget(account, name)

    async def _sweep(self) -> None:
        await self.watching.sweep()
        await self._ahead.sweep(self._clock.now())
