"""``GET /forerun/findings``: what is worth changing in a function, or in all of an account."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.control.registry import Registry
from forerun.errors import InvalidInput, NotFound
from forerun.model import parse_function_ref
from forerun.profiles import Profile
from forerun.profiles.findings import AT_LEAST, Finding, Kind, cycles_in, findings, rank

MAX_ITEMS = 1000


class Learned(Protocol):
    """Who knows profiles; see ``profiles.Profiler``."""

    async def get(self, account: str, name: str, version: str) -> Profile | None:
        """That of a version; ``None`` when none of its executions was watched."""
        ...

    async def list(self, account: str) -> Sequence[Profile]:
        """Those of all versions of an account's functions."""
        ...


class FindingRoutes:
    """The caller's own account only."""

    def __init__(self, learned: Learned, registry: Registry) -> None:
        self._learned = learned
        self._registry = registry

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
        latest = _latest(await self._learned.list(caller.account))
        profiles = list(latest.values())
        if text := query.get("FunctionName", ""):
            profiles = [await self._one(caller, text, query.get("Qualifier", ""), latest)]
        # A thousand functions take a quarter of a second, in which others want to be served.
        found = await asyncio.to_thread(_found, profiles, latest)
        return {
            "Findings": [each for each in found if kind in ("", each.kind)][:MAX_ITEMS],
            "Watched": sum(profile.sampled for profile in profiles),
            "AtLeast": AT_LEAST,
        }

    async def _one(
        self, caller: Caller, text: str, qualifier: str, latest: Mapping[str, Profile]
    ) -> Profile:
        """The profile that is asked for; ``NotFound`` when there is none."""
        ref = parse_function_ref(text)
        if ref.account not in (None, caller.account):
            raise InvalidInput("FunctionName must be a function of your own account")
        version = qualifier or ref.qualifier or ""
        if not version:
            found = latest.get(ref.name)
        else:
            if not version.isdecimal() and version != "$LATEST":
                resolved = await self._registry.resolve(caller.account, ref.name, version, 0.0)
                version = resolved.function.version
            found = await self._learned.get(caller.account, ref.name, version)
        if found is None:
            which = f"version {version} of {ref.name}" if version else ref.name
            raise NotFound(f"No execution of {which} was watched yet")
        return found


def _latest(profiles: Sequence[Profile]) -> dict[str, Profile]:
    """Of each function the version that was watched last."""
    latest: dict[str, Profile] = {}
    for profile in profiles:
        known = latest.get(profile.function)
        if known is None or profile.until > known.until:
            latest[profile.function] = profile
    return latest


def _found(profiles: Sequence[Profile], latest: Mapping[str, Profile]) -> list[Finding]:
    """Findings of all of them, surest and largest first."""
    cycles = cycles_in(latest)
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
