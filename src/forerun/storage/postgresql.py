"""PostgreSQL behind ``Db``: sessions that take callers' transactions from two queues.

What is ``free``, queries too, goes to one of a few sessions at once. All else is written in turn, as with SQLite: one session
takes everything that waits, and commits it together; an advisory lock keeps other processes' turns apart. Commits of
several sessions share syncs in the server.

A caller that gives up does not cut its transaction off: it is in the hands of a session. Everything that was asked ends
within ``PATIENCE_SECONDS`` of being taken up, whatever happens to the server.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, LiteralString

from forerun.aio import TaskOwner
from forerun.errors import StorageFailed
from forerun.storage.db import Db, Row, Statement
from forerun.storage.dialect import FREE
from forerun.storage.postgresql_errors import again, translated
from forerun.storage.postgresql_schema import FOLDERS, bring_up_to_date
from forerun.storage.postgresql_session import Answer, Session
from forerun.storage.postgresql_work import PATIENCE_SECONDS, Job, carry_out

QUEUED = 4096
SESSIONS = 8
BATCH = 128


async def open_postgresql(
    url: str,
    *,
    schema: str = "forerun",
    migrations: str | None = None,
    sessions: int = SESSIONS,
) -> Db:
    """Open ``schema`` of the database at ``url`` (``postgresql://USER:PASSWORD@HOST/NAME``), create it, and bring it up to date.

    ``migrations`` is the folder with its tables; by default what ``schema`` (``forerun``, ``traces``, ``messages``) has
    everywhere. ``sessions`` is the most connections that are held at once, beside the one that writes in turn.
    Raises ``StorageFailed`` when the server cannot be reached or refuses, or when the schema is of a newer version that this
    program cannot work with.
    """
    await bring_up_to_date(url, schema, migrations or FOLDERS[schema])
    return Postgresql(url, schema, sessions)


class Postgresql:
    """``Db`` over one schema; made by ``open_postgresql`` and bound to the loop it was opened on."""

    def __init__(self, url: str, schema: str, sessions: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskOwner(f"postgresql-{schema}")
        self._room = asyncio.Semaphore(QUEUED)
        # The upper half says that it is ours, the lower one which schema it is.
        turn = 0x466F7257 << 32 | zlib.crc32(schema.encode())
        self._free = _Sessions(self._tasks, url, schema, most=sessions, batch=1, turn=None)
        self._turns = _Sessions(self._tasks, url, schema, most=1, batch=BATCH, turn=turn)
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
        self._free.close()
        self._turns.close()
        await self._tasks.drain(timeout_s=PATIENCE_SECONDS)
        await self._tasks.close()

    async def _ask(
        self, statements: Sequence[Statement], *, durable: bool | None
    ) -> list[list[Row]]:
        if self._closed:
            raise StorageFailed("The database is closed.")
        if self._room.locked():
            await self._wait_for_room()
        else:
            await self._room.acquire()
        future: asyncio.Future[list[list[Row]]] = self._loop.create_future()
        future.add_done_callback(self._leave)
        job = Job(statements, durable, self._loop.time() + PATIENCE_SECONDS, future)
        free = durable is None or all(each.sql.startswith(FREE) for each in statements)
        (self._free if free else self._turns).hand_out(job)
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


class _Idle:
    """A session that waits for work."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self.session = session
        self.wakes: asyncio.Future[Job | None] = loop.create_future()


class _Sessions:
    """At most ``most`` sessions, made when they are needed, and the jobs that wait for them; each takes ``batch`` at once."""

    def __init__(
        self,
        tasks: TaskOwner,
        url: str,
        schema: str,
        *,
        most: int,
        batch: int,
        turn: int | None,
    ) -> None:
        self._tasks = tasks
        self._new = (url, schema)
        self._most = most
        self._batch = batch
        self._turn = turn
        self._count = 0
        self._queue: deque[Job] = deque()
        self._idle: list[_Idle] = []
        self._closed = False

    def hand_out(self, job: Job) -> None:
        """To an idle session, best one that is set as the job wants it; else to a new one; else it waits."""
        if self._idle:
            place = len(self._idle) - 1
            if job.durable is not None:
                for index in range(place, -1, -1):
                    if self._idle[index].session.soft is not job.durable:
                        place = index
                        break
            self._idle.pop(place).wakes.set_result(job)
            return
        self._queue.append(job)
        if self._count < self._most:
            self._count += 1
            self._tasks.spawn(self._work(Session(*self._new)), name="session")

    def close(self) -> None:
        """Sessions end when nothing is queued any more."""
        self._closed = True
        idle, self._idle = self._idle, []
        for each in idle:
            each.wakes.set_result(None)

    async def _work(self, session: Session) -> None:
        """A session's life: take what is queued, run it, answer it; ends when the database is closed."""
        jobs: list[Job] = []
        try:
            while jobs := await self._next(session):
                try:
                    answers = await carry_out(session, jobs, self._turn)
                except Exception as error:  # noqa: BLE001 whoever waits must be answered whatever went wrong
                    answers = [again(error) for _ in jobs]
                for job, answer in zip(jobs, answers, strict=True):
                    _answer(job, answer)
        finally:
            # Only a session that was cut off has any left.
            for job in jobs:
                _answer(job, StorageFailed("The database is closed."))
            await session.close()

    async def _next(self, session: Session) -> list[Job]:
        if not self._queue:
            if self._closed:
                return []
            idle = _Idle(session, asyncio.get_running_loop())
            self._idle.append(idle)
            job = await idle.wakes
            if job is None:
                return []
            jobs = [job]
        else:
            jobs = [self._queue.popleft()]
        while self._queue and len(jobs) < self._batch:
            jobs.append(self._queue.popleft())
        return jobs


def _answer(job: Job, answer: Answer) -> None:
    if job.future.done():
        return
    if isinstance(answer, Exception):
        job.future.set_exception(translated(answer))
    else:
        job.future.set_result(answer)
