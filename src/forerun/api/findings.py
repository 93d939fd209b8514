"""``GET /forerun/findings``: what is worth changing in a function, or in all of an account."""

import asyncio

from forerun.api.caller import Caller
from forerun.api.learned import Learned, Lookup, own_function
from forerun.api.platform import Query, Route
from forerun.control.registry import Registry
from forerun.errors import InvalidInput
from forerun.profiles import latest
from forerun.profiles.findings import AT_LEAST, Kind, all_findings

MAX_ITEMS = 1000


class FindingRoutes:
    """The caller's own account only."""

    def __init__(self, learned: Learned, registry: Registry) -> None:
        self._learned = learned
        self._lookup = Lookup(learned, registry)

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {"findings": self.get_findings}

    async def get_findings(self, caller: Caller, query: Query) -> object:
        """Of ``FunctionName`` (and ``Qualifier``), or of the version of each function that was watched last.

        ``Watched`` says how many executions were looked at, ``AtLeast`` how many of a function are needed.
        """
        kind = query.get("Kind", "")
        if kind and kind not in set(Kind):
            raise InvalidInput(f"Kind must be one of {', '.join(Kind)}, not '{kind[:100]}'")
        known = latest(await self._learned.list(caller.account))
        profiles = list(known.values())
        name, qualifier = own_function(caller, query)
        if name:
            profiles = [await self._lookup.profile(caller.account, name, qualifier)]
        # A thousand functions take a quarter of a second, in which others want to be served.
        found = await asyncio.to_thread(all_findings, profiles, known)
        return {
            "Findings": [each for each in found if kind in ("", each.kind)][:MAX_ITEMS],
            "Watched": sum(profile.sampled for profile in profiles),
            "AtLeast": AT_LEAST,
        }
