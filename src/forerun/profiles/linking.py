"""Which execution caused which: what began is held against the executions of late, until both sides are known. Pure."""

from collections import OrderedDict
from collections.abc import Container
from typing import NamedTuple

import msgspec

from forerun.events import ExecutionBegan, ExecutionEnded
from forerun.model import Origin
from forerun.profiles.fold import Arrival, Reached, name_calls, reached_by
from forerun.profiles.naming import Callee

RECENT = 100_000
# Of all executions of late together, so that memory is bounded whatever they do.
CALLS = 500_000
# An execution that causes more than this is counted no further.
ARRIVALS = 1_000


class Version(NamedTuple):
    """Whose profile it is."""

    account: str
    name: str
    version: str


class Recent(msgspec.Struct, kw_only=True):
    """A monitored execution: what began because of it while it ran, and after its end whom its calls went to.

    ``requests`` are the ids of what began because of it. ``counted`` says how often which callee is counted in its profile,
    and ``stretch`` in which part of that.
    """

    version: Version
    weight: int
    began: float
    requests: set[str] = set()
    arrivals: list[Arrival] = []
    callees: dict[str, Callee] | None = None
    counted: dict[str, int] = {}
    stretch: int = 0


class Late(NamedTuple):
    """What began after the execution that caused it had been counted."""

    recent: Recent
    reached: Reached


class Links:
    """The executions of late, by span id; the oldest are forgotten beyond ``most``, and beyond ``calls`` of all.

    ``platform`` has the addresses of the platform itself. ``unknown`` counts arrivals whose cause was forgotten.
    """

    def __init__(self, platform: Container[str], *, most: int = RECENT, calls: int = CALLS) -> None:
        self._platform = platform
        self._most = most
        self._most_calls = calls
        self._calls = 0
        self._recent: OrderedDict[str, Recent] = OrderedDict()
        self.unknown = 0

    def began(self, event: ExecutionBegan) -> Late | None:
        """Take note of an execution, and of what it shows about the one that caused it."""
        context = event.context
        version = Version(event.account, event.name, event.version)
        self._recent[context.span_id] = Recent(
            version=version, weight=context.weight, began=event.at
        )
        self._forget()
        return self._arrived(version, event.request_id, context.origin, event.at)

    def refused(self, event: ExecutionEnded) -> Late | None:
        """Something ended that did not begin: it was not monitored, or throttled. It was called all the same."""
        context, record = event.context, event.record
        if context.span_id in self._recent:
            return None
        version = Version(record.account, record.name, record.version)
        return self._arrived(version, record.request_id, context.origin, record.timings.received)

    def ended(self, event: ExecutionEnded) -> tuple[dict[str, Callee], list[Reached], Recent]:
        """Whom its calls went to by span id, whom it reached otherwise, and where to note what was counted."""
        record = event.record
        known = self._recent.get(event.context.span_id)
        recent = known or Recent(
            version=Version(record.account, record.name, record.version),
            weight=event.context.weight,
            began=0.0,
        )
        recent.began = record.timings.started or recent.began
        arrivals, recent.arrivals = recent.arrivals, []
        callees = name_calls(event.calls, arrivals, record.account, self._platform)
        reached = [
            found
            for arrival in arrivals
            if not (found := reached_by(arrival, callees, recent.began)).called
        ]
        recent.callees = callees
        if known is not None:
            self._calls += len(callees)
            self._forget()
        return callees, reached, recent

    def _arrived(self, version: Version, request_id: str, origin: Origin, at: float) -> Late | None:
        if not origin.execution:
            return None
        cause = self._recent.get(origin.execution)
        if cause is None:
            self.unknown += 1
            return None
        # Further attempts of an accepted event are no further calls, and what others own is not told.
        if (
            cause.version.account != version.account
            or request_id in cause.requests
            or len(cause.requests) >= ARRIVALS
        ):
            return None
        cause.requests.add(request_id)
        arrival = Arrival(version.name, version.version, origin.parent_id, origin.channel, at)
        if cause.callees is None:
            cause.arrivals.append(arrival)
            return None
        return Late(cause, reached_by(arrival, cause.callees, cause.began))

    def _forget(self) -> None:
        while len(self._recent) > self._most or (
            self._calls > self._most_calls and len(self._recent) > 1
        ):
            _, oldest = self._recent.popitem(last=False)
            self._calls -= len(oldest.callees or ())
