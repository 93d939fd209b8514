"""What only one control plane does at a time: who holds the duties, and when they must be let go.

The lease is the database's. The holder goes by its own monotonic clock, from before it asked: it stops before anybody else could
begin, whether or not it can still ask. What it writes all the same is refused by the fence.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError
from forerun.storage.leases import Holder, Lease, LeaseStore

log = logging.getLogger("forerun.duties")

NAME = "duties"
RENEWALS = 3
LOOK_S = 1.0
# Of the lease's time, this much is left for stopping when it could not be renewed.
STOPPING = 0.25
RELEASE_S = 2.0


class Work(Protocol):
    """The duties while they are held."""

    async def begin(self) -> None:
        """Begin all of them, as a server does that was restarted."""
        ...

    async def end(self, *, lost: bool) -> None:
        """End all of them; those that were ``lost`` at once: nothing of them has an effect any more when this returns."""
        ...


Begin = Callable[[Lease], Work]
"""The duties under this lease."""


class Duties:
    """Takes the duties whenever nobody has them. ``start`` then ``close``, once each.

    ``owner`` is new with each start of a process. ``give_up`` is called when duties that were lost could not be ended in time.
    """

    def __init__(
        self,
        leases: LeaseStore,
        clock: Clock,
        *,
        owner: str,
        ttl_s: float,
        begin: Begin,
        give_up: Callable[[], None],
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._me = owner
        self._ttl_s = ttl_s
        self._begin = begin
        self._give_up = give_up
        self._tasks = TaskOwner("duties")
        self._lease: Lease | None = None
        self._until = float("-inf")
        self._work: Work | None = None
        self._closing = asyncio.Event()
        self.taken = 0
        """How often they were taken here."""

    @property
    def held(self) -> bool:
        """Whether they are surely held here, and by nobody else."""
        return self._work is not None and self._clock.monotonic() < self._until

    def start(self) -> None:
        """Begin to look for the duties."""
        self._tasks.spawn(self._run(), name="hold")

    async def holder(self) -> Holder | None:
        """Who has them, as the database says. Raises ``StorageFailed``."""
        return await self._leases.holder(NAME)

    async def close(self, *, grace_s: float) -> None:
        """End them within ``grace_s`` seconds if they are held, and let another have them at once."""
        self._closing.set()
        await self._tasks.drain(timeout_s=grace_s + RELEASE_S)
        await self._tasks.close()

    async def _run(self) -> None:
        pause = self._ttl_s / RENEWALS
        # Who gave them back shall not be waited for.
        look = min(pause, LOOK_S)
        while not self._closing.is_set():
            try:
                if await self._take():
                    await self._hold(pause)
            except ForerunError as error:
                log.warning("duties: %s", error.message)
            except Exception:
                log.exception("the duties ended with an error")
            await self._wait(look)

    async def _take(self) -> bool:
        asked = self._clock.monotonic()
        lease = await self._leases.take(NAME, self._me, self._ttl_s)
        if lease is None:
            return False
        self._lease, self._until = lease, asked + self._ttl_s * (1 - STOPPING)
        return True

    async def _hold(self, pause: float) -> None:
        lease = self._lease
        assert lease is not None
        self.taken += 1
        log.info("this control plane has the duties now (fence %d)", lease.fence)
        renewing = self._tasks.spawn(self._renew(lease, pause), name="renew")
        work = self._begin(lease)
        try:
            await self._until_lost(work.begin(), renewing)
            if not renewing.done():
                self._work = work
                await self._until_lost(self._closing.wait(), renewing)
        finally:
            self._work = None
            lost = renewing.done()
            await self._finish(work, lost=lost)
            renewing.cancel()
            if not lost:
                await self._release(lease)

    async def _until_lost(
        self, doing: Coroutine[Any, Any, object], renewing: "asyncio.Task[None]"
    ) -> None:
        """Go on with it until it is done, or the lease is lost."""
        task = self._tasks.spawn(doing, name="doing")
        try:
            await asyncio.wait((task, renewing), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _finish(self, work: Work, *, lost: bool) -> None:
        """End the duties; those that were lost have little time for that."""
        most = self._ttl_s * STOPPING if lost else None
        try:
            async with asyncio.timeout(most):
                await work.end(lost=lost)
        except TimeoutError:
            log.error("duties that were lost do not end: this process begins anew")  # noqa: TRY400
            self._give_up()
        except Exception:
            log.exception("the duties did not end cleanly")
            self._give_up()

    async def _renew(self, lease: Lease, pause: float) -> None:
        """Until it is lost."""
        while True:
            asked = self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.05, self._until - asked)):
                    if not await self._leases.renew(lease):
                        log.warning("the duties are held by somebody else")
                        break
                self._until = asked + self._ttl_s * (1 - STOPPING)
            except TimeoutError:
                pass
            except ForerunError as error:
                log.warning("the duties cannot be renewed: %s", error.message)
            if self._clock.monotonic() >= self._until:
                log.warning("the duties could not be renewed in time")
                break
            await self._clock.sleep(min(pause, max(0.05, self._until - self._clock.monotonic())))
        self._until = float("-inf")

    async def _release(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._leases.release(lease)
        except (TimeoutError, ForerunError):
            log.warning("the duties could not be given back: they are free when their time is over")

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
