"""What runs events: the queue's poller, and who takes deferrable events in quiet moments."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from forerun.aio import Clock
from forerun.app.state import State
from forerun.control.asynchronous import LEASE_S, EventInvoker
from forerun.control.claiming import Claiming
from forerun.control.claims import Claims
from forerun.control.deferring import Deferring, Surroundings
from forerun.control.invoke import Invoker
from forerun.control.monitoring import Monitor
from forerun.control.registry import Registry
from forerun.host import HostStats
from forerun.scheduling import Admission, Backoff, Deferral
from forerun.settings import Settings

# Of the events that may run at once, deferrable ones get this part, and at least one.
DEFERRED_SHARE = 4


class Load(NamedTuple):
    """Ordinary calls per minute, now and in past hours with the moment each began."""

    now: Callable[[], float]
    before: Callable[[], Awaitable[Sequence[tuple[float, float]]]]


def make_events(  # noqa: PLR0913 the wiring of a service, mostly by keyword
    settings: Settings,
    state: State,
    clock: Clock,
    *,
    registry: Registry,
    invoker: Invoker,
    monitor: Monitor,
    load: Load,
    admission: Admission,
    stats: Callable[[], HostStats],
    claims: Claims | None = None,
) -> EventInvoker:
    """Construct it; ``claims`` where other control planes take from the same queue."""
    claiming = None if claims is None else Claiming(state.queue, claims, clock)

    def memory() -> tuple[int, int]:
        now = stats()
        return now.memory_mb, now.booked_mb

    return EventInvoker(
        queue=state.queue,
        registry=registry,
        invoker=invoker,
        monitor=monitor,
        backoff=Backoff(retry_s=settings.events.retry_s),
        deferring=Deferring(
            queue=state.queue,
            admission=admission,
            deferral=Deferral(
                idle_percent=settings.foresight.defer_idle_percent,
                at_once=max(1, settings.events.at_once // DEFERRED_SHARE),
            ),
            around=Surroundings(memory=memory, load=load.now, loads=load.before),
            clock=clock,
            lease_s=LEASE_S if claims is None else claims.lease_s,
        ),
        clock=clock,
        in_flight=settings.events.at_once,
        region=settings.server.region,
        claiming=claiming,
    )
