"""Everybody who asks for the same execution stands in one line: some run, the rest wait for their result."""

import asyncio
from collections.abc import Iterator
from typing import Final

from forerun.aio import Clock
from forerun.control.once.ids import Standing, Verdict
from forerun.control.once.key import shown_id
from forerun.errors import ForerunError, Throttled
from forerun.storage.once import IdName, OnceStore, Result

MOST_WAITING: Final = 1_000
MOST_ALTOGETHER: Final = 20_000
_MOST_UNSAVED: Final = 10_000


class _Place:
    """One identifier while somebody asks for it."""

    def __init__(self) -> None:
        self.standing: Standing | None = None
        self.users = 0
        self.moved = asyncio.Event()
        self.storing = asyncio.Lock()
        # Successes that the store did not take: with what they are told to it again.
        self.unsaved: list[tuple[Result, float]] = []


class Line:
    """Claims identifiers. Successes are on disk before anybody hears of them; who runs is known in memory alone.

    So what was running when the server died may run again.
    """

    def __init__(self, store: OnceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._places: dict[IdName, _Place] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._places)

    async def claim(self, which: IdName, *, limit: int, wait_s: float) -> Result | None:
        """``None``: run, then call ``succeeded`` or ``ended``, whatever happens. Else the result that there is already.

        Waits up to ``wait_s`` seconds for those that run. Raises ``Throttled`` when they take longer, or too many wait,
        and ``StorageFailed``.
        """
        place = self._places.setdefault(which, _Place())
        place.users += 1
        try:
            async with asyncio.timeout(wait_s):
                result = await self._turn(which, place, limit)
        except TimeoutError:
            self._leave(which, place)
            raise _busy(f"Another execution with the id {shown_id(which.id)} still runs") from None
        except BaseException:
            self._leave(which, place)
            raise
        if result is not None:
            self._leave(which, place)
        return result

    async def succeeded(
        self, which: IdName, result: Result, *, kept: Result, expires_s: float
    ) -> None:
        """What was claimed has succeeded; ``kept`` of it is on disk when this returns.

        When the store refuses (``StorageFailed``) it is not run again for that while the server lives.
        """
        place = self._places[which]
        expires_at = result.at + expires_s
        try:
            # Those before it first: the latest one in the store is what is answered with.
            await self._save(which, place)
            await self._store.succeeded(which, kept, expires_at)
        except ForerunError:
            if sum(1 for _ in self._pinned()) < _MOST_UNSAVED:
                place.unsaved.append((kept, expires_at))
            raise
        finally:
            self._standing(place).succeeded(result, expires_at)
            self._move(which, place)

    def ended(self, which: IdName) -> None:
        """What was claimed has failed, or was not run: one who waits may."""
        place = self._places[which]
        self._standing(place).ended()
        self._move(which, place)

    def sweep(self) -> None:
        """Forget successes that could not be stored and have expired."""
        now = self._clock.now()
        for which in list(self._pinned()):
            place = self._places[which]
            place.unsaved = [each for each in place.unsaved if each[1] > now]
            if not place.users and not place.unsaved:
                del self._places[which]

    async def _turn(self, which: IdName, place: _Place, limit: int) -> Result | None:
        standing = place.standing or await self._load(which, place)
        while True:
            moved = place.moved
            verdict = standing.claim(limit, self._clock.now())
            if verdict is Verdict.RUN:
                return None
            if verdict is Verdict.ANSWER:
                result = standing.result
                if place.unsaved:
                    await self._save(which, place)
                return result
            await self._wait(which, place, moved)

    async def _wait(self, which: IdName, place: _Place, moved: asyncio.Event) -> None:
        if place.users > MOST_WAITING or self._waiting >= MOST_ALTOGETHER:
            raise _busy(f"Too many wait for an execution with the id {shown_id(which.id)}")
        self._waiting += 1
        try:
            await moved.wait()
        finally:
            self._waiting -= 1

    async def _load(self, which: IdName, place: _Place) -> Standing:
        """As long as somebody asks for it, memory knows best: it is read once."""
        async with place.storing:
            if place.standing is None:
                found = await self._store.found(which)
                place.standing = (
                    Standing()
                    if found is None
                    else Standing(
                        successes=found.successes,
                        expires_at=found.expires_at,
                        result=found.result,
                    )
                )
        return place.standing

    async def _save(self, which: IdName, place: _Place) -> None:
        async with place.storing:
            while place.unsaved:
                await self._store.succeeded(which, *place.unsaved[0])
                del place.unsaved[0]

    def _standing(self, place: _Place) -> Standing:
        assert place.standing is not None, "it was claimed"
        return place.standing

    def _move(self, which: IdName, place: _Place) -> None:
        place.moved.set()
        place.moved = asyncio.Event()
        self._leave(which, place)

    def _leave(self, which: IdName, place: _Place) -> None:
        place.users -= 1
        if not place.users and not place.unsaved:
            del self._places[which]

    def _pinned(self) -> Iterator[IdName]:
        return (which for which, place in self._places.items() if place.unsaved)


def _busy(why: str) -> Throttled:
    return Throttled(f"{why}; try again later", reason="ConcurrentInvocationLimitExceeded")
