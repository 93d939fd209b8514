"""``GET /forerun/limits``: how many calls may run at once of an account, now and at most, how many do, and on which hosts."""

from math import ceil
from typing import Protocol

import msgspec

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.control.limits import ClientLimit


class Shown(Protocol):
    """Who knows the limits of an account."""

    step: int
    """Calls of one step; 0 where the current limit does not grow in steps."""

    async def list(self, account: str) -> list[ClientLimit]:
        """That of what its functions share first, then those of reservations by name."""
        ...


class _Host(msgspec.Struct, rename="pascal"):
    name: str
    limit: int
    counted: int
    running: int
    steps: int


class _Limit(msgspec.Struct, rename="pascal"):
    function_name: str
    maximum: int
    current: int
    running: int
    hosts: list[_Host]


class LimitRoutes:
    """Each caller is told of its own account."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"limits": self._get}

    async def _get(self, caller: Caller, _query: Query) -> object:
        step = self._shown.step
        return {
            "Step": step,
            "Limits": [self._limit(each, step) for each in await self._shown.list(caller.account)],
        }

    def _limit(self, each: ClientLimit, step: int) -> _Limit:
        return _Limit(
            function_name=each.function,
            maximum=each.maximum,
            current=each.current,
            running=each.running,
            hosts=[
                _Host(
                    name=part.host,
                    limit=part.limit,
                    counted=part.counted,
                    running=part.running,
                    steps=ceil(part.limit / step) if step else 0,
                )
                for part in each.hosts
            ],
        )
