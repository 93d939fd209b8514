"""``GET /forerun/packaging?FunctionName=NAME``: how the packages of a function come to a host, and why."""

from typing import Protocol

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.errors import InvalidInput
from forerun.model import parse_function_ref


class Plans(Protocol):
    """Who plans packages."""

    async def describe(self, account: str, name: str) -> dict[str, object]:
        """The plan of a function. Raises ``NotFound``."""
        ...


class PackagingRoutes:
    """Tells each account of its own functions."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"packaging": self.get}

    async def get(self, caller: Caller, query: Query) -> object:
        """The function's packages: what is delivered, sizes in bytes, expected milliseconds, and the reason."""
        text = query.get("FunctionName", "")
        if not text:
            raise InvalidInput("FunctionName is required")
        ref = parse_function_ref(text)
        if ref.account not in (None, caller.account):
            raise InvalidInput("FunctionName must be a function of your own account")
        return await self._plans.describe(caller.account, ref.name)
