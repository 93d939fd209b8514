"""From what is expected of a version to what a host shall hold ready of it, and when to look again. Pure.

Inside a window sandboxes wait for as many calls as are expected at once, from shortly before it: a start and a margin.
Between the calls of a function that keeps to a period nothing waits, unless the pause is hardly longer than a start.
Other functions that are known well are kept ``keep_s`` after a call, and as long as they may be called like of late. Of
functions that are not known yet the host decides by its own rule.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from forerun.model import Expectation, Reason, Standby, StartType

MARGIN_S = 0.3
# A host that is told nothing more goes on for so long after the end: what follows takes its place before.
OVERLAP_S = 10.0
# Nothing waits in a pause that is so many times as long as a start; in shorter ones a sandbox is cheaper than another start.
PAUSE_STARTS = 30.0
HELD_S = 3_600.0
MOST = 1_000
# Fewer at work than this are none.
AT_WORK = 0.5
FOREVER = math.inf


class Demand(NamedTuple):
    """What is known of calls to a version under one name; ``share`` of them come to this version.

    ``at_once``: how many sandboxes a call of a burst takes, from 0 to 1: short calls share them. ``working`` sandboxes
    work now or on average, if that is more; ``last`` is when the last call came. ``known``: there were calls enough to judge by. ``next_at``: when a function
    that keeps to a period is called next; ``FOREVER`` for one that does not.
    """

    windows: Sequence[Expectation]
    share: float = 1.0
    at_once: float = 1.0
    working: float = 0.0
    last: float = FOREVER
    known: bool = False
    next_at: float = FOREVER


class Decision(NamedTuple):
    """What shall be held from now on, ``None`` for the host's own rule; and when it is to be decided again by time alone.

    ``opened`` has for each of the demands the expectation that holds now, if there is one.
    """

    standby: Standby | None
    again_at: float
    opened: Sequence[Expectation | None] = ()


class _Open(NamedTuple):
    """A window that covers the present, and how many sandboxes it asks for.

    ``kept_s``: how long those of the last call are kept after it, because the next is expected to be like it.
    """

    wanted: float
    window: Expectation
    kept_s: float

    @property
    def rank(self) -> tuple[float, bool, float]:
        caused = self.window.reason is Reason.CALLER
        return self.wanted, caused, self.window.probability


class Preparer:
    """Decides for one version at a time. ``keep_s``: see above; ``margin_s`` is added to what a start takes."""

    def __init__(self, *, keep_s: float, margin_s: float = MARGIN_S) -> None:
        self._keep_s = keep_s
        self._margin_s = margin_s

    def lead_s(self, start_s: float) -> float:
        """How long before a window its sandboxes are begun."""
        return start_s + self._margin_s

    def decide(
        self,
        demands: Sequence[Demand],
        *,
        now: float,
        start_s: float,
        total: int = 0,
        most: int = MOST,
        timeout_s: float = 0.0,
    ) -> Decision:
        """What to hold for calls as in ``demands``, with ``total`` provisioned and ``most`` that may run at once.

        ``start_s`` is what nearly all its starts stay below, ``timeout_s`` how long a call of it may take.
        """
        lead_s = self.lead_s(start_s)
        again_at = min(_edges(demands, now, lead_s), default=FOREVER)
        found = [_open(each, now, lead_s) for each in demands]
        opened = [each for each in found if each is not None]
        if opened:
            standby: Standby | None = self._filled(opened, demands, now=now, most=most)
        else:
            standby = self._empty(demands, now, lead_s, start_s, timeout_s)
        if total > 0:
            standby = _with_total(standby, total)
            again_at = min(again_at, now + HELD_S / 2)
        return Decision(standby, again_at, [each and each.window for each in found])

    def _filled(
        self, opened: Sequence[_Open], demands: Sequence[Demand], *, now: float, most: int
    ) -> Standby:
        chief = max(opened, key=lambda each: each.rank).window
        linger_s = None
        if all(each.known for each in demands):
            linger_s = max([self._keep_s, *(each.kept_s for each in opened)])
        wanted = math.ceil(sum(each.wanted for each in opened) - 1e-6)
        until = max(each.window.until for each in opened)
        return Standby(
            idle=min(wanted, most, MOST),
            lease_s=until - now + OVERLAP_S,
            linger_s=linger_s,
            start=StartType.PRELOADED if chief.reason is Reason.CALLER else StartType.PREWARMED,
            reason=chief.reason,
            cause=chief.cause,
            calls_per_s=sum(_per_second(each) for each in opened),
        )

    def _empty(
        self,
        demands: Sequence[Demand],
        now: float,
        lead_s: float,
        start_s: float,
        timeout_s: float,
    ) -> Standby | None:
        if not demands or not all(each.known for each in demands):
            return None
        regular = all(each.next_at < FOREVER for each in demands)
        coming = [window.since for each in demands for window in each.windows if window.since > now]
        pause_s = min([*coming, *(each.next_at for each in demands)]) - lead_s - now
        if regular and pause_s >= PAUSE_STARTS * start_s and pause_s > 0:
            return Standby(
                lease_s=pause_s + OVERLAP_S, linger_s=0.0, reason=Reason.PERIOD, cause="pause"
            )
        lease_s = self._keep_s + timeout_s + OVERLAP_S
        return Standby(lease_s=lease_s, linger_s=self._keep_s, reason=Reason.HABIT, cause="pause")


def amount(window: Expectation, demand: Demand) -> float:
    """How many sandboxes shall wait in a window beside those that work.

    Calls like those of late find the sandboxes of those, which are kept. Calls at regular times and those that running
    executions make come on top.
    """
    if window.reason is Reason.RECENT:
        # They are there, unless something has happened to them.
        return 0.0 if demand.working >= AT_WORK else demand.share
    if window.reason is Reason.CALLER:
        wanted = float(window.count)
    elif window.reason is Reason.PERIOD:
        wanted = window.count * demand.at_once
    else:
        wanted = window.count * demand.at_once - demand.working
    return max(1.0, math.ceil(wanted - 1e-6)) * demand.share


def _open(demand: Demand, now: float, lead_s: float) -> _Open | None:
    """The window of these calls that covers the present and asks for most."""
    covering = [
        _Open(amount(each, demand), each, _kept_s(each, demand))
        for each in demand.windows
        if each.since - lead_s <= now < each.until
    ]
    return max(covering, key=lambda each: each.rank, default=None)


def _kept_s(window: Expectation, demand: Demand) -> float:
    return max(0.0, window.until - demand.last) if window.reason is Reason.RECENT else 0.0


def _edges(demands: Sequence[Demand], now: float, lead_s: float) -> Iterator[float]:
    """When a window opens or closes after now."""
    for demand in demands:
        for window in demand.windows:
            for at in (window.since - lead_s, window.until):
                if at > now:
                    yield at


def _per_second(opened: _Open) -> float:
    window = opened.window
    return window.probability * opened.wanted / max(1.0, window.until - window.since)


def _with_total(standby: Standby | None, total: int) -> Standby:
    """What is provisioned holds besides, and for long."""
    if standby is None or not standby.idle:
        linger_s = None if standby is None else standby.linger_s
        return Standby(
            total=total, lease_s=HELD_S, linger_s=linger_s, reason=Reason.PROVISIONED, cause=""
        )
    return Standby(
        idle=standby.idle,
        total=total,
        lease_s=HELD_S,
        linger_s=standby.linger_s,
        start=standby.start,
        reason=standby.reason,
        cause=standby.cause,
        calls_per_s=standby.calls_per_s,
    )
