"""Executions that are told step by step, and the events that the platform would tell of them.

A scenario draws executions of function A with chance's help; its label says which kinds of findings are true of it. What
is ``also`` true is no mistake when it is found, and none when it is not.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from forerun.events import ExecutionEnded
from forerun.model import (
    Channel,
    InvocationRecord,
    Origin,
    OutgoingCall,
    Timings,
    TraceContext,
)
from forerun.profiles.findings import Kind

ACCOUNT = "000000000001"
PLATFORM = "127.0.0.1:4566"
BEGIN = 1_760_000_000.0


@dataclass
class Execution:
    """One run of a handler, told step by step; ``now`` is milliseconds after its start."""

    chance: random.Random
    begins: float
    now: float = 0.0
    calls: list[OutgoingCall] = field(default_factory=list)
    init_ms: float | None = None
    memory_mb: int = 256
    used_mb: int = 120
    cpu_ms: float = 0.0
    status: str = "success"
    cause: str = ""

    def about(self, ms: float, spread: float = 0.25) -> float:
        """A duration around ``ms``, with the long tail that durations have."""
        return ms * self.chance.lognormvariate(0, spread)

    def work(self, ms: float) -> None:
        """Compute something."""
        took = self.about(ms)
        self.now += took
        self.cpu_ms += took * 0.9

    def pause(self, ms: float) -> None:
        """Wait for nothing in particular."""
        self.now += ms

    def call(self, host: str, path: str = "/", *, ms: float = 20.0, **more: object) -> None:
        """Call and wait for the answer."""
        self.now += 0.2
        self.now = self._call(host, path, self.now, self.about(ms), **more)

    def at_once(self, *calls: tuple[str, str, float]) -> None:
        """Make several calls (host, path, ms) at once, and wait for all."""
        self.now = max(self._call(*call[:2], self.now + 0.1, self.about(call[2])) for call in calls)

    def _call(self, host: str, path: str, at: float, ms: float, **more: object) -> float:
        at_s = self.begins + at / 1000
        call = OutgoingCall(
            span_id=f"{self.chance.getrandbits(64):016x}",
            started=at_s,
            ended=at_s + ms / 1000,
            method="GET",
            host=host,
            path=path,
            status=200,
            sent_bytes=200,
            received_bytes=2000,
            fingerprint=self.chance.getrandbits(60) + 1,
        )
        for name, value in more.items():
            setattr(call, name, value)
        self.calls.append(call)
        return at + ms

    def invoke(self, name: str, *, ms: float = 20.0, **more: object) -> None:
        """Call another function."""
        path = f"/2015-03-31/functions/{name}/invocations"
        self.call(
            PLATFORM, path, ms=ms, method="POST", service="lambda", operation="Invoke", **more
        )

    def event(self, name: str, number: int) -> ExecutionEnded:
        """What the platform tells of it."""
        ended = self.begins + self.now / 1000
        record = InvocationRecord(
            request_id=f"00000000-0000-4000-8000-{number:012x}",
            account=ACCOUNT,
            name=name,
            version="1",
            status=self.status,
            error_type=None if self.status == "success" else "Sandbox.Timedout",
            start_type="warm" if self.init_ms is None else "pool",
            duration_ms=self.now,
            init_ms=self.init_ms,
            memory_mb=self.memory_mb,
            max_memory_mb=self.used_mb,
            timings=Timings(received=self.begins, started=self.begins, ended=ended, answered=ended),
        )
        origin = Origin()
        if self.cause:
            origin = Origin(execution=self.cause, account=ACCOUNT, weight=1, channel=Channel.HEADER)
        context = TraceContext(
            trace_id=f"{self.chance.getrandbits(128):032x}",
            span_id=f"{self.chance.getrandbits(64):016x}",
            origin=origin,
            header="",
            weight=1,
        )
        return ExecutionEnded(
            record=record, context=context, region="r", calls=self.calls, cpu_ms=self.cpu_ms
        )


Play = Callable[[Execution, random.Random], None]


@dataclass(frozen=True)
class Scenario:
    """``others`` are functions that A calls, and what they do."""

    name: str
    play: Play
    true: frozenset[Kind]
    also: frozenset[Kind] = frozenset()
    others: tuple[tuple[str, Play], ...] = ()


SCENARIOS: list[Scenario] = []


def scenario(*true: Kind, also: tuple[Kind, ...] = (), **others: Play) -> Callable[[Play], Play]:
    """Add a scenario: the kinds that are true of it, and what the functions do that it calls."""

    def add(play: Play) -> Play:
        made = Scenario(
            play.__name__, play, frozenset(true), frozenset(also), tuple(others.items())
        )
        SCENARIOS.append(made)
        return play

    return add


def events_of(one: Scenario, seed: int, executions: int) -> Iterator[ExecutionEnded]:
    """What the platform would tell of so many executions of A, and of the functions it calls."""
    chance = random.Random(f"{one.name}/{seed}")
    at = BEGIN
    for number in range(executions):
        at += chance.expovariate(0.2)
        for name, play in (*one.others, ("A", one.play)):
            execution = Execution(chance, at)
            play(execution, chance)
            yield execution.event(name, number)
