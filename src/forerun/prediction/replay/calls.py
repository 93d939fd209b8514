"""Replay call by call: sandboxes are claimed, work, wait idle and are let go in virtual time, as on a host. Pure.

A call takes the sandbox that worked last, else one that nobody has used. Without one it waits for a start, or for one that is
being made if that is sooner. Calls that overlap need a sandbox each. What waits idle is decided by a ``Holding``.
"""

import heapq
import math
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from forerun.model import Expectation
from forerun.prediction.policy import Policy
from forerun.prediction.replay.recorded import ByCalls, Call
from forerun.prediction.replay.score import Score

MINUTE_S = 60.0
# Policies are told the time so often.
ADVANCE_S = 1.0
# What was claimed is replaced when it stays away for so long: most calls are shorter than a start.
PATIENCE_S = 1.0


class Held(NamedTuple):
    """So many sandboxes wait idle; others go ``linger_s`` after their last call. It is decided anew at ``again_at``."""

    idle: int
    linger_s: float
    again_at: float = math.inf


class Holding(Protocol):
    """Decides what waits: a policy, and what acts by it. Functions are known by their places, moments are seconds of the recording.

    ``began`` and ``turn`` name the places for which ``hold`` may have changed.
    """

    def began(self, place: int, now: float) -> Iterable[int]:
        """A call has begun, and has its sandbox or waits for it."""
        ...

    def ended(self, place: int, now: float, start_ms: float | None) -> None:
        """One has ended; ``start_ms`` is what it has waited for a start of its own."""
        ...

    def turn(self, now: float) -> Iterable[int]:
        """Time has passed."""
        ...

    def next_at(self, now: float) -> float:
        """When ``turn`` is due after that of now."""
        ...

    def hold(self, place: int, now: float) -> Held:
        """What shall wait from now on."""
        ...


class Plain:
    """Implements ``Holding``: as many wait as the policy's open window asks for, from ``lead_s`` before it; others linger."""

    def __init__(
        self,
        policy: Policy[int],
        linger_s: float = 0.0,
        lead_s: Callable[[int], float] = lambda _: 0.0,
    ) -> None:
        self._policy = policy
        self._linger_s = linger_s
        self._lead_s = lead_s
        self._windows: dict[int, Sequence[Expectation]] = {}

    def began(self, place: int, now: float) -> Iterable[int]:
        """See ``Holding``."""
        return self._renewed(self._policy.observe(place, now), now)

    def ended(self, place: int, now: float, start_ms: float | None) -> None:
        """See ``Holding``."""

    def turn(self, now: float) -> Iterable[int]:
        """See ``Holding``."""
        return self._renewed(self._policy.advance(now), now)

    def next_at(self, now: float) -> float:
        """See ``Holding``."""
        return now + ADVANCE_S

    def _renewed(self, places: Iterable[int], now: float) -> Iterable[int]:
        found = dict.fromkeys(places)
        for place in found:
            self._windows[place] = self._policy.windows(place, now)
        return found

    def hold(self, place: int, now: float) -> Held:
        """See ``Holding``."""
        idle, again_at, before_s = 0, math.inf, self._lead_s(place)
        for each in self._windows.get(place, ()):
            if each.since - before_s > now:
                again_at = min(again_at, each.since - before_s)
                break
            if now < each.until:
                idle = max(idle, each.count)
                again_at = min(again_at, each.until)
        return Held(idle, self._linger_s, again_at)


class _Function:
    """``idle`` has since when each waits that has worked, in order; ``unused`` the same of those that nobody has used.

    ``making``: when each that is being prepared will be ready, in order. ``asked``: how many were to wait when it was
    looked at last.
    """

    __slots__ = (
        "again_at",
        "asked",
        "calls",
        "cold",
        "idle",
        "lacking_since",
        "making",
        "unused",
        "working",
    )

    def __init__(self) -> None:
        self.idle: list[float] = []
        self.unused: list[float] = []
        self.making: list[float] = []
        self.asked = 0
        self.working = 0
        self.again_at = math.inf
        self.lacking_since = math.inf
        self.calls = 0
        self.cold = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self.idle) + len(self.unused)


class _Delay(NamedTuple):
    """The seconds until a call's sandbox can work, and whether it was started for it alone."""

    seconds: float = 0.0
    own: bool = False


# No call ends, it is only looked at what waits.
_LOOK = _Delay(-1.0)


class CallReplay:
    """One host; calls that begin from ``count_from`` on are counted, in seconds of the recording. ``run`` once."""

    def __init__(self, recording: ByCalls, holding: Holding, *, count_from: float) -> None:
        self._recording = recording
        self._holding = holding
        self._count_from = count_from
        self._functions = [_Function() for _ in recording.functions]
        # What happens by itself: moment, place, and how the call that ends then came to its sandbox.
        self._coming: list[tuple[float, int, _Delay]] = []
        self._score = Score()
        self._held_mb = 0.0
        self._memory_mb: float | None = None
        self._over_since = math.inf
        self._over_s = 0.0

    def run(self, memory_mb: float | None = None) -> Score:
        """Replay all of it; ``memory_mb`` is what the host has."""
        self._memory_mb = memory_mb
        end_s = self._recording.end_s
        for at, call in self._moments(end_s):
            self._happen(at)
            if call is None:
                for place in self._holding.turn(at):
                    self._look(place, at)
            else:
                self._begin(call)
        self._happen(end_s)
        self._close(end_s)
        return self._score

    def _moments(self, end_s: float) -> Iterator[tuple[float, Call | None]]:
        """Calls, and between them the moments at which what acts has its turn."""
        turn_at = math.floor(self._recording.first_s / ADVANCE_S) * ADVANCE_S
        for call in self._recording.calls:
            while turn_at <= call.begin:
                yield turn_at, None
                turn_at = self._holding.next_at(turn_at)
            yield call.begin, call
        while turn_at <= end_s:
            yield turn_at, None
            turn_at = self._holding.next_at(turn_at)

    # -- what happens --------------------------------------------------------------------------------------------

    def _happen(self, now: float) -> None:
        """All that comes by itself until now."""
        while self._coming and self._coming[0][0] <= now:
            at, place, delay = heapq.heappop(self._coming)
            function = self._functions[place]
            if delay != _LOOK:
                function.working -= 1
                insort(function.idle, at)
                self._holding.ended(place, at, delay.seconds * 1000.0 if delay.own else None)
            elif at == function.again_at:
                function.again_at = math.inf
            self._look(place, at)

    def _begin(self, call: Call) -> None:
        place, now = call.place, call.begin
        function, about = self._functions[place], self._recording.functions[place]
        delay = self._claim(place, now)
        function.working += 1
        if now >= self._count_from:
            function.calls += 1
            function.cold += delay.seconds > 0.0
            if delay.seconds > 0.0:
                self._score.delays[round(delay.seconds * 1000.0, 1)] += 1
        ends = now + delay.seconds + call.seconds
        self._score.used_mb_minutes += self._mb_minutes(about.memory_mb, now, ends)
        heapq.heappush(self._coming, (ends, place, delay))
        changed = dict.fromkeys(self._holding.began(place, now))
        changed[place] = None
        for each in changed:
            self._look(each, now)

    def _claim(self, place: int, now: float) -> _Delay:
        """Take a sandbox."""
        function, about = self._functions[place], self._recording.functions[place]
        self._ready(function, now)
        if function.waiting:
            ahead = not function.idle
            since = (function.unused if ahead else function.idle).pop()
            self._score.ahead += ahead and now >= self._count_from
            self._waste(about.memory_mb, since, now)
            return _Delay()
        start_s = about.start_ms / 1000.0
        if function.making and function.making[0] - now < start_s:
            # What it had taken until now was for this call.
            return _Delay(function.making.pop(0) - now)
        self._hold_mb(about.memory_mb, now)
        return _Delay(start_s, own=True)

    # -- what waits ----------------------------------------------------------------------------------------------

    def _look(self, place: int, now: float) -> None:
        """Let go what is too much, begin what is missing, and come back in time."""
        function = self._functions[place]
        self._ready(function, now)
        held = self._holding.hold(place, now)
        if held.idle > function.asked:
            function.lacking_since = -math.inf
        elif held.idle < function.asked:
            self._give_up(place, held.idle, now)
        function.asked = held.idle
        again_at = min(held.again_at, self._let_go(place, held, now))
        if held.idle > function.waiting + len(function.making):
            again_at = min(again_at, self._prepare(place, held.idle, now))
        else:
            function.lacking_since = math.inf
        if function.making:
            again_at = min(again_at, function.making[0])
        if now < again_at < function.again_at:
            function.again_at = again_at
            heapq.heappush(self._coming, (again_at, place, _LOOK))

    def _ready(self, function: _Function, now: float) -> None:
        """What was being made and is ready waits."""
        while function.making and function.making[0] <= now:
            insort(function.unused, function.making.pop(0))

    def _give_up(self, place: int, idle: int, now: float) -> None:
        """Fewer are wanted than before: what nobody has used goes at once."""
        function, memory_mb = self._functions[place], self._recording.functions[place].memory_mb
        while function.unused and function.waiting > idle:
            self._waste(memory_mb, function.unused.pop(0), now)
            self._hold_mb(-memory_mb, now)
        while function.making and function.waiting + len(function.making) > idle:
            function.making.pop()
            self._hold_mb(-memory_mb, now)

    def _let_go(self, place: int, held: Held, now: float) -> float:
        """What waits without need goes, longest first; when the next does."""
        function, memory_mb = self._functions[place], self._recording.functions[place].memory_mb
        while function.waiting > held.idle:
            lists = (function.idle, function.unused)
            oldest = min((each for each in lists if each), key=_first)
            ends = oldest[0] + held.linger_s
            if ends > now:
                return ends
            self._waste(memory_mb, oldest.pop(0), now)
            self._hold_mb(-memory_mb, now)
        return math.inf

    def _prepare(self, place: int, idle: int, now: float) -> float:
        """Begin what is missing, unless sandboxes that work may soon be back; when to look again."""
        function, about = self._functions[place], self._recording.functions[place]
        function.lacking_since = min(function.lacking_since, now)
        if function.working and now < function.lacking_since + PATIENCE_S:
            return function.lacking_since + PATIENCE_S
        for _ in range(idle - function.waiting - len(function.making)):
            ready_at = now + about.start_ms / 1000.0
            self._hold_mb(about.memory_mb, now)
            self._waste(about.memory_mb, now, ready_at)
            function.making.append(ready_at)
        return math.inf

    # -- what it costs -------------------------------------------------------------------------------------------

    def _mb_minutes(self, memory_mb: float, since: float, until: float) -> float:
        return memory_mb * max(0.0, until - max(since, self._count_from)) / MINUTE_S

    def _waste(self, memory_mb: float, since: float, until: float) -> None:
        self._score.wasted_mb_minutes += self._mb_minutes(memory_mb, since, until)

    def _hold_mb(self, more_mb: float, now: float) -> None:
        self._held_mb += more_mb
        if now >= self._count_from:
            self._score.peak_mb = max(self._score.peak_mb, self._held_mb)
        over = self._memory_mb is not None and self._held_mb > self._memory_mb * (1 + 1e-9)
        if over:
            self._over_since = min(self._over_since, max(now, self._count_from))
        elif self._over_since < math.inf:
            self._over_s += max(0.0, now - self._over_since)
            self._over_since = math.inf

    def _close(self, end_s: float) -> None:
        for function, about in zip(self._functions, self._recording.functions, strict=True):
            for since in (*function.idle, *function.unused):
                self._waste(about.memory_mb, since, end_s)
            self._score.called(function.calls, function.cold)
        if self._over_since < math.inf:
            self._over_s += max(0.0, end_s - self._over_since)
        self._score.over = round(self._over_s / MINUTE_S)


def _first(waiting: Sequence[float]) -> float:
    return waiting[0]
