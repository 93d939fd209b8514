"""``GET /forerun/history``: the calls of an account's functions per minute, with what their sandboxes cost: for replay."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.errors import InvalidInput
from forerun.model import Qualified
from forerun.prediction import Cost
from forerun.storage.activity import HOUR_S, MINUTE_S, Spark

MOST_S = 6 * HOUR_S
LATEST = 1 << 40


class Counted(Protocol):
    """Who has counted the calls of each minute; see ``profiles.Activity``."""

    async def sparks(self, account: str, *, since: float, until: float) -> list[Spark]:
        """Every minute with calls, by function and time."""
        ...


class Priced(Protocol):
    """Who knows what sandboxes cost; see ``control.ahead.traffic.Arrivals``."""

    def named(self, account: str, name: str) -> Sequence[Qualified]:
        """The names that a function was called by."""
        ...

    def cost(self, function: Qualified) -> Cost:
        """What a sandbox costs, as measured, else as usual."""
        ...


class HistoryRoutes:
    """The caller's own account only."""

    def __init__(self, counted: Counted, priced: Priced, clock: Clock) -> None:
        self._counted = counted
        self._priced = priced
        self._clock = clock

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {"history": self.get_history}

    async def get_history(self, caller: Caller, query: Query) -> object:
        """What was called from ``Since`` to ``Until`` (epoch seconds, six hours apart at most; else the last hour).

        ``first`` and ``end`` are minutes of the epoch, as are those of ``calls``, pairs of minute and count.
        """
        now = int(self._clock.now())
        until = _moment(query, "Until", now)
        since = _moment(query, "Since", until - HOUR_S)
        if not 0 <= until - since <= MOST_S:
            raise InvalidInput(f"Until must be after Since, by {MOST_S} seconds at most")
        first, end = since // MINUTE_S, -(-until // MINUTE_S)
        sparks = await self._counted.sparks(
            caller.account, since=first * MINUTE_S, until=end * MINUTE_S
        )
        cost = self._cost_of(caller.account, dict.fromkeys(each.name for each in sparks))
        # A busy account has a hundred thousand of them.
        functions = await asyncio.to_thread(_functions, sparks, cost)
        return {"first": first, "end": end, "functions": functions}

    def _cost_of(self, account: str, names: Iterable[str]) -> Mapping[str, Cost]:
        """The dearest of those that each is called by."""
        return {
            name: max(
                map(self._priced.cost, self._priced.named(account, name)),
                key=lambda cost: (cost.start_ms, cost.memory_mb),
                default=Cost(),
            )
            for name in names
        }


def _functions(sparks: Sequence[Spark], costs: Mapping[str, Cost]) -> list[dict[str, object]]:
    calls: dict[str, list[tuple[int, int]]] = {}
    for spark in sparks:
        if spark.calls:
            calls.setdefault(spark.name, []).append((spark.at // MINUTE_S, spark.calls))
    return [
        {
            "name": name,
            "memory_mb": round(costs[name].memory_mb, 3),
            "start_ms": round(costs[name].start_ms, 3),
            "calls": found,
        }
        for name, found in calls.items()
    ]


def _moment(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text[:14]) > LATEST:
        raise InvalidInput(f"{name} must be whole epoch seconds, not '{text[:100]}'")
    return int(text)
