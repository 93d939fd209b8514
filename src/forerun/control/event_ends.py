"""How an asynchronous invocation ends: it leaves the queue when its run is over for good and its record is stored."""

from collections.abc import Callable

from forerun.model import InvocationRecord, Origin, Timings
from forerun.storage import QueuedEvent
from forerun.traces import xray_header


class Settlement:
    """Finishes an event when both its run is over for good and its record is stored, in either order."""

    def __init__(self, finish: Callable[[], None]) -> None:
        self._finish = finish
        self._missing = 2

    def stored(self) -> None:
        """Its record is on disk."""
        self._step()

    def ended(self) -> None:
        """It is not run any more, and whoever is to be told of that will be."""
        self._step()

    def _step(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._finish()


def record_of_unrun(
    event: QueuedEvent, error_type: str, *, status: str, now: float
) -> InvocationRecord:
    """The record of an event that was given up without a run."""
    return InvocationRecord(
        request_id=event.id,
        account=event.account,
        name=event.name,
        version=event.qualifier or "$LATEST",
        qualifier=event.qualifier,
        invocation_type="Event",
        attempt=event.attempt,
        status=status,
        error_type=error_type,
        request_bytes=len(event.payload),
        trace_id=_trace_of(event.origin),
        timings=Timings(received=event.accepted_at, answered=now),
    )


def _trace_of(origin: Origin) -> str:
    """The header of an event that was never run."""
    if not origin.trace_id:
        return ""
    return xray_header(origin.trace_id, origin.parent_id, sampled=origin.sampled)
