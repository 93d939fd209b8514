"""``GET /forerun/monitoring``: which executions are watched and why, and what trace information came in."""

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.control.monitoring import Monitor
from forerun.control.registry import Registry
from forerun.errors import InvalidInput
from forerun.model import parse_function_ref


class MonitoringRoutes:
    """The caller's own account only."""

    def __init__(self, monitor: Monitor, registry: Registry, clock: Clock) -> None:
        self._monitor = monitor
        self._registry = registry
        self._clock = clock

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {"monitoring": self.get_monitoring}

    async def get_monitoring(self, caller: Caller, query: Query) -> object:
        """The choice for ``FunctionName`` and its reason; without it, what was seen of all calls to the account.

        ``Counts`` are of the account, since the server began.
        """
        answer: dict[str, object] = {
            "Enabled": self._monitor.enabled,
            "Counts": self._monitor.counts(caller.account),
        }
        if name := query.get("FunctionName"):
            ref = parse_function_ref(name)
            if ref.account not in (None, caller.account):
                raise InvalidInput("FunctionName must be a function of your own account")
            resolved = await self._registry.resolve(caller.account, ref.name, ref.qualifier, 0.0)
            answer |= self._monitor.explain(resolved.function, self._clock.now())
        return answer
