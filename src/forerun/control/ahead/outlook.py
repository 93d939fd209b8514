"""What is expected of each function now, from its past and from what runs; and whether it came."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from forerun.control.ahead.aims import Aims
from forerun.control.ahead.traffic import Arrivals, Traffic
from forerun.model import Expectation, Qualified, Reason
from forerun.prediction import Forecast, Policy, Traversals
from forerun.scheduling import FOREVER, Demand

# Calls of a function that must have been seen before the host's own rule is departed from.
KNOWN_CALLS = 6
# How strictly a function must keep to its period, from 0 to 1, for nothing to wait between its calls.
REGULAR = 0.5
AWAITED = 100_000
# What is expected of a function that has fallen out of its period must be so likely.
LIKELY = 0.5
# Calls of a period are told to the second.
ROUNDING_S = 1.0
# A window that begins so soon after a call goes on from it.
SOON_S = 2.0


class Foreteller(Policy[Qualified], Protocol):
    """What forecasts are drawn from; see ``prediction.Predictor``."""

    def regularity(self, function: Qualified, now: float) -> tuple[float, float]:
        """The period of its calls in seconds and how strictly they keep it, from 0 to 1."""
        ...

    def explain(self, function: Qualified, now: float) -> Forecast | None:
        """What is expected of it and what that rests on."""
        ...

    def forget(self, function: Qualified) -> None:
        """It is no more."""
        ...


class Rhythm(NamedTuple):
    """That calls keep to a period, how strictly from 0 to 1, and when the next one is due.

    ``lapsed``: they did until of late, but no longer come; then only what is likely in spite of that is expected.
    """

    period_s: float = 0.0
    degree: float = 0.0
    next_at: float = FOREVER
    lapsed: bool = False


NONE = Rhythm()


class Awaited(NamedTuple):
    """A stretch of time in which a call is expected, whose sandboxes were begun at ``since``; when one came, if it did."""

    since: float
    until: float
    came: float | None = None


class Outlook:
    """Keeps the windows of functions for which there are any. Moments are epoch seconds."""

    def __init__(
        self, policy: Foreteller, traversals: Traversals, arrivals: Arrivals, aims: Aims
    ) -> None:
        self._policy = policy
        self._traversals = traversals
        self._arrivals = arrivals
        self._aims = aims
        # The policy's present: a moment behind, so that what is told of it comes in order.
        self._at = 0.0
        self._windows: dict[Qualified, Sequence[Expectation]] = {}
        self._rhythms: dict[Qualified, Rhythm] = {}
        self._awaited: dict[Qualified, Awaited] = {}
        aims.opened = self.opened

    def __len__(self) -> int:
        return len(self._windows)

    def advance(self, now: float) -> Iterable[Qualified]:
        """Time has passed; the functions to attend to."""
        self._at = max(self._at, now)
        return self._policy.advance(self._at)

    def observe(self, traffic: Traffic, now: float) -> Iterable[Qualified]:
        """Calls have begun; the functions to attend to. Afterwards they are counted."""
        function, count = traffic.function, traffic.count
        attend: list[Qualified] = []
        if int(traffic.at) > int(self._at):
            attend += self.advance(traffic.at)
        traffic.note(now)
        traffic.count = 0
        awaited = self._awaited.get(function)
        if awaited is not None and awaited.came is None and traffic.last <= awaited.until:
            self._awaited[function] = awaited._replace(came=traffic.last)
            traffic.counts.came += 1
            traffic.counts.lead_s += max(0.0, traffic.last - awaited.since)
        attend += self._policy.observe(function, self._at, count)
        return attend

    def attend(self, function: Qualified, now: float, *, past: bool = True) -> None:
        """Have ready what is expected of a function. Without ``past`` only what runs has changed."""
        traffic = self._arrivals.get(function)
        rhythm = self._rhythm(function, traffic, now) if past else self._rhythms.get(function, NONE)
        windows = self._windows.get(function)
        if past or windows is None:
            kept_until = _kept_until(traffic, windows or ())
            windows = [
                _drawn(rhythm, kept_until, each)
                for each in self._policy.windows(function, now)
                if each.probability >= LIKELY or not rhythm.lapsed
            ]
        if windows:
            self._windows[function] = windows
        else:
            self._windows.pop(function, None)
        running = (
            self._traversals.expectations(function, now) if self._traversals.knows(function) else []
        )
        # Both may hold at once: whichever asks for more decides, for as long as it does.
        every = (
            sorted([*windows, *running], key=_since) if windows and running else windows or running
        )
        self._aims.set(function, _demand(traffic, every, rhythm, now), now)

    def opened(self, function: Qualified, window: Expectation, now: float) -> None:
        """The expectation holds now: from here on it is waited for."""
        if window.reason is Reason.RECENT:
            return
        before = self._awaited.get(function)
        if before is not None and window.since <= (before.came or before.until):
            if window.until > before.until:
                self._awaited[function] = before._replace(until=window.until)
            return
        traffic = self._arrivals.get(function) or self._arrivals.put(function)
        if traffic is None:
            return
        traffic.counts.expected += 1
        traffic.changed = True
        if len(self._awaited) >= AWAITED:
            self._awaited.clear()
        self._awaited[function] = Awaited(now, window.until)

    def rhythm(self, function: Qualified) -> Rhythm:
        """Whether its calls keep to a period, as of the last look."""
        return self._rhythms.get(function, NONE)

    def degree(self, function: Qualified, now: float) -> float:
        """How strictly it keeps to a period now, from 0 to 1; 0 when that is not enough to act upon."""
        degree = self._policy.regularity(function, now)[1]
        return degree if degree >= REGULAR else 0.0

    def forget(self, function: Qualified, now: float) -> None:
        """It is no more."""
        self._policy.forget(function)
        self._arrivals.forget(function)
        self._windows.pop(function, None)
        self._rhythms.pop(function, None)
        self._awaited.pop(function, None)
        self._aims.set(function, None, now)

    def _rhythm(self, function: Qualified, traffic: Traffic | None, now: float) -> Rhythm:
        """Kept while there is one, and until the next call when it was lost."""
        if traffic is None or traffic.calls < KNOWN_CALLS:
            return NONE
        before = self._rhythms.get(function, NONE)
        period_s, degree = self._policy.regularity(function, now)
        if degree >= REGULAR:
            rhythm = Rhythm(period_s, degree, traffic.last + period_s)
        elif before.period_s and traffic.last + before.period_s == before.next_at:
            rhythm = before._replace(degree=0.0, lapsed=True)
        else:
            self._rhythms.pop(function, None)
            return NONE
        self._rhythms[function] = rhythm
        return rhythm


def _kept_until(traffic: Traffic | None, windows: Sequence[Expectation]) -> float:
    """Until when the sandbox of the last call is kept, as it was expected before."""
    if traffic is None:
        return 0.0
    kept = windows[0].until if windows and windows[0].reason is Reason.RECENT else 0.0
    return max(traffic.last + SOON_S, kept)


def _drawn(rhythm: Rhythm, kept_until: float, window: Expectation) -> Expectation:
    """What a window is drawn from, as far as its place in time says: a period whose next call is due in it, or the last
    call, whose sandbox is still there when it begins.
    """
    if rhythm.period_s and window.since <= rhythm.next_at <= window.until + ROUNDING_S:
        return replace(window, reason=Reason.PERIOD, cause=f"{rhythm.period_s:g}")
    if window.reason in (Reason.HABIT, Reason.RECENT) and window.since <= kept_until:
        return replace(window, reason=Reason.RECENT, since=min(window.since, kept_until - SOON_S))
    return window


def _demand(
    traffic: Traffic | None, windows: Sequence[Expectation], rhythm: Rhythm, now: float
) -> Demand | None:
    if traffic is None:
        return Demand(windows) if windows else None
    working = traffic.level(now)
    if traffic.calls < KNOWN_CALLS:
        return Demand(windows, working=working, last=traffic.last) if windows else None
    return Demand(
        windows,
        at_once=traffic.at_once,
        working=working,
        last=traffic.last,
        known=True,
        next_at=FOREVER if rhythm.lapsed else rhythm.next_at,
    )


def _since(expectation: Expectation) -> float:
    return expectation.since
