"""``GET /forerun/forecast`` and ``/forerun/foresight``: what is expected of functions, why, and how right that has been."""

from collections.abc import Mapping
from typing import Any

from forerun.api.caller import Caller
from forerun.api.learned import own_function
from forerun.api.numbers import whole_number
from forerun.api.platform import Query, Route
from forerun.api.traversals import shown_traversal
from forerun.control.ahead.foresight import Foresight
from forerun.control.ahead.notebook import Notebook
from forerun.control.ahead.scores import Counts, Score, slow, typical
from forerun.control.registry import Registry
from forerun.host import Host
from forerun.model import Expectation, Qualified
from forerun.scheduling import Floor

MOST_ITEMS = 1000
MB_PER_GB = 1024.0


class ForecastRoutes:
    """The caller's own account only."""

    def __init__(
        self, foresight: Foresight, notebook: Notebook, registry: Registry, host: Host
    ) -> None:
        self._foresight = foresight
        self._notebook = notebook
        self._registry = registry
        self._host = host

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {"forecast": self.get_forecast, "foresight": self.get_foresight}

    async def get_forecast(self, caller: Caller, query: Query) -> object:
        """Of ``FunctionName`` (and ``Qualifier``, as callers give it); without it the functions that were called last.

        ``Expected`` is what holds or is to come soon; ``Forecast.windows`` look further. Times are epoch seconds.
        """
        name, qualifier = own_function(caller, query)
        if name:
            return await self._forecast(Qualified(caller.account, name, qualifier))
        limit = whole_number(query, "MaxItems", MOST_ITEMS, MOST_ITEMS)
        now = self._foresight.now()
        scores = await self._notebook.scores(caller.account, now, limit)
        functions = [self._line(function, score) for function, score in scores.items()]
        total = Counts()
        for score in scores.values():
            total.add(score.total)
        return {
            "Enabled": self._foresight.active,
            "Functions": sorted(functions, key=lambda each: -each["LastCall"]),
            "Total": counted(total),
        }

    async def get_foresight(self, caller: Caller, _query: Query) -> object:
        """How it goes altogether: the executions whose calls are awaited, what is held, and how many wait in the pools."""
        foresight = self._foresight
        now = foresight.now()
        pools = {name: _pool(floor) for name, floor in foresight.pools.shown().items()}
        return {
            "Enabled": foresight.active,
            "Now": now,
            "Running": [
                shown_traversal(each) for each in foresight.traversals.live(caller.account, now)
            ],
            "Held": [
                {"FunctionName": function.name, "Qualifier": function.qualifier, **held}
                for function in foresight.aims.functions(caller.account, MOST_ITEMS)
                for held in self._held(function)
            ],
            "Pools": pools,
            "Versions": len(foresight.aims),
            "Known": len(foresight.arrivals),
            "KeptUntil": self._notebook.kept_until,
            "Errors": foresight.failed + self._notebook.failed,
        }

    async def _forecast(self, function: Qualified) -> dict[str, Any]:
        account, name, qualifier = function
        await self._registry.resolve(account, name, qualifier or None, 0.0)
        foresight = self._foresight
        now = foresight.now()
        score = await self._notebook.score(function, now)
        kept = await self._notebook.qualifiers(account, name)
        return {
            "Enabled": foresight.active,
            "FunctionName": name,
            "Qualifier": qualifier,
            "Qualifiers": sorted(kept),
            "Now": now,
            "Forecast": foresight.policy.explain(function, now),
            "Expected": self._expected(function),
            "Held": self._held(function),
            "StartMs": {"typical": typical(score.starts_ms), "slow": slow(score.starts_ms)},
            "MemoryMb": round(score.memory_mb, 1),
            "Score": counted(score.total),
            "Hours": [{"at": hour.at, **counted(hour)} for hour in score.hours],
        }

    def _line(self, function: Qualified, score: Score) -> dict[str, Any]:
        traffic = self._foresight.arrivals.get(function)
        expected = self._expected(function)
        rhythm = self._foresight.outlook.rhythm(function)
        return {
            "FunctionName": function.name,
            "Qualifier": function.qualifier,
            "LastCall": traffic.last if traffic is not None else 0.0,
            "PeriodS": 0.0 if rhythm.lapsed else rhythm.period_s,
            "Next": expected[0] if expected else None,
            **counted(score.total),
        }

    def _expected(self, function: Qualified) -> list[Expectation]:
        demand = self._foresight.aims.demand(function)
        now = self._foresight.now()
        return [each for each in demand.windows if each.until > now] if demand is not None else []

    def _held(self, function: Qualified) -> list[dict[str, Any]]:
        now = self._foresight.now()
        return [
            {
                "Version": aim.function.version,
                "Idle": aim.told.idle,
                "Provisioned": aim.told.total,
                "LingerS": aim.told.linger_s,
                "LeaseS": round(max(0.0, aim.until - now), 3),
                "Reason": aim.told.reason,
                "Cause": aim.told.cause,
                "Standing": self._host.standing(aim.function.sandbox_key),
            }
            for aim in self._foresight.aims.of(function)
            if aim.told is not None
        ]


def counted(counts: Counts) -> dict[str, Any]:
    """Counts as they are shown, with what follows from them; ``LeadS`` is on average."""
    waited = counts.hits + counts.misses
    return {
        "Calls": counts.calls,
        "Hits": counts.hits,
        "Misses": counts.misses,
        "HitShare": round(counts.hits / waited, 4) if waited else None,
        "Expected": counts.expected,
        "Came": counts.came,
        "LeadS": round(counts.lead_s / counts.came, 3) if counts.came else None,
        "WastedGbS": round(counts.idle_mb_s / MB_PER_GB, 3),
    }


def _pool(floor: Floor) -> Mapping[str, Any]:
    reason = (
        f"what keeps to a period ({floor.functions} in number, to {floor.degree:.0%}) makes {floor.share:.0%} of the starts: "
        f"{floor.base} x (1 - {floor.degree:.2f} x {floor.share:.2f})"
        if floor.functions
        else "no function keeps to a period"
    )
    return {
        "Floor": floor.floor,
        "Base": floor.base,
        "Share": round(floor.share, 4),
        "Degree": round(floor.degree, 4),
        "Functions": floor.functions,
        "Reason": reason,
    }
