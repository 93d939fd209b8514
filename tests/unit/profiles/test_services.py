"""The services that a version calls, as placement is told of them."""

from pathlib import Path

import msgspec
import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.unit.profiles.events import ACCOUNT, PLATFORM, Ran, call, invoke

from forerun.model import Likely
from forerun.profiles import Profiler, read_services
from forerun.profiles.fold import fold, name_calls
from forerun.profiles.outline import Outline, outline_of
from forerun.profiles.services import MOST_SERVICES, likely_services
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
    assert read_services(packed) == []


async def test_they_are_read_from_what_the_profiler_has_written(tmp_path: Path):
    db = await open_database(tmp_path / "traces.db", migrations=TRACES)
    try:
        store = ProfileStore(db)
        profiler = Profiler(store, FakeClock(), {PLATFORM})
        runs = [Ran("A", call("db:5432"), version="7") for _ in range(3)]
        await profiler.consume([event for run in runs for event in (run.began, run.ended)])
        await profiler.flush()
        assert read_services(await store.outline(ACCOUNT, "A", "7")) == [
            Likely("db:5432", 1.0, 1.0, 3)
        ]
        assert await store.outline(ACCOUNT, "A", "8") == b""
    finally:
        await db.close()


def test_outlines_of_before_addresses_were_counted_are_read():
    known = outline(Ran("A", call("db:5432")))
    fields = msgspec.to_builtins(known)
    fields[-1] = {key: callee[:-1] for key, callee in fields[-1].items()}
    assert read_services(msgspec.msgpack.encode(fields)) == [Likely("db:5432", 1.0, 1.0, 1)]
