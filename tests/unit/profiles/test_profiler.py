"""Profiles that are kept: over hours, over restarts, with a store that refuses, and with more of them than memory holds."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.unit.profiles.events import ACCOUNT, OTHER, PLATFORM, T0, Ran, call

from forerun.errors import StorageFailed
from forerun.events import Event
from forerun.profiles import Profile, Profiler
from forerun.profiles import profiler as module
from forerun.storage.db import Db
from forerun.storage.profiles import OutlineRow, ProfileRow, ProfileStore
from forerun.storage.sqlite import TRACES

HOUR = 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[Db]:
    opened = await open_database(path, migrations=TRACES)
    yield opened
    await opened.close()


class Refusing(ProfileStore):
    """A store that writes nothing while it is told so, and counts how often tallies of one version were ``read``."""

    refuses = False
    read = 0

    async def newest(self, account: str, name: str, version: str) -> list[ProfileRow]:
        self.read += 1
        return await super().newest(account, name, version)

    async def put(self, rows: Sequence[ProfileRow], outlines: Sequence[OutlineRow] = ()) -> None:
        if self.refuses:
            raise StorageFailed("the disk is full")
        await super().put(rows, outlines)

    async def mend(self, made: Mapping[OutlineRow, bytes]) -> None:
        if self.refuses:
            raise StorageFailed("the disk is full")
        await super().mend(made)


@pytest.fixture
def store(db: Db) -> Refusing:
    return Refusing(db)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(T0)


@pytest.fixture
def profiler(store: Refusing, clock: FakeClock) -> Profiler:
    return Profiler(store, clock, {PLATFORM})


def events(*runs: Ran) -> list[Event]:
    return [event for run in runs for event in (run.began, run.ended)]


def some(name: str = "A", number: int = 5, *, at: float = 0.0, taken: int = 3) -> list[Event]:
    """Executions, of which ``taken`` call S."""
    runs = (
        Ran(name, *([call(at=at + 0.01)] if each < taken else []), at=at) for each in range(number)
    )
    return events(*runs)


async def of(profiler: Profiler, name: str = "A", version: str = "1") -> Profile:
    found = await profiler.get(ACCOUNT, name, version)
    assert found is not None
    return found


async def test_a_profile_is_learned_and_another_server_knows_it(profiler, store, clock):
    assert await profiler.get(ACCOUNT, "A", "1") is None
    await profiler.consume(some())
    known = await of(profiler)
    assert (known.sampled, known.callees[0].likelihood.value) == (5, 0.6)
    another = Profiler(store, clock, {PLATFORM})
    assert await of(another) == known
    await another.consume(some())
    assert (await of(another)).sampled == 10
    assert await profiler.get(OTHER, "A", "1") is None


async def test_hours_make_the_whole(profiler, store, clock):
    for hour in range(30):
        await profiler.consume(some(at=hour * HOUR, taken=hour % 6))
        clock.jump(HOUR)
    clock.jump(-HOUR)
    whole = await of(profiler)
    assert whole.sampled == 150
    assert whole.callees[0].executions == sum(hour % 6 for hour in range(30))
    last = await profiler.recent(ACCOUNT, "A", "1", 1)
    assert last is not None
    assert last.sampled == 5
    assert last.callees[0].likelihood.value == 1.0
    three = await profiler.recent(ACCOUNT, "A", "1", 3)
    assert three is not None
    assert three.callees[0].executions == 3 + 4 + 5
    another = Profiler(store, clock, {PLATFORM})
    assert await another.recent(ACCOUNT, "A", "1", 3) == three
    assert await of(another) == whole


@pytest.mark.databases
async def test_an_hour_without_executions_has_no_profile(profiler, clock):
    await profiler.consume(some())
    clock.jump(2 * HOUR)
    assert await profiler.recent(ACCOUNT, "A", "1", 1) is None
    assert (await of(profiler)).sampled == 5


@pytest.mark.databases
async def test_trimming_drops_old_hours_and_loses_nothing_of_the_whole(profiler, store, clock):
    for hour in range(3):
        await profiler.consume(some(at=hour * HOUR))
    whole = await of(profiler)
    clock.jump(100 * HOUR)
    await profiler.trim()
    assert [row.since for row in await store.hours(ACCOUNT, "A", "1", 0)] == [
        int(T0) // HOUR * HOUR + 2 * HOUR
    ]
    another = Profiler(store, clock, {PLATFORM})
    assert await of(another) == whole
    await another.consume(some(at=100 * HOUR))
    assert (await of(another)).sampled == 20
    clock.jump(31 * 24 * HOUR)
    for each in (profiler, another):
        await each.trim()
        assert await each.get(ACCOUNT, "A", "1") is None
        assert await each.list(ACCOUNT) == []


async def test_what_the_store_refuses_is_written_later(profiler, store, clock, caplog):
    store.refuses = True
    await profiler.consume(some())
    await profiler.consume(some(at=HOUR))
    assert profiler.failed == 2
    assert "the disk is full" in caplog.text
    assert (await of(profiler)).sampled == 10
    store.refuses = False
    await profiler.consume(some("B", at=HOUR))
    another = Profiler(store, clock, {PLATFORM})
    assert await of(another) == await of(profiler)
    recent = await another.recent(ACCOUNT, "A", "1", 24)
    assert recent is not None
    assert recent.sampled == 10, "the hour that ended meanwhile is written, too"


async def test_memory_is_bounded_and_nothing_is_lost(profiler, store, clock, monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", 3)
    for _ in range(3):
        for number in range(10):
            await profiler.consume(some(f"f{number}"))
    assert len(profiler._entries) == 3
    assert profiler._bytes == sum(entry.size for entry in profiler._entries.values())
    listed = await profiler.list(ACCOUNT)
    assert [(each.function, each.sampled) for each in listed] == [
        (f"f{number}", 15) for number in range(10)
    ]
    assert len(profiler._entries) <= 3
    assert (await of(profiler, "f0")).sampled == 15


async def test_memory_is_bounded_by_size(profiler, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 2_000)
    for number in range(10):
        await profiler.consume(some(f"f{number}"))
    assert profiler._bytes <= 2_000
    assert 1 <= len(profiler._entries) < 10


async def test_memory_is_bounded_though_the_store_refuses(profiler, store, monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", 3)
    store.refuses = True
    for number in range(10):
        await profiler.consume(some(f"f{number}"))
    assert len(profiler._entries) == 6
    assert profiler.lost == 4


@pytest.mark.databases
async def test_all_of_an_account_are_listed_by_name_and_version(profiler, store, clock):
    other = events(Ran("Z", account=OTHER), Ran("B", version="2"), Ran("B", version="10"))
    await profiler.consume([*some("C"), *other])
    for each in (profiler, Profiler(store, clock, {PLATFORM})):
        listed = await each.list(ACCOUNT)
        assert [(one.function, one.version) for one in listed] == [
            ("B", "10"),
            ("B", "2"),
            ("C", "1"),
        ]
        assert await each.list(ACCOUNT) == listed
    await profiler.consume(some("C"))
    assert [each.sampled for each in await profiler.list(ACCOUNT)] == [1, 1, 10]


async def test_a_function_that_is_forgotten_begins_anew(profiler, store, clock):
    await profiler.consume([*some(), *some("B")])
    await profiler.forget(ACCOUNT, "A")
    for each in (profiler, Profiler(store, clock, {PLATFORM})):
        assert [one.function for one in await each.list(ACCOUNT)] == ["B"]
    await profiler.consume(some(number=1))
    assert (await of(profiler)).sampled == 1


async def test_what_arrives_after_all_was_forgotten_breaks_nothing(profiler):
    outgoing = call()
    a = Ran("A", outgoing)
    late = [Ran("B", origin=a.through(outgoing.span_id)) for _ in range(2)]
    await profiler.consume([*events(a), late[0].began])
    await profiler.forget(ACCOUNT, "A")
    await profiler.consume([late[1].began])
    assert await profiler.get(ACCOUNT, "A", "1") is None


async def test_what_arrives_in_a_later_hour_counts_where_its_cause_does(profiler, store, clock):
    outgoing = call()
    a = Ran("A", outgoing)
    arrivals = [Ran("B", at=at, origin=a.through(outgoing.span_id)) for at in (1, 2, HOUR)]
    await profiler.consume([*events(a), *events(*arrivals[:2])])
    await profiler.consume([*some(at=HOUR), *events(arrivals[2])])
    shown = await of(profiler)
    callee = next(each for each in shown.callees if each.via)
    assert (callee.executions, callee.calls, shown.sampled) == (1, 3, 6)
    assert callee.calls_per_execution.mean == 3
    assert await of(Profiler(store, clock, {PLATFORM})) == shown


async def test_a_damaged_row_begins_anew(profiler, store, clock, caplog):
    await profiler.consume(some())
    await store.put([ProfileRow(ACCOUNT, "A", "1", int(T0) // HOUR * HOUR, b"\xc1nonsense")])
    another = Profiler(store, clock, {PLATFORM})
    assert await another.get(ACCOUNT, "A", "1") is None
    assert "cannot be read" in caplog.text
    await another.consume(some())
    assert (await of(another)).sampled == 5


async def test_a_profile_that_cannot_be_written_costs_nobody_else_theirs(profiler, store, clock):
    strange = events(Ran("A", status="error", error_type="half \ud800"))
    await profiler.consume([*strange, *some("B")])
    assert profiler.lost == 1
    await profiler.consume(some("A"))
    for each in (profiler, Profiler(store, clock, {PLATFORM})):
        assert [(one.function, one.sampled) for one in await each.list(ACCOUNT)] == [
            ("A", 5),
            ("B", 5),
        ]


async def test_asking_while_it_counts_gets_what_is_known_and_changes_nothing(
    profiler, store, clock, monkeypatch
):
    monkeypatch.setattr(module, "IN_MEMORY", 4)
    asking = True

    async def ask() -> None:
        while asking:
            await profiler.list(ACCOUNT)
            await profiler.outlines(ACCOUNT)
            await profiler.get(ACCOUNT, "f3", "1")

    asker = asyncio.ensure_future(ask())
    for _ in range(5):
        for number in range(12):
            await profiler.consume(some(f"f{number}", 2))
    asking = False
    await asker
    for each in (profiler, Profiler(store, clock, {PLATFORM})):
        assert [one.sampled for one in await each.list(ACCOUNT)] == [10] * 12
        assert [one.sampled for one in await each.outlines(ACCOUNT)] == [10] * 12


async def outlined(profiler: Profiler) -> list[tuple[str, str, int, list[str]]]:
    return [
        (each.function, each.version, each.sampled, [callee.key for callee in each.callees])
        for each in await profiler.outlines(ACCOUNT)
    ]


SHOWN = [("A", "1", 10, ["service:s:80"]), ("B", "2", 1, []), ("C", "1", 5, ["service:s:80"])]


async def learn(profiler: Profiler) -> None:
    await profiler.consume(some())
    await profiler.consume([*some(at=HOUR), *some("C"), *events(Ran("B", version="2"))])


async def test_outlines_are_read_without_the_profiles(profiler, store, clock):
    await learn(profiler)
    assert await outlined(profiler) == SHOWN
    store.read = 0
    another = Profiler(store, clock, {PLATFORM})
    assert await outlined(another) == SHOWN
    assert await another.outlines(ACCOUNT) == await profiler.outlines(ACCOUNT)
    assert store.read == 0
    await another.consume(some("C"))
    assert (await outlined(another))[2][2] == 10, "what was counted since is shown"
    assert await another.outlines(OTHER) == []


async def test_outlines_are_made_once_of_what_a_version_before_them_wrote(profiler, store, path):
    await learn(profiler)
    wanted = await profiler.outlines(ACCOUNT)
    with contextlib.closing(sqlite3.connect(path)) as before:
        before.executescript(
            "DROP TABLE outlines; DELETE FROM schema_version WHERE name = 'outlines'"
        )
    db = await open_database(path, migrations=TRACES)
    kept = Refusing(db)
    for reads in (3, 0):
        kept.read = 0
        assert await Profiler(kept, FakeClock(T0), {PLATFORM}).outlines(ACCOUNT) == wanted
        assert kept.read == reads
    await db.close()


@pytest.mark.parametrize("body", [b"", b"\xc1nonsense", b"\x93\x01\x02\x03"], ids=repr)
async def test_an_outline_that_cannot_be_read_is_made_anew(profiler, store, clock, body):
    await learn(profiler)
    await store.put([], [OutlineRow(ACCOUNT, "A", "1", body)])
    store.refuses = True
    another = Profiler(store, clock, {PLATFORM})
    assert await outlined(another) == SHOWN
    assert another.failed == 1
    store.refuses = False
    for reads in (1, 0):
        store.read = 0
        assert await outlined(Profiler(store, clock, {PLATFORM})) == SHOWN
        assert store.read == reads


@pytest.mark.databases
async def test_what_was_written_meanwhile_is_not_mended(store):
    old, new, read = (OutlineRow(ACCOUNT, "A", "1", body) for body in (b"", b"new", b"of old"))
    await store.put([], [old])
    await store.put([], [new])
    await store.mend({old: read.body})
    assert await store.outlines(ACCOUNT) == [new]
    await store.mend({new: read.body})
    assert await store.outlines(ACCOUNT) == [read]


@pytest.mark.databases
async def test_outlines_go_with_their_profiles(profiler, store, clock):
    await learn(profiler)
    await profiler.outlines(ACCOUNT)
    await profiler.forget(ACCOUNT, "C")
    for each in (profiler, Profiler(store, clock, {PLATFORM})):
        assert await outlined(each) == SHOWN[:2]
    clock.jump(31 * 24 * HOUR)
    await profiler.consume(some("D", at=31 * 24 * HOUR))
    await profiler.trim()
    for each in (profiler, Profiler(store, clock, {PLATFORM})):
        assert [one[0] for one in await outlined(each)] == ["D"]
    assert [row.name for row in await store.outlines(ACCOUNT)] == ["D"]


async def test_outlines_of_what_is_not_written_yet_are_of_now(profiler, store):
    store.refuses = True
    await learn(profiler)
    assert await outlined(profiler) == SHOWN
