"""What a session does with the jobs it has taken: run them, and run them again where they surely were undone."""

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from forerun.errors import StorageFailed
from forerun.storage.db import Row, Statement
from forerun.storage.postgresql_errors import is_undone
from forerun.storage.postgresql_session import Answer, Session, Undone

PATIENCE_SECONDS = 30.0
# How often a transaction that others' doings undid is tried in all.
TRIES = 10
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 1.0


class Job(NamedTuple):
    """A caller's transaction; ``durable`` is ``None`` for a query. ``deadline`` is the loop's time."""

    statements: Sequence[Statement]
    durable: bool | None
    deadline: float
    future: "asyncio.Future[list[list[Row]]]"


async def carry_out(session: Session, jobs: Sequence[Job], turn: int | None) -> list[Answer]:
    """Run one job, or several as one transaction in turn ``turn``; what each comes to. Raises what all of them come to."""
    loop = asyncio.get_running_loop()
    # All but the first came later.
    deadline = jobs[0].deadline
    tries = 0
    pause = _FIRST_PAUSE
    while True:
        await _connect(session, deadline)
        tries += 1
        try:
            return await _run(session, jobs, turn)
        except Exception as error:
            if not isinstance(error, Undone) and not is_undone(error):
                raise
            if tries >= TRIES or loop.time() + pause > deadline:
                raise (error.__cause__ or error) from None
        # Those that undid each other come back at different times.
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 no secret
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _run(session: Session, jobs: Sequence[Job], turn: int | None) -> list[Answer]:
    if turn is not None:
        durable = any(job.durable for job in jobs)
        callers = [job.statements for job in jobs]
        return await session.write_in_turn(callers, durable=durable, turn=turn)
    [job] = jobs
    if job.durable is None:
        [statement] = job.statements
        return [[await session.read(statement.sql, statement.args)]]
    return [await session.write(job.statements, durable=job.durable)]


async def _connect(session: Session, deadline: float) -> None:
    """See to it that there is a connection; the server may be away for a while."""
    loop = asyncio.get_running_loop()
    if loop.time() > deadline:
        raise StorageFailed(
            f"The database did not keep up: a request waited for {PATIENCE_SECONDS:.0f} s."
        )
    pause = _FIRST_PAUSE
    while not session.connected:
        try:
            await session.connect()
        except Exception as error:
            session.drop()
            if loop.time() + pause > deadline:
                raise StorageFailed(f"The database cannot be reached: {error}") from error
        else:
            return
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 no secret
        pause = min(2 * pause, _LONGEST_PAUSE)
