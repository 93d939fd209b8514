"""Functions spread over hosts by their names, and one host's replay through several policies. Pure.

Hosts know nothing of each other, so they can be replayed by as many processes as there are, and their scores added up.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from forerun.prediction.policy import Policy
from forerun.prediction.replay.minutes import MINUTE_S, MinuteReplay
from forerun.prediction.replay.policies import Setting, make_policy, needs_capacity
from forerun.prediction.replay.recorded import About, ByMinutes, Calls
from forerun.prediction.replay.score import Score

# The keep-alive whose memory a policy that needs a bound gets, where none is given.
YARDSTICK = "fixed-10"

Clock = Callable[[], float]


class Run(NamedTuple):
    """A policy's score on a host, and the seconds it took."""

    name: str
    score: Score
    seconds: float


class Replayable(Protocol):
    """A host's share of a recording, however it comes to it."""

    def run(self, names: Sequence[str], clock: Clock) -> list[Run]:
        """Each policy by its own; ``clock`` tells seconds."""
        ...


class Host(NamedTuple):
    """What is replayed on one host; ``count_from`` is a minute. ``memory_mb``: what it has, where that is known."""

    functions: Sequence[Calls]
    first: int
    end: int
    count_from: int
    memory_mb: float | None = None

    def run(self, names: Sequence[str], clock: Clock) -> list[Run]:
        """Each policy by its own; ``clock`` tells seconds."""
        runs = []
        for name in names:
            capacity_mb = self._capacity_mb() if needs_capacity(name) else 0.0
            began = clock()
            policy = make_policy(name, self._setting(capacity_mb))
            score = self._replay(policy)
            runs.append(Run(name, score, clock() - began))
        return runs

    def _replay(self, policy: Policy[int]) -> Score:
        replay = MinuteReplay(
            self.functions, policy, first=self.first, end=self.end, count_from=self.count_from
        )
        return replay.run(self.memory_mb)

    def _setting(self, capacity_mb: float) -> Setting:
        abouts = [calls.about for calls in self.functions]
        return Setting(abouts, MINUTE_S, capacity_mb, self._arrivals)

    def _arrivals(self) -> Mapping[int, Sequence[float]]:
        return {
            place: [minute * MINUTE_S for minute in calls.minutes]
            for place, calls in enumerate(self.functions)
        }

    def _capacity_mb(self) -> float:
        """Given, or what the yardstick holds on average."""
        if self.memory_mb is not None:
            return self.memory_mb
        score = self._replay(make_policy(YARDSTICK, self._setting(0.0)))
        minutes = max(1, self.end - max(self.first, self.count_from))
        return (score.wasted_mb_minutes + score.used_mb_minutes) / minutes


def spread(
    recording: ByMinutes, hosts: int, *, train: int, memory_mb: float | None = None
) -> list[Host]:
    """The functions of a recording on so many hosts; the first ``train`` minutes are not counted."""
    shares: list[list[Calls]] = [[] for _ in range(hosts)]
    for calls in recording.functions:
        shares[host_of(calls.about, hosts)].append(calls)
    first, end = recording.first, recording.end
    return [Host(share, first, end, first + train, memory_mb) for share in shares if share]


def host_of(about: About, hosts: int) -> int:
    """By name and app, the same on every machine. Apps stay together, so that their functions know each other."""
    return zlib.crc32(repr(about.group or about.name).encode()) % hosts
