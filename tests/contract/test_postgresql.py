"""What PostgreSQL is held to beside the contract of ``Db``: several processes, lost connections, two versions at once."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from tests.postgres import Postgres
from tests.servers import eventually

from forerun.errors import Conflict, StorageFailed
from forerun.storage import postgresql_schema
from forerun.storage.db import Statement
from forerun.storage.postgresql import open_postgresql
from forerun.storage.postgresql_session import Session

MAKE = Statement("CREATE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT)")


@pytest.fixture
async def dbs(postgres_url):
    """Two processes' views of one database."""
    opened = [await open_postgresql(postgres_url) for _ in range(2)]
    await opened[0].write(MAKE)
    yield opened
    for db in opened:
        await db.close()


async def end_connections(url: str) -> int:
    connection = await asyncpg.connect(url)
    ended = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    return len(ended)


async def test_values_come_back_as_from_sqlite(dbs):
    [row] = await dbs[0].fetch(
        "SELECT CAST($1 AS BIGINT), CAST($2 AS DOUBLE PRECISION), CAST($3 AS BYTEA), 1 = 1, 1 > 2,"
        " (SELECT sum(x) FROM (VALUES (1), (2)) AS v (x)), avg(x), NULL FROM (VALUES (1), (2)) AS w (x)",
        True,
        3,
        b"\0\xff",
    )
    assert row == (1, 3.0, b"\0\xff", 1, 0, 3, 1.5, None)
    assert [type(value) for value in row[:7]] == [int, float, bytes, int, int, int, float]


async def test_what_is_read_before_a_write_still_holds_whoever_else_writes(dbs):
    def add(number: int) -> Statement:
        sql = "INSERT INTO thing SELECT $1, $1 WHERE (SELECT count(*) FROM thing) < 5"
        return Statement(sql, (number,), expect=1)

    results = await asyncio.gather(
        *(dbs[number % 2].write(add(number)) for number in range(40)), return_exceptions=True
    )
    assert sum(isinstance(result, Conflict) for result in results) == 35
    assert await dbs[0].fetch("SELECT count(*) FROM thing") == [(5,)]


async def test_transactions_that_undo_each_other_are_tried_again(dbs):
    await dbs[0].write(Statement("INSERT INTO thing VALUES (1, 0), (2, 0)"))
    one, two = (
        Statement(f"/*free*/ UPDATE thing SET n = n + 1 WHERE id = {number}") for number in (1, 2)
    )
    for _ in range(5):
        await asyncio.gather(dbs[0].write(one, two), dbs[1].write(two, one))
    assert await dbs[0].fetch("SELECT n FROM thing") == [(10,), (10,)]


async def test_lost_connections_are_made_again(dbs, postgres_url):
    for number in range(3):
        await dbs[0].write(Statement("INSERT INTO thing VALUES ($1, 0)", (number,)))
        assert await end_connections(postgres_url) > 0
        assert await dbs[0].fetch("SELECT count(*) FROM thing") == [(number + 1,)]


async def test_who_asks_while_the_server_is_away_gets_an_answer_when_it_is_back(
    dbs, postgres: Postgres, monkeypatch
):
    connect = Session.connect
    tried = []

    async def count(self: Session) -> None:
        tried.append(self)
        await connect(self)

    monkeypatch.setattr(Session, "connect", count)
    await asyncio.to_thread(postgres.stop)
    try:
        asked = asyncio.gather(
            dbs[0].write(Statement("INSERT INTO thing VALUES (1, 1)")), dbs[1].fetch("SELECT 7")
        )
        async with asyncio.timeout(20):
            while len(tried) < 4:
                await asyncio.sleep(0.01)
    finally:
        # Not in a thread of its own: the server ends with the thread that started it.
        postgres.start()
    assert await asked == [[[]], [(7,)]]


async def test_a_transaction_that_may_be_committed_is_never_run_again(dbs, monkeypatch):
    simply = Session._simply
    commits = []

    async def lose(self: Session, sql: str) -> None:
        await simply(self, sql)
        if sql == "COMMIT":
            commits.append(sql)
            raise ConnectionResetError("gone while it was answered")

    monkeypatch.setattr(Session, "_simply", lose)
    with pytest.raises(StorageFailed):
        await dbs[0].write(Statement("INSERT INTO thing VALUES (1, 1)"))
    monkeypatch.undo()
    assert len(commits) == 1
    assert await dbs[0].fetch("SELECT id FROM thing") == [(1,)]


async def test_a_connection_lost_before_the_commit_costs_nothing(dbs, monkeypatch):
    simply = Session._simply
    begun = []

    async def lose(self: Session, sql: str) -> None:
        await simply(self, sql)
        if sql.startswith("BEGIN"):
            begun.append(sql)
            if len(begun) < 3:
                self._connection.terminate()

    monkeypatch.setattr(Session, "_simply", lose)
    await dbs[0].write(Statement("INSERT INTO thing VALUES (1, 1)"))
    assert len(begun) == 3
    assert await dbs[1].fetch("SELECT id FROM thing") == [(1,)]


async def test_no_server_is_a_clear_stop(tmp_path):
    with pytest.raises(StorageFailed, match="cannot be opened"):
        await open_postgresql(f"postgresql://forerun@/none?host={tmp_path}")


async def test_many_may_open_a_new_database_at_once(postgres: Postgres):
    postgres.sql("CREATE DATABASE unmade")
    url = postgres.url("unmade")
    try:
        opened = await asyncio.gather(*(open_postgresql(url, schema="messages") for _ in range(4)))
        [[versions]] = await opened[3].fetch("SELECT count(*) FROM schema_version")
        assert versions == len(postgresql_schema.migrations("message_migrations"))
        await asyncio.gather(*(db.close() for db in opened))
    finally:
        postgres.sql("DROP DATABASE unmade WITH (FORCE)")


@pytest.mark.parametrize("works", [True, False], ids=["works-with-it", "does-not"])
async def test_an_older_program_starts_where_the_newer_schema_says_that_it_can(
    dbs, postgres_url, works
):
    newest = max(each.number for each in postgresql_schema.migrations("migrations"))
    works_with = newest if works else 9999
    await dbs[0].write(
        Statement("INSERT INTO schema_version VALUES (9999, 'later', $1)", (works_with,))
    )
    if works:
        await (await open_postgresql(postgres_url)).close()
    else:
        with pytest.raises(StorageFailed, match="9999"):
            await open_postgresql(postgres_url)


@pytest.mark.slow
def test_the_server_of_a_test_ends_with_the_test(tmp_path):
    script = (
        "import os, signal\nfrom tests.postgres import running_postgres\n"
        "with running_postgres() as server:\n"
        "    print(server._server.pid, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    pid = int(ended.stdout)
    eventually(lambda: not _runs(pid), what="the server ends")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
