"""An installation that is moved to PostgreSQL is the same there: every table, every file."""

import fcntl
import os
import random
import shutil
import sqlite3
import struct

import pytest
from tests.postgres import at_once

from forerun.aio import SystemClock
from forerun.app.moving import move
from forerun.app.state import SCHEMAS, open_state
from forerun.errors import Conflict, InvalidInput, StorageFailed
from forerun.settings import ClusterSettings, ServerSettings, Settings
from forerun.storage.files import FileStore
from forerun.storage.migrating import tables_of
from forerun.storage.postgresql import open_postgresql

ROWS = 40
FILES = {"forerun": "forerun.db", "traces": "traces.db", "messages": "messages.db"}
TEXTS = ("", "a", "Z", "ä", "日本", "\U0001f680", "a\nb", "'\"\\", "~", "é")


def name_of(url):
    """The database's."""
    return url.partition("?")[0].rpartition("/")[2]


def settings_of(directory, url=""):
    return Settings(
        server=ServerSettings(data_dir=directory), cluster=ClusterSettings(database=url)
    )


class Filling:
    """Rows of whatever the columns take, for every table there is, by one seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def value(self, kind, n):
        if kind == "TEXT":
            return self._random.choice(TEXTS) + f"{n}-{self._random.choice(TEXTS)}"
        if kind == "BLOB":
            return self._random.randbytes(self._random.choice((0, 1, 300))) + bytes([n % 256])
        if kind in ("REAL", "DOUBLE PRECISION"):
            number = struct.unpack(">d", self._random.randbytes(8))[0]
            return number if abs(number) < 1e300 else float(n)
        assert kind == "INTEGER", kind
        return self._random.choice((n, -n - 1, 2**52 + n, n + 1000))

    def fill(self, path, tables):
        with sqlite3.connect(path) as connection:
            for table in tables:
                self._fill_table(connection, table)

    def _fill_table(self, connection, table):
        columns = connection.execute(
            "SELECT name, type FROM pragma_table_info(?)", (table.name,)
        ).fetchall()
        referred = {}
        for row in connection.execute(f"PRAGMA foreign_key_list({table.name})"):
            referred.setdefault(row[2], []).append((row[3], row[4]))
        for n in range(ROWS):
            row = {name: self.value(kind, n) for name, kind in columns}
            for other, pairs in referred.items():
                key = self._key_of(connection, other)
                names = [there or key[n] for n, (_, there) in enumerate(pairs)]
                parents = connection.execute(f"SELECT {', '.join(names)} FROM {other}").fetchall()
                chosen = self._random.choice(parents)
                row |= dict(zip([ours for ours, _ in pairs], chosen, strict=True))
            marks = ", ".join("?" * len(row))
            connection.execute(
                f"INSERT OR IGNORE INTO {table.name} ({', '.join(row)}) VALUES ({marks})",
                list(row.values()),
            )

    def _key_of(self, connection, table):
        sql = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk"
        return [name for (name,) in connection.execute(sql, (table,))]


@pytest.fixture
def target(postgres):
    """A database that is thrown away: its triggers may be off when a test is over."""
    url = postgres.fresh()
    yield url
    postgres.sql(f"DROP DATABASE {name_of(url)} WITH (FORCE)")


@pytest.fixture
def source(tmp_path, filled):
    """An installation with rows in every table, and files."""
    return shutil.copytree(filled, tmp_path / "source")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """What is copied for each test."""
    directory = tmp_path_factory.mktemp("filled")
    tables = at_once(make(directory))
    filling = Filling(7)
    for schema, file in FILES.items():
        filling.fill(directory / file, tables[schema])
    for place in ("code/a.zip", "code/a.parts", "code/b.layers", "code/objects/all-x.object"):
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
        (directory / place).write_bytes(os.urandom(100_000))
    (directory / "objects/ab").mkdir(parents=True)
    (directory / "objects/incoming").mkdir()
    (directory / "objects/ab/cdef").write_bytes(os.urandom((3 << 20) + 1))
    (directory / "objects/incoming/half").write_bytes(b"x")
    (directory / "code/.writing-x").write_bytes(b"x")
    return directory


async def make(directory):
    state = await open_state(settings_of(directory), SystemClock())
    tables = {
        schema: await tables_of(db)
        for schema, db in zip(SCHEMAS, (state.db, state.traces_db, state.messages), strict=True)
    }
    await state.close()
    return tables


def quiet(_what, _done, _of):
    """Nobody looks."""


def rows_of(path):
    """What SQLite has, by table; text in columns of bytes is bytes."""
    with sqlite3.connect(path) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for (name,) in names
        }


def moved_rows(postgres, url, schema, table):
    found = postgres.sql(f"SELECT * FROM {schema}.{table}", database=name_of(url))
    return sorted(found, key=repr)


def test_every_row_of_every_table_and_every_file_is_there(source, postgres, target):
    before = {schema: rows_of(source / file) for schema, file in FILES.items()}
    moved = move(source, target, quiet, check=False)
    assert {(each.database, each.table): each.rows for each in moved.tables}.items() <= {
        (schema, name): len(rows)
        for schema, found in before.items()
        for name, rows in found.items()
    }.items()
    assert all(each.rows >= 1 and each.sha256 for each in moved.tables), [
        each.table for each in moved.tables if not each.rows
    ]
    for each in moved.tables:
        there = moved_rows(postgres, target, each.database, each.table)
        assert there == before[each.database][each.table], each.table
    assert moved.files == 5
    at_once(compare_files(source, target))


async def compare_files(source, url):
    db = await open_postgresql(url)
    files = FileStore(db, SystemClock())
    wanted = [
        "code/a.parts",
        "code/a.zip",
        "code/b.layers",
        "code/objects/all-x.object",
        "objects/ab/cdef",
    ]
    assert await files.names("code/") + await files.names("objects/") == wanted
    for name in wanted:
        content = b"".join([piece async for piece in files.read(name)])
        assert content == (source / name).read_bytes()
    await db.close()


def test_it_goes_on_there_and_not_here(source, target):
    with sqlite3.connect(source / "messages.db") as connection:
        # A number that was given out is not given out again, even if nothing has it any more.
        connection.execute("DELETE FROM folders WHERE id = (SELECT max(id) FROM folders)")
        [last] = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'folders'"
        ).fetchone()
    move(source, target, quiet, check=False)
    with pytest.raises(StorageFailed, match="has been moved"):
        at_once(open_and_close(settings_of(source)))
    numbers, enabled = at_once(next_numbers(settings_of(source, target)))
    assert numbers["folders"] > last
    assert enabled
    with pytest.raises(StorageFailed, match="has been moved"):
        move(source, target, quiet, check=False)


async def open_and_close(settings):
    await (await open_state(settings, SystemClock())).close()


async def next_numbers(settings):
    """What new rows get there, and whether all triggers run."""
    state = await open_state(settings, SystemClock())
    numbers = {}
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND is_identity = 'YES'"
    )
    for db in (state.db, state.traces_db, state.messages):
        for name, column in await db.fetch(columns):
            [[number]] = await db.fetch(
                "SELECT nextval(pg_get_serial_sequence($1, $2))", name, column
            )
            [[most]] = await db.fetch(f"SELECT max({column}) FROM {name}")
            assert number > most
            numbers[name] = number
    disabled = await state.db.fetch("SELECT tgname FROM pg_trigger WHERE tgenabled = 'D'")
    await state.close()
    return numbers, not disabled


def test_looking_changes_nothing(source, target):
    looked = move(source, target, quiet, check=True)
    assert looked.files == 5
    assert not any(each.sha256 for each in looked.tables)
    assert move(source, target, quiet, check=True) == looked


def test_a_target_that_is_in_use_is_refused(source, postgres, target, tmp_path):
    at_once(open_and_close(settings_of(tmp_path / "other", target)))
    with pytest.raises(Conflict, match="holds a cluster's state"):
        move(source, target, quiet, check=True)


def test_a_target_that_is_not_empty_is_refused(source, target):
    async def write():
        db = await open_postgresql(target, schema="messages")
        await db.fetch("INSERT INTO queue_trash (queue) VALUES (1) RETURNING 1")
        await db.close()

    at_once(write())
    with pytest.raises(Conflict, match=r"messages\.queue_trash has rows"):
        move(source, target, quiet, check=True)


def test_a_server_that_runs_is_not_moved(source, target):
    with (source / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageFailed, match="another server uses"):
            move(source, target, quiet, check=True)


def test_after_a_failure_it_is_done_again_from_the_beginning(source, postgres, target):
    class Stopped(Exception):
        pass

    def stop(what, _done, _of):
        if what == "copying messages":
            raise Stopped

    with pytest.raises(Stopped):
        move(source, target, stop, check=False)
    with pytest.raises(StorageFailed, match="being moved"):
        at_once(open_and_close(settings_of(source, target)))
    moved = move(source, target, quiet, check=False)
    for each in moved.tables:
        there = moved_rows(postgres, target, each.database, each.table)
        assert len(there) == each.rows


def test_what_cannot_be_stored_is_named(source, target):
    with sqlite3.connect(source / "forerun.db") as connection:
        connection.execute(
            "UPDATE log_groups SET name = name || char(0) WHERE id IN (SELECT min(id) FROM log_groups)"
        )
    with pytest.raises(StorageFailed, match=r"Rows of log_groups from .* cannot be stored"):
        move(source, target, quiet, check=False)


@pytest.mark.parametrize(
    ("url", "text"),
    [("mysql://x", "postgresql://"), ("postgresql://forerun@/x?host=/nowhere", "cannot be opened")],
    ids=["another-kind", "unreachable"],
)
def test_a_target_that_is_none_is_said(source, url, text):
    with pytest.raises((InvalidInput, StorageFailed), match=text):
        move(source, url, quiet, check=True)


def test_a_directory_without_an_installation_is_said(tmp_path, target):
    with pytest.raises(InvalidInput, match="no installation"):
        move(tmp_path, target, quiet, check=True)
    assert not list(tmp_path.iterdir())
