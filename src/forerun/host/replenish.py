"""How many unassigned sandboxes each runtime's warming pool should hold, and how fast to make them. Pure.

Both follow the present request rate: the target is what arrives within the lead time on top of a floor, and from one
threshold of the rate to the next more are made at once. So taking one may add several, and when requests stop the pool
shrinks back to its floor.
"""

import math
from dataclasses import dataclass

from forerun.host.rates import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillPolicy:
    """The knobs of the warming pool."""

    floor: int = 2
    """Sandboxes of a runtime in use that wait when nothing happens."""

    ceiling: int = 64
    """Sandboxes of one runtime that wait at most."""

    lead_s: float = 1.0
    """Seconds of requests, at the present rate, that the pool shall be able to serve without a fork."""

    memory_s: float = 10.0
    """How far back the present rate looks, in seconds."""

    steps: tuple[tuple[float, int], ...] = ((0.0, 1), (1.0, 2), (5.0, 4), (20.0, 8))
    """From this many requests a second on, so many sandboxes are made at once; ascending, the first from 0."""

    retry_s: float = 1.0
    """Pause after a failed creation; doubled by each further failure, at most 64 times as long."""


class _Runtime:
    __slots__ = ("failures", "floor", "not_before", "rate")

    def __init__(self, memory_s: float, floor: int) -> None:
        self.rate = Rate(memory_s)
        self.floor = floor
        self.failures = 0
        self.not_before = -math.inf


class Replenisher:
    """Answers how many to make or to give up; it holds rates, not sandboxes."""

    def __init__(self, policy: RefillPolicy) -> None:
        self._policy = policy
        self._runtimes: dict[str, _Runtime] = {}

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes in use."""
        return tuple(self._runtimes)

    def use(self, runtime: str) -> None:
        """Hold the floor for this runtime from now on."""
        if runtime not in self._runtimes:
            self._runtimes[runtime] = _Runtime(self._policy.memory_s, self._policy.floor)

    def hold(self, runtime: str, floor: int) -> None:
        """Hold so many of this runtime at least from now on, beyond the ceiling if need be."""
        self.use(runtime)
        self._runtimes[runtime].floor = floor

    def forget(self, runtime: str) -> None:
        """Hold none of this runtime any more."""
        self._runtimes.pop(runtime, None)

    def asked(self, runtime: str, now: float) -> None:
        """A call needed an unassigned sandbox of this runtime, whether one was there or not."""
        self.use(runtime)
        self._runtimes[runtime].rate.note(now)

    def made(self, runtime: str) -> None:
        """A creation succeeded."""
        if entry := self._runtimes.get(runtime):
            entry.failures = 0
            entry.not_before = -math.inf

    def failed(self, runtime: str, now: float) -> None:
        """A creation failed: leave the pool alone for a while, longer each time."""
        entry = self._runtimes.get(runtime)
        if entry is None:
            return
        entry.not_before = now + self._policy.retry_s * 2 ** min(entry.failures, 6)
        entry.failures += 1

    def target(self, runtime: str, now: float) -> int:
        """How many should wait; 0 for a runtime not in use."""
        entry = self._runtimes.get(runtime)
        if entry is None:
            return 0
        expected = math.floor(entry.rate.per_second(now) * self._policy.lead_s + 0.5)
        return max(entry.floor, min(entry.floor + expected, self._policy.ceiling))

    def step(self, runtime: str, now: float) -> int:
        """How many may be in the making for the pool at the present rate."""
        entry = self._runtimes.get(runtime)
        if entry is None or now < entry.not_before:
            return 0
        rate = entry.rate.per_second(now)
        return max((step for threshold, step in self._policy.steps if rate >= threshold), default=0)

    def due(self, runtime: str, *, pooled: int, creating: int, now: float) -> int:
        """How many creations to begin now, when so many wait and so many are being made for the pool."""
        missing = self.target(runtime, now) - pooled - creating
        return max(0, min(missing, self.step(runtime, now) - creating))

    def surplus(self, runtime: str, *, pooled: int, now: float) -> int:
        """How many of those that wait to give up now: an eighth of what is too many, and none for a little."""
        target = self.target(runtime, now)
        excess = pooled - target
        return 0 if excess <= target // 4 else (excess + 7) // 8
