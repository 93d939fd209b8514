"""What functions did within the last minute."""

import msgspec
import pytest
from tests.fakes.clock import FakeClock

from forerun.console import PulseBoard
from forerun.console.pulse import SLOT_S, WINDOW_S
from forerun.events import ExecutionEnded
from forerun.model import InvocationRecord, Origin, Timings, TraceContext

CONTEXT = TraceContext(trace_id="0" * 32, span_id="0" * 16, origin=Origin(), header="")


def ended(name: str = "f", account: str = "a", **more: object) -> ExecutionEnded:
    values = {"start_type": "warm", "duration_ms": 10.0} | more
    record = InvocationRecord(
        request_id="r", account=account, name=name, version="1", timings=Timings()
    )
    return ExecutionEnded(
        record=msgspec.structs.replace(record, **values), context=CONTEXT, region="us-home-1"
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def board(clock: FakeClock) -> PulseBoard:
    return PulseBoard(clock)


async def test_it_counts_calls_errors_starts_and_refusals(board: PulseBoard):
    await board.consume(
        [
            ended(),
            ended(status="error", start_type="cold"),
            ended(status="timeout"),
            ended(status="throttled", start_type=None, duration_ms=0.0),
        ]
    )
    row = board.snapshot("a").functions["f"]
    assert (row.calls, row.errors, row.throttles) == (4, 2, 1)
    assert row.starts == {"warm": 2, "cold": 1}


async def test_accounts_do_not_see_each_other(board: PulseBoard):
    await board.consume([ended(), ended("g", "b")])
    assert list(board.snapshot("a").functions) == ["f"]
    assert list(board.snapshot("b").functions) == ["g"]
    assert board.snapshot("c").functions == {}
    assert board.snapshot("a", "g").functions == {}


async def test_quantiles_are_near(board: PulseBoard):
    await board.consume([ended(duration_ms=float(ms)) for ms in range(1, 1001)])
    row = board.snapshot("a", "f").functions["f"]
    assert row.p50 == pytest.approx(500, rel=0.06)
    assert row.p95 == pytest.approx(950, rel=0.06)


async def test_a_minute_is_forgotten_with_its_memory(board: PulseBoard, clock: FakeClock):
    await board.consume([ended()])
    clock.jump(WINDOW_S / 2)
    await board.consume([ended()])
    assert board.snapshot("a").functions["f"].calls == 2
    clock.jump(WINDOW_S / 2 + SLOT_S)
    assert board.snapshot("a").functions["f"].calls == 1
    clock.jump(WINDOW_S + SLOT_S)
    assert board.snapshot("a").functions == {}
    await board.consume([ended("g", "b")])
    assert list(board._accounts) == ["b"]
