"""Profiles: how far they are from the truth after 10,000 executions, and how fast they are told when there are many.

**Truth.** Executions are drawn from known likelihoods and latencies and told to the profiler as the server tells them,
through the database. What the profile says is held against what those executions really did (that is the sketch's error)
and, where there are enough calls for that, against what they were drawn from (that is chance, too). Once all of them are
watched; once one in four at random, which the profile does not know of but by the weight.

**Speed.** A thousand functions of which each calls ten others are counted until there are so many spans as asked for; then
profiles, the list and the map are asked for by a profiler that has to read them, and by one that knows them; and by one that
finds no outlines, as in a database of a version that did not keep them.

    .venv/bin/python bench/profiles.py --spans 10000000 --out profiles.json
"""

import math
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from case import Run
from many_spans import main
from results import Line

from forerun.aio import SystemClock
from forerun.events import ExecutionEnded
from forerun.model import InvocationRecord, Origin, OutgoingCall, Timings, TraceContext
from forerun.profiles import Profile, Profiler, latest, reach, service_map
from forerun.storage.profiles import ProfileStore
from forerun.storage.sqlite import TRACES, open_sqlite

ACCOUNT = "123456789012"
PLATFORM = "127.0.0.1:4566"
EXECUTIONS = 10_000
FUNCTIONS, CALLS = 1_000, 10
LIKELIHOOD_POINTS, P95_PERCENT = 2.0, 5.0
PROFILE_MS, MAP_MS = 200.0, 500.0
# Of fewer calls the 95th percentile is uncertain whoever computes it.
ENOUGH = 2_000
ONE_IN = 4
_BATCH = 200
_Z95 = 1.6448536269514722


class Drawn(NamedTuple):
    """A callee as it is drawn: how likely, and its latency's median (milliseconds) and spread (of the logarithm)."""

    host: str
    likelihood: float
    median_ms: float
    spread: float

    @property
    def p95(self) -> float:
        """What the 95th percentile would be of infinitely many."""
        return self.median_ms * math.exp(_Z95 * self.spread)


CALLEES = (
    Drawn("always:80", 1.0, 5.0, 0.2),
    Drawn("mostly:80", 0.85, 40.0, 0.5),
    Drawn("often:80", 0.6, 12.0, 1.0),
    Drawn("half:80", 0.5, 200.0, 0.3),
    Drawn("sometimes:80", 0.25, 3.0, 0.7),
    Drawn("rarely:80", 0.03, 70.0, 0.4),
)


class Truth:
    """What executions really did."""

    def __init__(self) -> None:
        self.executions = 0
        self.durations: list[float] = []
        self.latencies: dict[str, list[float]] = {each.host: [] for each in CALLEES}


def executions(count: int, chance: random.Random, truth: Truth) -> Iterator[ExecutionEnded]:
    """So many of one function; each call is made after the one before."""
    for number in range(count):
        began = now = 1_760_000_000.0 + number / 10
        calls = []
        for callee in CALLEES:
            if chance.random() >= callee.likelihood:
                continue
            took = callee.median_ms * chance.lognormvariate(0, callee.spread)
            truth.latencies[callee.host].append(took)
            calls.append(_call(chance, callee.host, now, now + took / 1000))
            now += took / 1000 + 0.001
        truth.executions += 1
        truth.durations.append((now - began) * 1000)
        yield _ended("truth", chance, began, now, calls)


def _call(chance: random.Random, host: str, started: float, ended: float) -> OutgoingCall:
    return OutgoingCall(
        span_id=f"{chance.getrandbits(64):016x}",
        started=started,
        ended=ended,
        method="GET",
        host=host,
        path="/v1/things/*",
        status=200,
        sent_bytes=100,
        received_bytes=2000,
        fingerprint=chance.getrandbits(62) + 1,
        injected=True,
    )


def _invoke(chance: random.Random, name: str, started: float, ended: float) -> OutgoingCall:
    call = _call(chance, PLATFORM, started, ended)
    call.method, call.service, call.operation = "POST", "lambda", "Invoke"
    call.path = f"/2015-03-31/functions/{name}/invocations"
    return call


def _ended(
    name: str,
    chance: random.Random,
    began: float,
    now: float,
    calls: list[OutgoingCall],
    weight: int = 1,
) -> ExecutionEnded:
    record = InvocationRecord(
        request_id="r",
        account=ACCOUNT,
        name=name,
        version="$LATEST",
        start_type="warm",
        duration_ms=(now - began) * 1000,
        memory_mb=256,
        max_memory_mb=chance.randrange(90, 130),
        timings=Timings(received=began, started=began, ended=now, answered=now),
    )
    context = TraceContext(
        trace_id=f"{chance.getrandbits(128):032x}",
        span_id=f"{chance.getrandbits(64):016x}",
        origin=Origin(),
        header="",
        weight=weight,
    )
    return ExecutionEnded(
        record=record, context=context, region="us-home-1", calls=calls, cpu_ms=chance.random() * 20
    )


class Bench:
    """A database in ``folder``, and what fills it."""

    def __init__(self, folder: Path, run: Run, spans: int) -> None:
        self.folder = folder
        self.run = run
        self.spans = spans

    async def lines(self) -> list[Line]:
        """Everything, in its order."""
        found = [*await self.truth(1), *await self.truth(ONE_IN)]
        return [*found, *await self.speed()]

    async def truth(self, one_in: int) -> list[Line]:
        """One function, of which one in so many executions is watched."""
        db = await open_sqlite(self.folder / f"truth-{one_in}.db", migrations=TRACES)
        store, clock, chance = ProfileStore(db), SystemClock(), random.Random(20_261_121)
        truth = Truth()
        profiler = Profiler(store, clock, {PLATFORM})
        batch: list[ExecutionEnded] = []
        for event in executions(EXECUTIONS * one_in, chance, truth):
            if chance.random() * one_in < 1:
                watched = msgspec.structs.replace(event.context, weight=one_in)
                batch.append(msgspec.structs.replace(event, context=watched))
            if len(batch) >= _BATCH:
                await profiler.consume(batch)
                batch = []
        await profiler.consume(batch)
        # One that has to read what was written.
        profile = await Profiler(store, clock, {PLATFORM}).get(ACCOUNT, "truth", "$LATEST")
        await db.close()
        if profile is None:
            raise AssertionError("no profile")
        return self._errors(profile, truth, one_in)

    def _errors(self, profile: Profile, truth: Truth, one_in: int) -> list[Line]:
        callees = {each.name: each for each in profile.callees}
        points = [
            abs(callees[each.host].likelihood.value - each.likelihood) * 100 for each in CALLEES
        ]
        held = sum(
            callees[each.host].likelihood.low
            <= each.likelihood
            <= callees[each.host].likelihood.high
            for each in CALLEES
        )
        done = [
            abs(callees[host].latency_ms.p95 / _exact95(took) - 1) * 100
            for host, took in truth.latencies.items()
            if len(took) >= ENOUGH * one_in
        ]
        done.append(abs(profile.duration_ms.p95 / _exact95(truth.durations) - 1) * 100)
        drawn = [
            abs(callees[each.host].latency_ms.p95 / each.p95 - 1) * 100
            for each in CALLEES
            if len(truth.latencies[each.host]) >= ENOUGH * one_in
        ]
        how = "all watched" if one_in == 1 else f"one in {one_in} watched"
        about = f"{profile.sampled:,} watched of {truth.executions:,}"
        return [
            self.run.line(
                f"likelihood, {how}: largest error",
                max(points),
                "points",
                LIKELIHOOD_POINTS,
                note=f"{about}; {held} of {len(CALLEES)} within their interval",
            ),
            self.run.line(
                f"p95, {how}: largest error against what was done", max(done), "%", P95_PERCENT
            ),
            self.run.line(
                f"p95, {how}: largest error against what was drawn from",
                max(drawn),
                "%",
                P95_PERCENT,
                note=f"callees with {ENOUGH:,} calls and more",
            ),
        ]

    async def speed(self) -> list[Line]:
        """Many functions: how long counting takes, and answering."""
        db = await open_sqlite(self.folder / "many.db", migrations=TRACES)
        store, clock = ProfileStore(db), SystemClock()
        writer = Profiler(store, clock, {PLATFORM})
        rounds = max(1, self.spans // (FUNCTIONS * (CALLS + 1)))
        took = await self._fill(writer, rounds)
        counted = rounds * FUNCTIONS
        found = [
            self.run.line(
                "counting an execution with ten calls",
                took / counted * 1e6,
                "us",
                note=f"{counted:,} executions, {counted * (CALLS + 1):,} spans; writing included",
            )
        ]
        cold, warm = Profiler(store, clock, {PLATFORM}), writer
        one = [await self._ms(cold.get(ACCOUNT, f"F{number}", "$LATEST")) for number in range(50)]
        found.append(self.run.line("a profile, read, max", max(one), "ms", PROFILE_MS))
        one = [await self._ms(warm.get(ACCOUNT, f"F{number}", "$LATEST")) for number in range(50)]
        found.append(self.run.line("a profile, known, max", max(one), "ms", PROFILE_MS))
        for name, profiler in (
            ("read", Profiler(store, clock, {PLATFORM})),
            ("all counted since", warm),
            ("known", warm),
            ("without outlines, once", Profiler(store, clock, {PLATFORM})),
        ):
            first = name.endswith("once")
            if first:
                kept = await store.outlines(ACCOUNT)
                await store.put([], [each._replace(body=b"") for each in kept])
            before = time.perf_counter()
            known = latest(await profiler.outlines(ACCOUNT))
            listed = (time.perf_counter() - before) * 1000
            msgspec.json.encode(service_map(known, {}))
            mapped = (time.perf_counter() - before) * 1000
            found.append(
                self.run.line(
                    f"the map of {len(known):,} functions, {name}",
                    mapped,
                    "ms",
                    None if first else MAP_MS,
                    note=f"{listed:.0f} of it for the profiles",
                )
            )
        before = time.perf_counter()
        msgspec.json.encode(reach(known["F0"], known, {}))
        found.append(
            self.run.line("what one reaches", (time.perf_counter() - before) * 1000, "ms", MAP_MS)
        )
        size = sum(each.stat().st_size for each in self.folder.glob("many.db*"))
        found.append(self.run.line("on disk", size / FUNCTIONS / 1024, "KiB/profile"))
        await db.close()
        return found

    async def _fill(self, profiler: Profiler, rounds: int) -> float:
        """Each function once in each round; seconds that counting took, without making the events."""
        chance = random.Random(1)
        total = 0.0
        for number in range(rounds):
            batch = []
            for name in range(FUNCTIONS):
                began = now = 1_760_000_000.0 + number * 2 * 3600 / rounds
                calls = []
                for step in range(CALLS):
                    took = 0.01 * chance.lognormvariate(0, 0.6)
                    if step % 3:
                        calls.append(
                            _call(chance, f"service-{(name + step) % 40}:443", now, now + took)
                        )
                    else:
                        calls.append(
                            _invoke(chance, f"F{(name * 7 + step) % FUNCTIONS}", now, now + took)
                        )
                    now += took
                batch.append(_ended(f"F{name}", chance, began, now, calls))
            before = time.perf_counter()
            for begin in range(0, len(batch), _BATCH):
                await profiler.consume(batch[begin : begin + _BATCH])
            total += time.perf_counter() - before
        return total

    async def _ms(self, asked) -> float:
        before = time.perf_counter()
        msgspec.json.encode(await asked)
        return (time.perf_counter() - before) * 1000


def _exact95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


if __name__ == "__main__":
    sys.exit(main(__doc__, "profiles", Bench, quick_spans=200_000))
