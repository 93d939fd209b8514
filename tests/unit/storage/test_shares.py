"""Shares of hosts in the database: what was right by the book is right when it is written, whoever writes at the same time."""

import asyncio

import pytest

from forerun.model import Share
from forerun.scheduling import grow
from forerun.storage import open_sqlite
from forerun.storage.db import Statement
from forerun.storage.postgresql import open_postgresql
from forerun.storage.shares import ShareStore

ACCOUNT = "000000000001"


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request, tmp_path):
    if request.param == "sqlite":
        database = await open_sqlite(tmp_path / "forerun.db")
    else:
        database = await open_postgresql(request.getfixturevalue("postgres_url"))
    yield database
    await database.close()


@pytest.fixture
def store(db):
    return ShareStore(db, limit=40)


async def reserve(db, name, amount, account=ACCOUNT):
    await db.write(
        Statement("DELETE FROM functions WHERE account = $1 AND name = $2", (account, name)),
        Statement(
            "INSERT INTO functions (account, name, tags, reserved, recursion, next_version)"
            " VALUES ($1, $2, $3, $4, 'Terminate', 1)",
            (account, name, b"{}", amount),
        ),
    )


async def amounts(store, function=""):
    return {held.host: held.amount for held in (await store.book(ACCOUNT, function)).held}


async def test_a_client_begins_with_nothing_and_all_room(store):
    book = await store.book(ACCOUNT, "")
    assert (book.version, book.maximum, book.room, book.held) == (0, 40, 40, ())
    assert (await store.book(ACCOUNT, "none")).maximum == 0


async def test_reservations_are_clients_and_take_from_the_account(db, store):
    await reserve(db, "f", 15)
    await reserve(db, "other", 20, account="000000000002")
    assert (await store.book(ACCOUNT, "")).maximum == 25
    assert (await store.book(ACCOUNT, "f")).maximum == 15
    assert await store.change(await store.book(ACCOUNT, "f"), {"a": 10})
    assert (await store.book(ACCOUNT, "")).room == 30
    shown = await store.of_account(ACCOUNT)
    assert [(book.function, book.maximum, book.current) for book in shown] == [
        ("", 25, 0),
        ("f", 15, 10),
    ]


async def test_of_two_that_read_the_same_book_one_writes(store):
    first, second = await store.book(ACCOUNT, ""), await store.book(ACCOUNT, "")
    assert await store.change(first, {"a": 40})
    assert not await store.change(second, {"b": 40})
    assert await amounts(store) == {"a": 40}
    assert await store.versions([ACCOUNT, "nobody"]) == {ACCOUNT: 1}


@pytest.mark.parametrize("amount", [None, 0, 30])
async def test_a_book_of_other_reservations_is_not_written(db, store, amount):
    await reserve(db, "f", 10)
    account, function = await store.book(ACCOUNT, ""), await store.book(ACCOUNT, "f")
    await reserve(db, "f", amount)
    assert not await store.change(account, {"a": 30})
    assert not await store.change(function, {"a": 10})


async def test_what_is_taken_counts_until_it_is_settled(store):
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 20, "b": 10})
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 5})
    [draining] = await store.draining()
    assert draining[:5] == (ACCOUNT, "", "a", 5, 2)
    assert draining.share == Share(ACCOUNT, 5, 2)
    book = await store.book(ACCOUNT, "")
    assert (book.current, book.counted, book.room) == (15, 30, 10)
    await store.renew([draining])
    assert (await store.draining())[0].renewed == 1
    await store.settle([draining])
    assert await store.draining() == []
    assert (await store.book(ACCOUNT, "")).room == 25


async def test_settling_what_was_changed_since_changes_nothing(store):
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 20})
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 5})
    [old] = await store.draining()
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 10})
    await store.settle([old])
    await store.renew([old])
    [held] = (await store.book(ACCOUNT, "")).held
    assert (held.amount, held.counted, held.renewed) == (10, 20, 0)


async def test_who_remembers_learns_of_what_was_taken(store):
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 10})
    assert await store.change(await store.book(ACCOUNT, ""), {"b": 10})
    assert await store.change(await store.book(ACCOUNT, ""), {"a": 0})
    await store.settle(await store.draining())
    changed = await store.changed(ACCOUNT, since=1)
    assert {held.host: held.amount for held in changed[""]} == {"a": 0, "b": 10}
    await store.drop_empty([(ACCOUNT, "", "a", 2), (ACCOUNT, "", "b", 2)])
    assert await amounts(store) == {"a": 0, "b": 10}
    await store.drop_empty([(ACCOUNT, "", "a", 3)])
    assert await amounts(store) == {"b": 10}


async def test_all_clients_are_read_over_several_pages(db, store, monkeypatch):
    monkeypatch.setattr("forerun.storage.shares.PAGE", 3)
    await reserve(db, "f", 15)
    hosts = {f"h{number}": 2 for number in range(7)}
    assert await store.change(await store.book(ACCOUNT, ""), hosts)
    assert await store.change(await store.book(ACCOUNT, "f"), {"a": 1, "b": 2})
    books = [book async for book in store.books()]
    assert [(book.function, book.maximum, book.current) for book in books] == [
        ("", 25, 14),
        ("f", 15, 3),
    ]
    assert [len(book.held) for book in books] == [7, 2]
    await store.change(await store.book(ACCOUNT, ""), dict.fromkeys(hosts, 1))
    assert len(await store.draining()) == 7


async def test_many_that_grow_at_once_never_give_more_than_the_maximum(db, store):
    await reserve(db, "f", 16)
    hosts = [f"h{number}" for number in range(5)]

    async def grower(function):
        while steps := grow(book := await store.book(ACCOUNT, function), hosts, 3):
            await store.change(book, steps)

    await asyncio.gather(*(grower(function) for function in ["", "f"] * 4))
    account, function = await store.book(ACCOUNT, ""), await store.book(ACCOUNT, "f")
    assert account.counted + function.counted <= 40
    assert (account.counted, function.counted) == (24, 16)
