"""What a version of a function is like, as it is told to people and to whatever decides by it.

Amounts of executions and calls are weighted: one in N that was chosen to be watched stands for N, so they are estimates
of all executions, except where ``sampled`` says how many were really seen. Shares are between 0 and 1, times are
milliseconds, moments epoch seconds.
"""

import msgspec

FUNCTION = "function"
SERVICE = "service"
SELF = "self"


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """How a quantity is distributed; ``count`` is weighted. Quantiles are within 1 % of the true value."""

    count: float = 0.0
    mean: float = 0.0
    min: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Likelihood(msgspec.Struct, frozen=True, kw_only=True):
    """A share of executions or calls, and where it lies with 95 % certainty."""

    value: float = 0.0
    low: float = 0.0
    high: float = 1.0


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that repeat an equal one (same method, address and body) of the same execution that had succeeded, with
    nothing else written to that callee in between.

    ``executions``: in how many that happened; ``calls`` and ``ms``: how many calls that was and how long they took, in
    each of those on average. ``apart_ms``: from the end of the equal call to the start of its repetition, on average.
    """

    executions: float = 0.0
    calls: float = 0.0
    ms: float = 0.0
    apart_ms: float = 0.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind (``template``: method or operation, and path) that came one after the other, and differed; calls of
    other kinds may lie between.

    ``executions``: in how many there were at least three of them; ``length``: how many, ``ms``: how long from the
    start of the first to the end of the last, in each of those executions.
    """

    template: str
    executions: float = 0.0
    length: Quantiles = Quantiles()
    ms: Quantiles = Quantiles()


class CalleeProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How a function calls one callee.

    ``kind``: ``function`` or ``service``. ``name``: the function's name (``ACCOUNT:function:NAME`` in another account),
    ``aws:SERVICE``, or ``host:port``. ``via``: the callee that passed the trace information on; empty when the callee
    was called directly, or when it is not known who passed it on (see ``channels``).
    ``channels`` counts calls by how they are known: ``call`` (seen when it was made), ``header``, ``credential``,
    ``destination`` (seen when it arrived). ``qualifiers`` counts by the version or alias that its name was followed by,
    ``versions`` by the version of the function that was seen to be reached, ``operations`` by what was asked
    (``Invoke``, ``GET /items/*``).

    ``executions`` is in how many it was called at all, ``sampled`` how many of those were really seen, ``likelihood``
    the share of all executions. ``calls_per_execution`` counts only executions that called it; so does ``position``
    (1 is the callee called first), and ``delay_ms``: from the execution's start to the first call.
    ``latency_ms`` is of calls that ended, from start to end, as the caller saw them; it is empty for what was only seen
    arriving. ``errors`` counts by exception or HTTP status, ``error_rate`` is of calls. ``retries`` counts
    calls that repeat an equal one that failed. ``asynchronous`` counts calls that were accepted for later (202),
    ``unfinished`` those under way when the execution ended.
    ``busy_share`` is the share of all executions' time in which a call of it was under way, ``critical_share`` the
    share in which it was what the execution waited for.
    """

    kind: str
    name: str
    via: str = ""
    channels: dict[str, float] = {}
    qualifiers: dict[str, float] = {}
    versions: dict[str, float] = {}
    operations: dict[str, float] = {}
    executions: float = 0.0
    sampled: int = 0
    likelihood: Likelihood = Likelihood()
    calls: float = 0.0
    calls_per_execution: Quantiles = Quantiles()
    position: float = 0.0
    delay_ms: Quantiles = Quantiles()
    latency_ms: Quantiles = Quantiles()
    errors: dict[str, float] = {}
    error_rate: Likelihood = Likelihood()
    throttles: float = 0.0
    retries: float = 0.0
    asynchronous: float = 0.0
    unfinished: float = 0.0
    sent_bytes: float = 0.0
    received_bytes: float = 0.0
    busy_share: float = 0.0
    critical_share: float = 0.0
    repeats: Repeats = Repeats()
    runs: list[Run] = []

    @property
    def key(self) -> str:
        """What relations and the critical path name it by: ``function:NAME``, ``service:NAME via SERVICE``."""
        return f"{self.kind}:{self.name}" + (f" via {self.via}" if self.via else "")


class Relation(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of two callees (named by ``CalleeProfile.key``) lie to each other within executions that called both.

    ``before``, ``after`` and ``overlapping`` are shares of those ``executions`` and sum to 1: all calls of ``first``
    ended before the first of ``second`` began, the reverse, or neither. ``order`` says it in a word: ``before``,
    ``after``, ``overlapping`` when it was so in at least 95 %, else ``either``. ``first`` is the one that more often
    begins first.
    ``gap_ms`` is from the last end of ``first`` to the first start of ``second``, where it was before, within 10 %.
    ``saving_ms`` is what each execution that had them one after the other would gain on average if they ran at once:
    the shorter one's time.
    """

    first: str
    second: str
    executions: float = 0.0
    sampled: int = 0
    before: float = 0.0
    after: float = 0.0
    overlapping: float = 0.0
    order: str = "either"
    gap_ms: Quantiles = Quantiles()
    saving_ms: float = 0.0


class PathShare(msgspec.Struct, frozen=True, kw_only=True):
    """What executions waited for, on average: ``who`` is ``self`` or a ``CalleeProfile.key``."""

    who: str
    ms: float
    share: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """``configured_mb`` as of the last execution, and the high-water marks of the sandboxes after each."""

    configured_mb: int = 0
    used_mb: Quantiles = Quantiles()


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What one version of a function is like.

    ``sampled`` executions were watched and stand for ``executions``; ``invocations`` is the exact number of all that
    ended within the days that activity is kept, ``per_hour`` their rate over the last hour. ``since`` and ``until`` are
    of the executions that were watched. ``start_types``, ``errors`` (by type), ``channels`` (by how the execution's own
    cause is known) count executions; ``timeouts`` and ``throttles`` are those among them.
    ``init_ms`` is of executions that had to initialise. ``cpu_share`` is CPU time per time, where it was measured.
    ``waiting_ms`` is how long at least one call was under way, ``waiting_share`` that of the whole duration.
    ``critical_path`` has what executions waited for, longest first, and sums to the mean duration.
    ``calls_dropped`` counts calls beyond what is kept of one execution.
    """

    account: str
    function: str
    version: str
    since: float = 0.0
    until: float = 0.0
    sampled: int = 0
    executions: float = 0.0
    invocations: int = 0
    per_hour: float = 0.0
    start_types: dict[str, float] = {}
    channels: dict[str, float] = {}
    errors: dict[str, float] = {}
    error_rate: Likelihood = Likelihood()
    timeouts: float = 0.0
    throttles: float = 0.0
    init_ms: Quantiles = Quantiles()
    duration_ms: Quantiles = Quantiles()
    cpu_ms: Quantiles = Quantiles()
    cpu_share: float = 0.0
    memory: Memory = Memory()
    request_bytes: float = 0.0
    response_bytes: float = 0.0
    waiting_ms: Quantiles = Quantiles()
    waiting_share: float = 0.0
    critical_path: list[PathShare] = []
    callees: list[CalleeProfile] = []
    relations: list[Relation] = []
    unfinished: float = 0.0
    calls_dropped: float = 0.0
