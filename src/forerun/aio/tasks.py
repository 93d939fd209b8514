"""Background tasks with a name and an owner; one that ends with an error is reported, never lost."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("forerun.tasks")


class TaskOwner:
    """Starts tasks, holds them, and ends them all on ``close``.

    A task that raises is logged with its name. ``close`` cancels what still runs and waits for it, at most
    ``grace_s`` seconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run ``coroutine`` in the background under ``owner.name/name``."""
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"{self.name} is closed and starts no task {name!r}")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)

    async def drain(self, *, timeout_s: float) -> bool:
        """Wait until every task has ended by itself; false when some still run at the deadline."""
        if not self._tasks:
            return True
        _, running = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return not running

    async def close(self, *, grace_s: float = 5.0) -> None:
        """Cancel what runs and wait for it; no task can be started afterwards."""
        self._closed = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
