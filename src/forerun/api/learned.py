"""Which profile a request means, for all routes that tell of profiles."""

from collections.abc import Sequence
from typing import Protocol

from forerun.api.caller import Caller
from forerun.api.platform import Query
from forerun.control.registry import Registry
from forerun.errors import InvalidInput, NotFound
from forerun.model import parse_function_ref
from forerun.profiles import Profile, latest

LATEST = "$LATEST"


class Learned(Protocol):
    """Who knows profiles; see ``profiles.Profiler``."""

    async def get(self, account: str, name: str, version: str) -> Profile | None:
        """That of a version; ``None`` when none of its executions was watched."""
        ...

    async def list(self, account: str) -> Sequence[Profile]:
        """Those of all versions of an account's functions."""
        ...

    async def outlines(self, account: str) -> Sequence[Profile]:
        """The same, but only as much of them as lists and graphs show."""
        ...


def own_function(caller: Caller, query: Query) -> tuple[str, str]:
    """Name and qualifier of ``FunctionName`` and ``Qualifier``, each empty when it is not given.

    Raises ``InvalidInput`` for what is no name, or that of another account's function.
    """
    text = query.get("FunctionName", "")
    if not text:
        return "", ""
    ref = parse_function_ref(text)
    if ref.account not in (None, caller.account):
        raise InvalidInput("FunctionName must be a function of your own account")
    return ref.name, query.get("Qualifier") or ref.qualifier or ""


class Lookup:
    """Finds profiles by what callers name: versions, aliases, or nothing for the version that was watched last."""

    def __init__(self, learned: Learned, registry: Registry) -> None:
        self._learned = learned
        self._registry = registry

    async def version(self, account: str, name: str, qualifier: str) -> str:
        """The version that a qualifier means, whether or not it exists any more; ``NotFound`` for an unknown alias."""
        if qualifier.isdecimal() or qualifier == LATEST:
            return qualifier
        resolved = await self._registry.resolve(account, name, qualifier, 0.0)
        return resolved.function.version

    async def profile(self, account: str, name: str, qualifier: str) -> Profile:
        """The profile that is meant. Raises ``NotFound`` when none of its executions was watched."""
        version = await self._version(account, name, qualifier)
        found = await self._learned.get(account, name, version) if version else None
        if found is None:
            raise NotFound(nothing_watched(name, version))
        return found

    async def _version(self, account: str, name: str, qualifier: str) -> str:
        if qualifier:
            return await self.version(account, name, qualifier)
        newest = latest(await self._learned.outlines(account)).get(name)
        return newest.version if newest is not None else ""


def nothing_watched(name: str, version: str) -> str:
    """The message when there is no profile."""
    which = f"version {version} of {name}" if version else name
    return f"No execution of {which} was watched yet"
