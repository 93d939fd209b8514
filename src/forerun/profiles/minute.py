"""What all executions of a function did within a minute, and such minutes as a series. Pure."""

from collections.abc import Iterable

import msgspec

from forerun.model import InvocationRecord
from forerun.profiles.merging import add_all
from forerun.profiles.sketch import Sketch


class Minute(msgspec.Struct, array_like=True, gc=False):
    """Counts of attempts; ``duration`` and ``init`` are milliseconds of those that ran. ``peak`` is how many ran at once
    at most, ``deferred`` how many had waited for a quiet moment.
    """

    calls: int = 0
    errors: int = 0
    timeouts: int = 0
    throttles: int = 0
    peak: int = 0
    starts: dict[str, int] = {}
    versions: dict[str, int] = {}
    duration: Sketch = msgspec.field(default_factory=Sketch)
    init: Sketch = msgspec.field(default_factory=Sketch)
    deferred: int = 0

    def count(self, record: InvocationRecord) -> None:
        """One attempt ended or was refused."""
        self.calls += 1
        if record.deferred_s:
            self.deferred += 1
        versions, version = self.versions, record.version
        versions[version] = versions.get(version, 0) + 1
        status = record.status
        if status != "success":
            if status == "throttled":
                self.throttles += 1
                return
            self.errors += 1
            if status == "timeout":
                self.timeouts += 1
        start_type = record.start_type
        if start_type is not None:
            starts = self.starts
            starts[start_type] = starts.get(start_type, 0) + 1
            self.duration.add(record.duration_ms)
            if record.init_ms is not None:
                self.init.add(record.init_ms)

    def merge(self, other: "Minute") -> None:
        """Count what ``other`` counted, at another time; ``peak`` is the higher one."""
        add_all(self, other, ("peak",))
        self.peak = max(self.peak, other.peak)


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What a function did, one value per step of ``step_s`` seconds; ``at`` are the epoch seconds that steps begin with.

    Quantiles are milliseconds of executions that ran, ``None`` where none did. ``concurrency`` is the highest number at
    once, ``busy`` the average number. ``starts``, ``versions`` and ``total`` (calls) are of the whole range.
    """

    step_s: int
    at: list[int]
    calls: list[int]
    errors: list[int]
    timeouts: list[int]
    throttles: list[int]
    inits: list[int]
    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]
    concurrency: list[int]
    busy: list[float]
    starts: dict[str, int]
    versions: dict[str, int]
    total: int


def series(minutes: Iterable[tuple[int, Minute]], since: int, until: int, step_s: int) -> Series:
    """Minutes (with the epoch second they begin with) gathered into steps from ``since`` to ``until``."""
    slots = [Minute() for _ in range(since, until, step_s)]
    whole = Minute()
    for at, minute in minutes:
        if since <= at < until:
            slots[(at - since) // step_s].merge(minute)
            whole.merge(minute)
    quantiles = [_quantiles(slot.duration) for slot in slots]
    return Series(
        step_s=step_s,
        at=list(range(since, until, step_s)),
        calls=[slot.calls for slot in slots],
        errors=[slot.errors for slot in slots],
        timeouts=[slot.timeouts for slot in slots],
        throttles=[slot.throttles for slot in slots],
        inits=[slot.init.count for slot in slots],
        p50=[each[0] for each in quantiles],
        p95=[each[1] for each in quantiles],
        p99=[each[2] for each in quantiles],
        concurrency=[slot.peak for slot in slots],
        busy=[round(slot.duration.total / 1000 / step_s, 3) for slot in slots],
        starts=whole.starts,
        versions=whole.versions,
        total=whole.calls,
    )


def _quantiles(sketch: Sketch) -> list[float] | list[None]:
    return sketch.quantiles((0.5, 0.95, 0.99)) if sketch.count else [None, None, None]
