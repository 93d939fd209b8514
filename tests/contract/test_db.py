"""What every database behind ``Db`` promises; each implementation passes all of it."""

import asyncio
import os
import sqlite3
import stat

import pytest

from forerun.errors import AlreadyExists, Conflict, InvalidInput, StorageFailed
from forerun.storage.db import Statement
from forerun.storage.postgresql import open_postgresql
from forerun.storage.sqlite import open_sqlite


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request, tmp_path):
    if request.param == "sqlite":
        database = await open_sqlite(tmp_path / "state" / "forerun.db")
    else:
        database = await open_postgresql(request.getfixturevalue("postgres_url"))
    await database.write(
        Statement("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER)")
    )
    yield database
    await database.close()


def insert(id_, name="", n=0):
    return Statement("INSERT INTO thing VALUES ($1, $2, $3)", (id_, name or f"thing-{id_}", n))


async def names(db):
    return [row[0] for row in await db.fetch("SELECT name FROM thing ORDER BY id")]


async def test_a_read_sees_what_was_written(db):
    assert await db.write(insert(1), durable=False) == [[]]
    assert await db.fetch("SELECT id, name, n FROM thing WHERE id = $1", 1) == [(1, "thing-1", 0)]


async def test_parameters_may_repeat_and_stand_in_any_order(db):
    rows = await db.fetch("SELECT $2, $1, $2, '$LATEST'", "a", "b")
    assert rows == [("b", "a", "b", "$LATEST")]


async def test_returning_gives_rows_per_statement(db):
    result = await db.write(
        insert(1),
        Statement("UPDATE thing SET n = n + 5 WHERE id = $1 RETURNING n, name", (1,)),
        Statement("UPDATE thing SET n = 9 WHERE id = $1 RETURNING n", (77,)),
    )
    assert result == [[], [(5, "thing-1")], []]


async def test_a_taken_key_undoes_the_callers_whole_transaction(db):
    await db.write(insert(1))
    with pytest.raises(AlreadyExists):
        await db.write(insert(2), insert(3, "thing-1"))
    with pytest.raises(AlreadyExists):
        await db.write(insert(1, "other"))
    assert await names(db) == ["thing-1"]


@pytest.mark.parametrize(
    "sql", ["UPDATE thing SET n = 1 WHERE n = $1", "DELETE FROM thing WHERE n = $1 RETURNING id"]
)
async def test_expect_is_compare_and_set(db, sql):
    await db.write(insert(1), insert(2))
    for expect in (0, 1, 3):
        with pytest.raises(Conflict):
            await db.write(insert(9, n=5), Statement(sql, (0,), expect))
        with pytest.raises(Conflict):
            await db.write(Statement(sql, (0,), expect))
    assert await names(db) == ["thing-1", "thing-2"]
    await db.write(Statement(sql, (0,), 2))


async def test_neighbours_in_one_commit_do_not_share_their_failures(db):
    async def one(index):
        try:
            await db.write(insert(index), insert(1000 + index, f"shared-{index // 2}"))
        except AlreadyExists:
            return False
        return True

    done = await asyncio.gather(*(one(index) for index in range(300)))
    assert sum(done) == 150
    [[count]] = await db.fetch("SELECT count(*) FROM thing")
    assert count == 300


async def test_counters_lose_no_update(db):
    await db.write(insert(1))
    add = Statement("UPDATE thing SET n = n + 1 WHERE id = 1", (), 1)
    await asyncio.gather(*(db.write(add, durable=index % 2 == 0) for index in range(500)))
    assert await db.fetch("SELECT n FROM thing") == [(500,)]


async def test_a_caller_that_gave_up_harms_nobody(db):
    async def impatient(index):
        async with asyncio.timeout(0):
            await db.write(insert(index))

    await asyncio.gather(*(impatient(index) for index in range(50)), return_exceptions=True)
    await db.write(insert(100))
    assert "thing-100" in await names(db)


async def test_values_that_no_column_holds_are_refused(db):
    for value in (1 << 70, "\ud800"):
        with pytest.raises(InvalidInput):
            await db.write(Statement("INSERT INTO thing VALUES (1, $1, 0)", (value,)))
        with pytest.raises(InvalidInput):
            await db.fetch("SELECT $1", value)
    with pytest.raises(StorageFailed):
        await db.fetch("SELECT nothing FROM nowhere")
    with pytest.raises(StorageFailed):
        await db.write(Statement("SELECT 1; SELECT 2"))
    await db.write(insert(1))


async def test_nothing_is_answered_after_close(db):
    pending = asyncio.gather(*(db.write(insert(index)) for index in range(20)))
    await asyncio.sleep(0)
    await db.close()
    assert len(await pending) == 20
    with pytest.raises(StorageFailed):
        await db.write(insert(99))
    await db.close()


async def test_more_callers_than_the_queue_holds_wait_for_room(db):
    await asyncio.gather(*(db.write(insert(index), durable=False) for index in range(6000)))
    assert await db.fetch("SELECT count(*) FROM thing") == [(6000,)]


async def test_the_file_is_private_and_survives(tmp_path):
    path = tmp_path / "data" / "forerun.db"
    db = await open_sqlite(path)
    await db.write(
        Statement("CREATE TABLE kept (x INTEGER)"), Statement("INSERT INTO kept VALUES (7)")
    )
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    await db.close()
    again = await open_sqlite(path)
    assert await again.fetch("SELECT x FROM kept") == [(7,)]
    await again.close()


async def test_a_damaged_file_is_a_clear_stop(tmp_path):
    path = tmp_path / "forerun.db"
    path.write_bytes(b"this is no database, but long enough to be taken for one" * 100)
    with pytest.raises(StorageFailed, match="cannot be opened"):
        await open_sqlite(path)
    with pytest.raises(StorageFailed, match="cannot be opened"):
        await open_sqlite(path / "below-a-file.db")


async def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "forerun.db"
    await (await open_sqlite(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, 'later')")
    connection.close()
    with pytest.raises(StorageFailed, match="9999"):
        await open_sqlite(path)


async def test_a_full_disk_fails_the_write_and_not_the_database(tmp_path):
    db = await open_sqlite(tmp_path / "forerun.db")
    await db.write(Statement("CREATE TABLE big (x BLOB)"))
    [[pages]] = await db.fetch("PRAGMA page_count")
    # SQLite's own bound stands in for the disk's: it fails in the same way and place.
    await db.write(Statement(f"PRAGMA max_page_count = {pages + 4}"))
    results = await asyncio.gather(
        *(
            db.write(Statement("INSERT INTO big VALUES ($1)", (os.urandom(9000),)))
            for _ in range(20)
        ),
        return_exceptions=True,
    )
    failed = [result for result in results if isinstance(result, Exception)]
    assert failed
    assert all(isinstance(error, StorageFailed) for error in failed)
    [[stored]] = await db.fetch("SELECT count(*) FROM big")
    assert stored == len(results) - len(failed)
    await db.close()


async def test_many_may_open_a_new_database_at_once(tmp_path):
    opened = await asyncio.gather(*(open_sqlite(tmp_path / "forerun.db") for _ in range(4)))
    await opened[0].write(Statement("CREATE TABLE shared (n INTEGER)"))
    await asyncio.gather(
        *(
            db.write(Statement("INSERT INTO shared VALUES ($1)", (n,)))
            for n, db in enumerate(opened)
        )
    )
    for db in opened:
        assert await db.fetch("SELECT count(*) FROM shared") == [(4,)]
    await asyncio.gather(*(db.close() for db in opened))
