"""What brings messages to their targets, over the open state: made before the sources, which need its outbox."""

from collections.abc import Callable, Sequence

from forerun.api.dead_letters import DeadLetterRoutes
from forerun.api.delivery import DeliveryRoutes
from forerun.app.ground import Ground, Part
from forerun.control.delivery.dead_letters import Bounds, DeadLetters
from forerun.control.delivery.functions import FunctionTargets
from forerun.control.delivery.outbox import DurableOutbox
from forerun.control.delivery.permission import Permission
from forerun.control.delivery.setbacks import Setbacks
from forerun.control.delivery.targets import URL, SinkTarget, Targets
from forerun.control.delivery.urls import UrlTarget
from forerun.control.principals import Principals
from forerun.errors import NotFound
from forerun.scheduling import Backoff
from forerun.storage.dead_letters import DeadLetterStore
from forerun.storage.outbox import OutboxStore

DAY_S = 86_400.0


class Delivery:
    """``outbox`` takes messages at once; ``connect`` is told of the sources before anything is started.

    ``first`` is started before the sources, ``part`` after them.
    """

    def __init__(
        self,
        outbox: DurableOutbox,
        permission: Permission,
        targets: Targets,
        letters: DeadLetters,
        setbacks: Setbacks,
        stopped_loops: Callable[[], int],
    ) -> None:
        self.outbox = outbox
        self.permission = permission
        self._letters = letters
        self._targets = targets
        self._setbacks = setbacks
        routes = DeadLetterRoutes(letters)
        shown = DeliveryRoutes(outbox, letters.counts, stopped_loops)
        self.first = Part(start=outbox.recover)
        self.part = Part(
            routes={**routes.routes(), **shown.routes()},
            commands=routes.commands(),
            start=self._start,
            close=self._close,
        )

    def connect(self, sources: Sequence[Part]) -> None:
        """Deliver to their sinks, and find the dead letters on their shelves."""
        for part in sources:
            for sink in part.sinks:
                self._targets.add(sink.service, SinkTarget(sink, self.permission))
            self._letters.add(part.shelves)
            if part.set_back is not None:
                self._setbacks.add(part.set_back)

    async def _start(self) -> None:
        self.outbox.start()
        self._letters.start()
        self._setbacks.start()

    async def _close(self) -> None:
        await self._setbacks.close()
        await self._letters.close()
        await self.outbox.close()


def make_delivery(ground: Ground) -> Delivery:
    """Construct it."""
    settings, clock = ground.settings, ground.clock
    permission = Permission(
        registry=ground.services.estate.registry,
        authorizer=ground.services.authorizer,
        roles=_Roles(ground.services.principals),
        region=settings.server.region,
    )
    functions = FunctionTargets(
        permission=permission, events=ground.events, monitor=ground.monitor, clock=clock
    )
    events = settings.events
    urls = UrlTarget(timeout_s=events.url_timeout_s, private=events.private_urls)
    targets = Targets({functions.service: functions, URL: urls})
    outbox = DurableOutbox(
        store=OutboxStore(
            ground.state.messages,
            max_messages=settings.limits.queued_events,
            max_bytes=settings.limits.queued_bytes,
        ),
        functions=functions,
        targets=targets,
        backoff=Backoff(),
        clock=clock,
        bus=ground.bus,
    )
    letters = DeadLetters(
        store=DeadLetterStore(ground.state.messages),
        again=outbox,
        bounds=Bounds(
            events.dead_letters, events.dead_letter_bytes, events.dead_letter_days * DAY_S
        ),
        clock=clock,
    )
    ground.events.connect(outbox)
    queue = ground.state.queue
    setbacks = Setbacks(clock, (outbox.set_back, lambda by: queue.hasten(clock.now(), by)))
    return Delivery(
        outbox, permission, targets, letters, setbacks, lambda: ground.invoker.stopped_loops
    )


class _Roles:
    """The trust policies of roles that were created here."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def trust(self, account: str, name: str) -> str | None:
        try:
            return self._principals.get(account, "role", name).document
        except NotFound:
            return None
