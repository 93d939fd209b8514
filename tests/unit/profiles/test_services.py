"""The services that a version calls, as placement is told of them."""

from pathlib import Path

import msgspec
import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.unit.profiles.events import ACCOUNT, PLATFORM, Ran, call, invoke

from forerun.model import START_MS, Habits, Likely
from forerun.profiles import Profiler, read_habits
from forerun.profiles.fold import fold, name_calls
from forerun.profiles.outline import Outline, outline_of
from forerun.profiles.services import MOST_SERVICES, habits_of, likely_services
from forerun.profiles.tally import Tally
from forerun.storage.profiles import ProfileStore
from forerun.storage.sqlite import TRACES

SQS = "sqs.eu-home-1.example:443"


def outline(*runs: Ran) -> Outline:
    tally = Tally()
    for run in runs:
        fold(tally, run.ended, name_calls(run.ended.calls, (), ACCOUNT, {PLATFORM}))
    return outline_of([tally])


def test_services_are_told_by_address_with_their_share_of_executions():
    runs = [Ran("A", call("db:5432"), call("db:5432")) for _ in range(6)]
    runs += [Ran("A", call("log.example:443")) for _ in range(2)]
    runs += [Ran("A") for _ in range(4)]
    assert likely_services(outline(*runs)) == [
        Likely("db:5432", 0.5, 2.0, 12),
        Likely("log.example:443", pytest.approx(1 / 6), 1.0, 12),
    ]


def test_one_in_ten_stands_for_ten_but_is_one_sample():
    runs = [Ran("A", call("db:5432"), weight=10), *(Ran("A") for _ in range(10))]
    assert likely_services(outline(*runs)) == [Likely("db:5432", 0.5, 1.0, 11)]


def test_services_of_awss_kind_are_told_by_where_they_are_called():
    runs = [Ran("A", call(SQS, service="sqs", operation="SendMessage")) for _ in range(3)]
    assert likely_services(outline(*runs)) == [Likely(SQS, 1.0, 1.0, 3)]


def test_what_a_call_carries_is_told():
    calls = [call("db:5432", sent_bytes=1000, received_bytes=200_000), call("db:5432")]
    assert likely_services(outline(*[Ran("A", *calls) for _ in range(3)])) == [
        Likely("db:5432", 1.0, 2.0, 3, 100_500.0)
    ]


def test_a_start_takes_what_init_took_in_the_middle_and_is_assumed_where_none_was_seen():
    runs = [Ran("A", init_ms=init_ms) for init_ms in (5.0, 5.0, 5.0, 900.0)]
    warm = [Ran("A") for _ in range(100)]
    assert habits_of(outline(*runs, *warm)).start_ms == pytest.approx(5.0, rel=0.02)
    assert habits_of(outline(*warm)).start_ms == START_MS


def test_what_has_no_path_to_choose_is_left_out():
    elsewhere = ["127.0.0.1:5432", "localhost:80", "unix:/tmp/x", "", "[::1]:80", "db"]
    calls = [call(host) for host in elsewhere]
    at_home = call(PLATFORM, service="sqs", method="POST")
    assert likely_services(outline(Ran("A", *calls, invoke("B"), at_home))) == []
    assert likely_services(outline()) == []


def test_only_the_likeliest_are_told():
    runs = [
        Ran("A", *(call(f"s{number}:80") for number in range(reached))) for reached in range(20)
    ]
    found = likely_services(outline(*runs))
    assert [each.service for each in found] == [f"s{number}:80" for number in range(MOST_SERVICES)]


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x90", b"\x01"], ids=repr)
def test_what_cannot_be_read_tells_nothing(packed: bytes):
    assert read_habits(packed) == Habits()


async def test_they_are_read_from_what_the_profiler_has_written(tmp_path: Path):
    db = await open_database(tmp_path / "traces.db", migrations=TRACES)
    try:
        store = ProfileStore(db)
        profiler = Profiler(store, FakeClock(), {PLATFORM})
        runs = [Ran("A", call("db:5432"), version="7", init_ms=2000.0) for _ in range(3)]
        await profiler.consume([event for run in runs for event in (run.began, run.ended)])
        await profiler.flush()
        assert read_habits(await store.outline(ACCOUNT, "A", "7")) == Habits(
            services=(Likely("db:5432", 1.0, 1.0, 3),), start_ms=pytest.approx(2000, rel=0.01)
        )
        assert await store.outline(ACCOUNT, "A", "8") == b""
    finally:
        await db.close()


@pytest.mark.parametrize("without", [0, 1, 2], ids=["now", "before sizes", "before addresses"])
def test_outlines_of_earlier_days_are_read(without: int):
    known = outline(Ran("A", call("db:5432", sent_bytes=100), init_ms=7.0))
    fields = msgspec.to_builtins(known)
    *fields, callees, init = fields
    callees = {key: callee[: len(callee) - without] for key, callee in callees.items()}
    fields += [callees] if without else [callees, init]
    found = read_habits(msgspec.msgpack.encode(fields))
    carried = 0.0 if without else 100.0
    assert found.services == (Likely("db:5432", 1.0, 1.0, 1, carried),)
    assert found.start_ms == (START_MS if without else pytest.approx(7.0, rel=0.02))
