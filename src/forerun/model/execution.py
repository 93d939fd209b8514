"""One invocation and the sandbox it runs in: what goes in, what comes out, what is kept of it."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from forerun.model.fleet import Placement, Share
from forerun.model.functions import Egress, LoggingConfig
from forerun.model.traces import OutgoingCall, TraceContext

WITH_SDK = "+sdk"


class StartType(StrEnum):
    """How the sandbox of an invocation was come by, cheapest first.

    ``WARM`` it had served this version before; ``PREWARMED`` it was initialised for this version ahead of the call, and
    ``PRELOADED`` so because of an execution that was likely to call it;
    ``POOL`` a jailed sandbox of the runtime took the code; ``ZYGOTE`` it was forked for this call; ``COLD`` its
    zygote or interpreter had to be started first.
    """

    WARM = "warm"
    PREWARMED = "prewarmed"
    PRELOADED = "preloaded"
    POOL = "pool"
    ZYGOTE = "zygote"
    COLD = "cold"


class Credentials(msgspec.Struct, frozen=True):
    """Short-lived credentials of one sandbox."""

    access_key_id: str
    secret_access_key: str
    session_token: str


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox is made for: one account, one function version.

    ``code_dir`` and ``layers_dir`` are absolute paths on the host, mounted read-only at ``/var/task`` and ``/opt``.
    ``environment`` holds the user's variables only; the platform's own are added by the sandbox. ``zygote`` is the
    ending of the pool whose sandboxes have imported most of what it imports, if there is a better one than usual.
    ``provisioned``: its init counts as one of provisioned concurrency. ``zone`` and ``isolation`` are as in ``FunctionVersion``.
    """

    key: str
    account: str
    region: str
    name: str
    version: str
    function_arn: str
    runtime: str
    handler: str
    memory_mb: int
    ephemeral_mb: int
    timeout_s: int
    environment: dict[str, str]
    code_dir: str
    layers_dir: str | None
    egress: Egress
    logging: LoggingConfig
    log_stream: str
    role: str = ""
    credentials: Credentials | None = None
    snap_start: bool = False
    uses_sdk: bool = False
    zygote: str = ""
    provisioned: bool = False
    zone: str = ""
    isolation: str = ""

    @property
    def pool(self) -> str:
        """Which unassigned sandboxes suit it: those of its runtime, or of a zygote that has imported more (the AWS SDK)."""
        return self.runtime + (self.zygote or (WITH_SDK if self.uses_sdk else ""))


class ResponseSink(Protocol):
    """Takes a streamed response; each call returns when the client has room for more."""

    async def start(self, content_type: str) -> None:
        """The handler began to answer."""
        ...

    async def write(self, chunk: bytes) -> None:
        """The next bytes of the response."""
        ...


class Call(msgspec.Struct, kw_only=True):
    """One invocation as the sandbox sees it. ``deadline_ms`` is epoch milliseconds; ``trace_id`` is the X-Ray header.

    ``monitored``: the runtime is to report the calls it makes, and to add trace information to them: ``trace_id``, and
    ``tracestate`` and ``baggage`` as they came. ``context`` is for the host: what the sandbox asks the platform for while it
    runs is of this execution. ``began`` is called when the sandbox is there and the handler is about to run, again when it
    died before it took the call. ``share`` is what the host may run at once of what the call is counted with; ``None``: no limit.
    ``reserved`` is its function's reserved concurrency. ``wait_s`` is how long it may wait for memory on a host, in seconds: with 0 it
    is refused at once where none is free nor about to be; ``None``: as the host's settings say. ``taken`` is for who has no ``context``:
    it is called with the access key id of the sandbox that the handler is about to run in. ``idle_only``: a host of a cluster is to
    refuse it unless a sandbox of the version is idle there, since one is thought to be idle elsewhere, too.
    """

    request_id: str
    payload: bytes
    invoked_arn: str
    deadline_ms: int
    trace_id: str = ""
    client_context: str | None = None
    monitored: bool = False
    tracestate: str = ""
    baggage: str = ""
    context: TraceContext | None = None
    sink: ResponseSink | None = None
    began: Callable[[], None] | None = None
    share: Share | None = None
    reserved: int | None = None
    wait_s: float | None = None
    taken: Callable[[str], None] | None = None
    idle_only: bool = False


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One log event: epoch milliseconds and its text without the final newline."""

    time_ms: int
    text: str


class Import(msgspec.Struct, frozen=True, array_like=True):
    """A module that init imported: its name, where from, and milliseconds with all that it imported itself.

    ``origin``: ``standard`` library and AWS ``sdk`` of the runtime, with the full names of the modules that the user's
    code asked for; ``layer`` and ``package`` of the function, with the names of their packages.
    """

    name: str
    origin: str
    ms: float


class InitReport(msgspec.Struct, kw_only=True):
    """What the init phase did: its length in milliseconds, its output, and what it imported beyond what was there."""

    duration_ms: float
    logs: list[LogLine] = []
    restored: bool = False
    imports: list[Import] = []


class InitFailure(msgspec.Struct, kw_only=True):
    """Init failed: the error as the client gets it (AWS's JSON: errorType, errorMessage, stackTrace) and the output.

    ``phase`` is what the REPORT line says: ``init``; ``status`` is ``error`` or ``timeout``.
    """

    payload: bytes
    error_type: str
    duration_ms: float
    status: str = "error"
    logs: list[LogLine] = []


class Outcome(msgspec.Struct, kw_only=True):
    """What one run of the handler gave.

    ``error`` is ``None`` for success, else AWS's ``X-Amz-Function-Error`` (``Unhandled`` or ``Handled``), with the
    error as JSON in ``payload``; ``error_type`` names it. ``alive`` is false when the sandbox must not be used again.
    ``started`` and ``ended`` are epoch seconds around the handler; ``max_memory_mb`` is the sandbox's high-water mark.
    Of a monitored call ``calls`` are those it made, ``calls_dropped`` how many more there were, and ``cpu_ms`` the CPU
    time of the handler's process.
    """

    payload: bytes
    content_type: str = "application/json"
    error: str | None = None
    error_type: str | None = None
    status: str = "success"
    alive: bool = True
    started: float = 0.0
    ended: float = 0.0
    max_memory_mb: int = 0
    logs: list[LogLine] = []
    streamed: bool = False
    calls: list[OutgoingCall] = []
    calls_dropped: int = 0
    cpu_ms: float = 0.0


class Timings(msgspec.Struct, kw_only=True):
    """Epoch seconds of each step of an invocation; 0.0 where it did not get that far."""

    received: float = 0.0
    admitted: float = 0.0
    dequeued: float = 0.0
    acquired: float = 0.0
    loaded: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    answered: float = 0.0


class InvocationRecord(msgspec.Struct, kw_only=True):
    """What is kept of one invocation. Durations in milliseconds, ``timings`` in epoch seconds.

    ``status``: ``success``, ``error``, ``timeout``, ``throttled``, ``expired``; of what was not run ``duplicate``, since another
    with its execution id had succeeded, and ``declined``, since nothing had changed, with why in ``cause``. ``invocation_type``:
    ``RequestResponse`` or ``Event``. ``attempt`` counts from 1.

    ``foresight`` is ``hit`` when it ran in a sandbox that was there because the call was expected, ``miss`` when it had to
    wait for one, else empty. ``cause`` says what that expectation was drawn from: the request id of the execution that was
    likely to call it, or a reason in words. ``idle_mb_s`` is what sandboxes of this version have cost without working since
    the invocation before, in MB times seconds. ``deferred_s`` is how many seconds a deferrable event waited for a quiet moment.
    ``source`` is the ARN of what sent the event, empty for calls. ``placed`` says which hosts were weighed, where there are several.
    """

    request_id: str
    account: str
    name: str
    version: str
    qualifier: str | None = None
    invocation_type: str = "RequestResponse"
    attempt: int = 1
    status: str = "success"
    error_type: str | None = None
    start_type: str | None = None
    sandbox: str | None = None
    host: str | None = None
    placement: str | None = None
    isolation: str | None = None
    duration_ms: float = 0.0
    init_ms: float | None = None
    memory_mb: int = 0
    max_memory_mb: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    trace_id: str = ""
    timings: Timings
    foresight: str = ""
    cause: str = ""
    idle_mb_s: float = 0.0
    deferred_s: float = 0.0
    source: str = ""
    placed: Placement | None = None
