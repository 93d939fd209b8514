"""Moves the installation of a single machine into the database of a cluster: all rows and all files, proven to be the same."""

import asyncio
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from forerun.aio import SystemClock
from forerun.app.process import claimed
from forerun.app.state import MOVED, OBJECTS, SCHEMAS, WHICH_KEY, State, open_state
from forerun.errors import Conflict, InvalidInput, StorageFailed
from forerun.settings import ClusterSettings, Settings
from forerun.storage import Db
from forerun.storage.files import FileStore, read_path
from forerun.storage.key_hash import KeyHashStore
from forerun.storage.migrating import (
    Table,
    copy,
    count,
    fingerprint,
    finish,
    first_filled,
    prepare,
    tables_of,
)

Told = Callable[[str, int, int], None]
"""Hears what is being done, and how much of how much of it is done."""


class MovedTable(msgspec.Struct, frozen=True):
    """A table; ``sha256`` of its rows is empty when nothing was copied."""

    database: str
    table: str
    rows: int
    sha256: str = ""


class Moved(msgspec.Struct, frozen=True):
    """What was moved, or what there is to be moved. ``bytes`` are those of the files."""

    tables: list[MovedTable]
    files: int
    bytes: int


def move(directory: Path, url: str, told: Told, *, check: bool) -> Moved:
    """Move what is in ``directory`` into the PostgreSQL at ``url``; with ``check`` only look whether that can be done.

    Raises ``InvalidInput``, ``Conflict`` when the target is not empty, ``StorageFailed``. After a failure it can be
    called again, and begins anew.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInput("The target (--to) must be a URL that begins with postgresql://")
    if not (directory / "forerun.db").exists():
        raise InvalidInput(f"There is no installation in {directory}: forerun.db is missing")
    with claimed(directory):
        return asyncio.run(_move(directory, url, told, check=check))


async def _move(directory: Path, url: str, told: Told, *, check: bool) -> Moved:
    # An optional dependency, and only here.
    from forerun.storage.postgresql import open_postgresql  # noqa: PLC0415

    settings = Settings.load(server_data_dir=str(directory))
    settings = dataclasses.replace(settings, cluster=ClusterSettings())
    async with contextlib.AsyncExitStack() as opened:
        state = await open_state(settings, SystemClock())
        opened.push_async_callback(state.close)
        targets: list[Db] = []
        for schema in SCHEMAS:
            targets.append(await open_postgresql(url, schema=schema, sessions=2))
            opened.push_async_callback(targets[-1].close)
        moving = _Moving(state, directory, targets, told)
        await moving.look()
        if not check:
            await moving.carry_out()
            await asyncio.to_thread(_mark, directory, url)
        return moving.report()


class _Moving:
    def __init__(self, state: State, directory: Path, targets: list[Db], told: Told) -> None:
        self._sources = (state.db, state.traces_db, state.messages)
        self._targets = targets
        self._directory = directory
        self._told = told
        self._hashes = KeyHashStore(targets[0])
        self._key = state.sealer.derive(WHICH_KEY).hex()
        self._store = FileStore(targets[0], SystemClock())
        self._tables: list[list[Table]] = []
        self._rows: dict[tuple[str, str], int] = {}
        self._prints: dict[tuple[str, str], str] = {}
        self._files: list[Path] = []
        self._bytes = 0

    async def look(self) -> None:
        """What there is, and whether the target is free for it."""
        for schema, source in zip(SCHEMAS, self._sources, strict=True):
            tables = await tables_of(source)
            self._tables.append(tables)
            for table in tables:
                self._rows[schema, table.name] = await count(source, table)
        self._files = await asyncio.to_thread(lambda: list(_files(self._directory)))
        self._bytes = sum(path.stat().st_size for path in self._files)
        if await self._hashes.is_moving(self._key):
            return
        if await self._hashes.get():
            raise Conflict(
                "The target holds a cluster's state, or another installation is being moved into it."
            )
        for schema, target, tables in zip(SCHEMAS, self._targets, self._tables, strict=True):
            if filled := await first_filled(target, tables):
                raise Conflict(f"The target is not empty: {schema}.{filled} has rows.")

    async def carry_out(self) -> None:
        """Copy and compare. What is in the target counts only when all of it is there."""
        if not await self._hashes.begin_move(self._key):
            raise Conflict("Another installation is being moved into the target.")
        total = sum(self._rows.values())
        for schema, source, target, tables in self._each():
            await prepare(target, tables)
            for table in tables:
                await copy(source, target, table, self._counter(f"copying {schema}", total))
            await finish(source, target, tables)
        await self._copy_files()
        self._done = 0
        for schema, source, target, tables in self._each():
            for table in tables:
                counter = self._counter(f"comparing {schema}", 2 * total)
                there = await fingerprint(source, table, counter)
                here = await fingerprint(target, table, counter)
                if there != here:
                    raise StorageFailed(
                        f"{schema}.{table.name} has {here.rows} rows in the target, of {there.rows}; they are not the same."
                    )
                self._prints[schema, table.name] = here.sha256
        await self._compare_files()
        await self._hashes.end_move(self._key)

    def report(self) -> Moved:
        """All of it."""
        tables = [
            MovedTable(schema, name, rows, self._prints.get((schema, name), ""))
            for (schema, name), rows in self._rows.items()
        ]
        return Moved(tables, len(self._files), self._bytes)

    _done = 0

    def _each(self) -> Iterator[tuple[str, Db, Db, list[Table]]]:
        return zip(SCHEMAS, self._sources, self._targets, self._tables, strict=True)

    def _counter(self, what: str, total: int) -> Callable[[int], None]:
        def counted(more: int) -> None:
            self._done += more
            self._told(what, self._done, total)

        return counted

    async def _copy_files(self) -> None:
        done = 0
        for path in self._files:
            name = path.relative_to(self._directory).as_posix()
            stored = await self._store.get(name)
            # What an earlier try has brought is not sent again.
            if stored is not None and stored.sha256 == await asyncio.to_thread(_hash, path):
                done += stored.size
            else:
                async with contextlib.aclosing(read_path(path)) as pieces:
                    done = await self._copy_file(name, pieces, done)
            self._told("copying files", done, self._bytes)

    async def _copy_file(self, name: str, pieces: AsyncIterator[bytes], done: int) -> int:
        async def counted() -> AsyncIterator[bytes]:
            nonlocal done
            async for piece in pieces:
                yield piece
                done += len(piece)
                self._told("copying files", done, self._bytes)

        await self._store.put(name, counted())
        return done

    async def _compare_files(self) -> None:
        """Read each back; ``read`` itself says when it is not what was written."""
        done = 0
        for path in self._files:
            name = path.relative_to(self._directory).as_posix()
            digest = hashlib.sha256()
            async for piece in self._store.read(name):
                digest.update(piece)
                done += len(piece)
                self._told("comparing files", done, self._bytes)
            if digest.hexdigest() != await asyncio.to_thread(_hash, path):
                raise StorageFailed(f"The file {name} is not the same in the target.")


def _files(directory: Path) -> Iterator[Path]:
    """What the databases refer to: packages, recipes, what trees are merged of, objects of packages and of buckets."""
    for pattern in ("code/*", "code/objects/*", f"{OBJECTS}/[0-9a-f][0-9a-f]/*"):
        for path in sorted(directory.glob(pattern)):
            if path.is_file() and not path.name.startswith("."):
                yield path


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark(directory: Path, url: str) -> None:
    """Whoever starts the old state again would run everything a second time."""
    (directory / MOVED).write_text(json.dumps({"to": url.rpartition("@")[2]}) + "\n")
