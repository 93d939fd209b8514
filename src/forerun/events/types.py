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


# Notices: told of functions that somebody watches, and of what is rare; see ``Bus.note``. ``at`` is epoch seconds.


class ExecutionDetected(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asks for an execution of a watched function; nothing is decided yet."""

    account: str
    name: str
    qualifier: str | None
    request_id: str
    invocation_type: str
    at: float


class ExecutionQueued(msgspec.Struct, frozen=True, kw_only=True):
    """An event for a watched function is on disk and waits for its turn."""

    account: str
    name: str
    qualifier: str | None
    request_id: str
    at: float


class ExecutionStarted(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of an invocation of a watched function has its sandbox, code loaded, and its handler begins."""

    account: str
    name: str
    version: str
    request_id: str
    attempt: int
    context: TraceContext
    at: float


class ExecutionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An execution of a watched function is over, or was refused.

    ``output`` is the beginning of what it answered, where somebody wants it (``Watch.OUTPUT``).
    """

    ended: ExecutionEnded
    output: bytes = b""


class DeadLetterKept(msgspec.Struct, frozen=True, kw_only=True):
    """A message or event could not be processed and was put aside. ``function`` is empty when its target is none."""

    account: str
    target: str
    reason: str
    at: float
    function: str = ""
    source: str = ""
    attempts: int = 0


class RecursionStopped(msgspec.Struct, frozen=True, kw_only=True):
    """A function that caused itself again and again was not run once more; ``runs`` is how often it was in the chain."""

    account: str
    name: str
    request_id: str
    runs: int
    at: float


class FunctionChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A function was deployed. ``change``: ``created``, ``updated`` or ``deleted``."""

    account: str
    name: str
    change: str
    at: float


class FindingRaised(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth changing in a function was found that was not known before."""

    account: str
    name: str
    version: str
    finding: str
    title: str
    confidence: str
    at: float


class HostChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A host's numbers are other than before. ``started``, ``destroyed`` and ``failed`` count sandboxes since then."""

    host: str
    memory_mb: int
    booked_mb: int
    sandboxes: int
    idle: int
    busy: int
    pooled: int
    waiting: int
    started: int
    destroyed: int
    failed: int
    at: float


class MetaeventRaised(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's criteria hold and its job was sent; ``chain`` are the names of the metaevents that led here, it last."""

    account: str
    name: str
    id: str
    function: str
    chain: tuple[str, ...]
    at: float


Notice = (
    ExecutionDetected
    | ExecutionQueued
    | ExecutionStarted
    | ExecutionSeen
    | DeadLetterKept
    | RecursionStopped
    | FunctionChanged
    | FindingRaised
    | HostChanged
    | MetaeventRaised
)
