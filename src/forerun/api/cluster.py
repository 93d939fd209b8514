"""``/forerun/cluster``: which control planes there are, who has the duties, and whether this one hears of what changes."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.api.hosts import require_operator
from forerun.api.platform import Query, Route

Tell = Callable[[], Awaitable[dict[str, Any]]]


class ClusterRoutes:
    """For callers of the account that ``operator`` names. Any control plane answers."""

    def __init__(self, tell: Tell, operator: Callable[[], str]) -> None:
        self._tell = tell
        self._operator = operator

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"cluster": self._get}

    async def _get(self, caller: Caller, _query: Query) -> object:
        require_operator(caller, self._operator)
        return await self._tell()
