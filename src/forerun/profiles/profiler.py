"""Keeps the profiles: folds what happened into tallies, writes the changed ones once a second, answers what is asked.

A version has a tally of the hour that is going on, and one of all hours before, to which the hour is added when it is
over; the last hours are kept one by one in the database, so that what is new can be held against what was. A server
that is killed loses what it counted since the last write.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from forerun.aio import Clock
from forerun.errors import ForerunError
from forerun.events import Event, ExecutionBegan, ExecutionEnded
from forerun.model import Qualified, Successor
from forerun.profiles.fold import fold, fold_reached
from forerun.profiles.linking import Late, Links, Version
from forerun.profiles.merging import merge
from forerun.profiles.outline import Outline, TallyHead, outline_of
from forerun.profiles.presenting import profile_of
from forerun.profiles.profile import Profile
from forerun.profiles.successors import News, successors_of
from forerun.profiles.tally import Tally
from forerun.storage.profiles import ALL_BEFORE, OutlineRow, ProfileRow, ProfileStore

T = TypeVar("T")
log = logging.getLogger("forerun.profiles")

HOUR = 3600
DAY = 86_400
HOURS = 24
DAYS = 30.0
# In memory a profile takes some five times its packed size.
IN_MEMORY = 5_000
MOST_BYTES = 32 << 20
# The loop has others to serve: so many are counted, packed or presented at a time.
AT_ONCE = 16


class _Entry(msgspec.Struct):
    """What is known of a version: ``hour`` began at ``since``, ``before`` counts all hours before it.

    ``rows`` are what must be written, by ``since``; ``size`` is how many bytes it takes packed. ``shown`` is its profile as it
    was presented last, while that holds; ``outline`` is the latest one that was made.
    """

    before: Tally
    hour: Tally
    since: int
    size: int = 0
    rows: dict[int, Tally] = {}
    shown: Profile | None = None
    outline: Outline | None = None


class Profiler:
    """A listener of the bus. ``platform`` has the addresses that functions know the platform by; versions that were not
    watched for ``days`` are forgotten.

    ``folded`` counts executions, ``failed`` writes that the store refused, ``lost`` profiles whose latest changes were given
    up because it refused too many, or because they could not be written.
    """

    def __init__(
        self, store: ProfileStore, clock: Clock, platform: Container[str], *, days: float = DAYS
    ) -> None:
        self._store = store
        self._clock = clock
        self._days = days
        self._links = Links(platform)
        self._entries: OrderedDict[Version, _Entry] = OrderedDict()
        self._changed: dict[Version, _Entry] = {}
        self._outlines: dict[Version, Profile] = {}
        self._news = News()
        self._bytes = 0
        self._forgotten = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Tally).decode
        self._decode_head = msgspec.msgpack.Decoder(TallyHead).decode
        self._decode_outline = msgspec.msgpack.Decoder(Outline).decode
        self.folded = 0
        self.failed = 0
        self.lost = 0

    async def consume(self, events: Sequence[Event]) -> None:
        """Count what happened, and write what has changed."""
        done = 0
        for event in events:
            if isinstance(event, ExecutionBegan):
                late = self._links.began(event)
            else:
                context = event.context
                late = self._links.refused(event) if context.origin.execution else None
                if context.weight:
                    await self._fold(event)
                    done += 1
                    if done % AT_ONCE == 0:
                        await asyncio.sleep(0)
            if late is not None:
                await self._fold_late(late)
        await self.flush()

    async def _fold(self, event: ExecutionEnded) -> None:
        record = event.record
        callees, reached, recent = self._links.ended(event)
        version = Version(record.account, record.name, record.version)
        entry = await self._entry(version)
        self._turn(entry, _hour(record.timings.answered or record.timings.received))
        recent.counted = fold(entry.hour, event, callees, reached)
        recent.stretch = entry.since
        self._change(version, entry, entry.since, entry.hour)
        self.folded += 1

    async def _fold_late(self, late: Late) -> None:
        """In the hour in which the execution was counted, or among those before when it is over."""
        recent = late.recent
        entry = await self._entry(recent.version)
        now = entry.since == recent.stretch
        tally = entry.hour if now else entry.before
        key = late.reached.callee.key
        if recent.counted.get(key) and key not in tally.callees:
            # It was forgotten meanwhile.
            return
        fold_reached(tally, late.reached, recent.counted, recent.weight)
        self._change(recent.version, entry, entry.since if now else ALL_BEFORE, tally)

    def _turn(self, entry: _Entry, hour: int) -> None:
        """Begin another hour, when ``hour`` is later; what comes late is counted in the one that is going on."""
        if hour <= entry.since:
            return
        if entry.hour.until or entry.hour.throttles:
            merge(entry.before, entry.hour)
            entry.rows[ALL_BEFORE] = entry.before
            entry.hour = Tally()
        entry.since = hour

    def _change(self, version: Version, entry: _Entry, since: int, tally: Tally) -> None:
        entry.rows[since] = tally
        entry.shown = None
        self._outlines.pop(version, None)
        self._changed[version] = entry
        self._news.changed(version)

    async def flush(self) -> None:
        """Write every changed tally. What the store refuses is kept and tried again with the next."""
        rows: list[ProfileRow] = []
        outlines: list[OutlineRow] = []
        changed = self._changed
        for number, (version, entry) in enumerate(list(changed.items()), start=1):
            try:
                packed = {since: self._encode(tally) for since, tally in entry.rows.items()}
                outline = self._encode(_outlined(entry))
            except (OverflowError, UnicodeEncodeError):
                # Whatever a function brought about must not keep the profiles of others from being written.
                log.exception("the profile of %s cannot be written; it is given up", version.name)
                self._drop(version)
                self.lost += 1
                continue
            rows += [ProfileRow(*version, since, body) for since, body in packed.items()]
            outlines.append(OutlineRow(*version, outline))
            # What is not written again is about as large as it was.
            size = max(entry.size, sum(map(len, packed.values())))
            self._bytes += size - entry.size
            entry.size = size
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        try:
            await self._store.put(rows, outlines)
        except ForerunError as error:
            self.failed += 1
            log.error("%d profiles are not written yet: %s", len(changed), error.message)  # noqa: TRY400 a sentence
        else:
            for entry in changed.values():
                entry.rows.clear()
            self._changed = {}
        self._shrink()

    async def trim(self) -> None:
        """Remove hours that are kept no longer, and versions that were not watched for long."""
        now = self._clock.now()
        before = int(now - self._days * DAY)
        for version in [each for each, entry in self._entries.items() if entry.since < before]:
            self._drop(version)
        await self._store.trim(hours_before=_hour(now) - HOURS * HOUR, versions_before=before)

    async def get(self, account: str, name: str, version: str) -> Profile | None:
        """The profile of a version over all time; ``None`` when none of its executions was watched."""
        whose = Version(account, name, version)
        entry = self._entries.get(whose)
        if entry is None:
            rows = await self._store.newest(*whose)
            entry = self._entries.get(whose) or (self._read(rows) if rows else None)
        return self._show(whose, entry) if entry is not None else None

    async def recent(self, account: str, name: str, version: str, hours: int) -> Profile | None:
        """The same over the last ``hours`` hours, the one under way included."""
        whose = Version(account, name, version)
        oldest = _hour(self._clock.now()) - HOUR * (hours - 1)
        tallies = {
            row.since: self._unpack(row, self._decode)
            for row in await self._store.hours(*whose, oldest)
        }
        entry = self._entries.get(whose)
        if entry is not None and entry.since >= oldest:
            tallies[entry.since] = entry.hour
        whole = _sum(tallies.values())
        return profile_of(whole, *whose) if whole.sampled else None

    async def list(self, account: str) -> Sequence[Profile]:
        """The profiles of all versions of an account's functions over all time, by name and version."""
        forgotten = self._forgotten
        found: list[Profile] = []
        async for version, rows in self._versions(account):
            entry = self._entries.get(version)
            if entry is None and rows:
                entry = self._read(rows)
                # What was dropped meanwhile may have been changed before: then what was read is old.
                if forgotten == self._forgotten:
                    self._take(version, entry)
            if entry is not None and (profile := self._show(version, entry)) is not None:
                found.append(profile)
        self._shrink()
        return found

    async def outlines(self, account: str) -> Sequence[Profile]:
        """As ``list``, but of each profile only what lists and graphs show; see ``profiles.outline``."""
        forgotten = self._forgotten
        kept = {Version(*row[:3]): row for row in await self._store.outlines(account)}
        known = kept.keys() | {each for each in self._entries if each.account == account}
        found: list[Profile] = []
        mended: dict[OutlineRow, bytes] = {}
        for number, version in enumerate(sorted(known), start=1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            profile = self._outlines.get(version)
            if profile is None:
                outline = await self._outline(version, kept.get(version), mended)
                profile = outline.profile(*version)
                # What was dropped meanwhile may have been changed before: then what was read is old.
                if forgotten == self._forgotten:
                    if len(self._outlines) >= IN_MEMORY:
                        self._outlines.clear()
                    self._outlines[version] = profile
            if profile.sampled or profile.throttles:
                found.append(profile)
        await self._mend(mended)
        return found

    async def successors(self) -> Mapping[Qualified, Sequence[Successor]]:
        """Whom the functions call of which something was counted since this was last asked; at first, those watched last.

        The version that was watched last stands for all of a function, so there are no qualifiers.
        """
        found: dict[Qualified, Sequence[Successor]] = {}
        if not self._news.begun:
            for version in map(Version._make, await self._store.latest(IN_MEMORY)):
                entry = self._entries.get(version) or self._read(await self._store.newest(*version))
                found.setdefault(Qualified(*version[:2]), _successors(version, entry))
        for number, (name, changed) in enumerate(self._news.take().items(), start=1):
            counted = self._entries.get(changed) if changed is not None else None
            if changed is None:
                found[Qualified(*name)] = []
            elif counted is not None:
                found[Qualified(*name)] = _successors(changed, counted)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def _outline(
        self, version: Version, row: OutlineRow | None, mended: dict[OutlineRow, bytes]
    ) -> Outline:
        """From memory; else as it is kept; else made of the tallies, which is added to ``mended``."""
        entry = self._entries.get(version)
        if entry is None and row is not None:
            if row.body:
                with contextlib.suppress(msgspec.DecodeError):
                    return self._decode_outline(row.body)
            rows = await self._store.newest(*version)
            # It may have been counted meanwhile.
            entry = self._entries.get(version)
            if entry is None:
                outline = outline_of([self._unpack(each, self._decode_head) for each in rows])
                mended[row] = self._encode(outline)
                return outline
        return _outlined(entry) if entry is not None else outline_of([])

    async def _mend(self, mended: dict[OutlineRow, bytes]) -> None:
        try:
            await self._store.mend(mended)
        except ForerunError as error:
            self.failed += 1
            log.error("%d outlines are not written: %s", len(mended), error.message)  # noqa: TRY400 a sentence

    async def _versions(self, account: str) -> AsyncIterator[tuple[Version, Sequence[ProfileRow]]]:
        """Every version of the account with what is written of it, in order."""
        known: dict[Version, list[ProfileRow]] = {
            each: [] for each in self._entries if each.account == account
        }
        for row in await self._store.all_newest(account):
            known.setdefault(Version(*row[:3]), []).append(row)
        for number, version in enumerate(sorted(known), start=1):
            yield version, known[version]
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def forget(self, account: str, name: str) -> None:
        """Drop what is known of a function."""
        for version in [each for each in self._entries if each[:2] == (account, name)]:
            self._drop(version)
        for version in [each for each in self._outlines if each[:2] == (account, name)]:
            del self._outlines[version]
        self._news.forgotten(account, name)
        await self._store.forget(account, name)

    def _show(self, version: Version, entry: _Entry) -> Profile | None:
        if entry.shown is None:
            whole = entry.hour if not entry.before.until else _sum((entry.before, entry.hour))
            entry.shown = profile_of(whole, *version)
        return entry.shown if entry.shown.sampled or entry.shown.throttles else None

    async def _entry(self, version: Version) -> _Entry:
        entry = self._entries.get(version)
        if entry is None:
            read = self._read(await self._store.newest(*version))
            # Somebody who asked may have read it meanwhile.
            entry = self._entries.get(version)
            if entry is None:
                entry = read
                self._take(version, entry)
        self._entries.move_to_end(version)
        return entry

    def _take(self, version: Version, entry: _Entry) -> None:
        self._entries[version] = entry
        self._bytes += entry.size

    def _read(self, rows: Iterable[ProfileRow]) -> _Entry:
        entry = _Entry(Tally(), Tally(), 0)
        for row in rows:
            entry.size += len(row.body)
            if row.since == ALL_BEFORE:
                entry.before = self._unpack(row, self._decode)
            else:
                entry.hour, entry.since = self._unpack(row, self._decode), row.since
        return entry

    def _unpack(self, row: ProfileRow, decode: Callable[[bytes], T]) -> T | Tally:
        try:
            return decode(row.body)
        except msgspec.DecodeError:
            log.warning("a profile of %s cannot be read; it begins anew", row.name)
            return Tally()

    def _shrink(self) -> None:
        """Let go of what was not needed for longest; of what is not written only when the store refuses for long."""
        while len(self._entries) > IN_MEMORY or self._bytes > MOST_BYTES:
            version = next((each for each in self._entries if each not in self._changed), None)
            if version is None and len(self._entries) <= 2 * IN_MEMORY:
                return
            if version is None:
                version = next(iter(self._entries))
                self.lost += 1
            self._drop(version)

    def _drop(self, version: Version) -> None:
        entry = self._entries.pop(version)
        self._changed.pop(version, None)
        self._bytes -= entry.size
        self._forgotten += 1


def _successors(version: Version, entry: _Entry) -> list[Successor]:
    return successors_of((entry.before, entry.hour), version.account)


def _outlined(entry: _Entry) -> Outline:
    """Its outline as of now."""
    entry.outline = outline_of((entry.before, entry.hour), entry.outline)
    return entry.outline


def _sum(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        merge(whole, tally)
    return whole


def _hour(at: float) -> int:
    return int(at) // HOUR * HOUR
