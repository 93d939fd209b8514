"""Policies of others, to compare with: fixed keep-alive, the hybrid histogram, greedy-dual, and one that knows what comes. Pure.

``tick_s`` is how exactly calls are told: sixty seconds in recordings by the minute, where a moment is the minute's begin.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic

from forerun.model import Expectation, Reason
from forerun.prediction.policy import Cost, F

MINUTE_S = 60.0
BINS = 240
FEWEST_GAPS = 5
FALLBACK_MINUTES = 10


class Fixed(Generic[F]):
    """Implements ``Policy``: ready for ``keep_s`` seconds after each call, whatever is called."""

    def __init__(self, keep_s: float, *, tick_s: float = MINUTE_S) -> None:
        self._held_s = keep_s + tick_s
        self._last: dict[F, float] = {}

    def observe(self, function: F, at: float, count: int = 1) -> Iterable[F]:
        """See ``Policy``."""
        self._last[function] = at
        return (function,)

    def advance(self, now: float) -> Iterable[F]:
        """See ``Policy``."""
        return ()

    def windows(self, function: F, now: float) -> Sequence[Expectation]:
        """See ``Policy``."""
        last = self._last.get(function)
        return () if last is None else _from(now, last, last + self._held_s)


class _Gaps:
    """Gaps of one function, in minutes: how many of each length below ``BINS``, and how many there were at all."""

    __slots__ = ("bins", "every", "inside", "last", "pre", "squares", "stay")

    def __init__(self, last: int) -> None:
        self.last = last
        self.bins: dict[int, int] = {}
        self.every = self.inside = self.squares = 0
        self.pre, self.stay = 0, FALLBACK_MINUTES

    def add(self, gap: int) -> None:
        """Count one more, and plan anew."""
        self.every += 1
        if gap < BINS:
            before = self.bins.get(gap, 0)
            self.bins[gap] = before + 1
            self.inside += 1
            self.squares += 2 * before + 1
        self.pre, self.stay = self._plan()

    def _plan(self) -> tuple[int, int]:
        """Minutes after a call to wait, and to hold then."""
        few = self.every < FEWEST_GAPS or 2 * self.inside < self.every
        # A coefficient of variation of the bins below 2, without roots: the histogram is flat.
        if few or BINS * self.squares < 5 * self.inside**2:
            return 0, FALLBACK_MINUTES
        last = self.inside - 1
        head, tail = self._ranked(int(0.05 * last), min(last, int(0.99 * self.inside)))
        head, tail = int(head * 0.9), int(tail * 1.1) + 1
        pre = head if head > 1 else 0
        return pre, max(1, tail - pre)

    def _ranked(self, low: int, high: int) -> tuple[int, int]:
        """The gaps at two places of their order."""
        seen, head = 0, -1
        for gap in sorted(self.bins):
            seen += self.bins[gap]
            if head < 0 and seen > low:
                head = gap
            if seen > high:
                return head, gap
        raise AssertionError("places are below the number of gaps")


class Hybrid(Generic[F]):
    """Implements ``Policy``: a histogram of gaps says when after a call to be ready, where it says anything.

    Shahrad et al., "Serverless in the Wild", USENIX ATC 2020: 240 bins of a minute, 5th percentile less a tenth to 99th plus
    a tenth; ten minutes for functions with few gaps, with gaps beyond the bins, or with a flat histogram.
    """

    def __init__(self, *, tick_s: float = MINUTE_S) -> None:
        self._tick_s = tick_s
        self._functions: dict[F, _Gaps] = {}

    def observe(self, function: F, at: float, count: int = 1) -> Iterable[F]:
        """See ``Policy``."""
        minute = int(at // MINUTE_S)
        gaps = self._functions.get(function)
        if gaps is None:
            self._functions[function] = _Gaps(minute)
        else:
            gaps.add(max(0, minute - gaps.last))
            gaps.last = minute
        return (function,)

    def advance(self, now: float) -> Iterable[F]:
        """See ``Policy``."""
        return ()

    def windows(self, function: F, now: float) -> Sequence[Expectation]:
        """See ``Policy``."""
        gaps = self._functions.get(function)
        if gaps is None:
            return ()
        last = gaps.last * MINUTE_S
        since = last + gaps.pre * MINUTE_S + self._tick_s if gaps.pre else last
        until = last + (gaps.pre + gaps.stay) * MINUTE_S + self._tick_s
        return _from(now, since, until)


class GreedyDual(Generic[F]):
    """Implements ``Policy``: functions stay until memory is needed; then the one of least worth goes.

    Fuerst and Sharma, "FaasCache", ASPLOS 2021: worth is a clock, plus calls x start time / memory; the clock is the worth of
    the last one that went. It counts one sandbox of a function, within ``capacity_mb``.
    """

    def __init__(self, capacity_mb: float, *, cost: Callable[[F], Cost]) -> None:
        self._capacity_mb = capacity_mb
        self._cost = cost
        self._clock = 0.0
        self._held_mb = 0.0
        self._calls: dict[F, int] = {}
        self._worth: dict[F, float] = {}
        self._queue: list[tuple[float, int, F]] = []
        self._number = 0

    def observe(self, function: F, at: float, count: int = 1) -> Iterable[F]:
        """See ``Policy``."""
        cost = self._cost(function)
        calls = self._calls.get(function, 0) + count
        worth = self._clock + calls * cost.start_ms / max(cost.memory_mb, 1e-3)
        self._calls[function] = calls
        known = function in self._worth
        self._worth[function] = worth
        if known:
            return ()
        self._held_mb += cost.memory_mb
        self._push(worth, function)
        return (function, *self._evicted())

    def advance(self, now: float) -> Iterable[F]:
        """See ``Policy``."""
        return ()

    def windows(self, function: F, now: float) -> Sequence[Expectation]:
        """See ``Policy``."""
        return _from(now, now, math.inf) if function in self._worth else ()

    def _evicted(self) -> list[F]:
        gone: list[F] = []
        while self._held_mb > self._capacity_mb and self._queue:
            worth, _, function = heapq.heappop(self._queue)
            now = self._worth[function]
            if now > worth:  # It was called since it was put there.
                self._push(now, function)
                continue
            self._clock = worth
            self._held_mb -= self._cost(function).memory_mb
            del self._worth[function], self._calls[function]
            gone.append(function)
        return gone

    def _push(self, worth: float, function: F) -> None:
        self._number += 1
        heapq.heappush(self._queue, (worth, self._number, function))


class Clairvoyant(Generic[F]):
    """Implements ``Policy``: it knows ``arrivals``, times in order with how many sandboxes work then, and is ready ``ahead_s`` before.

    A function that was never called has none at its first call all the same: it is new then. What it would have held counts.
    """

    def __init__(
        self,
        arrivals: Mapping[F, Sequence[float]],
        *,
        working: Mapping[F, Sequence[int]] | None = None,
        ahead_s: float = MINUTE_S,
        tick_s: float = MINUTE_S,
    ) -> None:
        self._arrivals = arrivals
        self._working = working or {}
        self._ahead_s = ahead_s
        self._tick_s = tick_s
        # How many of its arrivals each function has behind it.
        self._seen: dict[F, int] = {}
        self._begun = False

    def observe(self, function: F, at: float, count: int = 1) -> Iterable[F]:
        """See ``Policy``."""
        self._seen[function] = self._seen.get(function, 0) + 1
        return (function,)

    def advance(self, now: float) -> Iterable[F]:
        """See ``Policy``."""
        if self._begun:
            return ()
        self._begun = True
        return tuple(self._arrivals)

    def windows(self, function: F, now: float) -> Sequence[Expectation]:
        """See ``Policy``."""
        arrivals = self._arrivals.get(function, ())
        place = self._seen.get(function, 0)
        if place >= len(arrivals):
            return ()
        at = arrivals[place]
        until = at + max(self._tick_s, 1e-6) if place else at
        return _from(now, at - self._ahead_s, until, self._count(function, place))

    def _count(self, function: F, place: int) -> int:
        """How many more than those that work when the call comes are needed in the time it looks ahead."""
        working = self._working.get(function)
        if working is None:
            return 1
        arrivals = self._arrivals[function]
        end = bisect_left(arrivals, arrivals[place] + self._ahead_s)
        return max(working[place : max(end, place + 1)]) - (working[place] - 1)


def _from(now: float, since: float, until: float, count: int = 1) -> Sequence[Expectation]:
    since = max(since, now)
    if since >= until:
        return ()
    return (
        Expectation(
            since=since, until=until, probability=1.0, reason=Reason.RECENT, count=count, cause=""
        ),
    )
