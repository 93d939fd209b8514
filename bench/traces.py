"""Traces: how fast spans are taken and kept, and how fast they are found among many.

Executions with their calls are told to the bus as the server tells them, and go through the keeper into a database like
the server's. First at a steady rate, while it is watched how late the loop runs; then as fast as the keeper takes them
until there are so many spans as asked for; then traces are looked for, with the file's pages in memory and without.

    .venv/bin/python bench/traces.py --spans 10000000 --out traces.json
"""

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from case import Run
from many_spans import main
from results import Line

from forerun.aio import SystemClock
from forerun.events import Bus, ExecutionEnded
from forerun.model import Channel, InvocationRecord, Origin, OutgoingCall, Timings, TraceContext
from forerun.storage.sqlite import TRACES, open_sqlite
from forerun.storage.traces import TraceFilter, TraceStore
from forerun.traces import Keeper, tree_of

ACCOUNT = "123456789012"
FUNCTIONS = 300
CALLS = 4
SPANS = CALLS + 1
IN_A_TRACE = 5
RATE = 20_000
TRACE_MS = 20.0
ASKED = 300
# The loop is late by what making the events takes, too: little of it at a time.
MOST_TELLING_S = 0.002
# The machine's clock is left alone: segments get their times from this rate.
PER_SECOND = 1_000
_random = random.Random(20_261_121)
_services = (("lambda", "Invoke"), ("dynamodb", "PutItem"), ("s3", "GetObject"), ("", ""))


def _hex(bits: int) -> str:
    return f"{_random.getrandbits(bits):0{bits // 4}x}"


def one_trace(at: float) -> tuple[str, list[ExecutionEnded]]:
    """A chain of executions, each caused by a call of the one before; every tenth chain fails somewhere."""
    trace_id = f"{int(at):08x}{_hex(96)}"
    parent = cause = ""
    ended = []
    for depth in range(IN_A_TRACE):
        began = at + 0.01 * depth
        calls = [
            OutgoingCall(
                span_id=_hex(64),
                started=began + 0.005 * number + _random.random() / 1000,
                ended=began + 0.005 * number + 0.004,
                method="POST",
                service=service,
                operation=operation,
                host="127.0.0.1:4566" if service else "api.example.com:443",
                path="/2015-03-31/functions/next/invocations" if not number else "/v1/things/*",
                status=200,
                sent_bytes=_random.randrange(2000),
                received_bytes=_random.randrange(2000),
                fingerprint=_random.getrandbits(63),
                injected=True,
            )
            for number, (service, operation) in enumerate(_services[:CALLS])
        ]
        failed = depth == IN_A_TRACE - 1 and _random.random() < 0.1
        context = TraceContext(
            trace_id=trace_id,
            span_id=_hex(64),
            origin=Origin(
                trace_id=trace_id,
                parent_id=parent,
                execution=cause,
                depth=max(0, depth - 1),
                weight=1 if cause else 0,
                channel=Channel.HEADER if cause else Channel.NONE,
            ),
            header="",
            weight=1,
            depth=depth,
        )
        record = InvocationRecord(
            request_id=f"{_hex(32)}-0000-4000-8000-{_hex(48)}",
            account=ACCOUNT,
            name=f"function-{_random.randrange(FUNCTIONS):03d}",
            version="$LATEST",
            status="error" if failed else "success",
            error_type="KeyError" if failed else None,
            start_type="warm",
            sandbox=f"s{_random.getrandbits(20)}",
            host="machine",
            placement="idle sandbox of this version",
            isolation="jail",
            duration_ms=90 * _random.random(),
            memory_mb=128,
            max_memory_mb=40,
            request_bytes=_random.randrange(2000),
            response_bytes=_random.randrange(2000),
            timings=Timings(
                received=began,
                admitted=began + 0.0001,
                acquired=began + 0.0002,
                loaded=began + 0.0002,
                started=began + 0.0004,
                ended=began + 0.05 * (1 + _random.random()),
                answered=began + 0.12,
            ),
        )
        ended.append(
            ExecutionEnded(record=record, context=context, region="us-home-1", calls=calls)
        )
        parent, cause = calls[0].span_id, context.span_id
    return trace_id, ended


class Bench:
    """A database in ``folder``, and what fills it."""

    def __init__(self, folder: Path, run: Run, spans: int) -> None:
        self.path = folder / "traces.db"
        self.run = run
        self.spans = spans
        self.told = 0
        self.sample: list[str] = []

    async def lines(self) -> list[Line]:
        """Everything, in its order."""
        db = await open_sqlite(self.path, migrations=TRACES)
        self.store = TraceStore(db, SystemClock())
        self.keeper = Keeper(self.store, SystemClock(), days=3650, max_bytes=1 << 50)
        self.bus = Bus()
        self.keeper.start()
        self.listener = self.bus.listen("traces", self.keeper.consume)
        found = [*await self.steady(self.run.size(20, 5)), *await self.fill()]
        await self.bus.close()
        await self.keeper.close()
        found += await self.questions()
        found += await self.trimmed()
        await db.close()
        return found

    def tell_trace(self) -> None:
        """One more trace, later than the one before."""
        at = 1_700_000_000.0 + self.told / SPANS / IN_A_TRACE / PER_SECOND
        trace_id, ended = one_trace(at)
        for event in ended:
            self.bus.tell(event)
        self.told += SPANS * len(ended)
        if _random.random() < ASKED * SPANS * IN_A_TRACE / self.spans:
            self.sample.append(trace_id)

    async def steady(self, seconds: int) -> list[Line]:
        """At the target's rate for some seconds: what was dropped, and how late the loop was."""
        late: list[float] = []
        began, goal = time.monotonic(), RATE * seconds
        for _ in self.run.rounds(1):
            while self.told < goal:
                before = time.monotonic()
                due = min(goal, (before - began) * RATE)
                while self.told < due and time.monotonic() - before < MOST_TELLING_S:
                    self.tell_trace()
                await asyncio.sleep(0.001)
                late.append(time.monotonic() - before - 0.001)
        took = time.monotonic() - began
        while self._behind():
            await asyncio.sleep(0.01)
        dropped = self.listener.dropped + self.keeper.dropped
        rate = (self.told - SPANS * dropped) / took
        late.sort()
        return [
            self.run.line(
                "kept at a steady rate",
                rate,
                "spans/s",
                RATE * 0.99,
                at_least=True,
                note=f"for {seconds} s; all kept {time.monotonic() - began - took:.1f} s later",
            ),
            self.run.line("dropped meanwhile", dropped, "segments", 0),
            self.run.line(
                "the loop's lateness meanwhile, p99",
                late[int(len(late) * 0.99)] * 1000,
                "ms",
                note=f"max {late[-1] * 1000:.1f}; making the events included",
            ),
        ]

    async def fill(self) -> list[Line]:
        """As fast as the keeper takes them, until there are enough."""
        first, began = self.told, time.monotonic()
        while self.told < self.spans:
            for _ in range(20):
                self.tell_trace()
            await asyncio.sleep(0)
            while self._behind() > 40_000:
                await asyncio.sleep(0.01)
        while self._behind():
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
        await self.store.size()
        size = sum(each.stat().st_size for each in self.path.parent.iterdir())
        dropped = self.listener.dropped + self.keeper.dropped
        return [
            self.run.line(
                "kept at once",
                (self.told - first) / took if took > 1 else None,
                "spans/s",
                RATE,
                at_least=True,
                note=f"{self.told:,} spans in {self.told // SPANS:,} segments; {dropped} dropped; "
                "making the events included",
            ),
            self.run.line(
                "on disk", size / self.told, "bytes/span", note=f"{size / 2**30:.2f} GiB"
            ),
        ]

    def _behind(self) -> int:
        """Spans that were told and are not yet kept."""
        return self.told - self.keeper.kept - SPANS * (self.listener.dropped + self.keeper.dropped)

    async def questions(self) -> list[Line]:
        """Traces by id, and lists of them."""
        count = f"among {self.told:,} spans"
        whole = await self._each(self.sample, self._trace)
        self._forget()
        cold = await self._each(self.sample[:100], self._trace)
        now = 1_700_000_000.0 + self.told / SPANS / IN_A_TRACE / PER_SECOND
        filters = {
            "newest 50": TraceFilter(),
            "newest 50 of a function": TraceFilter(function="function-007"),
            "newest 50 errors of a function": TraceFilter(function="function-007", errors=True),
            "50 in the middle": TraceFilter(since=1_700_000_000.0 + (now - 1_700_000_000.0) / 2),
            "none that is so slow": TraceFilter(min_duration_s=3600.0),
        }
        lists = [
            self.run.line(
                f"list: {name}",
                statistics.median(await self._each([wanted] * 10, self._list)),
                "ms",
            )
            for name, wanted in filters.items()
        ]
        return [
            self.run.line(
                "a trace of 25 spans as a tree, p99", _quantile(whole, 0.99), "ms", TRACE_MS,
                note=f"{count}; p50 {statistics.median(whole):.2f}, max {max(whole):.2f}",
            ),
            self.run.line(
                "the same, not in the machine's memory, p99", _quantile(cold, 0.99), "ms", TRACE_MS,
                note=f"p50 {statistics.median(cold):.2f}",
            ),
            *lists,
        ]  # fmt: skip

    async def _each(self, items: list, ask: Callable[..., Awaitable[object]]) -> list[float]:
        """Milliseconds of each question, JSON of the answer included."""
        took = []
        for item in items:
            before = time.perf_counter()
            msgspec.json.encode(await ask(item))
            took.append((time.perf_counter() - before) * 1000)
        return took

    async def _trace(self, trace_id: str) -> object:
        tree = tree_of(trace_id, await self.store.trace(ACCOUNT, trace_id))
        if tree.spans != SPANS * IN_A_TRACE:
            raise AssertionError(f"{tree.spans} spans of {trace_id}")
        return tree

    async def _list(self, wanted: TraceFilter) -> object:
        return (await self.store.summaries(ACCOUNT, wanted)).traces

    def _forget(self) -> None:
        """Take the file's pages out of the machine's memory."""
        os.sync()
        for each in self.path.parent.iterdir():
            descriptor = os.open(each, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    async def trimmed(self) -> list[Line]:
        """How fast the oldest go when there is too much."""
        size = await self.store.size()
        began = time.monotonic()
        removed = await self.store.trim(before=0.0, max_bytes=size - size // 20)
        took = time.monotonic() - began
        return [
            self.run.line(
                "trimmed", SPANS * removed / took, "spans/s", RATE, at_least=True,
                note=f"a twentieth, {took:.1f} s",
            )
        ]  # fmt: skip


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    sys.exit(main(__doc__, "traces", Bench, quick_spans=500_000))
