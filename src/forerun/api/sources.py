"""``GET /forerun/sources``: where the caller's events come from, how much waits there, and how fast it is taken."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.errors import InvalidInput
from forerun.model import Arn

Rows = Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
"""The sources of an account, one row each.

``Source`` and ``Target`` are ARNs, ``Kind`` and ``Id`` say what connects them, ``State`` is AWS's word, or empty where there
is none, ``Reason`` why it is so. ``Waiting``, ``Hidden`` and ``Delayed`` count messages, ``OldestSeconds`` is the age of the
oldest that waits, ``InFlight`` messages are being run, in ``Running`` calls of at most ``AtOnce``. ``PerSecond`` were taken or
sent of late, ``FailuresPerMinute`` calls or deliveries failed; ``LastResult`` is a sentence. ``Sent``, ``Received``,
``Deleted``, ``Expired`` and ``GivenUp`` count messages since the server started; ``Clients`` wait there now. ``LastSent`` is when
something was sent last, in epoch seconds. ``Pattern`` of rules and ``Events`` of buckets are what is wanted, ``Path`` is a folder's
directory. What a source has not is left out.
"""


class SourceRoutes:
    """All rows of all who have some."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._rows = rows

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"sources": self.get}

    async def get(self, caller: Caller, query: Query) -> object:
        """The sources of the caller's account; with ``FunctionName`` those whose target is this function of it."""
        found: list[Mapping[str, Any]] = []
        for rows in self._rows:
            found += await rows(caller.account)
        if name := query.get("FunctionName"):
            found = [each for each in found if calls(each.get("Target", ""), caller.account, name)]
        return {"Sources": found}


def calls(target: str, account: str, name: str) -> bool:
    """Whether a target is the account's function of that name, in whatever version."""
    try:
        arn = Arn.parse(target)
    except InvalidInput:
        return False
    called = arn.resource.removeprefix("function:").partition(":")[0]
    return (arn.service, arn.account, called) == ("lambda", account, name)
