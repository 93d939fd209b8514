"""Brings a schema of PostgreSQL up to date, before anybody else sees it.

The migrations are those of SQLite, translated (``dialect``), each followed by the file ``NNNN_name.postgresql.sql`` where
there is one; such a file may stand alone. Several processes may start at once: one migrates, the others wait.

Control planes of two versions run together while a cluster is upgraded, so migrations only add. The first line of one may
say ``-- works with NNNN``: programs that know the schema up to that number can work with what it makes. An older
program starts on a newer schema when all of what it does not know says so.
"""

import re
from importlib import resources
from typing import Any, NamedTuple

import asyncpg

from forerun.errors import StorageFailed
from forerun.storage.dialect import schema_for_postgresql
from forerun.storage.postgresql_session import connected

FOLDERS = {
    "forerun": "migrations",
    "traces": "trace_migrations",
    "messages": "message_migrations",
}

_FILE = re.compile(r"(\d{4})_(\w+?)(\.postgresql)?\.sql\Z")
_WORKS_WITH = re.compile(r"--\s*works with (\d+)\b")
# Whatever else the database is used for: one number of ours for each schema, in the upper half of the lock's name.
_LOCK = 0x466F7265
LOCK_SECONDS = 120

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, works_with BIGINT NOT NULL
)
"""

_ABOUT = """
SELECT current_setting('server_version_num')::BIGINT, current_setting('server_encoding'),
    has_database_privilege(current_database(), 'CREATE')
"""


class Migration:
    """One step of a schema: its number, its name, what it runs, and the oldest version that can work with it."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.works_with = number
        self.scripts: list[str] = []


async def bring_up_to_date(url: str, schema: str, folder: str) -> None:
    """Create ``schema`` and apply what is missing of ``folder``. Raises ``StorageFailed``."""
    try:
        connection = await connected(url, schema)
    except Exception as error:
        raise StorageFailed(f"The database cannot be opened: {error}") from error
    try:
        await _migrate(connection, schema, migrations(folder))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StorageFailed(f"The schema {schema} cannot be opened: {error}") from error
    finally:
        connection.terminate()


class About(NamedTuple):
    """A database: the server's major version, its encoding, and whether its user may create schemas."""

    version: int
    encoding: str
    may_create: bool


async def look_at(url: str) -> About:
    """What stands at ``url``, which is not changed. Raises ``StorageFailed``."""
    try:
        connection = await connected(url, "public")
    except Exception as error:
        raise StorageFailed(f"The database cannot be opened: {error}") from error
    try:
        row = await connection.fetchrow(_ABOUT)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StorageFailed(f"The database cannot be asked: {error}") from error
    finally:
        connection.terminate()
    return About(row[0] // 10_000, row[1], bool(row[2]))


def migrations(folder: str) -> list[Migration]:
    """The migrations of a folder of this package, in order."""
    found: dict[int, Migration] = {}
    entries = sorted(
        (resources.files("forerun.storage") / folder).iterdir(), key=lambda entry: len(entry.name)
    )
    for entry in entries:
        match = _FILE.match(entry.name)
        if match is None:
            continue
        number, text = int(match[1]), entry.read_text("utf-8")
        migration = found.setdefault(number, Migration(number, match[2]))
        works_with = _WORKS_WITH.match(text)
        if works_with is not None:
            migration.works_with = int(works_with[1])
        # The shorter name comes first: the tables before what PostgreSQL needs besides.
        migration.scripts.append(text if match[3] else schema_for_postgresql(text))
    return sorted(found.values(), key=lambda migration: migration.number)


async def _migrate(connection: Any, schema: str, known: list[Migration]) -> None:
    newest = max((migration.number for migration in known), default=0)
    if await _done(connection, schema, newest):
        return
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'; SET statement_timeout = 0")
    async with connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, schema, timeout=LOCK_SECONDS
        )
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        await connection.execute(_VERSIONS)
        rows = await connection.fetch("SELECT version FROM schema_version")
        there = {row[0] for row in rows}
        for migration in known:
            if migration.number in there:
                continue
            for script in migration.scripts:
                if script.strip():
                    await connection.execute(script, timeout=LOCK_SECONDS)
            await connection.execute(
                "INSERT INTO schema_version VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.works_with,
            )


async def _done(connection: Any, schema: str, newest: int) -> bool:
    """True when there is nothing to do. Raises ``StorageFailed`` when the schema is too new."""
    if not await connection.fetchval(
        "SELECT to_regclass($1) IS NOT NULL", f'"{schema}".schema_version'
    ):
        return False
    row = await connection.fetchrow(
        "SELECT max(version), max(works_with) FILTER (WHERE version > $1) FROM schema_version",
        newest,
    )
    version, needed = row[0] or 0, row[1] or 0
    if needed > newest:
        raise StorageFailed(
            f"The schema {schema} of the database has version {version}, for programs that know {needed}; "
            f"this version of the program knows {newest}."
        )
    return bool(version >= newest)
