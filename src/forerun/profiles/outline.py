"""As much of a profile as lists and graphs show: it is kept packed beside the profile, a fiftieth of its size. Pure.

An account may have a thousand functions, and the map shows them all: so it reads outlines alone. An outline that is missing
is made from the tallies, of which what it does not show is not even unpacked.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from forerun.profiles.likelihood import likelihood
from forerun.profiles.profile import CalleeProfile, Profile, Quantiles
from forerun.profiles.sketch import Sketch, summary
from forerun.profiles.tally import CalleeTally, Counts, Tally

# Quantiles are computed again when the count has grown by more than this share: while a function stays as it is, that moves
# them by a quarter of what chance does, and a busy one's sketches are not sorted twice a second.
GROWN = 0.05

_Unread = msgspec.Raw
_NOTHING = msgspec.Raw(b"\xc0")


class CalleeHead(msgspec.Struct, array_like=True, gc=False):
    """A packed ``CalleeTally`` up to the last field that is needed; its fields are in the same order."""

    kind: str
    name: str
    via: str = ""
    channels: _Unread = _NOTHING
    qualifiers: _Unread = _NOTHING
    versions: _Unread = _NOTHING
    operations: _Unread = _NOTHING
    executions: int = 0
    sampled: int = 0
    calls: int = 0
    call_squares: float = 0.0
    per_execution: _Unread = _NOTHING
    positions: _Unread = _NOTHING
    positioned: _Unread = _NOTHING
    delay: _Unread = _NOTHING
    latency: Sketch = msgspec.field(default_factory=Sketch)
    errors: _Unread = _NOTHING
    failed: int = 0
    throttles: _Unread = _NOTHING
    retries: _Unread = _NOTHING
    asynchronous: _Unread = _NOTHING
    unfinished: _Unread = _NOTHING
    sent: float = 0.0
    received: float = 0.0


class TallyHead(msgspec.Struct, array_like=True, gc=False):
    """A packed ``Tally`` up to the last field that is needed; its fields are in the same order."""

    since: float = 0.0
    until: float = 0.0
    sampled: int = 0
    executions: int = 0
    squares: float = 0.0
    start_types: _Unread = _NOTHING
    channels: _Unread = _NOTHING
    errors: _Unread = _NOTHING
    failed: int = 0
    timeouts: _Unread = _NOTHING
    throttles: int = 0
    init: Sketch = msgspec.field(default_factory=Sketch)
    duration: Sketch = msgspec.field(default_factory=Sketch)
    cpu: _Unread = _NOTHING
    cpu_of_ms: _Unread = _NOTHING
    configured_mb: _Unread = _NOTHING
    memory: _Unread = _NOTHING
    request_bytes: _Unread = _NOTHING
    response_bytes: _Unread = _NOTHING
    waiting: Sketch = msgspec.field(default_factory=Sketch)
    callees: dict[str, CalleeHead] = {}


class Spread(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How a quantity is distributed, as ``Quantiles``; the quantiles themselves are of the first ``seen`` of ``count``."""

    count: int = 0
    seen: int = 0
    mean: float = 0.0
    least: float = 0.0
    most: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, parts: Sequence[Sketch], before: "Spread") -> Self:
        """Of all ``parts`` together; ``before`` is what was told when less was counted."""
        count = 0
        total = most = 0.0
        least = math.inf
        for part in parts:
            count += part.count
            total += part.total
            if part.least < least:  # noqa: PLR1730 for each callee whenever a profile is written
                least = part.least
            if part.most > most:  # noqa: PLR1730 as above
                most = part.most
        if not count:
            return cls()
        seen = before.seen
        if seen and seen <= count <= seen * (1 + GROWN):
            told = before.p50, before.p90, before.p95, before.p99
        else:
            seen = count
            whole = summary(_merged(parts))
            told = whole.p50, whole.p90, whole.p95, whole.p99
        return cls(count, seen, total / count, least, most, *told)

    def quantiles(self) -> Quantiles:
        """As profiles show it."""
        if not self.count:
            return Quantiles()
        return Quantiles(
            count=self.count,
            mean=self.mean,
            min=self.least,
            p50=self.p50,
            p90=self.p90,
            p95=self.p95,
            p99=self.p99,
            max=self.most,
        )


_NO_SPREAD = Spread()


class CalleeOutline(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Of ``CalleeProfile``; sums as in ``CalleeTally``. ``address`` is where a service is mostly called that its name does not say; empty where
    that is not known. ``carried`` is how many bytes its calls sent and received.
    """

    kind: str
    name: str
    via: str
    executions: int
    sampled: int
    calls: int
    call_squares: float
    failed: int
    latency: Spread
    address: str = ""
    carried: float = 0.0

    def profile(self, executions: int, squares: float) -> CalleeProfile:
        """As it is shown of a caller that was run so often."""
        return CalleeProfile(
            kind=self.kind,
            name=self.name,
            via=self.via,
            executions=self.executions,
            sampled=self.sampled,
            likelihood=likelihood(self.executions, executions, squares),
            calls=self.calls,
            latency_ms=self.latency.quantiles(),
            error_rate=likelihood(self.failed, self.calls, self.call_squares),
        )


class Outline(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Of ``Profile``; sums as in ``Tally``. Counts are exact, quantiles may not know the last twentieth.

    ``init`` is of executions that had to initialise, in milliseconds; outlines of earlier days say nothing of it until they are written again.
    """

    since: float
    until: float
    sampled: int
    executions: int
    squares: float
    failed: int
    throttles: int
    duration: Spread
    waiting_ms: float
    callees: dict[str, CalleeOutline]
    init: Spread = _NO_SPREAD

    def profile(self, account: str, function: str, version: str) -> Profile:
        """As it is shown; what is not in the outline is as in a profile of nothing."""
        total_ms = self.duration.mean * self.duration.count
        return Profile(
            account=account,
            function=function,
            version=version,
            since=self.since,
            until=self.until,
            sampled=self.sampled,
            executions=self.executions,
            error_rate=likelihood(self.failed, self.executions, self.squares),
            throttles=self.throttles,
            duration_ms=self.duration.quantiles(),
            waiting_share=min(1.0, self.waiting_ms / total_ms) if total_ms else 0.0,
            init_ms=self.init.quantiles(),
            callees=[
                self.callees[key].profile(self.executions, self.squares)
                for key in sorted(
                    self.callees, key=lambda key: (-self.callees[key].executions, key)
                )
            ],
        )


def outline_of(parts: Sequence[Tally | TallyHead], before: Outline | None = None) -> Outline:
    """The outline of the profile that ``parts`` make together; ``before`` is its outline when less was counted."""
    callees: dict[str, list[CalleeTally | CalleeHead]] = {}
    for part in parts:
        for key, callee in part.callees.items():
            callees.setdefault(key, []).append(callee)
    known = before.callees if before is not None else {}
    return Outline(
        since=min((part.since for part in parts if part.since), default=0.0),
        until=max((part.until for part in parts), default=0.0),
        sampled=sum(part.sampled for part in parts),
        executions=sum(part.executions for part in parts),
        squares=sum(part.squares for part in parts),
        failed=sum(part.failed for part in parts),
        throttles=sum(part.throttles for part in parts),
        duration=Spread.of(
            [part.duration for part in parts], before.duration if before else _NO_SPREAD
        ),
        waiting_ms=sum(part.waiting.total for part in parts),
        callees={key: _callee(each, known.get(key)) for key, each in callees.items()},
        init=Spread.of([part.init for part in parts], before.init if before else _NO_SPREAD),
    )


def _callee(
    parts: Sequence[CalleeTally | CalleeHead], before: CalleeOutline | None
) -> CalleeOutline:
    first = parts[0]
    executions = sampled = calls = failed = 0
    squares = carried = 0.0
    for part in parts:
        executions += part.executions
        sampled += part.sampled
        calls += part.calls
        squares += part.call_squares
        failed += part.failed
        carried += part.sent + part.received
    latency = Spread.of([part.latency for part in parts], before.latency if before else _NO_SPREAD)
    return CalleeOutline(
        kind=first.kind,
        name=first.name,
        via=first.via,
        executions=executions,
        sampled=sampled,
        calls=calls,
        call_squares=squares,
        failed=failed,
        latency=latency,
        address=_address(parts) or (before.address if before is not None else ""),
        carried=carried,
    )


def _address(parts: Sequence[CalleeTally | CalleeHead]) -> str:
    found: Counts = {}
    for part in parts:
        if isinstance(part, CalleeTally):
            for address, amount in part.addresses.items():
                found[address] = found.get(address, 0) + amount
    return max(found, key=lambda each: (found[each], each), default="")


def _merged(sketches: Iterable[Sketch]) -> Sketch:
    """All of them as one; one alone is given back as it is."""
    known = sorted(
        (sketch for sketch in sketches if sketch.count),
        key=lambda sketch: -len(sketch.buckets),
    )
    if len(known) == 1:
        return known[0]
    whole = Sketch()
    for sketch in known:
        whole.merge(sketch)
    return whole
