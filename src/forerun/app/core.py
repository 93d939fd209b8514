"""What every control plane of a cluster does by itself: invocations, function URLs, and the events of the queue."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from forerun.aio import Clock, TaskOwner
from forerun.api.application import Application, Routes
from forerun.api.platform import PlatformRoutes, Route
from forerun.app.closing import Closing
from forerun.app.eventing import Load, make_events
from forerun.app.plane import SESSION_S, Shared
from forerun.app.services import make_services
from forerun.app.state import State
from forerun.app.ways import make_ways
from forerun.control.claims import Claims
from forerun.control.elsewhere import RELAY, Ask, ElsewhereGuard, ElsewhereOutlet
from forerun.control.following import Others
from forerun.control.invoke import Invoker
from forerun.control.monitoring import Monitor
from forerun.control.recorder import Recorder
from forerun.control.relaying import Datagram, Lookout, Relay
from forerun.control.specs import Specs
from forerun.errors import AccessDenied, StorageFailed
from forerun.events import Bus
from forerun.host import Host
from forerun.model import Credentials, SandboxSpec, Segment
from forerun.scheduling import Admission
from forerun.settings import Settings
from forerun.storage.once import OnceStore

log = logging.getLogger("forerun")

# A claim outlives what a host is promised by so much: it is prolonged a few times meanwhile.
CLAIM_S = 14.0
COUNT_S = 60.0
SERVICES = (
    "lambda", "iam", "sts", "logs", "xray", "sqs", "sns", "events", "scheduler", "s3",
    "application-autoscaling",
)  # fmt: skip


class Core:
    """``start`` once, while the state is open; ``closing`` undoes it. ``routes`` are further ones below ``/forerun/``.

    ``others`` are the other control planes, who change what is remembered here; ``ask`` has the holder of the duties do something.
    """

    def __init__(  # noqa: PLR0913 the wiring of all services, mostly by keyword
        self,
        settings: Settings,
        state: State,
        clock: Clock,
        *,
        base_url: str,
        host: Host,
        runtimes: Callable[[], Mapping[str, str]],
        others: Others,
        ask: Ask,
    ) -> None:
        self._settings = settings
        self._state = state
        self._clock = clock
        self._owner = TaskOwner("core")
        self.bus = Bus()
        self.monitor = Monitor(
            settings.monitoring, key=state.sealer.derive(b"trace-information"), running=host.running
        )
        self.services = make_services(
            settings,
            state,
            clock,
            runtimes=runtimes,
            base_url=base_url,
            keep=_keep_nothing,
            others=others,
        )
        # How functions run once is asked for here, too: they are run by the holder of the duties then.
        self.services.estate.registry.connect(OnceStore(state.messages).config)
        self.admission = Admission(settings.limits.account_concurrency, limited=False)
        self.recorder = Recorder(state.invocations, state.logs)
        self.lookout = Lookout()
        self._elsewhere = ElsewhereOutlet(ask), ElsewhereGuard(ask)
        self.invoker = Invoker(
            admission=self.admission,
            host=host,
            recorder=self.recorder,
            monitor=self.monitor,
            bus=self.bus,
            specs=Specs(self.services.estate.code),
            clock=clock,
            foresight=self.lookout,
        )
        self.quiet = _UNKNOWN
        lease_s = settings.cluster.lease_s
        self.events = make_events(
            settings,
            state,
            clock,
            registry=self.services.estate.registry,
            invoker=self.invoker,
            monitor=self.monitor,
            load=Load(self._load_now, self._load_before),
            admission=self.admission,
            stats=host.stats,
            claims=Claims(lease_s + CLAIM_S, lease_s),
        )
        self._ask = ask
        self.stand_alone()

    @property
    def shared(self) -> Shared:
        """For the duties, while they are here."""
        return Shared(self.events, self.recorder, self.admission)

    def claims_outlive(self) -> bool:
        """Whether hosts may be told to go on with events that this control plane has them run."""
        claiming = self.events.claiming
        return claiming is None or claiming.outlive()

    def stand_alone(self) -> None:
        """The duties are not here, or not any more: what they are needed for is asked of their holder."""
        outlet, guard = self._elsewhere
        self.events.connect(outlet)
        self.invoker.connect(guard)
        self.lookout.look(None)
        self.quiet = _UNKNOWN

    async def start(self, closing: Closing) -> None:
        """Begin to record, to tell, and to run events."""
        self.relay = Relay(self.bus, self.lookout, lambda batch: self._ask(RELAY, batch))
        closing.add(self.bus.close)
        await self.services.estate.start()
        # What others hold is theirs until their claims are over.
        await self._state.queue.recount()
        self.recorder.start()
        closing.add(self.recorder.close)
        self.events.start()
        closing.add(lambda: self.events.close(grace_s=closing.left()))
        self._owner.spawn(self._keep_counting(), name="count")
        closing.add(self._owner.close)

    async def _keep_counting(self) -> None:
        """Events that were put here may be finished elsewhere."""
        while True:
            await self._clock.sleep(COUNT_S)
            try:
                await self._state.queue.recount()
            except StorageFailed as error:
                log.warning("queued events cannot be counted: %s", error.message)

    def application(self, routes: Mapping[str, Route], host: str) -> Application:
        """What answers here."""
        services = self.services
        ways = make_ways(
            self._settings.server,
            services,
            self._clock,
            invoker=self.invoker,
            events=self.events,
            monitor=self.monitor,
        )
        return Application(
            Routes(
                operations={
                    **{service: {} for service in SERVICES},
                    "sts": services.operations["sts"],
                },
                invocations=ways.invocations,
                urls=ways.urls,
                platform=PlatformRoutes(
                    status=lambda: {"host": host},
                    sandboxes=lambda _: [],
                    invocations=self._state.invocations,
                    authorizer=services.authorizer,
                    more=routes,
                ),
                packages=services.packages,
                origin_of=ways.origin_of,
            ),
            authenticator=ways.authenticator,
            authorizer=services.authorizer,
            limits=ways.limits,
            health=lambda: b'{"status":"ok"}',
        )

    def _load_now(self) -> float:
        return self.quiet.now()

    async def _load_before(self) -> Sequence[tuple[float, float]]:
        return await self.quiet.before()

    # -- for hosts -----------------------------------------------------------------------------------------------

    async def issue(self, spec: SandboxSpec) -> Credentials | None:
        """Credentials for a new sandbox. See ``cluster.Upstream``."""
        session = self.services.identities.issue_for_function(
            spec.account, spec.role, spec.name, duration_s=SESSION_S
        )
        return session.credentials

    def account_of(self, fields: Mapping[str, object]) -> str:
        """Whose sandbox a host has a connection for, by the credentials that only who was given its function has; empty for what
        proves nothing.
        """
        key, token = fields.get("key"), fields.get("token")
        if not isinstance(key, str) or not isinstance(token, str) or not token:
            return ""
        try:
            known = self.services.identities.lookup(key, token)
        except AccessDenied:
            return ""
        return known.account if known is not None else ""

    async def tree(self, digest: str) -> str:
        """See ``cluster.Upstream``."""
        code = self.services.estate.code
        path = code.path(digest)
        await code.bring(path)
        return path

    def take_datagram(self, data: bytes, account: str, region: str, name: str) -> None:
        """See ``cluster.Upstream``."""
        self.lookout.note(Datagram(data=data, account=account, name=name))


async def _keep_nothing(_account: str, _segments: Iterable[Segment]) -> int:
    raise StorageFailed("traces are kept where the duties are")


def _busy() -> float:
    return float("inf")


async def _nothing() -> list[tuple[float, float]]:
    return []


_UNKNOWN = Load(_busy, _nothing)
"""How busy the platform is, where nobody knows: events that may wait do so."""
