"""Copies all rows of one database into another that has the same tables, and proves that they are the same there.

The source is SQLite, the target PostgreSQL. Rows go in pages, in the order of their keys, and tables in that of their foreign keys; what triggers
would add to the rows is copied as it is, so they are off meanwhile.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from graphlib import TopologicalSorter
from typing import Any, LiteralString, NamedTuple

import msgspec

from forerun.errors import ForerunError, StorageFailed
from forerun.storage.db import Db, Row, Statement, in_batches

FIRST_PAGE = 16
LONGEST_PAGE = 1024
SMALL_PAGE = 256 << 10
LARGE_PAGE = 4 << 20

# What only several control planes have, and what counts the steps of the schema itself.
_APART = frozenset(
    {
        "schema_version",
        "leases",
        "feed",
        "changes",
        "feed_readers",
        "control_planes",
        "hosts",
        "files",
        "file_chunks",
        "file_loose",
        "sealing_key",
    }
)
# Filled by the schema itself.
_SEEDED = frozenset({"identity_changes"})


class Table(NamedTuple):
    """A table: its columns, which of them hold bytes, and the ones that its rows are told apart by."""

    name: str
    columns: tuple[str, ...]
    blobs: frozenset[int]
    key: tuple[str, ...]


class Fingerprint(NamedTuple):
    """What two tables with the same rows have in common; ``sha256`` in hexadecimal."""

    rows: int
    sha256: str


Counted = Callable[[int], None]
"""Hears how many more rows were done."""


async def tables_of(source: Db) -> list[Table]:
    """The tables of a SQLite database that are to be copied, those that others refer to first."""
    names = await source.fetch(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    )
    found: dict[str, Table] = {}
    order: TopologicalSorter[str] = TopologicalSorter()
    for (name,) in names:
        if name in _APART:
            continue
        columns = await source.fetch(
            "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid", name
        )
        key = sorted((pk, column) for column, _, pk in columns if pk)
        found[name] = Table(
            name,
            tuple(column for column, _, _ in columns),
            frozenset(n for n, (_, kind, _) in enumerate(columns) if kind == "BLOB"),
            tuple(column for _, column in key),
        )
        referred = await source.fetch('SELECT "table" FROM pragma_foreign_key_list($1)', name)
        order.add(name, *(other for (other,) in referred if other != name))
    return [found[name] for name in order.static_order()]


async def count(db: Db, table: Table) -> int:
    """How many rows it has."""
    [[rows]] = await db.fetch(_sql("SELECT count(*) FROM {table}", table))
    return int(rows)


async def first_filled(target: Db, tables: Iterable[Table]) -> str:
    """The name of a table that has rows already; empty when none has."""
    for table in tables:
        if table.name not in _SEEDED and await target.fetch(
            _sql("SELECT 1 FROM {table} LIMIT 1", table)
        ):
            return table.name
    return ""


async def prepare(target: Db, tables: Sequence[Table]) -> None:
    """Empty them, and let no trigger of theirs run until ``finish``."""
    await target.write(
        Statement("TRUNCATE " + ", ".join(table.name for table in tables) + " CASCADE"),
        *(Statement(_sql("ALTER TABLE {table} DISABLE TRIGGER USER", table)) for table in tables),
    )


async def copy(source: Db, target: Db, table: Table, counted: Counted) -> None:
    """Copy all rows. Raises ``StorageFailed`` that names the table when one cannot be stored."""
    insert = _sql("INSERT INTO {table} ({columns}) VALUES {values}", table)
    async for rows in _pages(source, table):
        try:
            await target.write(*in_batches(insert, rows), durable=False)
        except ForerunError as error:
            first = dict(zip(table.key, _key(table, rows[0]), strict=True))
            raise StorageFailed(
                f"Rows of {table.name} from {first} on cannot be stored: {error.message}"
            ) from error
        counted(len(rows))


async def finish(source: Db, target: Db, tables: Sequence[Table]) -> None:
    """Let numbers go on from where they are, and triggers run again."""
    used: dict[str, int] = {}
    if await source.fetch("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"):
        used = {
            row[0]: row[1] for row in await source.fetch("SELECT name, seq FROM sqlite_sequence")
        }
    counting = await target.fetch(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND is_identity = 'YES'"
    )
    known = {table.name: table for table in tables}
    for name, column in counting:
        if name not in known:
            continue
        [[most]] = await target.fetch(
            _sql("SELECT coalesce(max({column}), 0) FROM {table}", known[name], column=column)
        )
        last = max(most, used.get(name, 0))
        if last > 0:
            await target.fetch(
                "SELECT setval(pg_get_serial_sequence($1, $2), $3)", name, column, last
            )
    await target.write(
        *(Statement(_sql("ALTER TABLE {table} ENABLE TRIGGER USER", table)) for table in tables)
    )


async def fingerprint(db: Db, table: Table, counted: Counted) -> Fingerprint:
    """Of all rows, values and their types included."""
    digest, rows = hashlib.sha256(), 0
    async for page in _pages(db, table):
        for row in page:
            digest.update(msgspec.msgpack.encode(row))
        rows += len(page)
        counted(len(page))
    return Fingerprint(rows, digest.hexdigest())


async def _pages(db: Db, table: Table) -> AsyncIterator[list[Row]]:
    """All rows in the order of the key, a few megabytes at once."""
    first = _sql("SELECT {columns} FROM {table} ORDER BY {key} LIMIT $1", table)
    further = _sql(
        "SELECT {columns} FROM {table} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT $1",
        table,
        marks=", ".join(f"${n + 2}" for n in range(len(table.key))),
    )
    limit = FIRST_PAGE
    rows = await db.fetch(first, limit)
    while rows:
        page = [_plain(table, row) for row in rows]
        yield page
        if len(rows) < limit:
            return
        size = sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))
        if size < SMALL_PAGE:
            limit = min(2 * limit, LONGEST_PAGE)
        elif size > LARGE_PAGE:
            limit = max(limit // 2, 1)
        rows = await db.fetch(further, limit, *_key(table, page[-1]))


def _plain(table: Table, row: Row) -> Row:
    """SQLite keeps text in a column of bytes as text."""
    return tuple(
        value.encode() if n in table.blobs and isinstance(value, str) else value
        for n, value in enumerate(row)
    )


def _key(table: Table, row: Row) -> list[Any]:
    return [row[table.columns.index(column)] for column in table.key]


def _sql(template: LiteralString, table: Table, **names: str) -> LiteralString:
    """All names are those of this package's own schema, as the database tells them."""
    names |= {
        "table": table.name,
        "columns": ", ".join(table.columns),
        "key": ", ".join(table.key),
    }
    text: str = template
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text
