"""Keeps the profiles: folds what happened into tallies, writes the changed ones once a second, answers what is asked.

A version has a tally of all time and one for each of its last hours, so that what is new can be held against what was.
A server that is killed loses what it counted since the last write.
"""

import logging
from collections import OrderedDict
from collections.abc import Container

import msgspec

from forerun.aio import Clock
from forerun.errors import ForerunError
from forerun.events import Event, ExecutionBegan, ExecutionEnded
from forerun.profiles.fold import fold, fold_reached
from forerun.profiles.linking import Late, Links, Version
from forerun.profiles.merging import merge
from forerun.profiles.presenting import profile_of
from forerun.profiles.profile import Profile
from forerun.profiles.tally import Tally
from forerun.storage.profiles import ProfileRow, ProfileStore

log = logging.getLogger("forerun.profiles")

HOUR = 3600
HOURS = 24
IN_MEMORY = 5_000
ALL_TIME = 0
GATHER_S = 0.5


class _Entry(msgspec.Struct):
    """Tallies of one version by the epoch second they begin at, and which of them have changed."""

    tallies: dict[int, Tally]
    changed: set[int]


class Profiler:
    """A listener of the bus. ``platform`` has the addresses that functions know the platform by."""

    def __init__(self, store: ProfileStore, clock: Clock, platform: Container[str]) -> None:
        self._store = store
        self._clock = clock
        self._links = Links(platform)
        self._entries: OrderedDict[Version, _Entry] = OrderedDict()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Tally).decode
        self.folded = 0
        self.lost = 0

    async def consume(self, events: list[Event]) -> None:
        """Count what happened, and write what has changed."""
        for event in events:
            if isinstance(event, ExecutionBegan):
                if (late := self._links.began(event)) is not None:
                    await self._fold_late(late)
            elif event.context.monitored:
                await self._fold(event)
        await self.flush()

    async def _fold(self, event: ExecutionEnded) -> None:
        record = event.record
        callees, reached, recent = self._links.ended(event)
        entry = await self._entry(Version(record.account, record.name, record.version))
        at = record.timings.started or record.timings.received
        counted: dict[str, int] = {}
        for since in (ALL_TIME, _hour(at)):
            counted = fold(_tally(entry, since), event, callees, reached)
        recent.counted = counted
        self.folded += 1

    async def _fold_late(self, late: Late) -> None:
        recent = late.recent
        entry = await self._entry(recent.version)
        counted = recent.counted
        for since in (ALL_TIME, _hour(recent.began)):
            counted = dict(recent.counted)
            fold_reached(_tally(entry, since), late.reached, counted, recent.weight)
        recent.counted = counted

    async def flush(self) -> None:
        """Write every changed tally. What the store refuses is kept and tried again with the next."""
        oldest = _hour(self._clock.now()) - HOURS * HOUR
        rows: list[ProfileRow] = []
        for version, entry in self._entries.items():
            rows += [
                ProfileRow(*version, since, self._encode(entry.tallies[since]))
                for since in entry.changed
            ]
            for since in [since for since in entry.tallies if ALL_TIME < since < oldest]:
                del entry.tallies[since]
        if not rows:
            return
        try:
            await self._store.put(rows)
        except ForerunError as error:
            self.lost += 1
            log.error("%d profiles are not written yet: %s", len(rows), error.message)  # noqa: TRY400 a sentence
            return
        for entry in self._entries.values():
            entry.changed.clear()
        while len(self._entries) > IN_MEMORY:
            self._entries.popitem(last=False)

    async def trim(self) -> None:
        """Remove hours that are kept no longer."""
        await self._store.trim(_hour(self._clock.now()) - HOURS * HOUR)

    async def get(self, account: str, name: str, version: str) -> Profile | None:
        """The profile of a version over all time; ``None`` when none of its executions was watched."""
        return await self._profile(Version(account, name, version), (ALL_TIME,))

    async def recent(self, account: str, name: str, version: str, hours: int) -> Profile | None:
        """The same over the last ``hours`` hours, the one under way included."""
        newest = _hour(self._clock.now())
        wanted = tuple(newest - HOUR * back for back in range(hours))
        return await self._profile(Version(account, name, version), wanted)

    async def list(self, account: str) -> list[Profile]:
        """The profiles of all versions of an account's functions over all time, by name and version."""
        versions = {Version(account, *each) for each in await self._store.versions(account)}
        versions |= {each for each in self._entries if each.account == account}
        profiles = [await self._profile(version, (ALL_TIME,)) for version in sorted(versions)]
        return [profile for profile in profiles if profile is not None]

    async def forget(self, account: str, name: str) -> None:
        """Drop what is known of a function."""
        for version in [each for each in self._entries if each[:2] == (account, name)]:
            del self._entries[version]
        await self._store.forget(account, name)

    async def _profile(self, version: Version, stretches: tuple[int, ...]) -> Profile | None:
        known = self._entries.get(version)
        tallies = known.tallies if known is not None else await self._load(version)
        found = [tallies[since] for since in stretches if since in tallies]
        if not found:
            return None
        whole = found[0]
        if len(found) > 1:
            whole = Tally()
            for tally in found:
                merge(whole, tally)
        return profile_of(whole, *version)

    async def _entry(self, version: Version) -> _Entry:
        entry = self._entries.get(version)
        if entry is None:
            entry = self._entries[version] = _Entry(await self._load(version), set())
        else:
            self._entries.move_to_end(version)
        return entry

    async def _load(self, version: Version) -> dict[int, Tally]:
        tallies = {}
        for since, body in (await self._store.load(*version)).items():
            try:
                tallies[since] = self._decode(body)
            except msgspec.DecodeError:
                log.warning("a profile of %s cannot be read; it begins anew", version.name)
        return tallies


def _tally(entry: _Entry, since: int) -> Tally:
    entry.changed.add(since)
    tally = entry.tallies.get(since)
    if tally is None:
        tally = entry.tallies[since] = Tally()
    return tally


def _hour(at: float) -> int:
    return int(at) // HOUR * HOUR
