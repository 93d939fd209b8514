"""The own policy's windows as a server holds them: by ``scheduling.Preparer``, with what the server knows of its calls."""

import math
from collections.abc import Sequence

from forerun.control.traffic import LEVEL_MEMORY_S, PEAK_MEMORY_S
from forerun.model import Expectation
from forerun.prediction import Policy, Predictor
from forerun.prediction.replay import ByCalls, Held, Holding
from forerun.scheduling import FOREVER, Demand, Preparer
from forerun.settings import HostSettings

# As in control: calls after which a function is known, and how strictly it must keep to its period.
KNOWN_CALLS = 6
REGULAR = 0.5
# The host's own rule: half of the longest keep-alive at one call a minute.
HALF_RATE = 1.0 / 60.0
RATE_MEMORY_S = 300.0


def make_holding(name: str, policy: Policy[int], recording: ByCalls) -> Holding | None:
    """For the own policy; others' windows are held as they are."""
    if not isinstance(policy, Predictor):
        return None
    return Prepared(policy, recording, HostSettings())


class _Seen:
    """How many sandboxes of a function worked at once of late, and how often it was called."""

    __slots__ = ("at", "calls", "last", "peak", "rate", "working")

    def __init__(self) -> None:
        self.calls = 0
        self.last = self.at = 0.0
        self.peak = self.working = self.rate = 0.0

    def note(self, now: float, working: int, *, began: bool) -> None:
        """So many work now."""
        passed, self.at = max(0.0, now - self.at), now
        self.peak = max(float(working), self.peak * math.exp(-passed / PEAK_MEMORY_S))
        self.working += (working - self.working) * (1.0 - math.exp(-passed / LEVEL_MEMORY_S))
        self.rate = self.rate * math.exp(-passed / RATE_MEMORY_S) + began
        if began:
            self.calls += 1
            self.last = now


class Prepared:
    """Implements ``Holding`` for one host with its usual settings."""

    def __init__(
        self, policy: "Predictor[int]", recording: ByCalls, settings: HostSettings
    ) -> None:
        self._policy = policy
        self._functions = recording.functions
        self._preparer = Preparer(keep_s=settings.keep_alive_min_s)
        self._min_s, self._max_s = settings.keep_alive_min_s, settings.keep_alive_max_s
        self._seen = [_Seen() for _ in recording.functions]

    def began(self, place: int, now: float, working: int) -> None:
        """See ``Holding``."""
        self._seen[place].note(now, working, began=True)

    def hold(self, place: int, windows: Sequence[Expectation], now: float, working: int) -> Held:
        """See ``Holding``."""
        seen = self._seen[place]
        seen.note(now, working, began=False)
        demands = [self._demand(place, windows, now, working)] if seen.calls else []
        decision = self._preparer.decide(
            demands, now=now, start_s=self._functions[place].start_ms / 1000.0
        )
        standby = decision.standby
        idle = 0 if standby is None else standby.idle
        linger_s = None if standby is None else standby.linger_s
        return Held(idle, self._own_s(seen) if linger_s is None else linger_s, decision.again_at)

    def _demand(
        self, place: int, windows: Sequence[Expectation], now: float, working: int
    ) -> Demand:
        seen = self._seen[place]
        if seen.calls < KNOWN_CALLS:
            return Demand(windows, peak=seen.peak, working=float(working))
        period_s, degree = self._policy.regularity(place, now)
        return Demand(
            windows,
            peak=seen.peak,
            working=max(seen.working, float(working)),
            known=True,
            next_at=seen.last + period_s if degree >= REGULAR else FOREVER,
        )

    def _own_s(self, seen: _Seen) -> float:
        """How long the host keeps what it was told nothing about."""
        rate = seen.rate / RATE_MEMORY_S
        return self._min_s + (self._max_s - self._min_s) * rate / (rate + HALF_RATE)
