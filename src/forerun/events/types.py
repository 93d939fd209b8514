"""The events."""

import msgspec

from forerun.model import InvocationRecord, OutgoingCall, TraceContext


class ExecutionBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A monitored execution is about to run; told so that what it causes can be linked before it ends.

    ``at`` is epoch seconds.
    """

    account: str
    name: str
    version: str
    request_id: str
    context: TraceContext
    at: float


class ExecutionEnded(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of an invocation is over, or was refused (``record.status`` is ``throttled``).

    Told for every one of them. ``calls`` and ``cpu_ms`` are known only when ``context.monitored``; ``dropped`` counts
    calls beyond the bound.
    """

    record: InvocationRecord
    context: TraceContext
    region: str
    calls: list[OutgoingCall] = []
    dropped: int = 0
    cpu_ms: float = 0.0


Event = ExecutionBegan | ExecutionEnded
