"""``traces.db`` may be lost at any time and never costs the server its start; only the disk itself may."""

import sqlite3

import pytest

from forerun.app.state import open_traces
from forerun.errors import StorageFailed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "traces.db"


async def tables(path) -> set[str]:
    db = await open_traces(path)
    found = {
        name for (name,) in await db.fetch("SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    await db.close()
    return found


def made_by_a_later_version(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO schema_version VALUES (9999, 'later')")
        connection.execute("CREATE TABLE later (n INTEGER)")
    connection.close()


def no_database(path):
    path.parent.mkdir()
    path.write_bytes(b"this is no database, but long enough to be taken for one" * 100)


async def test_it_is_made_with_a_schema_of_its_own(path):
    found = await tables(path)
    assert {"segments", "schema_version"} <= found
    assert "functions" not in found
    assert await tables(path) == found
    assert not path.with_name("traces.db.unreadable").exists()


@pytest.mark.parametrize("spoil", [no_database, made_by_a_later_version])
async def test_what_cannot_be_read_is_put_aside(path, spoil, caplog):
    spoil(path)
    before = path.read_bytes()
    path.with_name("traces.db-wal").write_bytes(b"of the old one")
    assert "segments" in await tables(path)
    aside = path.with_name("traces.db.unreadable")
    assert aside.read_bytes()[-4000:] == before[-4000:]
    assert "begin anew" in caplog.text


async def test_a_disk_that_refuses_costs_no_traces(path):
    path.parent.mkdir()
    path.mkdir()
    with pytest.raises(StorageFailed):
        await open_traces(path)
    assert path.is_dir()
