"""Activity counts every execution once, by minute and by hour, over restarts, and tells it for any range."""

import sqlite3

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock, settle

from forerun.errors import InvalidInput, StorageFailed
from forerun.events import ExecutionEnded
from forerun.model import InvocationRecord, Origin, Timings, TraceContext
from forerun.profiles import Activity
from forerun.profiles.activity import MINUTES_KEPT_S, MOST_STEPS, STEPS_S
from forerun.storage.activity import HOUR_S, MINUTE_S, ActivityStore
from forerun.storage.sqlite import TRACES

ACCOUNT = "1" * 12
DAY_S = 86_400
CONTEXT = TraceContext(trace_id="a" * 32, span_id="b" * 16, origin=Origin(), header="")
# The first second of a day.
MIDNIGHT = 1_700_006_400.0


def ended(at: float, *, name: str = "f", status: str = "success", ms: float = 10.0, **more):
    ran = status != "throttled"
    record = InvocationRecord(
        request_id="r",
        account=ACCOUNT,
        name=name,
        version=more.pop("version", "1"),
        status=status,
        start_type="warm" if ran else None,
        duration_ms=ms if ran else 0.0,
        timings=Timings(answered=at),
        **more,
    )
    return ExecutionEnded(record=record, context=CONTEXT, region="us-home-1")


@pytest.fixture
async def db(tmp_path):
    opened = await open_database(tmp_path / "traces.db", migrations=TRACES)
    yield opened
    await opened.close()


@pytest.fixture
def clock():
    return FakeClock(MIDNIGHT)


@pytest.fixture
async def activity(db, clock):
    return started(db, clock)


def started(db, clock, **more) -> Activity:
    made = Activity(ActivityStore(db), clock, days=more.pop("days", 30), **more)
    made.start()
    return made


async def test_minutes_are_told_apart_and_added_up(activity, clock):
    await activity.consume([ended(MIDNIGHT + 1), ended(MIDNIGHT + 59, ms=30.0)])
    clock.jump(61)
    await activity.consume(
        [
            ended(MIDNIGHT + 61, status="error"),
            ended(MIDNIGHT + 62, status="timeout"),
            ended(MIDNIGHT + 63, status="throttled"),
            ended(MIDNIGHT + 64, init_ms=100.0, version="2"),
        ]
    )
    await activity.flush()
    told = await activity.series(
        ACCOUNT, "f", since=MIDNIGHT, until=MIDNIGHT + 180, step_s=MINUTE_S
    )
    assert told.at == [MIDNIGHT, MIDNIGHT + 60, MIDNIGHT + 120]
    assert (told.calls, told.errors, told.timeouts) == ([2, 4, 0], [0, 2, 0], [0, 1, 0])
    assert (told.throttles, told.inits, told.total) == ([0, 1, 0], [0, 1, 0], 6)
    assert told.p95[0] == pytest.approx(30.0, rel=0.01)
    assert told.p95[2] is None
    assert told.starts == {"warm": 5}
    assert told.versions == {"1": 5, "2": 1}
    assert told.busy[0] == pytest.approx(0.04 / 60, abs=1e-3)
    wide = await activity.series(ACCOUNT, "f", since=MIDNIGHT, until=MIDNIGHT + 180, step_s=300)
    assert (wide.calls, wide.total) == ([6], 6)
    await activity.close()


@pytest.mark.databases
async def test_others_are_not_told_of(activity):
    await activity.consume([ended(MIDNIGHT + 1), ended(MIDNIGHT + 1, name="g")])
    await activity.flush()
    for account, name, total in ((ACCOUNT, "g", 1), (ACCOUNT, "h", 0), ("2" * 12, "f", 0)):
        told = await activity.series(account, name, since=MIDNIGHT, until=MIDNIGHT + 60)
        assert told.total == total
    assert set(await activity.totals(ACCOUNT, since=MIDNIGHT)) == {"f", "g"}
    assert await activity.totals("2" * 12, since=MIDNIGHT) == {}
    await activity.close()


@pytest.mark.databases
async def test_it_is_written_once_a_second(db, clock, activity):
    await activity.consume([ended(MIDNIGHT)])
    await settle_writes()
    assert await db.fetch("SELECT calls FROM activity") == []
    await clock.advance(1.0)
    await written(db, [(1,)])
    await activity.consume([ended(MIDNIGHT + 1)])
    # It may still be at what was written first.
    for _ in range(200):
        await clock.advance(1.0)
        if await db.fetch("SELECT calls FROM activity") == [(2,)]:
            break
    assert await db.fetch("SELECT calls FROM activity") == [(2,)]
    await activity.close()


@pytest.mark.databases
async def test_a_minute_goes_on_after_a_restart(db, clock):
    first = started(db, clock)
    await first.consume([ended(MIDNIGHT + 1)])
    await first.close()
    clock.jump(5)
    second = started(db, clock)
    await second.consume([ended(MIDNIGHT + 6)])
    await second.close()
    assert await db.fetch("SELECT calls FROM activity") == [(2,)]


@pytest.mark.databases
async def test_minutes_become_hours_and_the_whole_stays_the_same(db, clock, activity):
    count = 0
    for minute in range(0, 5 * 60, 7):
        at = MIDNIGHT + 60 * minute
        clock.jump(at - clock.now())
        await activity.consume([ended(at), ended(at, name="g", status="error")])
        count += 1
    await activity.flush()
    clock.jump(MIDNIGHT + 5 * HOUR_S + 300 - clock.now())
    await activity.sweep()
    hours = await db.fetch("SELECT COUNT(*) FROM activity WHERE step = 3600 AND name <> ''")
    assert hours == [(10,)]
    for step in STEPS_S:
        told = await activity.series(
            ACCOUNT, "f", since=MIDNIGHT, until=MIDNIGHT + 6 * HOUR_S, step_s=step
        )
        assert told.total == count, step
    clock.jump(MINUTES_KEPT_S + DAY_S)
    await activity.sweep()
    assert await db.fetch("SELECT COUNT(*) FROM activity WHERE step = 60") == [(0,)]
    kept = await activity.series(
        ACCOUNT, "f", since=MIDNIGHT, until=MIDNIGHT + DAY_S, step_s=HOUR_S
    )
    assert (kept.total, sum(kept.calls[:5])) == (count, count)
    clock.jump(31 * DAY_S)
    await activity.sweep()
    assert await db.fetch("SELECT COUNT(*) FROM activity WHERE name <> ''") == [(0,)]
    await activity.close()


@pytest.mark.databases
async def test_what_the_store_refuses_is_written_later(clock, db, activity, monkeypatch):
    await activity.consume([ended(MIDNIGHT + 1)])
    put = ActivityStore.put

    async def refuse(_self, _rows):
        raise StorageFailed("full") from sqlite3.OperationalError("full")

    monkeypatch.setattr(ActivityStore, "put", refuse)
    await activity.flush()
    clock.jump(61)
    await activity.consume([ended(MIDNIGHT + 61)])
    await activity.flush()
    monkeypatch.setattr(ActivityStore, "put", put)
    await activity.flush()
    assert await db.fetch("SELECT at, calls FROM activity ORDER BY at") == [
        (MIDNIGHT, 1),
        (MIDNIGHT + 60, 1),
    ]
    await activity.close()


async def test_the_most_at_once_is_the_highest_of_all_that_was_told(db, clock):
    told = iter([{(ACCOUNT, "f"): 3}, {(ACCOUNT, "f"): 7}, {(ACCOUNT, "f"): 2}])
    activity = started(db, clock, peaks=lambda: next(told, {}))
    for _ in range(3):
        await activity.flush()
    found = await activity.series(ACCOUNT, "f", since=MIDNIGHT, until=MIDNIGHT + 60)
    assert found.concurrency == [7]
    await activity.close()


async def test_ranges_have_bounds(activity):
    with pytest.raises(InvalidInput, match="step must be one of"):
        await activity.series(ACCOUNT, "f", since=0, until=60, step_s=61)
    for since, until in ((0, (MOST_STEPS + 1) * 60), (60, 60), (120, 0)):
        with pytest.raises(InvalidInput, match="1 to 2000 steps"):
            await activity.series(ACCOUNT, "f", since=since, until=until, step_s=60)
    await activity.close()


async def settle_writes() -> None:
    for _ in range(5):
        await settle()


async def written(db, rows) -> None:
    for _ in range(200):
        if await db.fetch("SELECT calls FROM activity") == rows:
            return
        await settle()
    assert await db.fetch("SELECT calls FROM activity") == rows


async def test_the_load_counts_all_but_what_was_deferred(activity, clock):
    await activity.consume([ended(MIDNIGHT), ended(MIDNIGHT, deferred_s=5.0), ended(MIDNIGHT + 1)])
    assert activity.load() == 2.0
    clock.jump(60)
    await activity.consume([ended(MIDNIGHT + 61)])
    assert activity.load() == 2.0
    clock.jump(60)
    assert activity.load() == 1.0
    clock.jump(120)
    assert activity.load() == 0.0
    await activity.close()


@pytest.mark.databases
async def test_the_load_of_past_hours_is_kept(db, clock, activity):
    for hour, calls in enumerate((60, 120)):
        at = MIDNIGHT + hour * HOUR_S
        await activity.consume(
            [
                *(ended(at + number) for number in range(calls)),
                *(ended(at + number, deferred_s=1.0) for number in range(7)),
            ]
        )
    await activity.flush()
    clock.jump(2 * HOUR_S + 200)
    await activity.sweep()
    loads = [(MIDNIGHT, 1.0), (MIDNIGHT + HOUR_S, 2.0)]
    assert await activity.loads() == loads
    await activity.close()
    again = started(db, clock)
    assert await again.loads() == loads
    await again.close()
