"""What asyncio lacks: tasks that have a name, an owner and a guard; and a clock that can be passed in."""

from forerun.aio.clock import Clock, SystemClock
from forerun.aio.tasks import TaskOwner

__all__ = ["Clock", "SystemClock", "TaskOwner"]
