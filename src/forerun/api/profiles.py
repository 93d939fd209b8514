"""What functions are like, under ``/forerun/``: profiles, what they reach, how they changed, the map, activity."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import msgspec

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.learned import Learned, Lookup, nothing_watched, own_function
from forerun.api.numbers import positive_number
from forerun.api.platform import Query, Route
from forerun.control.registry import Registry
from forerun.errors import InvalidInput, NotFound
from forerun.profiles import (
    Activity,
    Profile,
    compare,
    latest,
    reach,
    service_map,
    spark_lines,
)

HOUR_S = 3600
MINUTE_S = 60
MOST_HOURS = 24
_MANY = 100


class Recent(Learned, Protocol):
    """Who knows, besides, what profiles were like of late."""

    async def recent(self, account: str, name: str, version: str, hours: int) -> Profile | None:
        """The profile of the last hours; ``None`` when nothing was watched then."""
        ...


class ProfileRoutes:
    """The caller's own account only."""

    def __init__(
        self, learned: Recent, activity: Activity, registry: Registry, clock: Clock
    ) -> None:
        self._learned = learned
        self._activity = activity
        self._lookup = Lookup(learned, registry)
        self._clock = clock

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {
            "profile": self.get_profile,
            "profiles": self.get_profiles,
            "reach": self.get_reach,
            "compare": self.get_compare,
            "map": self.get_map,
            "activity": self.get_activity,
        }

    async def get_profile(self, caller: Caller, query: Query) -> object:
        """The profile of ``FunctionName`` (and ``Qualifier``; else the version watched last).

        With ``Hours`` it is that of the last 1 to 24 hours, the one under way included.
        """
        name, qualifier = _function(caller, query)
        profile = await self._lookup.profile(caller.account, name, qualifier)
        if query.get("Hours"):
            profile = await self._of_late(profile, _hours(query))
        counted, per_hour = await self._activity.of_version(caller.account, name, profile.version)
        counts = {"invocations": counted, "per_hour": per_hour}
        return {"Profile": msgspec.structs.replace(profile, **counts)}

    async def get_profiles(self, caller: Caller, _query: Query) -> object:
        """All versions of all functions of which something is known, in short."""
        rates = await self._rates(caller.account)
        return {
            "Profiles": [
                {
                    "function": profile.function,
                    "version": profile.version,
                    "sampled": profile.sampled,
                    "executions": profile.executions,
                    "per_hour": rates.get(profile.function, 0.0),
                    "since": profile.since,
                    "until": profile.until,
                    "error_rate": profile.error_rate,
                    "duration_ms": profile.duration_ms,
                    "waiting_share": profile.waiting_share,
                    "callees": len(profile.callees),
                }
                for profile in await self._learned.outlines(caller.account)
            ]
        }

    async def get_reach(self, caller: Caller, query: Query) -> object:
        """Everything that an execution of ``FunctionName`` may lead to, with how likely that is."""
        name, qualifier = _function(caller, query)
        root = await self._lookup.profile(caller.account, name, qualifier)
        known = latest(await self._learned.outlines(caller.account))
        rates = await self._rates(caller.account)
        return await asyncio.to_thread(reach, root, known, rates)

    async def get_compare(self, caller: Caller, query: Query) -> object:
        """What differs between the versions ``From`` and ``To`` of ``FunctionName``; or, with ``Hours``, between all
        time and the last hours of one version.
        """
        name, qualifier = _function(caller, query)
        if query.get("Hours"):
            before = await self._lookup.profile(caller.account, name, qualifier)
            after = await self._of_late(before, _hours(query))
        else:
            versions = query.get("From", ""), query.get("To", "")
            if not all(versions):
                raise InvalidInput(
                    "Say which versions: From and To; or Hours, for what changed of late"
                )
            before, after = [
                await self._lookup.profile(caller.account, name, version) for version in versions
            ]
        return {"From": _brief(before), "To": _brief(after), "Changes": compare(before, after)}

    async def get_map(self, caller: Caller, _query: Query) -> object:
        """All functions and services of the account, and who calls whom."""
        known = latest(await self._learned.outlines(caller.account))
        rates = await self._rates(caller.account)
        if len(known) < _MANY:
            return service_map(known, rates)
        return await asyncio.to_thread(service_map, known, rates)

    async def get_activity(self, caller: Caller, query: Query) -> object:
        """What ``FunctionName`` did between ``Since`` and ``Until`` (epoch seconds; else the last hour) in steps of
        ``StepS``; without a name the calls and errors of all functions in each minute, of at most a day.
        """
        name, _ = own_function(caller, query)
        now = self._clock.now()
        until = positive_number(query, "Until", now)
        since = positive_number(query, "Since", until - HOUR_S)
        if name:
            step_s = int(positive_number(query, "StepS", 0))
            return await self._activity.series(
                caller.account, name, since=since, until=until, step_s=step_s
            )
        begin, end = int(since) // MINUTE_S * MINUTE_S, -(-int(until) // MINUTE_S) * MINUTE_S
        if not 0 < end - begin <= 24 * HOUR_S:
            raise InvalidInput("Until must be after Since, by a day at most")
        sparks = await self._activity.sparks(caller.account, since=begin, until=end)
        lines = spark_lines(sparks, since=begin, until=end)
        return {"since": begin, "until": end, "step_s": MINUTE_S, "functions": lines}

    async def _of_late(self, profile: Profile, hours: int) -> Profile:
        found = await self._learned.recent(
            profile.account, profile.function, profile.version, hours
        )
        if found is None:
            said = nothing_watched(profile.function, profile.version)
            raise NotFound(f"{said.removesuffix(' yet')} in the last {hours} hours")
        return found

    async def _rates(self, account: str) -> Mapping[str, float]:
        """Executions of the last hour by function."""
        totals = await self._activity.totals(account, since=self._clock.now() - HOUR_S)
        return {name: float(each.calls - each.throttles) for name, each in totals.items()}


def _function(caller: Caller, query: Query) -> tuple[str, str]:
    name, qualifier = own_function(caller, query)
    if not name:
        raise InvalidInput("FunctionName is missing: say which function")
    return name, qualifier


def _hours(query: Query) -> int:
    hours = positive_number(query, "Hours", 1)
    if hours != int(hours) or not 1 <= hours <= MOST_HOURS:
        raise InvalidInput(f"Hours must be a whole number from 1 to {MOST_HOURS}")
    return int(hours)


def _brief(profile: Profile) -> dict[str, object]:
    return {
        "function": profile.function,
        "version": profile.version,
        "sampled": profile.sampled,
        "since": profile.since,
        "until": profile.until,
    }
