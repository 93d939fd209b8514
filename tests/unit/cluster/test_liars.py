"""What a control plane believes of a host that lies, and what that one costs it."""

import asyncio
import math

import msgspec
import pytest
from tests.agents import ACCOUNT, TERMS, call, eventually, timings
from tests.unit.cluster.near import lying

from forerun.cluster import Terms, frames
from forerun.cluster.frames import (
    BeganHead,
    DatagramHead,
    FailedHead,
    Moments,
    ResultHead,
    StreamHead,
    encode,
    pack,
)
from forerun.errors import (
    HostLost,
)
from forerun.model import (
    InitReport,
    Outcome,
    OutgoingCall,
    StartType,
)


class Client:
    """Takes a streamed response."""

    async def start(self, content_type: str) -> None: ...

    async def write(self, chunk: bytes) -> None: ...


def result(number: int, payload: bytes = b"{}", **lies: object) -> bytes:
    outcome = lies.pop("outcome", Outcome(payload=b""))
    head = ResultHead(
        len(payload),
        Moments(1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        StartType.WARM,
        "s",
        "fake",
        "here",
        "l",
        "",
        "",
        0.0,
        False,
        None,
        outcome,
        None,
        len(payload),
    )
    return pack(frames.RESULT, number, encode(msgspec.structs.replace(head, **lies)), payload)


BROKEN = {
    "no-outcome": {"outcome": None},
    "body-too-long": {"body": 99},
    "negative-body": {"body": -1},
    "other-length": {"size": 3, "body": 2},
    "log-of-noise": {"body": 1},
    "types": {"start_type": "lukewarm"},
}


@pytest.mark.parametrize("lie", BROKEN.values(), ids=BROKEN)
async def test_a_host_that_answers_what_is_no_run_is_dropped(tmp_path, lie) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        liar.answer = lambda kind, number: result(number, **lie) if kind == frames.CALL else b""
        with pytest.raises(HostLost):
            await remote.run(plane.deploy("1"), call(), timings())
        assert plane.lost == ["host-1"]


@pytest.mark.parametrize(
    "told",
    [
        lambda number: pack(frames.FAILED, number),
        lambda number: pack(frames.FAILED, number, b"\x92\xa1\xff\xa0"),
        lambda number: pack(frames.RESULT, number, b"\xff"),
        lambda number: result(number, sandbox_id="MARK").replace(b"MARK", b"\xff\xfe\xfd\xfc"),
    ],
    ids=["no-failure", "failure-of-no-text", "no-result", "result-of-no-text"],
)
async def test_nobody_waits_for_an_answer_that_cannot_be_read(tmp_path, told) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        liar.answer = lambda kind, number: told(number) if kind == frames.CALL else b""
        async with asyncio.timeout(10):
            with pytest.raises(HostLost):
                await remote.run(plane.deploy("1"), call(), timings())
        liar.answer = lambda kind, number: (
            pack(frames.ANSWER, number, b"\x81\xa1") if kind == frames.ASK else b""
        )
        await eventually(lambda: remote.alive)
        async with asyncio.timeout(5):
            with pytest.raises(HostLost):
                await remote.fetch_sandboxes()


async def test_numbers_that_are_none_are_not_passed_on(tmp_path) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        odd = Outcome(
            payload=b"",
            cpu_ms=math.nan,
            max_memory_mb=-5,
            calls=[OutgoingCall(span_id="1", started=math.inf)],
        )
        moments = Moments(math.nan, math.inf, -1.0, math.nan, math.inf, math.nan)
        liar.answer = lambda kind, number: (
            result(
                number,
                outcome=odd,
                moments=moments,
                idle_mb_s=-math.inf,
                init=InitReport(duration_ms=math.nan),
            )
            if kind == frames.CALL
            else b""
        )
        told, sent = timings(), plane.clock.now()
        run = await remote.run(plane.deploy("1"), call(), told)
        received = plane.clock.now()
        assert (run.idle_mb_s, run.init.duration_ms, run.outcome.cpu_ms) == (0.0, 0.0, 0.0)
        assert (run.outcome.max_memory_mb, run.outcome.calls) == (0, [])
        for moment in (told.acquired, told.loaded, told.started, told.ended):
            assert sent <= moment <= received


async def test_texts_that_would_break_headers_or_columns_are_not_passed_on(tmp_path) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        odd = Outcome(
            payload=b"",
            content_type="text/html\r\nset-cookie: a",
            error="x\r\ny: z",
            error_type="A\0B" * 1000,
            status="enlightened",
            calls=[OutgoingCall(span_id="1", started=1.0, host="a\0:80")],
        )
        far = Moments(1.7e308, 1.0, 1.0, 1.0, 1.0, 1.7e308)
        liar.answer = lambda kind, number: (
            result(number, outcome=odd, moments=far, log_stream="a\0b", sandbox_id="\x1b[2J")
            if kind == frames.CALL
            else b""
        )
        run = await remote.run(plane.deploy("1"), call(), timings())
        assert (run.log_stream, run.sandbox_id) == ("a?b", "?[2J")
        outcome = run.outcome
        assert (outcome.content_type, outcome.error) == ("application/octet-stream", "Unhandled")
        assert (outcome.status, outcome.calls) == ("error", [])
        assert len(outcome.error_type) == 1000
        assert outcome.error_type.isprintable()


@pytest.mark.parametrize(
    "told",
    [
        lambda number: pack(frames.CHUNK, number),
        lambda number: 2 * pack(frames.STREAM, number, encode(StreamHead("a/b"))),
        lambda number: 101 * pack(frames.BEGAN, number, encode(BeganHead("KEY"))),
    ],
    ids=["pieces-of-nothing", "begins-twice", "begins-for-ever"],
)
async def test_a_call_costs_no_more_than_what_it_lets_through(tmp_path, told) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        liar.answer = lambda kind, number: told(number) if kind == frames.CALL else b""
        with pytest.raises(HostLost):
            await remote.run(plane.deploy("1"), call(sink=Client()), timings())
        assert plane.lost == ["host-1"]


async def test_a_host_speaks_for_no_function_that_it_was_not_given(tmp_path) -> None:
    async with lying(tmp_path) as (plane, remote, liar):

        def told(*whose: str, size: int = 4) -> bytes:
            return pack(frames.DATAGRAM, 0, encode(DatagramHead(*whose)), bytes(size))

        liar.answer = lambda kind, number: (
            told("999999999999", "us-home-1", "f")
            + told(ACCOUNT, "us-home-1", "other")
            + told(ACCOUNT, "us-home-1", "f", size=70_000)
            + told(ACCOUNT, "us-home-1", "f")
            + result(number)
            if kind == frames.CALL
            else b""
        )
        await remote.run(plane.deploy("1"), call(), timings())
        assert plane.datagrams == [(bytes(4), "f")]


async def test_a_host_that_lies_in_its_beats_is_dropped_and_others_stay(tmp_path) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        honest = liar.beat
        liar.beat = lambda sequence: honest(sequence, disk_free_mb=-1 if sequence > 3 else 1)
        await eventually(lambda: plane.lost)
        liar.beat = honest
        await eventually(lambda: remote.alive, what="it is connected again, and honest")


async def test_a_host_that_beats_and_never_answers_keeps_nobody_waiting(tmp_path) -> None:
    terms = Terms(dead_s=TERMS.dead_s, lease_s=TERMS.lease_s, patience_s=0.2)
    async with lying(tmp_path, terms) as (plane, remote, liar):
        spec = plane.deploy("1", timeout_s=0)
        with pytest.raises(HostLost, match="in time") as lost:
            await remote.run(spec, call(), timings())
        assert 0 < lost.value.over_in_s < 10
        await eventually(lambda: frames.CANCEL in liar.heard)
        assert remote.alive


async def test_contradictions_count_as_begun(tmp_path) -> None:
    async with lying(tmp_path) as (plane, remote, liar):
        head = encode(FailedHead("HostUnreachable", "refused", begun=True))
        liar.answer = lambda kind, number: (
            pack(frames.FAILED, number, head) if kind == frames.CALL else b""
        )
        with pytest.raises(HostLost):
            await remote.run(plane.deploy("1"), call(), timings())
