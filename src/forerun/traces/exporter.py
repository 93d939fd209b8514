"""Sends what the platform saw to a collector of OpenTelemetry's, in batches and behind everybody's back.

The collector may be slow or away: what does not fit into the queue meanwhile is dropped and counted, nobody waits. It is
sent again after 429, 502, 503, 504 and lost connections, later each time, for a while. Spans that came in by OTLP are not
sent on: their programs have a collector of their own, which may be this one.
"""

import asyncio
import gzip
import importlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from forerun.aio import Clock, TaskOwner
from forerun.events import Event, ExecutionEnded
from forerun.model import Segment
from forerun.traces.otlp_writing import write_protobuf
from forerun.traces.segments import segment_of

log = logging.getLogger("forerun.traces")

ROOM_SPANS = 100_000
BATCH_SPANS = 1000
GATHER_S = 1.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
KEEP_TRYING_S = 300.0
LAST_S = 5.0
TIMEOUT_S = 10.0
_LATER = frozenset({429, 502, 503, 504})
_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}


class Answer(NamedTuple):
    """A collector's: its status, 0 for none at all, and the seconds that it asked to wait."""

    status: int
    retry_after_s: float = 0.0


class Post(Protocol):
    """Posts a body in a thread; never raises."""

    def __call__(self, body: bytes) -> Answer:
        """Post it."""
        ...


class Exporter:
    """``consume`` for the bus and ``take`` for segments of others; ``start`` then ``close``, once each.

    ``sent`` and ``dropped`` count spans.
    """

    def __init__(
        self,
        post: Post,
        region: str,
        clock: Clock,
        *,
        gather_s: float = GATHER_S,
        first_wait_s: float = FIRST_WAIT_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.sent = self.dropped = 0
        self._post = post
        self._region = region
        self._clock = clock
        self._gather_s = gather_s
        self._first_wait_s = first_wait_s
        self._chance = chance
        self._waiting: list[Segment] = []
        self._spans = 0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._owner = TaskOwner("exporter")

    def start(self) -> None:
        """Begin to send."""
        self._owner.spawn(self._run(), name="export")

    async def close(self) -> None:
        """Send what there is, if the collector takes it at once, and stop."""
        self._closing.set()
        self._wake.set()
        await self._owner.drain(timeout_s=LAST_S)
        await self._owner.close()
        self.dropped += self._spans
        self._waiting, self._spans = [], 0

    async def consume(self, events: Sequence[Event]) -> None:
        """Take what the bus tells: every monitored execution that ended."""
        for number, event in enumerate(events):
            if isinstance(event, ExecutionEnded) and event.context.weight:
                self.take([segment_of(event)])
            if number % 16 == 15:
                await asyncio.sleep(0)

    def take(self, segments: Sequence[Segment]) -> None:
        """Send these, too."""
        for segment in segments:
            if self._spans + len(segment.spans) > ROOM_SPANS:
                self.dropped += len(segment.spans)
                continue
            self._waiting.append(segment)
            self._spans += len(segment.spans)
            self._wake.set()

    def stats(self) -> dict[str, int]:
        """For the status of the server."""
        return {"sent": self.sent, "dropped": self.dropped, "waiting": self._spans}

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if self._spans < BATCH_SPANS:
                await self._pause(self._gather_s)
            self._wake.clear()
            while self._waiting:
                await self._send(self._next_batch())
            if self._closing.is_set():
                return

    def _next_batch(self) -> list[Segment]:
        count = number = 0
        for segment in self._waiting:
            if number and count + len(segment.spans) > BATCH_SPANS:
                break
            count += len(segment.spans)
            number += 1
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    async def _send(self, batch: list[Segment]) -> None:
        """Until it is taken, refused, or too old; what is being sent still takes room."""
        count = sum(len(segment.spans) for segment in batch)
        body = await asyncio.to_thread(_packed, batch, self._region)
        began, wait_s = self._clock.monotonic(), self._first_wait_s
        try:
            while True:
                answer = await asyncio.to_thread(self._post, body)
                if 200 <= answer.status < 300:
                    self.sent += count
                    return
                again = answer.status == 0 or answer.status in _LATER
                if not again or self._closing.is_set() or self._too_late(began):
                    self.dropped += count
                    log.warning(
                        "the collector did not take %d spans: %s",
                        count,
                        f"HTTP {answer.status}" if answer.status else "no connection",
                    )
                    return
                await self._pause(max(answer.retry_after_s, wait_s * (0.5 + self._chance())))
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        finally:
            self._spans -= count

    def _too_late(self, began: float) -> bool:
        return self._clock.monotonic() - began > KEEP_TRYING_S

    async def _pause(self, seconds: float) -> None:
        """So long, but not into the end."""
        try:
            async with asyncio.timeout(min(seconds, LONGEST_WAIT_S)):
                await self._closing.wait()
        except TimeoutError:
            return


def _packed(batch: list[Segment], region: str) -> bytes:
    return gzip.compress(write_protobuf(batch, region), compresslevel=3)


def collector(endpoint: str) -> Post:
    """Posts to ``ENDPOINT/v1/traces``, over a connection that is kept."""
    # Only who exports pays for it.
    urllib3 = importlib.import_module("urllib3")
    pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, timeout=TIMEOUT_S)
    url = endpoint.rstrip("/")
    if not url.endswith("/v1/traces"):
        url += "/v1/traces"

    def post(body: bytes) -> Answer:
        try:
            answer = pool.request("POST", url, body=body, headers=_HEADERS, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError):
            return Answer(0)
        after = answer.headers.get("retry-after", "")
        return Answer(answer.status, float(after) if after.isdecimal() else 0.0)

    return post
