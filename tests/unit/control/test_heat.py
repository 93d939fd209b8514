"""Where the calls of the last minutes ran, by function and host."""

import msgspec
from tests.fakes.clock import FakeClock

from forerun.control import heat
from forerun.control.heat import PAIRS, SHOWN, SLOT_S, WINDOW_S, Heat, Heatmap
from forerun.events import ExecutionEnded
from forerun.model import InvocationRecord, Origin, Timings, TraceContext

CONTEXT = TraceContext(trace_id="0" * 32, span_id="0" * 16, origin=Origin(), header="")
RECORD = InvocationRecord(request_id="r", account="a", name="f", version="1", timings=Timings())


def ended(host: str | None = "h1", **more: object) -> ExecutionEnded:
    record = msgspec.structs.replace(RECORD, host=host, **more)
    return ExecutionEnded(record=record, context=CONTEXT, region="us-home-1")


async def test_it_counts_by_function_and_host_of_an_account():
    board = Heatmap(FakeClock())
    await board.consume([ended(), ended(), ended("h2"), ended(name="g"), ended(account="b")])
    assert board.snapshot("a") == ([Heat("f", 3, {"h1": 2, "h2": 1}), Heat("g", 1, {"h1": 1})], 0)
    assert board.snapshot("b") == ([Heat("f", 1, {"h1": 1})], 0)
    assert board.snapshot("c") == ([], 0)


async def test_what_ran_nowhere_is_not_counted():
    board = Heatmap(FakeClock())
    await board.consume([ended(None, status="throttled"), ended("")])
    assert board.snapshot("a").functions == []


async def test_it_forgets_what_is_older():
    clock = FakeClock()
    board = Heatmap(clock)
    await board.consume([ended()])
    clock.jump(WINDOW_S - SLOT_S)
    await board.consume([ended("h2")])
    assert board.snapshot("a").functions == [Heat("f", 2, {"h1": 1, "h2": 1})]
    clock.jump(SLOT_S)
    assert board.snapshot("a").functions == [Heat("f", 1, {"h2": 1})]
    clock.jump(10 * WINDOW_S)
    assert board.snapshot("a").functions == []
    await board.consume([ended(None)])
    assert len(board._slots) == 1


async def test_its_memory_and_its_answer_are_bounded(monkeypatch):
    monkeypatch.setattr(heat, "PAIRS", 150)
    board = Heatmap(FakeClock())
    await board.consume([ended(name=f"f{n:03}") for n in range(160)])
    await board.consume([ended(name="f000")])
    assert PAIRS >= 1000
    shown = board.snapshot("a")
    assert len(shown.functions) == SHOWN
    assert shown.functions[0] == Heat("f000", 2, {"h1": 2})
    assert shown.left_out == 161 - SHOWN - 1
