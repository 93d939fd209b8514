"""PostgreSQL behind ``Db``: a few sessions that take callers' transactions from one queue.

Many processes may share the database. Commits that wait for the disk at the same time share a sync there, so there is no
grouping here. A caller that gives up does not cut its transaction off: it is in the hands of a session. Everything that
was asked ends within ``PATIENCE_SECONDS`` of being taken up, whatever happens to the server.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

from forerun.aio import TaskOwner
from forerun.errors import StorageFailed
from forerun.storage.db import Db, Row, Statement
from forerun.storage.postgresql_errors import is_undone, translated
from forerun.storage.postgresql_schema import FOLDERS, bring_up_to_date
from forerun.storage.postgresql_session import Session, Undone

QUEUED = 4096
SESSIONS = 8
PATIENCE_SECONDS = 30.0
# How often a transaction that others' doings undid is tried in all.
TRIES = 10
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 1.0


class _Job(NamedTuple):
    statements: Sequence[Statement]
    durable: bool | None
    """``None``: a query."""
    deadline: float
    future: "asyncio.Future[list[list[Row]]]"


class _Idle(NamedTuple):
    session: Session
    next: "asyncio.Future[_Job | None]"


async def open_postgresql(
    url: str,
    *,
    schema: str = "forerun",
    migrations: str | None = None,
    sessions: int = SESSIONS,
) -> Db:
    """Open ``schema`` of the database at ``url`` (``postgresql://USER:PASSWORD@HOST/NAME``), create it, and bring it up to date.

    ``migrations`` is the folder with its tables; by default what ``schema`` (``forerun``, ``traces``, ``messages``) has
    everywhere. ``sessions`` is the most connections that are held at once.
    Raises ``StorageFailed`` when the server cannot be reached or refuses, or when the schema is of a newer version that this
    program cannot work with.
    """
    await bring_up_to_date(url, schema, migrations or FOLDERS[schema])
    return Postgresql(url, schema, sessions)


class Postgresql:
    """``Db`` over one schema; made by ``open_postgresql`` and bound to the loop it was opened on."""

    def __init__(self, url: str, schema: str, sessions: int) -> None:
        self._url = url
        self._schema = schema
        self._most = sessions
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskOwner(f"postgresql-{schema}")
        self._room = asyncio.Semaphore(QUEUED)
        self._queue: deque[_Job] = deque()
        self._idle: list[_Idle] = []
        self._closed = False

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """Rows of a query; it sees every write that was answered before."""
        [rows] = await self._ask((Statement(sql, args),), durable=None)
        return rows

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """Run the statements as one transaction; see ``Db.write``.

        Raises ``StorageFailed`` also when the connection was lost while the server committed: then nobody knows whether it did.
        """
        return await self._ask(statements, durable=durable)

    async def close(self) -> None:
        """Finish what is queued and close; idempotent."""
        self._closed = True
        idle, self._idle = self._idle, []
        for each in idle:
            each.next.set_result(None)
        await self._tasks.drain(timeout_s=PATIENCE_SECONDS)
        await self._tasks.close()
        while self._queue:
            _answer(self._queue.popleft(), StorageFailed("The database is closed."))

    async def _ask(
        self,
        statements: Sequence[Statement],
        *,
        durable: bool | None,
    ) -> list[list[Row]]:
        if self._closed:
            raise StorageFailed("The database is closed.")
        if self._room.locked():
            await self._wait_for_room()
        else:
            await self._room.acquire()
        future: asyncio.Future[list[list[Row]]] = self._loop.create_future()
        future.add_done_callback(self._leave)
        self._hand_out(_Job(statements, durable, self._loop.time() + PATIENCE_SECONDS, future))
        return await future

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise StorageFailed(
                f"The database did not keep up: {QUEUED} requests waited for {PATIENCE_SECONDS:.0f} s."
            ) from None
        if self._closed:
            self._room.release()
            raise StorageFailed("The database is closed.")

    def _leave(self, _: object) -> None:
        self._room.release()

    def _hand_out(self, job: _Job) -> None:
        """To an idle session, best one that is set as the job wants it; else a new one; else it waits."""
        if self._idle:
            place = len(self._idle) - 1
            if job.durable is not None:
                for index in range(place, -1, -1):
                    if self._idle[index].session.soft is not job.durable:
                        place = index
                        break
            self._idle.pop(place).next.set_result(job)
            return
        self._queue.append(job)
        if len(self._tasks) < self._most:
            self._tasks.spawn(self._work(Session(self._url, self._schema)), name="session")

    async def _work(self, session: Session) -> None:
        """A session's life: take what is queued, run it, answer it; ends when the database is closed."""
        try:
            while (job := await self._next(session)) is not None:
                try:
                    answer: list[list[Row]] | Exception = await self._carry_out(session, job)
                except Exception as error:  # noqa: BLE001 whoever waits must be answered whatever went wrong
                    answer = translated(error)
                _answer(job, answer)
        finally:
            await session.close()

    async def _next(self, session: Session) -> _Job | None:
        if self._queue:
            return self._queue.popleft()
        if self._closed:
            return None
        idle = _Idle(session, self._loop.create_future())
        self._idle.append(idle)
        return await idle.next

    async def _carry_out(self, session: Session, job: _Job) -> list[list[Row]]:
        """Run a job, again and again where it surely was undone; raises what it comes to."""
        tries = 0
        pause = _FIRST_PAUSE
        while True:
            await self._connect(session, job)
            tries += 1
            try:
                if job.durable is None:
                    [statement] = job.statements
                    return [await session.read(statement.sql, statement.args)]
                return await session.write(job.statements, durable=job.durable)
            except Exception as error:
                if not isinstance(error, Undone) and not is_undone(error):
                    raise
                if tries >= TRIES or self._loop.time() + pause > job.deadline:
                    raise (error.__cause__ or error) from None
            # Those that undid each other come back at different times.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _connect(self, session: Session, job: _Job) -> None:
        """See to it that there is a connection; the server may be away for a while."""
        if self._loop.time() > job.deadline:
            raise StorageFailed(
                f"The database did not keep up: a request waited for {PATIENCE_SECONDS:.0f} s."
            )
        pause = _FIRST_PAUSE
        while not session.connected:
            try:
                await session.connect()
            except Exception as error:
                session.drop()
                if self._closed or self._loop.time() + pause > job.deadline:
                    raise StorageFailed(f"The database cannot be reached: {error}") from error
            else:
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 no secret
            pause = min(2 * pause, _LONGEST_PAUSE)


def _answer(job: _Job, answer: list[list[Row]] | Exception) -> None:
    if job.future.done():
        return
    if isinstance(answer, Exception):
        job.future.set_exception(answer)
    else:
        job.future.set_result(answer)
