"""As much of a profile as lists and graphs show, read and made with a fraction of the work. Pure.

An account may have a thousand functions, and the map shows them all: so what it does not show is not even unpacked.
"""

from collections.abc import Iterable, Sequence

import msgspec

from forerun.profiles.likelihood import likelihood
from forerun.profiles.profile import CalleeProfile, Profile
from forerun.profiles.sketch import Sketch, summary
from forerun.profiles.tally import CalleeTally, Tally

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
    init: _Unread = _NOTHING
    duration: Sketch = msgspec.field(default_factory=Sketch)
    cpu: _Unread = _NOTHING
    cpu_of_ms: _Unread = _NOTHING
    configured_mb: _Unread = _NOTHING
    memory: _Unread = _NOTHING
    request_bytes: _Unread = _NOTHING
    response_bytes: _Unread = _NOTHING
    waiting: Sketch = msgspec.field(default_factory=Sketch)
    callees: dict[str, CalleeHead] = {}


def outline_of(
    parts: Sequence[Tally | TallyHead], account: str, function: str, version: str
) -> Profile:
    """The outline of the profile that ``parts`` make together."""
    executions = sum(part.executions for part in parts)
    squares = sum(part.squares for part in parts)
    duration = _merged(part.duration for part in parts)
    waiting_ms = sum(part.waiting.total for part in parts)
    callees: dict[str, list[CalleeTally | CalleeHead]] = {}
    for part in parts:
        for key, callee in part.callees.items():
            callees.setdefault(key, []).append(callee)
    outlines = [_callee(each, executions, squares) for each in callees.values()]
    return Profile(
        account=account,
        function=function,
        version=version,
        since=min((part.since for part in parts if part.since), default=0.0),
        until=max((part.until for part in parts), default=0.0),
        sampled=sum(part.sampled for part in parts),
        executions=executions,
        error_rate=likelihood(sum(part.failed for part in parts), executions, squares),
        throttles=sum(part.throttles for part in parts),
        duration_ms=summary(duration),
        waiting_share=min(1.0, waiting_ms / duration.total) if duration.total else 0.0,
        callees=sorted(outlines, key=lambda callee: (-callee.executions, callee.key)),
    )


def _callee(
    parts: Sequence[CalleeTally | CalleeHead], executions: int, squares: float
) -> CalleeProfile:
    first = parts[0]
    called = sum(part.executions for part in parts)
    calls = sum(part.calls for part in parts)
    return CalleeProfile(
        kind=first.kind,
        name=first.name,
        via=first.via,
        executions=called,
        sampled=sum(part.sampled for part in parts),
        likelihood=likelihood(called, executions, squares),
        calls=calls,
        latency_ms=summary(_merged(part.latency for part in parts)),
        error_rate=likelihood(
            sum(part.failed for part in parts), calls, sum(part.call_squares for part in parts)
        ),
    )


def _merged(sketches: Iterable[Sketch]) -> Sketch:
    """All of them as one; one alone is given back as it is."""
    known = [sketch for sketch in sketches if sketch.count]
    if len(known) == 1:
        return known[0]
    whole = Sketch()
    for sketch in known:
        whole.merge(sketch)
    return whole
