"""``GET /forerun/findings``: what is worth changing in a function, or in all of an account."""

import asyncio
from collections.abc import Mapping, Sequence

from forerun.api.caller import Caller
from forerun.api.learned import Learned, Lookup, own_function
from forerun.api.platform import Query, Route
from forerun.control.registry import Registry
from forerun.errors import InvalidInput
from forerun.profiles import Profile, latest
from forerun.profiles.findings import AT_LEAST, Finding, Kind, cycles_in, findings, rank

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
        found = await asyncio.to_thread(_found, profiles, known)
        return {
            "Findings": [each for each in found if kind in ("", each.kind)][:MAX_ITEMS],
            "Watched": sum(profile.sampled for profile in profiles),
            "AtLeast": AT_LEAST,
        }


def _found(profiles: Sequence[Profile], known: Mapping[str, Profile]) -> list[Finding]:
    """Findings of all of them, surest and largest first."""
    cycles = cycles_in(known)
    found = [
        each
        for profile in profiles
        for each in findings(profile, known, turned(cycles, profile.function))
    ]
    return sorted(found, key=rank)


def turned(cycles: Sequence[Sequence[str]], name: str) -> list[list[str]]:
    """The cycles that ``name`` is part of, told so that they begin with it."""
    there = ((list(chain), list(chain).index(name)) for chain in cycles if name in chain)
    return [[*chain[place:], *chain[:place]] for chain, place in there]
