"""What foresight has learned is written for those that changed, read at the start, and forgotten with its function."""

import logging
from itertools import pairwise

import pytest
from tests.databases import open_database
from tests.unit.control.looking_ahead import ACCOUNT, FakePolicy, qualified, resolved

from forerun.control.ahead.notebook import KEPT_DAYS, Notebook
from forerun.control.ahead.scores import (
    HOUR_S,
    HOURS,
    Counts,
    Score,
    packed,
    slow,
    typical,
    unpacked,
)
from forerun.control.ahead.traffic import Arrivals
from forerun.errors import StorageFailed
from forerun.model import Qualified
from forerun.prediction import Cost, Predictor
from forerun.storage.foresight import ForesightRow, ForesightStore
from forerun.storage.sqlite import TRACES

NOW = 1_700_000_000.0


@pytest.fixture
async def db(tmp_path):
    database = await open_database(tmp_path / "traces.db", migrations=TRACES)
    yield database
    await database.close()


class Book:
    """A notebook over a real database, with calls as the test says."""

    def __init__(self, db, policy=None):
        self.store = ForesightStore(db)
        self.policy = FakePolicy() if policy is None else policy
        self.arrivals = Arrivals()
        self.notebook = Notebook(self.store, self.policy, self.arrivals)

    def call(self, name="f", *, at=NOW, count=1, qualifier=None):
        for _ in range(count):
            traffic = self.arrivals.began(resolved(name, qualifier=qualifier), at)
            traffic.running -= 1
        traffic.note(at)
        traffic.count = 0
        return traffic


async def test_what_was_counted_and_learned_comes_back(db):
    book = Book(db)
    traffic = book.call(count=3)
    traffic.started(NOW, 20.0, 64.0)
    traffic.counts.hits = 2
    await book.notebook.write(NOW)
    again = Book(db)
    assert await again.notebook.read() == 1
    assert again.policy.states == {qualified(): b"state of f"}
    known = again.arrivals.get(qualified())
    assert (known.calls, known.last, known.starts_ms, known.memory_mb) == (3, NOW, [20.0], 64.0)
    assert again.arrivals.cost(qualified()) == Cost(64.0, 20.0)
    score = await again.notebook.score(qualified(), NOW)
    assert (score.total.calls, score.total.hits) == (3, 2)


async def test_counts_add_up_however_often_they_are_written(db):
    book = Book(db)
    for number in range(5):
        book.call(at=NOW + number, count=2)
        await book.notebook.write(NOW + number)
        await book.notebook.write(NOW + number)
        book.call(at=NOW + number)
        score = await book.notebook.score(qualified(), NOW + number)
        assert score.total.calls == 3 * (number + 1)


async def test_only_what_changed_is_written(db):
    book = Book(db)
    book.call("a")
    await book.notebook.write(NOW)
    book.call("b")
    written = []
    put = book.store.put

    async def remember(rows):
        written.extend(row.name for row in rows)
        await put(rows)

    book.store.put = remember
    await book.notebook.write(NOW)
    assert written == ["b", ""]


async def test_of_too_many_those_wait_that_were_written_last(db, monkeypatch):
    monkeypatch.setattr("forerun.control.ahead.notebook.MOST_AT_ONCE", 2)
    book = Book(db)
    for turn in range(3):
        for name in "abcd":
            book.call(name, at=NOW + turn)
        await book.notebook.write(NOW + turn)
    kept = {row.name: row.at for row in await book.store.of_account(ACCOUNT, 10)}
    assert kept == {"a": NOW + 2, "b": NOW + 2, "c": NOW + 1, "d": NOW + 1}


async def test_a_predictor_goes_on_where_it_was(db):
    predictor = Predictor(cost=lambda _: Cost(), revive=lambda packed: Qualified(*packed))
    book = Book(db, predictor)
    for number in range(10):
        at = NOW + 30 * number
        predictor.advance(at)
        predictor.observe(qualified(), at, 2)
        book.call(at=at, count=2)
    await book.notebook.write(NOW)
    again = Book(db, Predictor(cost=lambda _: Cost(), revive=lambda packed: Qualified(*packed)))
    assert await again.notebook.read() == 1
    later = NOW + 9 * 30 + 20
    assert again.policy.regularity(qualified(), later) == predictor.regularity(qualified(), later)
    assert again.policy.explain(qualified(), later) == predictor.explain(qualified(), later)


@pytest.mark.databases
async def test_rows_that_cannot_be_read_are_passed_over(db, caplog):
    store = ForesightStore(db)
    await store.put(
        [
            ForesightRow(ACCOUNT, "a", "", 1, b"broken", b""),
            ForesightRow(ACCOUNT, "b", "", 2, b"good", b"no score"),
        ]
    )
    book = Book(db)
    with caplog.at_level(logging.WARNING):
        assert await book.notebook.read() == 1
    assert "cannot be read" in caplog.text
    assert book.policy.states == {qualified("b"): b"good"}
    assert book.arrivals.get(qualified("b")).calls == 0


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"\x93\x01\x02", b"{}"], ids=repr)
async def test_a_predictor_takes_no_junk(db, junk):
    await ForesightStore(db).put(
        [ForesightRow(ACCOUNT, "a", "", 1, junk, junk), ForesightRow("", "", "", 1, junk, b"")]
    )
    book = Book(db, Predictor(cost=lambda _: Cost()))
    assert await book.notebook.read() == 0


async def test_what_the_server_counts_while_it_reads_is_not_lost(db):
    book = Book(db)
    book.call()
    await book.notebook.write(NOW)
    again = Book(db)
    traffic = again.arrivals.began(resolved(), NOW + 1)
    await again.notebook.read()
    assert again.arrivals.get(qualified()) is traffic
    assert (traffic.running, traffic.count) == (1, 1)


@pytest.mark.databases
async def test_a_deleted_function_leaves_no_row(db):
    book = Book(db)
    book.call()
    book.call(qualifier="prod")
    book.call("g")
    await book.notebook.write(NOW)
    book.call(qualifier="new")
    gone = await book.notebook.forget(ACCOUNT, "f")
    assert set(gone) == {qualified(), qualified("f", "prod"), qualified("f", "new")}
    assert [row.name for row in await book.store.of_account(ACCOUNT, 10)] == ["g"]


async def test_an_account_sees_its_own_with_what_was_counted_since(db):
    book = Book(db)
    book.call()
    await book.notebook.write(NOW)
    book.call(at=NOW + 1)
    book.call("g", at=NOW + 2)
    await book.store.put([ForesightRow("2" * 12, "h", "", 1, b"", b"")])
    scores = await book.notebook.scores(ACCOUNT, NOW, 10)
    assert {function.name: score.total.calls for function, score in scores.items()} == {
        "f": 2,
        "g": 1,
    }


@pytest.mark.databases
async def test_pages_are_read_to_the_end(db, monkeypatch):
    monkeypatch.setattr("forerun.control.ahead.notebook.PAGE", 7)
    book = Book(db)
    for number in range(40):
        book.call(f"f{number}")
    await book.notebook.write(NOW)
    again = Book(db)
    assert await again.notebook.read() == 40


async def test_a_store_that_refuses_costs_what_was_counted_since(db, caplog):
    book = Book(db)
    book.call()

    async def refuse(_rows):
        raise StorageFailed("the disk is full")

    book.store.put = refuse
    with caplog.at_level(logging.WARNING):
        await book.notebook.write(NOW)
    assert book.notebook.failed
    assert "the disk is full" in caplog.text


@pytest.mark.databases
async def test_what_was_not_called_for_long_goes(db):
    book = Book(db)
    book.call("old", at=NOW - (KEPT_DAYS + 1) * 86_400)
    book.call("new")
    await book.notebook.write(NOW)
    await book.notebook.trim(NOW)
    assert [row.name for row in await book.store.of_account(ACCOUNT, 10)] == ["new"]


def test_a_score_keeps_the_last_hours():
    score = Score()
    for hour in range(40):
        score.add(Counts(calls=1, hits=1), NOW + hour * HOUR_S)
    assert score.total.calls == 40
    assert len(score.hours) == HOURS
    assert {hour.calls for hour in score.hours} == {1}
    assert [b.at - a.at for a, b in pairwise(score.hours)] == [HOUR_S] * (HOURS - 1)
    assert unpacked(packed(score)) == score


def test_starts_in_numbers():
    assert (typical([]), slow([])) == (0.0, 0.0)
    assert (typical([3.0, 1.0, 2.0]), slow([3.0, 1.0, 2.0])) == (2.0, 3.0)
