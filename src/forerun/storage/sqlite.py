"""SQLite behind ``Db``: one writer thread that commits many callers' transactions together, and reader threads.

A commit to disk costs a sync, so callers that wait at the same time share one: the writer takes everything that is
queued, gives each caller a savepoint, and commits once. A caller's failure undoes its own statements only; a failed
commit is everybody's ``StorageFailed``. Nothing is answered before it is committed, and synced where promised.
"""

import asyncio
import queue
import re
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

from forerun.errors import AlreadyExists, Conflict, ForerunError, InvalidInput, StorageFailed
from forerun.storage.db import Db, Row, Statement
from forerun.storage.schema import open_connections

QUEUED = 4096
BATCH = 512
FULL_QUEUE_SECONDS = 30.0
REWRITES = 4096
READERS = 2
STATE = "migrations"
TRACES = "trace_migrations"
MESSAGES = "message_migrations"

_PARAMETER = re.compile(r"\$(\d+)")
_UNIQUE = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID")
# What Python raises for values that no SQLite column can hold: too large a number, a lone surrogate.
_BAD_VALUE = (OverflowError, ValueError, TypeError)


class _Job(NamedTuple):
    statements: Sequence[Statement]
    durable: bool
    future: "asyncio.Future[list[list[Row]]]"


_Answer = tuple["asyncio.Future[list[list[Row]]]", list[list[Row]] | None, Exception | None]


async def open_sqlite(path: Path, *, migrations: str = STATE) -> Db:
    """Open the database at ``path``, create it (file 0600, its directory 0700) and bring its schema up to date.

    ``migrations`` is the folder with its schema: ``STATE`` for ``forerun.db``, ``TRACES`` for ``traces.db``, ``MESSAGES`` for
    ``messages.db``.
    Raises ``StorageFailed`` when the file cannot be written, is damaged, or was made by a newer version.
    """
    loop = asyncio.get_running_loop()
    writer, readers = await asyncio.to_thread(
        open_connections, path, readers=READERS, migrations=migrations
    )
    return Sqlite(loop, writer, readers)


class Sqlite:
    """``Db`` over one file; made by ``open_sqlite`` and bound to the loop it was opened on."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: sqlite3.Connection,
        readers: list[sqlite3.Connection],
    ) -> None:
        self._loop = loop
        self._room = asyncio.Semaphore(QUEUED)
        self._writes: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(self._writes, _Writer(writer)),
                name="sqlite-writer",
                daemon=True,
            )
        ]
        for index, reader in enumerate(readers):
            self._threads.append(
                threading.Thread(
                    target=self._work,
                    args=(self._reads, _Reader(reader)),
                    name=f"sqlite-reader-{index}",
                    daemon=True,
                )
            )
        for thread in self._threads:
            thread.start()

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """Rows of a query; it sees every write that was answered before."""
        [rows] = await self._ask(self._reads, (Statement(sql, args),), durable=False)
        return rows

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """Run the statements as one transaction; see ``Db.write``."""
        return await self._ask(self._writes, statements, durable=durable)

    async def close(self) -> None:
        """Finish what is queued and close; idempotent."""
        if not self._closed:
            self._closed = True
            self._writes.put(None)
            for _ in self._threads[1:]:
                self._reads.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(FULL_QUEUE_SECONDS)

    async def _ask(
        self,
        target: "queue.SimpleQueue[_Job | None]",
        statements: Sequence[Statement],
        *,
        durable: bool,
    ) -> list[list[Row]]:
        if self._closed:
            raise StorageFailed("The database is closed.")
        if self._room.locked():
            try:
                async with asyncio.timeout(FULL_QUEUE_SECONDS):
                    await self._room.acquire()
            except TimeoutError:
                raise StorageFailed(
                    f"The database did not keep up: {QUEUED} requests waited for {FULL_QUEUE_SECONDS:.0f} s."
                ) from None
            if self._closed:
                self._room.release()
                raise StorageFailed("The database is closed.")
        else:
            await self._room.acquire()
        future: asyncio.Future[list[list[Row]]] = self._loop.create_future()
        target.put(_Job(statements, durable, future))
        return await future

    def _work(
        self,
        source: "queue.SimpleQueue[_Job | None]",
        actor: "_Writer | _Reader",
    ) -> None:
        """A thread's life: take what is queued, run it, answer it; ends at ``None``."""
        ended = False
        while not ended:
            batch, ended = _take(source, actor.batch)
            try:
                answers = actor.run(batch)
            except Exception as error:  # noqa: BLE001 whoever waits must be answered whatever went wrong
                failure = StorageFailed(f"The database failed: {error!r}.")
                answers = [(job.future, None, _again(failure)) for job in batch]
            try:
                self._loop.call_soon_threadsafe(self._deliver, answers)
            except RuntimeError:
                # The loop is gone: there is nobody left to answer.
                ended = True
        actor.close()

    def _deliver(self, answers: list[_Answer]) -> None:
        for future, rows, error in answers:
            self._room.release()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(rows if rows is not None else [])


def _take(source: "queue.SimpleQueue[_Job | None]", most: int) -> tuple[list[_Job], bool]:
    """Wait for a job and take what else is queued; true when the end was among it."""
    batch: list[_Job] = []
    job = source.get()
    while job is not None:
        batch.append(job)
        if len(batch) >= most:
            return batch, False
        try:
            job = source.get_nowait()
        except queue.Empty:
            return batch, False
    return batch, True


class _Rewriter:
    """``$n`` to SQLite's ``?n``, remembered; at most ``REWRITES`` texts."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, sql: str) -> str:
        text = self._known.get(sql)
        if text is None:
            if len(self._known) >= REWRITES:
                self._known.clear()
            text = self._known[sql] = _PARAMETER.sub(r"?\1", sql)
        return text


class _Reader:
    batch = 1

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rewrite = _Rewriter()

    def run(self, batch: list[_Job]) -> list[_Answer]:
        answers: list[_Answer] = []
        for job in batch:
            try:
                [statement] = job.statements
                rows = self._connection.execute(
                    self._rewrite(statement.sql), statement.args
                ).fetchall()
                answers.append((job.future, [rows], None))
            except (sqlite3.Error, *_BAD_VALUE) as error:
                answers.append((job.future, None, _translated(error)))
        return answers

    def close(self) -> None:
        self._connection.close()


class _Writer:
    batch = BATCH

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rewrite = _Rewriter()
        self._synced: bool | None = None

    def run(self, batch: list[_Job]) -> list[_Answer]:
        """One transaction for all jobs; each has its own savepoint."""
        if not batch:
            return []
        execute = self._connection.execute
        try:
            self._sync(any(job.durable for job in batch))
            execute("BEGIN IMMEDIATE")
            answers = [self._one(job) for job in batch]
            execute("COMMIT")
        except (sqlite3.Error, _Undone) as error:
            failure = _translated(error.__cause__ if isinstance(error, _Undone) else error)
            self._roll_back()
            return [(job.future, None, _again(failure)) for job in batch]
        return answers

    def _sync(self, durable: bool) -> None:  # noqa: FBT001 the only argument
        if durable is not self._synced:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._synced = durable

    def _one(self, job: _Job) -> _Answer:
        # SQLite undoes a single failed statement by itself; a savepoint is needed only when more can be to undo.
        alone = len(job.statements) == 1 and job.statements[0].expect is None
        execute = self._connection.execute
        if not alone:
            execute("SAVEPOINT caller")
        try:
            rows = [self._execute(statement) for statement in job.statements]
        except (sqlite3.Error, ForerunError, *_BAD_VALUE) as error:
            if not self._connection.in_transaction:
                # SQLite gave up the whole transaction, the earlier callers' part included.
                raise _Undone from error
            if not alone:
                execute("ROLLBACK TO caller")
                execute("RELEASE caller")
            return (job.future, None, _translated(error))
        if not alone:
            execute("RELEASE caller")
        return (job.future, rows, None)

    def _execute(self, statement: Statement) -> list[Row]:
        before = self._connection.total_changes
        cursor = self._connection.execute(self._rewrite(statement.sql), statement.args)
        rows: list[Row] = [] if cursor.description is None else cursor.fetchall()
        if statement.expect is not None:
            affected = len(rows) if cursor.description is not None else cursor.rowcount
            if affected < 0:
                affected = self._connection.total_changes - before
            if affected != statement.expect:
                raise Conflict("The resource was changed meanwhile; read it again and retry.")
        return rows

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # A rollback that fails leaves nothing committed either; the next BEGIN will say what is wrong.
            return

    def close(self) -> None:
        self._connection.close()


class _Undone(Exception):
    """SQLite rolled the whole transaction back; its cause says why."""


def _translated(error: BaseException | None) -> Exception:
    """The platform's error for one of SQLite's."""
    if isinstance(error, ForerunError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        name = getattr(error, "sqlite_errorname", "")
        if name in _UNIQUE:
            return AlreadyExists(f"It exists already ({error}).")
        return Conflict(f"The change breaks a rule of the database ({error}).")
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return StorageFailed(f"The database failed: {error} ({name}).")
    return InvalidInput(f"A value cannot be stored: {error}")


def _again(failure: Exception) -> Exception:
    """The same failure as an object of its own, since each caller adds its traceback to what it is given."""
    return type(failure)(str(failure))
