"""What is counted for a profile: sums and sketches that merge, so that hours add up to the whole.

Counts are sums of weights unless ``sampled`` is in their name. Everything is bounded: what there is too much of is
counted under ``other``. What could grow beyond 64 bits, since a function may say anything of it, is a float. No tally refers back to what holds it, so the garbage collector need not look at them, of which
there are many.
"""

import msgspec

from forerun.profiles.profile import SERVICE
from forerun.profiles.sketch import Sketch

OTHER = "other"
OTHER_KEY = f"{SERVICE}:{OTHER}"
MOST_NAMES = 50
MOST_CALLEES = 200
MOST_RUNS = 20
MOST_RELATIONS = 400

Counts = dict[str, int]


class RunTally(msgspec.Struct, array_like=True, gc=False):
    """Of ``profile.Run``."""

    executions: int = 0
    length: Sketch = msgspec.field(default_factory=Sketch)
    ms: Sketch = msgspec.field(default_factory=Sketch)


class CalleeTally(msgspec.Struct, array_like=True, gc=False):
    """Of ``profile.CalleeProfile``. ``call_squares`` sums squared weights of calls. ``at_once`` is how many calls of it were
    under way at once at most, per execution that made any, of functions alone; accepted ones are under way until its end.
    ``addresses`` are those (``HOST:PORT``) at which a service was called that is not named by its address.
    """

    kind: str
    name: str
    via: str = ""
    channels: Counts = {}
    qualifiers: Counts = {}
    versions: Counts = {}
    operations: Counts = {}
    executions: int = 0
    sampled: int = 0
    calls: int = 0
    call_squares: float = 0.0
    per_execution: Sketch = msgspec.field(default_factory=Sketch)
    positions: int = 0
    positioned: int = 0
    delay: Sketch = msgspec.field(default_factory=Sketch)
    latency: Sketch = msgspec.field(default_factory=Sketch)
    errors: Counts = {}
    failed: int = 0
    throttles: int = 0
    retries: int = 0
    asynchronous: int = 0
    unfinished: int = 0
    sent: float = 0.0
    received: float = 0.0
    busy_ms: float = 0.0
    critical_ms: float = 0.0
    repeat_executions: int = 0
    repeat_calls: int = 0
    repeat_ms: float = 0.0
    repeat_apart_ms: float = 0.0
    runs: dict[str, RunTally] = {}
    at_once: Sketch = msgspec.field(default_factory=Sketch)
    addresses: Counts = {}


class RelationTally(msgspec.Struct, array_like=True, gc=False):
    """Of ``profile.Relation``, for two callees in the order of their keys."""

    sampled: int = 0
    before: int = 0
    after: int = 0
    overlapping: int = 0
    gap: Sketch = msgspec.field(default_factory=Sketch)
    gap_after: Sketch = msgspec.field(default_factory=Sketch)
    saving_ms: float = 0.0


class Tally(msgspec.Struct, array_like=True, gc=False):
    """Of ``profile.Profile``, for one stretch of time. ``relations`` are by the keys of both callees."""

    since: float = 0.0
    until: float = 0.0
    sampled: int = 0
    executions: int = 0
    squares: float = 0.0
    start_types: Counts = {}
    channels: Counts = {}
    errors: Counts = {}
    failed: int = 0
    timeouts: int = 0
    throttles: int = 0
    init: Sketch = msgspec.field(default_factory=Sketch)
    duration: Sketch = msgspec.field(default_factory=Sketch)
    cpu: Sketch = msgspec.field(default_factory=Sketch)
    cpu_of_ms: float = 0.0
    configured_mb: int = 0
    memory: Sketch = msgspec.field(default_factory=Sketch)
    request_bytes: float = 0.0
    response_bytes: float = 0.0
    waiting: Sketch = msgspec.field(default_factory=Sketch)
    callees: dict[str, CalleeTally] = {}
    relations: dict[str, dict[str, RelationTally]] = {}
    unfinished: int = 0
    dropped: float = 0.0


def count(counts: Counts, name: str, amount: int) -> None:
    """Add to the count of ``name``."""
    if name not in counts and len(counts) >= MOST_NAMES:
        name = OTHER
    counts[name] = counts.get(name, 0) + amount


def callee_in(tally: Tally, kind: str, name: str, via: str, key: str) -> CalleeTally:
    """The callee's tally, new when it was not called before."""
    found = tally.callees.get(key)
    if found is None:
        if len(tally.callees) >= MOST_CALLEES:
            kind, name, via, key = SERVICE, OTHER, "", OTHER_KEY
        found = tally.callees.setdefault(key, CalleeTally(kind, name, via))
    return found


def relation_in(tally: Tally, one: str, two: str) -> RelationTally | None:
    """The tally of two callees; ``None`` when there are too many pairs already."""
    others = tally.relations.get(one)
    if others is None:
        others = tally.relations[one] = {}
    found = others.get(two)
    if found is None:
        if sum(map(len, tally.relations.values())) >= MOST_RELATIONS:
            return None
        found = others[two] = RelationTally()
    return found
