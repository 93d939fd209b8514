"""How much provisioned concurrency a function shall have: target tracking, forecasts and bounds made into one number. Pure.

Use is measured in periods, as the number of sandboxes at work. It is compared with the capacity there is now, so that
what was measured before a change counts against what was provided since.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from forerun.model import Expectation

# AWS scales in below nine tenths of the target, so that it does not go to and fro.
SLACK = 0.9
# What is less likely than this is not provided for.
LIKELY = 0.5


class Periods(NamedTuple):
    """Length of a period in seconds, and how many in a row must be above the target, or below it, until it matters."""

    length_s: float = 60.0
    above: int = 3
    below: int = 15


class Target(NamedTuple):
    """A target-tracking policy: the share of capacity that is to be in use, and seconds to rest after a change.

    What is in use is the mean of a period, with ``by_peak`` the most at once in it.
    """

    share: float
    out_cooldown_s: float = 0.0
    in_cooldown_s: float = 0.0
    no_scale_in: bool = False
    by_peak: bool = False


class Use(NamedTuple):
    """How many sandboxes were at work in a period: on average, and at most at once."""

    mean: float
    peak: float


class Load:
    """The use of one function's capacity in the past periods; bounded."""

    def __init__(self, periods: Periods, now: float) -> None:
        self._periods = periods
        self._begun = now
        self._sum = 0.0
        self._samples = 0
        self._peak = 0
        self._past: deque[Use] = deque(maxlen=max(periods.above, periods.below))

    def sample(self, working: int, now: float) -> bool:
        """So many sandboxes work now; whether a period is over by it. A gap longer than two periods is no period."""
        length_s = self._periods.length_s
        over = False
        if now >= self._begun + length_s or now < self._begun:
            if self._samples and self._begun <= now <= self._begun + 2 * length_s:
                self._past.append(Use(self._sum / self._samples, self._peak))
                over = True
            else:
                self._past.clear()
            self._begun = now
            self._sum, self._samples, self._peak = 0.0, 0, 0
        self._sum += working
        self._samples += 1
        self._peak = max(self._peak, working)
        return over

    def lately(self, count: int) -> list[Use]:
        """The last ``count`` periods; empty when there are not as many."""
        return list(self._past)[-count:] if len(self._past) >= count else []


def track(
    target: Target,
    load: Load,
    capacity: int,
    periods: Periods,
    *,
    since_out_s: float = math.inf,
    since_in_s: float = math.inf,
) -> int | None:
    """What the policy wants, ``None`` when it leaves things as they are.

    ``since_out_s`` and ``since_in_s`` are seconds since the capacity was raised and lowered. What ran beyond the capacity
    counts as well: one step reaches what is needed.
    """
    above = _counted(load.lately(periods.above), target)
    if above and all(use > target.share * capacity for use in above):
        return _needed(max(above), target) if since_out_s >= target.out_cooldown_s else None
    if target.no_scale_in or min(since_in_s, since_out_s) < target.in_cooldown_s:
        return None
    below = _counted(load.lately(periods.below), target)
    if below and all(use < SLACK * target.share * capacity for use in below):
        needed = _needed(max(below), target)
        return needed if needed < capacity else None
    return None


def _counted(past: Sequence[Use], target: Target) -> list[float]:
    return [use.peak if target.by_peak else use.mean for use in past]


def _needed(working: float, target: Target) -> int:
    # A little above a whole number is rounding, not need.
    return math.ceil(working / target.share - 1e-9)


class Forecast(NamedTuple):
    """What a predictive policy wants: capacity from a forecast; ``limit`` replaces the target's maximum if that is lower."""

    capacity: int
    limit: int = 0


def foreseen(windows: Sequence[Expectation], at: float, ahead_s: float = 0.0) -> int:
    """How many calls at once are likely at a moment (epoch seconds), or begin to be within ``ahead_s`` after it."""
    likely = (each for each in windows if each.probability >= LIKELY)
    return max(
        (each.count for each in likely if each.since - ahead_s <= at < each.until), default=0
    )


class Bounds(NamedTuple):
    """What a capacity is kept within, and which changes are suspended."""

    low: int
    high: int
    out_suspended: bool = False
    in_suspended: bool = False


class Wanted(NamedTuple):
    """The capacity to have; ``policy`` is the index of the wish it follows, ``None`` when it is the bounds'."""

    capacity: int
    policy: int | None = None


def settle(capacity: int, wishes: Sequence[int | Forecast | None], bounds: Bounds) -> Wanted | None:
    """One capacity out of what all policies wish, ``None`` when it stays as it is.

    The greatest wish counts; a tracking policy that wishes nothing wants things to stay. Without wishes only the bounds count.
    """
    best, limit = Wanted(capacity), bounds.high
    for number, wish in enumerate(wishes):
        wanted = capacity if wish is None else wish.capacity if isinstance(wish, Forecast) else wish
        if number == 0 or wanted > best.capacity:
            best = Wanted(wanted, number)
        if isinstance(wish, Forecast):
            limit = max(limit, wish.limit)
    kept = max(bounds.low, min(best.capacity, limit))
    if kept != best.capacity:
        # A wish beyond the bounds moves the capacity to the bound, and is the reason when that is on its way.
        follows = best.policy if (kept - capacity) * (best.capacity - capacity) > 0 else None
        best = Wanted(kept, follows)
    suspended = bounds.out_suspended if kept > capacity else bounds.in_suspended
    return None if kept == capacity or suspended else best


def share_out(total: int, weight: float) -> tuple[int, int]:
    """How a weighted alias's capacity is divided between its own version and the further one with ``weight`` in [0, 1].

    Each that gets calls has one at least, as far as there are two.
    """
    further = math.floor(total * weight + 0.5)
    if total >= 2 and 0 < weight < 1:
        further = min(max(further, 1), total - 1)
    return total - further, further
