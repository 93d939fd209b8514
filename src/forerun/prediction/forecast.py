"""A forecast as people and programs read it: what is expected of a function, and what that rests on."""

import msgspec

from forerun.model import Expectation


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """Its gaps between calls at one resolution (``tick_s`` seconds), and the wait that is open.

    ``chances``: of a call in the present tick, as each level of knowledge sees it, from the general to the particular; the
    last one counts.
    """

    tick_s: float
    gaps: int
    shortest_s: float
    median_s: float
    longest_s: float
    age_s: float
    chances: dict[str, float] = {}


class LeaderView(msgspec.Struct, frozen=True, kw_only=True):
    """A function whose calls were followed by this one's: ``lag_s`` seconds later, ``seen`` times, ``gain`` calls for each."""

    name: str
    lag_s: float
    correlation: float
    seen: int
    gain: float
    believed: bool


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of a function at the moment ``at``, and why. Moments are epoch seconds.

    ``burst`` is how many calls come at once; ``regularity`` is from 0 to 1. ``days`` has the minutes of the day (UTC,
    ``HH:MM``) it was called in, with the days back on which it was.
    """

    at: float
    calls: int
    last: float
    burst: int
    period_s: float
    regularity: float
    habits: list[Habits]
    days: list[tuple[str, list[int]]]
    leaders: list[LeaderView]
    windows: list[Expectation]
