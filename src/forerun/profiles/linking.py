"""Which execution caused which: what began is held against the executions of late, until both sides are known. Pure."""

from collections import OrderedDict
from collections.abc import Container, Iterable
from typing import NamedTuple

import msgspec

from forerun.events import ExecutionBegan, ExecutionEnded
from forerun.model import Channel
from forerun.profiles.fold import Arrival, Reached, name_calls, reached_by
from forerun.profiles.naming import Callee

RECENT = 100_000
# An execution that causes more than this is counted no further.
ARRIVALS = 1_000


class Version(NamedTuple):
    """Whose profile it is."""

    account: str
    name: str
    version: str


class Recent(msgspec.Struct, kw_only=True):
    """A monitored execution: what began because of it while it ran, and after its end whom its calls went to."""

    version: Version
    weight: int
    began: float
    arrivals: list[Arrival] = []
    callees: dict[str, Callee] | None = None
    counted: dict[str, int] = {}


class Late(NamedTuple):
    """What began after the execution that caused it had been counted."""

    recent: Recent
    reached: Reached


class Links:
    """The executions of late, by span id; the oldest are forgotten beyond ``most``.

    ``platform`` has the addresses of the platform itself. ``unknown`` counts arrivals whose cause was forgotten.
    """

    def __init__(self, platform: Container[str], *, most: int = RECENT) -> None:
        self._platform = platform
        self._most = most
        self._recent: OrderedDict[str, Recent] = OrderedDict()
        self.unknown = 0

    def began(self, event: ExecutionBegan) -> Late | None:
        """Take note of an execution, and of what it shows about the one that caused it."""
        context = event.context
        self._recent[context.span_id] = Recent(
            version=Version(event.account, event.name, event.version),
            weight=context.weight,
            began=event.at,
        )
        if len(self._recent) > self._most:
            self._recent.popitem(last=False)
        origin = context.origin
        if not origin.execution:
            return None
        cause = self._recent.get(origin.execution)
        if cause is None:
            self.unknown += 1
            return None
        arrival = Arrival(event.name, event.version, origin.parent_id, origin.channel, event.at)
        if cause.callees is None:
            if len(cause.arrivals) < ARRIVALS:
                cause.arrivals.append(arrival)
            return None
        reached = next(iter(_reached(cause, cause.callees, (arrival,))), None)
        return Late(cause, reached) if reached is not None else None

    def ended(self, event: ExecutionEnded) -> tuple[dict[str, Callee], list[Reached], Recent]:
        """Whom its calls went to by span id, whom it reached otherwise, and where to note what was counted."""
        record = event.record
        recent = self._recent.get(event.context.span_id)
        if recent is None:
            version = Version(record.account, record.name, record.version)
            recent = Recent(
                version=version, weight=event.context.weight, began=record.timings.started
            )
        recent.began = record.timings.started or recent.began
        callees = name_calls(event.calls, recent.arrivals, record.account, self._platform)
        reached = list(_reached(recent, callees, recent.arrivals))
        recent.callees, recent.arrivals = callees, []
        return callees, reached, recent


def _reached(
    recent: Recent, callees: dict[str, Callee], arrivals: Iterable[Arrival]
) -> Iterable[Reached]:
    for arrival in arrivals:
        callee = reached_by(arrival, callees)
        # Retries of an accepted event arrive again: they are no further calls.
        if callee is not None and arrival.channel is not Channel.NONE:
            delay_ms = max(0.0, arrival.at - recent.began) * 1000
            yield Reached(callee, arrival.channel.value, delay_ms)
