"""``GET /forerun/sources``: where the caller's events come from, how much waits there, and how fast it is taken."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route

Rows = Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
"""The sources of an account, one row each.

``Source`` and ``Target`` are ARNs, ``Kind`` and ``Id`` say what connects them, ``State`` is AWS's word, or empty where there
is none, ``Reason`` why it is so. ``Waiting``, ``Hidden`` and ``Delayed`` count messages, ``OldestSeconds`` is the age of the
oldest that waits, ``InFlight`` messages are being run, in ``Running`` calls of at most ``AtOnce``. ``PerSecond`` were taken or
sent of late, ``FailuresPerMinute`` calls or deliveries failed; ``LastResult`` is a sentence. ``Sent``, ``Received``,
``Deleted``, ``Expired`` and ``GivenUp`` count messages since the server started; ``Clients`` wait there now. What a source has not is left out.
"""


class SourceRoutes:
    """All rows of all who have some."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._rows = rows

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"sources": self.get}

    async def get(self, caller: Caller, _query: Query) -> object:
        """The sources of the caller's account."""
        found: list[Mapping[str, Any]] = []
        for rows in self._rows:
            found += await rows(caller.account)
        return {"Sources": found}
