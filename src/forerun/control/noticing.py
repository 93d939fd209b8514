"""What is told of executions whose function somebody watches, beside what is told of all of them.

Of others nothing is told, and asking costs a look-up.
"""

from collections.abc import Callable, Iterable

from forerun.aio import Clock
from forerun.events import (
    Bus,
    ExecutionDetected,
    ExecutionEnded,
    ExecutionQueued,
    ExecutionSeen,
    ExecutionStarted,
    Watch,
)
from forerun.metaevents import MOST_OUTPUT
from forerun.model import InvocationRecord, TraceContext
from forerun.storage import QueuedEvent


def note_call(bus: Bus, record: InvocationRecord, now: float) -> None:
    """A function is to be run; of an event that was told when it was queued."""
    kind = record.invocation_type
    if kind != "Event" and bus.watched(record.account, record.name):
        bus.note(_detected(record, record.request_id, kind, now))


def note_queued(bus: Bus, events: Iterable[QueuedEvent]) -> None:
    """Events are on disk."""
    for event in events:
        if not bus.watched(event.account, event.name):
            continue
        bus.note(_detected(event, event.id, "Event", event.accepted_at))
        bus.note(
            ExecutionQueued(
                account=event.account,
                name=event.name,
                qualifier=event.qualifier,
                request_id=event.id,
                at=event.accepted_at,
            )
        )


def start_noted(
    bus: Bus, record: InvocationRecord, context: TraceContext, clock: Clock
) -> Callable[[], None] | None:
    """What is to be called when the handler begins; told once, though a sandbox may die before it took the call."""
    if not bus.watched(record.account, record.name):
        return None
    left = [1]

    def note() -> None:
        if left:
            left.clear()
            bus.note(
                ExecutionStarted(
                    account=record.account,
                    name=record.name,
                    version=record.version,
                    request_id=record.request_id,
                    attempt=record.attempt,
                    context=context,
                    at=clock.now(),
                )
            )

    return note


def tell_end(bus: Bus, ended: ExecutionEnded, output: bytes = b"") -> None:
    """An attempt is over, or was refused; ``output`` is what it answered."""
    bus.tell(ended)
    record = ended.record
    watch = bus.watched(record.account, record.name)
    if watch:
        wanted = output[:MOST_OUTPUT] if watch is Watch.OUTPUT else b""
        bus.note(ExecutionSeen(ended=ended, output=wanted))


def _detected(
    wish: InvocationRecord | QueuedEvent, request_id: str, invocation_type: str, at: float
) -> ExecutionDetected:
    return ExecutionDetected(
        account=wish.account,
        name=wish.name,
        qualifier=wish.qualifier,
        request_id=request_id,
        invocation_type=invocation_type,
        at=at,
    )
