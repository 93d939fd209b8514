"""Opens the database file and brings its schema up to date, before anybody else sees it.

Migrations are numbered SQL files of a folder of this package, applied once each and in order. Several processes may open
the same new file at once; a database made by a newer version is left alone.
"""

import os
import re
import sqlite3
import time
from importlib import resources
from pathlib import Path

from forerun.errors import StorageFailed

BUSY_SECONDS = 10.0
WAL_TRIES = 200

_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql\Z")


def open_connections(
    path: Path, *, readers: int, migrations: str
) -> tuple[sqlite3.Connection, list[sqlite3.Connection]]:
    """The writer's connection and ``readers`` that can only read; the schema is that of this version.

    ``migrations`` is the folder that says what the schema is. Makes the file (0600) and its directory (0700). Raises ``StorageFailed``; then nothing is left open.
    """
    opened: list[sqlite3.Connection] = []
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        writer = _connect(path)
        opened.append(writer)
        _switch_to_wal(writer)
        writer.execute("PRAGMA wal_autocheckpoint = 4000")
        writer.execute("PRAGMA journal_size_limit = 67108864")
        _migrate(writer, _migrations(migrations))
        for _ in range(readers):
            reader = _connect(path)
            opened.append(reader)
            reader.execute("PRAGMA query_only = ON")
    except (sqlite3.Error, OSError, StorageFailed) as error:
        for connection in opened:
            connection.close()
        if isinstance(error, StorageFailed):
            raise
        raise StorageFailed(f"The database {path} cannot be opened: {error}") from error
    return writer, opened[1:]


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait here, as it does elsewhere, when another process opens the new file at the same time."""
    for _ in range(WAL_TRIES - 1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            time.sleep(BUSY_SECONDS / WAL_TRIES)
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _migrations(folder: str) -> list[tuple[int, str, str]]:
    """Number, name and text of every migration of the folder, in order."""
    found = [
        (int(match[1]), match[2], entry.read_text("utf-8"))
        for entry in (resources.files("forerun.storage") / folder).iterdir()
        if (match := _MIGRATION.match(entry.name))
    ]
    return sorted(found)


def _migrate(connection: sqlite3.Connection, migrations: list[tuple[int, str, str]]) -> None:
    """Apply what is missing, each file in a transaction of its own; two processes may do it at once."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL)"
    )
    newest = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    known = max((number for number, _, _ in migrations), default=0)
    if newest[0] > known:
        raise StorageFailed(
            f"The database has schema version {newest[0]}; this version of the program knows {known}."
        )
    for number, name, text in migrations:
        _apply(connection, number, name, text)


def _apply(connection: sqlite3.Connection, number: int, name: str, text: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = connection.execute(
            "SELECT 1 FROM schema_version WHERE version = ?", (number,)
        ).fetchone()
        if done is None:
            _run_script(connection, text)
            connection.execute("INSERT INTO schema_version VALUES (?, ?)", (number, name))
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise


def _run_script(connection: sqlite3.Connection, text: str) -> None:
    """Execute statement by statement, since ``executescript`` would commit the transaction around it."""
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            connection.execute(pending)
            pending = ""
    if pending.strip():
        connection.execute(pending)
