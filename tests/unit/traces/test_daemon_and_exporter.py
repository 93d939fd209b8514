"""Who takes datagrams, and who sends to a collector."""

import gzip
import json
import os
import time
from collections.abc import Iterable

import pytest
from tests.fakes.clock import FakeClock

from forerun.errors import InvalidInput, Throttled
from forerun.events import ExecutionBegan
from forerun.model import Origin, Segment, Span, TraceContext
from forerun.traces import Answer, Daemon, Exporter, document_of, to_xray_id
from forerun.traces.exporter import BATCH_SPANS, KEEP_TRYING_S, ROOM_SPANS
from forerun.traces.otlp_messages import request_of

TRACE, EXECUTION = "6ab13c80" + "a" * 24, "e" * 16
HEADER = b'{"format": "json", "version": 1}\n'


def began(account: str = "1", trace_id: str = TRACE, span_id: str = EXECUTION) -> ExecutionBegan:
    context = TraceContext(trace_id=trace_id, span_id=span_id, origin=Origin(), header="", weight=1)
    return ExecutionBegan(
        account=account, name="shop", version="1", request_id="r", context=context, at=1.0
    )


def datagram(**more: object) -> bytes:
    given = {
        "id": os.urandom(8).hex(),
        "trace_id": to_xray_id(TRACE),
        "parent_id": EXECUTION,
        "type": "subsegment",
        "name": "work",
        "start_time": 1.79e9,
    }
    return HEADER + json.dumps(given | more).encode()


class Kept:
    """Where segments go; refuses when told so."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.full = False

    async def __call__(self, account: str, segments: Iterable[Segment]) -> int:
        if self.full:
            raise Throttled("full", reason="CallerRateLimitExceeded")
        self.segments += segments
        return 0


async def judged(*datagrams: tuple[bytes, str]) -> tuple[Daemon, Kept]:
    kept = Kept()
    daemon = Daemon(kept)
    await daemon.consume([began()])
    for data, account in datagrams:
        daemon.take(data, account)
    await daemon.close()
    return daemon, kept


@pytest.mark.parametrize("account", ["1", ""], ids=["jail", "process"])
async def test_a_segment_of_a_watched_execution_is_kept(account: str) -> None:
    daemon, kept = await judged((datagram(), account))
    assert daemon.stats() == {"kept": 1, "malformed": 0, "foreign": 0, "lost": 0}
    [segment] = kept.segments
    assert (segment.account, segment.spans[0].service) == ("1", "shop")


@pytest.mark.parametrize(
    ("data", "account", "why"),
    [
        (datagram(), "2", "foreign"),
        (datagram(trace_id=to_xray_id("b" * 32)), "1", "foreign"),
        (datagram(id=EXECUTION), "1", "foreign"),
        (b"", "1", "malformed"),
        (b"garbage", "1", "malformed"),
        (HEADER + b"[" * 60_000, "1", "malformed"),
        (HEADER + b"x" * 65_000, "1", "malformed"),
    ],
    ids=["account", "trace", "impostor", "empty", "garbage", "nested", "long"],
)
async def test_everything_else_is_dropped_and_counted(data: bytes, account: str, why: str) -> None:
    daemon, kept = await judged((data, account))
    assert kept.segments == []
    assert daemon.stats()[why] == 1


async def test_a_trace_is_not_taken_over_by_who_continues_it() -> None:
    kept = Kept()
    daemon = Daemon(kept)
    await daemon.consume([began(), began(account="2", span_id="f" * 16)])
    daemon.take(datagram(), "2")
    daemon.take(datagram(), "1")
    await daemon.close()
    assert [segment.account for segment in kept.segments] == ["1"]


async def test_datagrams_that_come_too_fast_are_lost() -> None:
    daemon = Daemon(Kept(), room_bytes=8000)
    for _ in range(10):
        daemon.take(b"x" * 700, "1", "loud")
    assert daemon.lost == 8, "one function gets a quarter"
    for number in range(10):
        daemon.take(b"x" * 700, "1", f"quiet-{number}")
    assert daemon.lost == 8 + 4
    await daemon.close()
    assert daemon.malformed == 8


async def test_segments_that_cannot_be_kept_are_lost() -> None:
    kept = Kept()
    kept.full = True
    daemon = Daemon(kept)
    await daemon.consume([began()])
    daemon.take(datagram(), "1")
    await daemon.close()
    assert (daemon.kept, daemon.lost) == (0, 1)


def test_a_datagram_says_its_format() -> None:
    assert document_of(HEADER + b"{}") == b"{}"
    with pytest.raises(InvalidInput):
        document_of(b"{}\n{}")


# The exporter


class Collector:
    """Answers in turn, then takes everything."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.taken: list[str] = []

    def __call__(self, body: bytes) -> Answer:
        self.asked += 1
        answer = self._answers.pop(0) if self._answers else Answer(200)
        if answer.status == 200:
            for of_resource in request_of(gzip.decompress(body)).resource_spans:
                self.taken += [span.span_id.hex() for span in of_resource.scope_spans[0].spans]
        return answer


def segment(count: int = 1) -> Segment:
    spans = [
        Span(trace_id=TRACE, span_id=os.urandom(8).hex(), name="x", started=1.79e9)
        for _ in range(count)
    ]
    return Segment(account="1", trace_id=TRACE, spans=spans, function="shop", version="1")


def exporter(collector: Collector, clock: FakeClock | None = None) -> Exporter:
    return Exporter(
        collector, "us-home-1", clock or FakeClock(), gather_s=0.001, first_wait_s=0.001
    )


async def until_sent(exporter: Exporter, count: int) -> None:
    import asyncio

    async with asyncio.timeout(10):
        while exporter.sent + exporter.dropped < count:
            await asyncio.sleep(0.001)


async def test_what_is_taken_is_sent() -> None:
    collector = Collector()
    one = exporter(collector)
    one.start()
    segments = [segment(), segment()]
    one.take(segments)
    await until_sent(one, 2)
    await one.close()
    assert collector.taken == [each.spans[0].span_id for each in segments]


@pytest.mark.parametrize("status", [0, 429, 503])
async def test_it_is_sent_again(status: int) -> None:
    collector = Collector(Answer(status), Answer(status, 0.001))
    one = exporter(collector)
    one.start()
    one.take([segment()])
    await until_sent(one, 1)
    await one.close()
    assert (collector.asked, one.sent, one.dropped) == (3, 1, 0)


@pytest.mark.parametrize("status", [301, 400, 401, 404])
async def test_what_is_refused_is_dropped(status: int) -> None:
    collector = Collector(Answer(status))
    one = exporter(collector)
    one.start()
    one.take([segment(3)])
    await until_sent(one, 3)
    await one.close()
    assert (collector.asked, one.sent, one.dropped) == (1, 0, 3)


async def test_it_is_not_tried_for_ever() -> None:
    clock = FakeClock()

    class Away(Collector):
        def __call__(self, body: bytes) -> Answer:
            clock.jump(KEEP_TRYING_S + 1)
            return Answer(0)

    one = exporter(Away(), clock)
    one.start()
    one.take([segment()])
    await until_sent(one, 1)
    await one.close()
    assert one.dropped == 1


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    one = exporter(Collector())
    for _ in range(3):
        one.take([segment(ROOM_SPANS // 2)])
    assert (one.stats()["waiting"], one.dropped) == (ROOM_SPANS, ROOM_SPANS // 2)
    await one.close()
    assert one.stats() == {"sent": 0, "dropped": ROOM_SPANS // 2 * 3, "waiting": 0}


async def test_a_batch_has_a_bound() -> None:
    collector = Collector()
    one = exporter(collector)
    one.take([segment(BATCH_SPANS // 2) for _ in range(5)])
    one.start()
    await until_sent(one, BATCH_SPANS // 2 * 5)
    await one.close()
    assert collector.asked == 3


async def test_the_end_sends_what_there_is_and_does_not_wait_for_who_is_away() -> None:
    one = Exporter(Collector(), "us-home-1", FakeClock(), gather_s=60)
    one.start()
    one.take([segment()])
    await one.close()
    assert one.sent == 1

    away = Exporter(Collector(*[Answer(0)] * 99), "us-home-1", FakeClock(), first_wait_s=60)
    away.start()
    away.take([segment()])
    began_at = time.monotonic()
    await away.close()
    assert away.dropped == 1
    assert time.monotonic() - began_at < 4
