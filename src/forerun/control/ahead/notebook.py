"""Keeps what foresight has learned over restarts: written every few seconds for functions that were called, read at the start.

A server that is killed loses the last seconds. Histories begin with what is kept: nothing is made up from other records.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from forerun.control.ahead.scores import Counts, Score, packed, unpacked
from forerun.control.ahead.traffic import Arrivals, Traffic
from forerun.errors import ForerunError
from forerun.model import Qualified
from forerun.storage.foresight import ForesightRow, ForesightStore

log = logging.getLogger("forerun.foresight")

EVERY_S = 5.0
MOST_AT_ONCE = 2_000
PAGE = 500
BREATH = 20
DAY_S = 86_400
# So long after a call it is taken notice of, at most.
NOTICED_S = 1.0
KEPT_DAYS = 60.0


class Keeping(Protocol):
    """What of a predictor is needed here; see ``prediction.Predictor``."""

    def state(self, function: Qualified) -> bytes:
        """What is known of it."""
        ...

    def restore(self, function: Qualified, state: bytes) -> None:
        """Take it up."""
        ...

    def population(self) -> bytes:
        """What all have taught."""
        ...

    def restore_population(self, state: bytes) -> None:
        """Take it up."""
        ...


class Notebook:
    """Rows of ``store``; ``failed`` counts writes that it refused. Calls before ``kept_until`` are written."""

    def __init__(self, store: ForesightStore, policy: Keeping, arrivals: Arrivals) -> None:
        self._store = store
        self._policy = policy
        self._arrivals = arrivals
        self.failed = 0
        self.kept_until = 0.0

    async def read(self) -> int:
        """Take up all that is kept; how many functions. What cannot be read is passed over."""
        if whole := await self._store.whole():
            self._try(lambda: self._policy.restore_population(whole))
        count = 0
        page = await self._store.after("", "", "", PAGE)
        while page:
            for number, row in enumerate(page, start=1):
                count += self._take_up(row)
                if number % BREATH == 0:
                    await asyncio.sleep(0)
            page = await self._store.after(*page[-1][:3], PAGE)
        return count

    async def write(self, now: float) -> None:
        """Keep what has changed, a bounded number of functions."""
        waiting = (each for each in self._arrivals if each.changed)
        changed = heapq.nsmallest(MOST_AT_ONCE, waiting, key=lambda each: each.kept_at)
        for start in range(0, len(changed), PAGE):
            await self._write(changed[start : start + PAGE], now)
        if changed:
            await self._put([ForesightRow("", "", "", int(now), self._policy.population(), b"")])
        if len(changed) < MOST_AT_ONCE:
            self.kept_until = now - NOTICED_S

    async def score(self, function: Qualified, now: float) -> Score:
        """All that was counted of a function, the last moments too."""
        score = unpacked(await self._store.score(*function))
        traffic = self._arrivals.get(function)
        if traffic is not None:
            score.add(traffic.counts, now)
            score.starts_ms = traffic.starts_ms
            score.memory_mb = traffic.memory_mb
        return score

    async def scores(self, account: str, now: float, limit: int) -> Mapping[Qualified, Score]:
        """The same of those of an account that were called last."""
        rows = await self._store.of_account(account, limit)
        found = {Qualified(*row[:3]): unpacked(row.score) for row in rows}
        for traffic in self._arrivals:
            if traffic.function.account == account and (
                traffic.function in found or len(found) < limit
            ):
                found.setdefault(traffic.function, Score()).add(traffic.counts, now)
        return found

    async def qualifiers(self, account: str, name: str) -> set[str]:
        """Under which qualifiers a function is known."""
        named = self._arrivals.named(account, name)
        return {
            *(await self._store.qualifiers(account, name)),
            *(each.qualifier for each in named),
        }

    async def forget(self, account: str, name: str) -> Iterable[Qualified]:
        """The function is no more; the names it was known by."""
        qualifiers = await self.qualifiers(account, name)
        await self._store.forget(account, name)
        return [Qualified(account, name, each) for each in qualifiers]

    async def trim(self, now: float) -> None:
        """Drop what is known of functions that were not called for long."""
        await self._store.trim(int(now - KEPT_DAYS * DAY_S))

    def _take_up(self, row: ForesightRow) -> bool:
        function = Qualified(*row[:3])
        if not self._try(lambda: self._policy.restore(function, row.state)):
            return False
        score = unpacked(row.score)
        traffic = self._arrivals.put(function)
        if traffic is not None:
            traffic.calls, traffic.last = score.total.calls, float(row.at)
            traffic.starts_ms, traffic.memory_mb = score.starts_ms, score.memory_mb
        return True

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            log.warning("what was learned of a function cannot be read: %s", error)
            return False
        return True

    async def _write(self, changed: list[Traffic], now: float) -> None:
        rows: list[ForesightRow] = []
        for number, traffic in enumerate(changed, start=1):
            score = unpacked(await self._store.score(*traffic.function))
            counts, traffic.counts, traffic.changed = traffic.counts, Counts(), False
            traffic.kept_at = now
            score.add(counts, now)
            score.starts_ms, score.memory_mb = traffic.starts_ms, traffic.memory_mb
            state = self._policy.state(traffic.function)
            rows.append(ForesightRow(*traffic.function, int(traffic.last), state, packed(score)))
            if number % BREATH == 0:
                await asyncio.sleep(0)
        await self._put(rows)

    async def _put(self, rows: list[ForesightRow]) -> None:
        try:
            await self._store.put(rows)
        except ForerunError as error:
            self.failed += 1
            log.warning("what was learned cannot be kept: %s", error.message)
