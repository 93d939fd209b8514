"""``GET /forerun/findings``: what is worth changing in a function, or in all of an account."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.errors import InvalidInput
from forerun.model import parse_function_ref
from forerun.profiles import Profile
from forerun.profiles.findings import AT_LEAST, Finding, Kind, findings, rank

MAX_ITEMS = 1000


class Learned(Protocol):
    """Who knows profiles."""

    async def profile(self, account: str, name: str, qualifier: str) -> Profile:
        """That of a version; of the one watched last when ``qualifier`` is empty. ``NotFound`` when nothing is known."""
        ...

    async def latest(self, account: str) -> Mapping[str, Profile]:
        """Of each function of the account the version watched last, by name."""
        ...

    async def cycles(self, account: str) -> Sequence[Sequence[str]]:
        """Chains of functions, each calling the next and the last the first; where one begins does not matter."""
        ...


class FindingRoutes:
    """The caller's own account only."""

    def __init__(self, learned: Learned) -> None:
        self._learned = learned

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
        latest = await self._learned.latest(caller.account)
        profiles = list(latest.values())
        if text := query.get("FunctionName", ""):
            ref = parse_function_ref(text)
            if ref.account not in (None, caller.account):
                raise InvalidInput("FunctionName must be a function of your own account")
            qualifier = query.get("Qualifier") or ref.qualifier or ""
            profiles = [await self._learned.profile(caller.account, ref.name, qualifier)]
        cycles = await self._learned.cycles(caller.account)
        # A thousand functions take a quarter of a second, in which others want to be served.
        found = await asyncio.to_thread(_found, profiles, latest, cycles)
        return {
            "Findings": [each for each in found if kind in ("", each.kind)][:MAX_ITEMS],
            "Watched": sum(profile.sampled for profile in profiles),
            "AtLeast": AT_LEAST,
        }


def _found(
    profiles: Sequence[Profile], latest: Mapping[str, Profile], cycles: Sequence[Sequence[str]]
) -> list[Finding]:
    """Findings of all of them, surest and largest first."""
    found = [
        each
        for profile in profiles
        for each in findings(profile, latest, turned(cycles, profile.function))
    ]
    return sorted(found, key=rank)


def turned(cycles: Sequence[Sequence[str]], name: str) -> list[list[str]]:
    """The cycles that ``name`` is part of, told so that they begin with it."""
    there = ((list(chain), list(chain).index(name)) for chain in cycles if name in chain)
    return [[*chain[place:], *chain[:place]] for chain, place in there]
