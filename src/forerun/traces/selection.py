"""Which executions are monitored, when none of their own cause is: so many of each function in a second, chosen at random.

One in N weighs N, and N is known before chance decides: sums of weights estimate what happened without bias, however N
changes. N follows the frequency of calls, and within a second the number of calls so far, so that a burst nobody
expected is thinned out as well. What still exceeds the budget is left out, and the next that is monitored weighs for it.
"""

import copy
import math
from collections import OrderedDict
from typing import NamedTuple

from forerun.traces.signing import MAX_WEIGHT

FUNCTIONS = 10_000
WINDOW_S = 1.0
MEMORY_S = 10.0
HOUR_S = 3600.0
RESERVE_S = 20.0
# What was just counted has faded by a little.
NEARLY = 0.99
MOST_CAUSED = 1000.0
AUTO, ON, OFF = "auto", "on", "off"

Key = tuple[str, str]
"""A function: its account and its name."""


class Decision(NamedTuple):
    """What holds for a function now: one in ``weight`` is monitored, 0 for none; ``rate`` is calls per second.

    ``executions`` and how many of them were ``monitored`` count from when the function began to be remembered.
    """

    weight: int
    reason: str
    rate: float
    calls_per_hour: float
    executions: int
    monitored: int


class _Bucket:
    """So many in a second, and a reserve; it can owe as much as it holds."""

    __slots__ = ("at", "per_s", "reserve", "tokens")

    def __init__(self, per_s: float, reserve_s: float) -> None:
        self.per_s = per_s
        self.reserve = max(1.0, per_s * reserve_s)
        self.tokens = self.reserve
        self.at = 0.0

    def refill(self, now: float) -> float:
        self.tokens = min(self.reserve, self.tokens + max(0.0, now - self.at) * self.per_s)
        self.at = now
        return self.tokens

    def take(self) -> None:
        self.tokens = max(-self.reserve, self.tokens - 1.0)


class _Function:
    """What is remembered of one function. ``calls`` counts those of the window that began at ``since``."""

    __slots__ = (
        "began",
        "bucket",
        "calls",
        "carried",
        "earlier",
        "hour",
        "monitored",
        "one_in",
        "rate",
        "since",
    )

    def __init__(self, now: float, per_s: float) -> None:
        self.began = self.since = now
        self.calls = self.earlier = self.monitored = 0
        self.rate = 0.0
        self.hour = 0.0
        self.one_in = 1.0
        self.carried = 0
        self.bucket = _Bucket(per_s, RESERVE_S)

    def roll(self, now: float, per_s: float) -> None:
        """The window is over: what it held becomes part of the rates."""
        elapsed = max(WINDOW_S, now - self.since)
        share = _share(elapsed, now - self.began)
        latest = self.calls / elapsed
        self.rate += share * (latest - self.rate)
        self.hour = (self.hour + self.calls) * math.exp(-elapsed / HOUR_S)
        # A rise counts at once; half of it, since single windows of few calls vary.
        self.one_in = max(1.0, max(self.rate, latest / 2) / per_s)
        self.earlier += self.calls
        self.since, self.calls = now, 0

    def thinned(self, window: float) -> float:
        """One in how many: as its rate asks for, or what came in this window beyond half of the reserve."""
        return max(self.one_in, self.calls / max(window, self.bucket.tokens / 2))


class _Everything:
    """All functions together: what they would have monitored, what was, and what that caused, per second."""

    __slots__ = ("began", "bucket", "caused", "rates", "roots", "scale", "since", "wanted")

    def __init__(self, per_s: float) -> None:
        self.began = self.since = 0.0
        self.wanted = self.roots = self.caused = 0.0
        self.rates = (0.0, 0.0, 0.0)
        self.scale = 1.0
        self.bucket = _Bucket(per_s, WINDOW_S)

    def roll(self, now: float) -> None:
        """The window is over; ``scale`` is by how much less each function gets from now on."""
        elapsed = max(WINDOW_S, now - self.since)
        share = _share(elapsed, now - self.began)
        wanted, roots, caused = (
            rate + share * (count / elapsed - rate)
            for rate, count in zip(self.rates, (self.wanted, self.roots, self.caused), strict=True)
        )
        self.rates = wanted, roots, caused
        self.scale = max(1.0, wanted * self.each / self.bucket.per_s)
        self.since = now
        self.wanted = self.roots = self.caused = 0.0

    @property
    def each(self) -> float:
        """Monitored executions that one chosen execution leads to, itself included."""
        _, roots, caused = self.rates
        return 1.0 + min(MOST_CAUSED, caused / roots) if roots > 0 else 1.0


class Selector:
    """Chooses; time (seconds, of any clock) and chance (a number in [0, 1)) are arguments. About a microsecond."""

    def __init__(
        self,
        *,
        min_calls_per_hour: float,
        function_per_s: float,
        total_per_s: float,
        functions: int = FUNCTIONS,
    ) -> None:
        """The most recently called ``functions`` are remembered."""
        self._min_calls_per_hour = min_calls_per_hour
        self._least = min_calls_per_hour * NEARLY
        self._per_s = function_per_s
        self._window = max(1.0, function_per_s * WINDOW_S)
        self._total_per_s = total_per_s
        self._total_window = max(1.0, total_per_s * WINDOW_S)
        self._most = functions
        self._known: OrderedDict[Key, _Function] = OrderedDict()
        self._all = _Everything(total_per_s)

    def choose(self, key: Key, tag: str, now: float, chance: float) -> int:
        """For how many executions this one stands; 0 when it is not monitored. ``tag`` as of ``FunctionVersion``."""
        known = self._called(key, now)
        if tag != AUTO:
            weight = _by_tag(tag, chance)
            known.monitored += weight > 0
            return weight
        if known.hour + known.calls < self._least:
            return 0
        one_in = known.thinned(self._window)
        everything = self._current(now)
        everything.wanted += 1.0 / one_in
        scale = everything.scale
        if everything.wanted > self._total_window:
            scale = max(scale, everything.wanted * everything.each / self._total_window)
        number = min(MAX_WEIGHT, int(one_in * scale + 0.9))
        if chance * number >= 1.0:
            return 0
        return self._take(known, number, now)

    def caused(self, key: Key, now: float) -> None:
        """An execution is monitored since one that caused it is: it counts against what all may have."""
        self._called(key, now).monitored += 1
        everything = self._current(now)
        everything.caused += 1.0
        everything.bucket.refill(now)
        everything.bucket.take()

    def decision(self, key: Key, tag: str, now: float) -> Decision:
        """What holds for a function, in words; nothing changes by asking."""
        known = copy.copy(self._known.get(key) or _Function(now, self._per_s))
        if now - known.since >= WINDOW_S:
            known.roll(now, self._per_s)
        rate = max(known.rate, known.calls / WINDOW_S)
        hour = known.hour + known.calls
        weight, reason = self._weigh(known, tag, hour)
        executions = known.earlier + known.calls
        return Decision(weight, reason, rate, hour, executions, known.monitored)

    def _weigh(self, known: _Function, tag: str, hour: float) -> tuple[int, str]:
        if tag != AUTO:
            return _weight_of(tag), f"the tag says {tag}"
        if hour < self._least:
            reason = f"called less often than {self._min_calls_per_hour:g} times an hour (monitoring.min_calls_per_hour)"
            return 0, reason
        one_in = known.thinned(self._window)
        number = min(MAX_WEIGHT, int(one_in * self._all.scale + 0.9))
        if number == 1:
            reason = f"called at most {self._per_s:g} times a second (monitoring.function_per_s): all are"
        elif self._all.scale > 1.0:
            reason = (
                f"one in {number}, so that all functions together have {self._total_per_s:g} a second "
                "(monitoring.total_per_s)"
            )
        else:
            reason = f"one in {number}, so that there are {self._per_s:g} a second (monitoring.function_per_s)"
        return number, reason

    def _called(self, key: Key, now: float) -> _Function:
        known = self._known.get(key)
        if known is None:
            known = self._remember(key, now)
        elif not 0.0 <= now - known.since < WINDOW_S:
            known.roll(now, self._per_s)
            self._known.move_to_end(key)
        known.calls += 1
        return known

    def _current(self, now: float) -> _Everything:
        everything = self._all
        if not 0.0 <= now - everything.since < WINDOW_S:
            everything.roll(now)
        return everything

    def _remember(self, key: Key, now: float) -> _Function:
        if len(self._known) >= self._most:
            self._known.popitem(last=False)
        known = self._known[key] = _Function(now, self._per_s)
        known.bucket.at = now
        return known

    def _take(self, known: _Function, number: int, now: float) -> int:
        own, total = known.bucket, self._all.bucket
        if own.refill(now) < 1.0 or total.refill(now) < 1.0:
            known.carried = min(MAX_WEIGHT, known.carried + number)
            return 0
        own.take()
        total.take()
        self._all.roots += 1.0
        known.monitored += 1
        weight = min(MAX_WEIGHT, number + known.carried)
        known.carried = 0
        return weight


def _share(elapsed: float, age: float) -> float:
    """How much the latest ``elapsed`` seconds say of a rate that is known for ``age`` seconds."""
    return min(1.0, max(-math.expm1(-elapsed / MEMORY_S), elapsed / max(age, elapsed)))


def _weight_of(tag: str) -> int:
    if tag == ON:
        return 1
    return int(tag) if tag.isdecimal() else 0


def _by_tag(tag: str, chance: float) -> int:
    number = _weight_of(tag)
    return number if number and chance * number < 1.0 else 0
