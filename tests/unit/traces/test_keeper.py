"""The keeper writes behind everybody's back, in batches, and never more than there is room for."""

import asyncio

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.errors import StorageFailed, Throttled
from forerun.events import Bus, ExecutionBegan, ExecutionEnded
from forerun.model import InvocationRecord, Origin, Segment, Span, Timings, TraceContext
from forerun.storage.sqlite import TRACES
from forerun.storage.traces import TraceStore
from forerun.traces import Keeper

ACCOUNT, OTHER = "1" * 12, "2" * 12
A = "a" * 32
T0 = 1_700_000_000.0


def ended(number: int, *, weight: int = 1) -> ExecutionEnded:
    return ExecutionEnded(
        record=InvocationRecord(
            request_id=f"r{number}",
            account=ACCOUNT,
            name="f",
            version="1",
            timings=Timings(received=T0 + number, answered=T0 + number + 1),
        ),
        context=TraceContext(
            trace_id=A, span_id=f"{number:016x}", origin=Origin(), header="", weight=weight
        ),
        region="us-home-1",
    )


def imported(number: int = 0, *, count: int = 1, **more) -> Segment:
    spans = [
        Span(
            trace_id=A,
            span_id=f"{number + each:016x}",
            name="n",
            started=T0 + each,
            ended=T0 + each + 1,
            **({"source": "otlp"} | more),
        )
        for each in range(count)
    ]
    return Segment(account=ACCOUNT, trace_id=A, spans=spans)


class Counted(TraceStore):
    """Counts transactions, and fails when told to."""

    writes = 0
    broken = False

    async def write(self, rows):
        self.writes += 1
        if self.broken:
            raise StorageFailed("The disk is full.")
        await super().write(rows)


@pytest.fixture
async def store(tmp_path):
    db = await open_database(tmp_path / "traces.db", migrations=TRACES)
    yield Counted(db, FakeClock(T0))
    await db.close()


def keeper_of(store, clock=None, **more) -> Keeper:
    values = {"days": 7.0, "max_bytes": 1 << 30, "gather_s": 0.01}
    return Keeper(store, clock or FakeClock(T0), **(values | more))


async def test_monitored_executions_are_kept_and_nothing_else(store):
    keeper = keeper_of(store)
    began = ExecutionBegan(
        account=ACCOUNT, name="f", version="1", request_id="r", context=ended(9).context, at=T0
    )
    await keeper.consume([ended(1), began, ended(2, weight=0), ended(3)])
    await keeper.flush()
    assert [each.span_id[-1] for each in await store.trace(ACCOUNT, A)] == ["1", "3"]
    assert keeper.stats() == {"kept": 2, "dropped": 0, "waiting_bytes": 0}


async def test_a_burst_is_written_together_behind_the_bus(store):
    keeper, bus = keeper_of(store), Bus()
    bus.listen("traces", keeper.consume, gather_s=0.0)
    keeper.start()
    for number in range(300):
        bus.tell(ended(number))
    await bus.close()
    await keeper.close()
    assert len(await store.trace(ACCOUNT, A)) == 300
    assert store.writes <= 3


async def test_it_writes_by_itself(store):
    keeper = keeper_of(store)
    keeper.start()
    await keeper.keep(ACCOUNT, [imported()])
    async with asyncio.timeout(5):
        while not await store.trace(ACCOUNT, A):
            await asyncio.sleep(0.005)
    await keeper.close()


async def test_what_is_sent_in_belongs_to_who_sent_it_and_passes_for_nobody_else(store):
    keeper = keeper_of(store)
    assert await keeper.keep(OTHER, [imported(1, source="forerun")]) == 0
    await keeper.flush()
    assert await store.trace(ACCOUNT, A) == []
    [span] = await store.trace(OTHER, A)
    assert span.source == "otlp"


async def test_what_cannot_be_kept_is_counted_and_costs_nothing_else(store):
    keeper = keeper_of(store)
    bad = [
        imported(2, attributes={"n": 1 << 70}),
        Segment(account="", trace_id="no", spans=imported().spans),
        Segment(account="", trace_id=A, spans=[]),
    ]
    assert await keeper.keep(ACCOUNT, [imported(1), *bad, imported(3)]) == 3
    await keeper.flush()
    assert len(await store.trace(ACCOUNT, A)) == 2
    assert (keeper.kept, keeper.dropped) == (2, 3)


async def test_ten_megabytes_of_spans_are_kept(store):
    keeper = keeper_of(store)
    text = {"text": "x" * 1000}
    assert await keeper.keep(ACCOUNT, [imported(count=10_000, attributes=text)]) == 0
    await keeper.flush()
    assert len(await store.trace(ACCOUNT, A)) == 10_000


async def test_without_room_importers_are_refused_and_the_bus_is_not_held_up(store):
    keeper = keeper_of(store, room_bytes=1)
    await keeper.keep(ACCOUNT, [imported(1)])
    with pytest.raises(Throttled):
        await keeper.keep(ACCOUNT, [imported(2)])
    await keeper.consume([ended(3), ended(4)])
    assert keeper.dropped == 2
    await keeper.flush()
    await keeper.keep(ACCOUNT, [imported(5)])
    await keeper.flush()
    assert [each.span_id[-1] for each in await store.trace(ACCOUNT, A)] == ["1", "5"]


async def test_a_store_that_fails_costs_what_it_was_given_and_no_more(store):
    keeper = keeper_of(store)
    keeper.start()
    store.broken = True
    await keeper.keep(ACCOUNT, [imported(1), imported(2)])
    async with asyncio.timeout(5):
        while keeper.dropped < 2:
            await asyncio.sleep(0.005)
    store.broken = False
    await keeper.keep(ACCOUNT, [imported(3)])
    await keeper.close()
    assert [each.span_id[-1] for each in await store.trace(ACCOUNT, A)] == ["3"]
    assert keeper.stats() == {"kept": 1, "dropped": 2, "waiting_bytes": 0}


@pytest.mark.databases
async def test_the_size_stays_bounded_while_much_comes(store, tmp_path):
    bound = 2 << 20
    keeper = keeper_of(store, max_bytes=bound)
    keeper.start()
    noise = "".join(chr(40 + (n * n * 7919 + n // 7) % 80) for n in range(4000))
    for number in range(4_000):
        text = {"text": noise[number % 1000 :] + str(number)}
        await keeper.keep(ACCOUNT, [imported(number, attributes=text)])
        if number % 100 == 0:
            await keeper.flush()
            async with asyncio.timeout(5):
                while await store.size() > bound * 1.25:
                    await asyncio.sleep(0.005)
    await keeper.close()
    await keeper.trim()
    assert await store.size() <= bound
    newest = [each.spans[0].span_id for _, each in await store.segments_since(0, limit=10_000)]
    assert 0 < len(newest) < 4_000
    assert newest[-1] == f"{3_999:016x}"
    assert sum(each.stat().st_size for each in tmp_path.glob("traces.db")) < 2 * bound


@pytest.mark.databases
async def test_what_is_too_old_goes(store):
    clock = FakeClock(T0)
    keeper = keeper_of(store, clock, days=1.0)
    await keeper.keep(ACCOUNT, [imported(1)])
    await keeper.flush()
    assert await keeper.trim() == 0
    clock.jump(2 * 86_400)
    assert await keeper.trim() == 1
