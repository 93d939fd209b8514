"""A database for as long as somebody may use it: what waits for it when that is over does not wait any longer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, LiteralString, TypeVar

from forerun.aio import TaskOwner
from forerun.errors import DutyLost
from forerun.storage.db import Db, Row, Statement

T = TypeVar("T")


class Gate:
    """Open until ``shut``."""

    def __init__(self) -> None:
        self._shut = asyncio.Event()
        self._owner = TaskOwner("gate")
        self._waiting: set[asyncio.Future[None]] = set()

    def shut(self) -> None:
        """Let nothing through any more; who waits gets ``DutyLost``, whatever becomes of what was asked for."""
        self._shut.set()
        for each in self._waiting:
            if not each.done():
                each.set_result(None)

    async def through(self, asked: Coroutine[Any, Any, T]) -> T:
        """What is asked for, unless the gate is shut before."""
        if self._shut.is_set():
            asked.close()
            raise _lost()
        shut = asyncio.get_running_loop().create_future()
        self._waiting.add(shut)
        task = self._owner.spawn(_kept(asked), name="asked")
        try:
            await asyncio.wait((task, shut), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _lost()
            result, error = task.result()
            if error is not None:
                raise error
            answer: T = result
            return answer
        finally:
            self._waiting.discard(shut)
            task.cancel()


class GatedDb:
    """A ``Db`` behind a gate."""

    def __init__(self, db: Db, gate: Gate) -> None:
        self._db = db
        self._gate = gate

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """See ``Db.fetch``; raises ``DutyLost`` when the gate is shut."""
        return await self._gate.through(self._db.fetch(sql, *args))

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """See ``Db.write``; raises ``DutyLost`` when the gate is shut."""
        return await self._gate.through(self._db.write(*statements, durable=durable))

    async def close(self) -> None:
        """Leave the database open for others."""


async def _kept(asked: Coroutine[Any, Any, Any]) -> tuple[Any, Exception | None]:
    try:
        return await asked, None
    except Exception as error:  # noqa: BLE001 it is raised where the task is awaited
        return None, error


def _lost() -> DutyLost:
    return DutyLost("This control plane has not the duties any more.")
