"""Counts arrivals and executions by the name that was called: on every call's way, so it costs a few additions."""

import math
from collections.abc import Callable, Iterator

from forerun.control.ahead.scores import LONGEST_START_MS, STARTS, Counts, slow, typical
from forerun.control.registry import Resolved
from forerun.model import Qualified
from forerun.prediction import Cost

MOST = 100_000
GATHER_S = 0.2
LEVEL_MEMORY_S = 10.0
START_MEMORY_S = 600.0
FADING = 0.9


class Traffic:
    """One name's calls. ``count`` have begun since ``at`` and were not taken yet; ``running`` run, ``high`` did at once.

    ``followed``: running executions are followed on their ways. ``counts`` are those of the score since it was written, at
    ``kept_at``.
    ``starts`` is how many sandboxes were started for it of late.
    """

    __slots__ = (
        "arn",
        "arrived",
        "at",
        "calls",
        "changed",
        "count",
        "counts",
        "followed",
        "function",
        "high",
        "highs",
        "kept_at",
        "last",
        "memory_mb",
        "running",
        "seen_at",
        "starts",
        "starts_at",
        "starts_ms",
        "working",
    )

    def __init__(self, function: Qualified, arn: str) -> None:
        self.function = function
        self.arn = arn
        self.count = 0
        self.at = 0.0
        self.running = 0
        self.high = 0
        self.followed = False
        self.counts = Counts()
        self.changed = False
        self.kept_at = 0.0
        self.calls = 0
        self.last = 0.0
        self.seen_at = 0.0
        self.working = 0.0
        self.arrived = 0.0
        self.highs = 0.0
        self.starts = 0.0
        self.starts_at = 0.0
        self.starts_ms: list[float] = []
        self.memory_mb = 0.0

    @property
    def at_once(self) -> float:
        """How many sandboxes a call of a burst takes: less than one where calls are short and follow each other."""
        return min(1.0, self.highs / self.arrived) if self.arrived else 1.0

    @property
    def start_ms(self) -> float:
        """What a start usually takes; 0 when none was seen."""
        return typical(self.starts_ms)

    @property
    def slow_start_s(self) -> float:
        """What nearly all starts stay below, in seconds."""
        return slow(self.starts_ms) / 1000.0

    def note(self, now: float) -> None:
        """``count`` calls are taken notice of."""
        passed = max(0.0, now - self.seen_at)
        self.seen_at = now
        self.last = self.at
        self.calls += self.count
        self.counts.calls += self.count
        self.changed = True
        self.arrived = FADING * self.arrived + self.count
        self.highs = FADING * self.highs + min(self.count, self.high)
        share = 1.0 - math.exp(-passed / LEVEL_MEMORY_S)
        self.working += (self.running - self.working) * share
        self.high = self.running

    def level(self, now: float) -> float:
        """How many work now, or did on average of late, if that is more."""
        faded = math.exp(-max(0.0, now - self.seen_at) / LEVEL_MEMORY_S)
        return self.running + max(0.0, self.working - self.running) * faded

    def started(self, now: float, start_ms: float | None, memory_mb: float) -> None:
        """A sandbox was started for it; ``start_ms`` is what a call has waited for that."""
        self.starts = self.starts_of_late(now) + 1.0
        self.starts_at = now
        if memory_mb > 0:
            known = self.memory_mb or memory_mb
            self.memory_mb = known + (memory_mb - known) / 4
        if start_ms is not None:
            self.starts_ms.append(min(LONGEST_START_MS, max(0.0, start_ms)))
            del self.starts_ms[:-STARTS]

    def starts_of_late(self, now: float) -> float:
        """How many, older ones for less."""
        return self.starts * math.exp(-max(0.0, now - self.starts_at) / START_MEMORY_S)


def cost_of(traffic: Traffic | None) -> Cost:
    """What a sandbox costs, as far as it was measured."""
    usual = Cost()
    if traffic is None:
        return usual
    return Cost(traffic.memory_mb or usual.memory_mb, traffic.start_ms or usual.start_ms)


class Arrivals:
    """The traffic of all names that were called of late, at most ``most``; the oldest make room for others."""

    def __init__(self, most: int = MOST) -> None:
        # Which functions' executions are followed, for whom is called for the first time; set by who follows them.
        self.follows: Callable[[Qualified], bool] = _nobody
        self._most = most
        self._by_arn: dict[str, Traffic] = {}
        self._by_function: dict[Qualified, Traffic] = {}
        self._named: dict[tuple[str, str], set[Qualified]] = {}
        self._listed: list[Traffic] = []

    def __len__(self) -> int:
        return len(self._by_function)

    def __iter__(self) -> Iterator[Traffic]:
        return iter(self._by_function.values())

    def began(self, resolved: Resolved, now: float) -> Traffic:
        """A call to it begins."""
        traffic = self._by_arn.get(resolved.invoked_arn) or self._new(resolved)
        running = traffic.running = traffic.running + 1
        traffic.high = max(traffic.high, running)
        if traffic.count:
            traffic.count += 1
        else:
            traffic.count = 1
            traffic.at = now
            self._listed.append(traffic)
        return traffic

    def take(self, before: float, limit: int) -> list[Traffic]:
        """Those with calls that have begun before then, in the order of their first; ``count`` is the caller's to reset."""
        listed = self._listed
        end = 0
        while end < min(limit, len(listed)) and listed[end].at <= before:
            end += 1
        taken = listed[:end]
        del listed[:end]
        return taken

    def get(self, function: Qualified) -> Traffic | None:
        """That of a function, if it was called of late."""
        return self._by_function.get(function)

    def cost(self, function: Qualified) -> Cost:
        """What a sandbox of it costs."""
        return cost_of(self._by_function.get(function))

    def named(self, account: str, name: str) -> tuple[Qualified, ...]:
        """The names that a function was called by."""
        return tuple(self._named.get((account, name), ()))

    def put(self, function: Qualified) -> Traffic | None:
        """That of a function which is known from before; ``None`` when there is no room for it."""
        traffic = self._by_function.get(function)
        if traffic is not None:
            return traffic
        if len(self._by_function) >= self._most:
            return None
        return self._add(Traffic(function, ""))

    def forget(self, function: Qualified) -> None:
        """It is no more; what still runs of it ends for itself."""
        traffic = self._by_function.pop(function, None)
        if traffic is None:
            return
        self._by_arn.pop(traffic.arn, None)
        names = self._named.get(function[:2])
        if names is not None:
            names.discard(function)
            if not names:
                del self._named[function[:2]]

    def _new(self, resolved: Resolved) -> Traffic:
        version = resolved.function
        function = Qualified(version.account, version.name, resolved.qualifier or "")
        traffic = self._by_function.get(function)
        if traffic is None:
            if len(self._by_function) >= self._most:
                self._make_room()
            traffic = self._add(Traffic(function, resolved.invoked_arn))
        traffic.arn = resolved.invoked_arn
        self._by_arn[resolved.invoked_arn] = traffic
        return traffic

    def _add(self, traffic: Traffic) -> Traffic:
        function = traffic.function
        traffic.followed = self.follows(function)
        self._by_function[function] = traffic
        self._named.setdefault(function[:2], set()).add(function)
        return traffic

    def _make_room(self) -> None:
        """The oldest go, at rest or not: one that works is counted anew."""
        for function in list(self._by_function)[: max(1, self._most // 100)]:
            self.forget(function)


def _nobody(_function: Qualified) -> bool:
    return False
