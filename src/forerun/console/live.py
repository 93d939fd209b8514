"""The live tail: calls and the lines they wrote, as they are stored, for as long as somebody watches."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from forerun.aio import Clock
from forerun.model import InvocationRecord, LogLine

BOUND = 2_000
# What one execution may show of its lines: the rest is in its log.
LINES = 200
TEXT = 4_000

Written = tuple[InvocationRecord, Sequence[LogLine]]


class Tail:
    """What one watcher has not been given yet."""

    def __init__(self, account: str, clock: Clock) -> None:
        self.account = account
        self._clock = clock
        self._events: list[dict[str, Any]] = []
        self._missed = 0
        self._wake = asyncio.Event()

    def put(self, record: InvocationRecord, lines: Sequence[LogLine]) -> None:
        """Take note of an execution; never waits."""
        if len(self._events) >= BOUND:
            self._missed += 1
        else:
            self._events += _lines(record, lines)
            self._events.append(_call(record))
        self._wake.set()

    async def take(self, timeout_s: float) -> list[dict[str, Any]]:
        """What came since it was last asked; empty when nothing came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return []
        self._wake.clear()
        events, self._events = self._events, []
        if self._missed:
            text = f"{self._missed} calls came too fast to be shown"
            events.append({"what": "note", "at": self._clock.now(), "text": text})
            self._missed = 0
        return events


class Tails:
    """Gives what was written to whoever watches the account it is of."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tails: list[Tail] = []

    def written(self, written: Sequence[Written]) -> None:
        """Executions whose records and lines were just stored."""
        for tail in self._tails:
            for record, lines in written:
                if record.account == tail.account:
                    tail.put(record, lines)

    @contextmanager
    def watch(self, account: str) -> Iterator[Tail]:
        """A tail, for the length of a block."""
        tail = Tail(account, self._clock)
        self._tails.append(tail)
        try:
            yield tail
        finally:
            self._tails.remove(tail)


def _call(record: InvocationRecord) -> dict[str, Any]:
    timings = record.timings
    return {
        "what": "call",
        "at": timings.answered or timings.ended or timings.received,
        "request_id": record.request_id,
        "name": record.name,
        "version": record.version,
        "status": record.status,
        "error_type": record.error_type,
        "start_type": record.start_type,
        "duration_ms": record.duration_ms,
        "trace_id": record.trace_id,
    }


def _lines(record: InvocationRecord, lines: Sequence[LogLine]) -> Iterator[dict[str, Any]]:
    for line in lines[:LINES]:
        yield {
            "what": "log",
            "at": line.time_ms / 1000,
            "name": record.name,
            "text": line.text[:TEXT],
        }
    if len(lines) > LINES:
        text = f"{len(lines) - LINES} more lines of {record.request_id} are in the log of {record.name}"
        yield {"what": "note", "at": lines[-1].time_ms / 1000, "text": text}
