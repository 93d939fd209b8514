"""What brings messages to their targets, over the open state: made before the sources, which need its outbox."""

from collections.abc import Sequence

from forerun.app.ground import Ground, Part
from forerun.control.delivery.functions import FunctionTargets
from forerun.control.delivery.outbox import DurableOutbox
from forerun.control.delivery.permission import Permission
from forerun.control.delivery.targets import SinkTarget, Targets
from forerun.control.principals import Principals
from forerun.errors import NotFound
from forerun.scheduling import Backoff
from forerun.storage.outbox import OutboxStore


class Delivery:
    """``outbox`` takes messages at once; ``connect`` is told of the sources before ``part`` is started."""

    def __init__(self, outbox: DurableOutbox, permission: Permission, targets: Targets) -> None:
        self.outbox = outbox
        self.permission = permission
        self.part = Part(start=outbox.start, close=outbox.close)
        self._targets = targets

    def connect(self, sources: Sequence[Part]) -> None:
        """Deliver to their sinks, and find the dead letters on their shelves."""
        for part in sources:
            for sink in part.sinks:
                self._targets.add(sink.service, SinkTarget(sink, self.permission))


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
    targets = Targets({functions.service: functions})
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
    )
    ground.events.connect(outbox)
    return Delivery(outbox, permission, targets)


class _Roles:
    """The trust policies of roles that were created here."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def trust(self, account: str, name: str) -> str | None:
        try:
            return self._principals.get(account, "role", name).document
        except NotFound:
            return None
