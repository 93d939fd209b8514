"""One host's replay, call by call, through several policies. Pure."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from forerun.prediction.replay.calls import MINUTE_S, CallReplay, Holding, Plain
from forerun.prediction.replay.hosts import YARDSTICK, Clock, Run
from forerun.prediction.replay.policies import Setting, keep_s, make_policy, needs_capacity
from forerun.prediction.replay.recorded import ByCalls
from forerun.prediction.replay.score import Score

# What acts by the policy of a name; ``None`` where the policy's windows are held as they are.
MakeHolding = Callable[[str, Setting], Holding | None]


class CallHost(NamedTuple):
    """What is replayed; ``count_from`` is in seconds of the recording. ``memory_mb``: what it has, where that is known."""

    recording: ByCalls
    count_from: float
    memory_mb: float | None = None
    make_holding: MakeHolding = lambda *_: None

    def run(self, names: Sequence[str], clock: Clock) -> list[Run]:
        """Each policy by its own; ``clock`` tells seconds."""
        runs = []
        for name in names:
            capacity_mb = self._capacity_mb() if needs_capacity(name) else 0.0
            began = clock()
            score = self._replay(name, capacity_mb)
            runs.append(Run(name, score, clock() - began))
        return runs

    def _replay(self, name: str, capacity_mb: float) -> Score:
        recording = self.recording
        setting = Setting(
            recording.functions, 0.0, capacity_mb, self._arrivals, lambda: working_at(recording)
        )
        holding = self.make_holding(name, setting) or Plain(
            make_policy(name, setting),
            keep_s(name),
            lambda place: recording.functions[place].start_ms / 1000.0,
        )
        return CallReplay(recording, holding, count_from=self.count_from).run(self.memory_mb)

    def _arrivals(self) -> Mapping[int, Sequence[float]]:
        arrivals: dict[int, list[float]] = {}
        for call in self.recording.calls:
            arrivals.setdefault(call.place, []).append(call.begin)
        return arrivals

    def _capacity_mb(self) -> float:
        """Given, or what the yardstick holds on average."""
        if self.memory_mb is not None:
            return self.memory_mb
        score = self._replay(YARDSTICK, 0.0)
        counted_s = max(1.0, self.recording.end_s - self.count_from)
        return (score.wasted_mb_minutes + score.used_mb_minutes) / (counted_s / MINUTE_S)


def working_at(recording: ByCalls) -> Mapping[int, Sequence[int]]:
    """For each arrival of each function, in order, how many of its calls run then, this one included."""
    running: dict[int, list[float]] = {}
    working: dict[int, list[int]] = {}
    for call in recording.calls:
        ends = running.setdefault(call.place, [])
        while ends and ends[0] <= call.begin:
            heapq.heappop(ends)
        heapq.heappush(ends, call.begin + call.seconds)
        working.setdefault(call.place, []).append(len(ends))
    return working
