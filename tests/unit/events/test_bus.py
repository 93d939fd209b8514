"""The bus: everybody hears what he wants to, in order; nobody is waited for."""

import asyncio
from collections.abc import Sequence

import pytest

from forerun.events import Bus, Event, ExecutionEnded
from forerun.model import InvocationRecord, Origin, Timings, TraceContext


def ended(number: int, *, weight: int = 0, caused: bool = False) -> ExecutionEnded:
    origin = Origin(execution="1" * 16) if caused else Origin()
    context = TraceContext(
        trace_id="0" * 32, span_id=f"{number:016x}", origin=origin, header="", weight=weight
    )
    record = InvocationRecord(
        request_id=str(number), account="1", name="f", version="1", timings=Timings()
    )
    return ExecutionEnded(record=record, context=context, region="us-home-1")


class Heard:
    """A consumer that keeps what it is given."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    async def __call__(self, events: Sequence[Event]) -> None:
        self.numbers += [int(event.context.span_id, 16) for event in events]


async def test_all_hear_everything_in_order():
    bus, one, two = Bus(), Heard(), Heard()
    bus.listen("one", one, gather_s=0.0)
    bus.listen("two", two, gather_s=0.01)
    for number in range(100):
        bus.tell(ended(number))
    await bus.close()
    assert one.numbers == two.numbers == list(range(100))


async def test_who_wants_monitored_executions_hears_those_and_what_they_caused():
    bus, some = Bus(), Heard()
    bus.listen("some", some, monitored=True)
    bus.tell(ended(1))
    bus.tell(ended(2, weight=3))
    bus.tell(ended(3, caused=True))
    await bus.close()
    assert some.numbers == [2, 3]


async def test_a_slow_listener_loses_and_is_alone_in_that():
    bus, slow, quick = Bus(), Heard(), Heard()
    bus.listen("slow", slow, bound=10, gather_s=60.0)
    bus.listen("quick", quick, gather_s=60.0)
    for number in range(25):
        bus.tell(ended(number))
    assert bus.dropped() == {"slow": 15, "quick": 0}
    await bus.close()
    assert (len(slow.numbers), len(quick.numbers)) == (10, 25)


async def test_a_listener_that_fails_hears_what_comes_later(caplog: pytest.LogCaptureFixture):
    heard = Heard()
    failing = True

    async def fail_first(events: Sequence[Event]) -> None:
        if failing:
            raise ValueError("first")
        await heard(events)

    bus = Bus()
    listener = bus.listen("once", fail_first, gather_s=60.0)
    bus.tell(ended(1))
    await listener.flush()
    failing = False
    bus.tell(ended(2))
    await bus.close()
    assert heard.numbers == [2]
    assert bus.dropped() == {"once": 1}
    assert "once lost 1 events" in caplog.text


async def test_a_batch_that_is_being_consumed_is_finished_at_the_end():
    bus, heard = Bus(), Heard()
    began = asyncio.Event()

    async def slow(events: Sequence[Event]) -> None:
        began.set()
        for _ in range(100):
            await asyncio.sleep(0)
        await heard(events)

    bus.listen("slow", slow, gather_s=0.0)
    bus.tell(ended(1))
    async with asyncio.timeout(5):
        await began.wait()
    bus.tell(ended(2))
    await bus.close()
    assert heard.numbers == [1, 2]


async def test_what_comes_while_a_batch_is_consumed_is_the_next_batch():
    bus = Bus()
    batches: list[int] = []

    async def slow(events: Sequence[Event]) -> None:
        batches.append(len(events))
        if len(batches) == 1:
            bus.tell(ended(2))
            await asyncio.sleep(0)

    bus.listen("slow", slow, gather_s=0.0)
    bus.tell(ended(1))
    async with asyncio.timeout(5):
        while len(batches) < 2:
            await asyncio.sleep(0)
    await bus.close()
    assert batches == [1, 1]
