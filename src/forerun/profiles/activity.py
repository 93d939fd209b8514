"""Counts what every execution did, by function and minute, and answers for ranges of time.

The minute that is going on is in memory and written again once a second, so that a killed server loses no more than
that. Hours are made of minutes when they are over; minutes are kept for two days, hours for as long as is set.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.errors import ForerunError, InvalidInput
from forerun.events import Event, ExecutionEnded
from forerun.profiles.minute import Minute, Series, series
from forerun.storage.activity import HOUR_S, MINUTE_S, ActivityRow, ActivityStore, Spark, Totals

log = logging.getLogger("forerun.activity")

FLUSH_S = 1.0
MINUTES_KEPT_S = 2 * 86_400
MOST_FUNCTIONS = 50_000
MOST_STEPS = 2_000
STEPS_S = (60, 300, 900, 3600, 6 * 3600, 86_400)
_ORDINARY_STEPS = 180
# An hour is closed a little after it is over, when its last minute is surely written.
_GRACE_S = 120
_DAY_S = 86_400
_AT_ONCE = 20

Key = tuple[str, str]
Peaks = Callable[[], Mapping[Key, int]]


def no_peaks() -> Mapping[Key, int]:
    """For whoever counts no concurrency."""
    return {}


class Activity:
    """A listener of the bus; ``start`` then ``close``, once each.

    ``peaks`` tells, by account and name, how many executions ran at once at most since it was asked before.
    ``dropped`` counts executions of functions beyond the bound.
    """

    def __init__(
        self, store: ActivityStore, clock: Clock, *, days: float, peaks: Peaks = no_peaks
    ) -> None:
        self.dropped = 0
        self._store = store
        self._clock = clock
        self._days = days
        self._peaks = peaks
        self._at = 0
        self._unread = 0
        self._ordinary = self._ordinary_before = 0
        self._minutes: dict[Key, Minute] = {}
        self._dirty: set[Key] = set()
        self._closed: list[tuple[int, Key, Minute]] = []
        self._writing = asyncio.Lock()
        self._owner = TaskOwner("activity")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Minute).decode

    def start(self) -> None:
        """Take up the minute that is going on, and begin to write."""
        self._at = self._unread = self._minute_of(self._clock.now())
        self._owner.spawn(self._run(), name="flush")

    async def close(self) -> None:
        """Write what there is, and stop."""
        await self._owner.close()
        await self.flush()

    async def consume(self, events: Sequence[Event]) -> None:
        """Count what the bus tells."""
        minutes, dirty = self._minutes, self._dirty
        for event in events:
            if not isinstance(event, ExecutionEnded):
                continue
            record = event.record
            if record.timings.answered >= self._at + MINUTE_S:
                self._turn(record.timings.answered)
                minutes = self._minutes
            if not record.deferred_s:
                self._ordinary += 1
            key = record.account, record.name
            minute = minutes.get(key)
            if minute is None:
                if len(minutes) >= MOST_FUNCTIONS:
                    self.dropped += 1
                    continue
                minute = minutes[key] = Minute()
            minute.count(record)
            dirty.add(key)

    async def flush(self) -> None:
        """Write what was counted since; what the store refuses is tried again."""
        self._turn(self._clock.now())
        self._take_peaks()
        async with self._writing:
            await self._take_up()
            closed, self._closed = self._closed, []
            dirty, self._dirty = self._dirty, set()
            pending = [*closed, *((self._at, key, self._minutes[key]) for key in dirty)]
            try:
                await self._store.put([self._row(*each, MINUTE_S) for each in pending])
            except ForerunError as error:
                self._closed = (closed + self._closed)[-MOST_FUNCTIONS:]
                self._dirty |= {key for key in dirty if key in self._minutes}
                log.warning("activity cannot be written now: %s", error.message)

    async def series(
        self, account: str, name: str, *, since: float, until: float, step_s: int = 0
    ) -> Series:
        """What a function did between two moments (epoch seconds); ``step_s`` is chosen when it is 0.

        Raises ``InvalidInput`` for a step that is none of ``STEPS_S``, and for too many steps.
        """
        step_s = step_s or step_for(until - since)
        if step_s not in STEPS_S:
            raise InvalidInput(f"the step must be one of {STEPS_S} seconds, not {step_s}")
        begin = int(since) // step_s * step_s
        end = -(-int(until) // step_s) * step_s
        if end <= begin or (end - begin) // step_s > MOST_STEPS:
            raise InvalidInput(
                f"the range must have 1 to {MOST_STEPS} steps of {step_s} s, not {(end - begin) // step_s}"
            )
        minutes = await self._between(account, name, begin, end, step_s)
        return series(minutes, begin, end, step_s)

    async def totals(self, account: str, *, since: float) -> dict[str, Totals]:
        """What each function of the account did since, by name; at most two days back."""
        return await self._store.totals(account, self._minute_of(since))

    async def sparks(self, account: str, *, since: float, until: float) -> list[Spark]:
        """Every minute of every function of the account in between, by name and time; at most two days back."""
        return await self._store.sparks(account, self._minute_of(since), int(until))

    async def of_version(self, account: str, name: str, version: str) -> tuple[int, float]:
        """How many executions of a version ended in all the time that is kept, and how many within the last hour."""
        now = self._clock.now()
        since = now - min(self._days, MOST_STEPS - 2) * _DAY_S
        whole = await self.series(account, name, since=since, until=now, step_s=_DAY_S)
        last = await self.series(account, name, since=now - HOUR_S, until=now, step_s=MINUTE_S)
        return whole.versions.get(version, 0), float(last.versions.get(version, 0))

    def load(self) -> float:
        """Calls per minute of all functions now, but for those that were deferred to a quiet moment."""
        self._turn(self._clock.now())
        return float(max(self._ordinary, self._ordinary_before))

    async def loads(self) -> list[tuple[int, float]]:
        """The same of each past hour that is kept and complete, with the moment it began."""
        since = int(self._clock.now() - self._days * _DAY_S)
        return [(at, calls * MINUTE_S / HOUR_S) for at, calls in await self._store.hours(since)]

    async def sweep(self) -> None:
        """Make hours of the minutes that are over, and remove what is kept no longer."""
        now = int(self._clock.now())
        hour = await self._store.complete_until()
        while hour and hour + HOUR_S + _GRACE_S <= now:
            await self._roll(hour)
            hour += HOUR_S
        oldest = now - int(self._days * _DAY_S)
        await self._store.trim(HOUR_S, oldest)
        await self._store.trim(MINUTE_S, max(oldest, min(hour or now, now - MINUTES_KEPT_S)))

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_S)
            await self.flush()

    async def _take_up(self) -> None:
        """What a server before this one counted in the minute that this one began in counts on."""
        at, self._unread = self._unread, 0
        if not at:
            return
        try:
            before = await self._store.minute(at)
        except ForerunError as error:
            log.warning("what was counted of this minute cannot be read: %s", error.message)
            return
        counted = {key: minute for when, key, minute in self._closed if when == at}
        if at == self._at:
            counted = self._minutes
        for account, name, body in before:
            if (minute := counted.get((account, name))) is not None:
                minute.merge(self._decode(body))
            elif at == self._at:
                self._minutes[account, name] = self._decode(body)

    async def _between(
        self, account: str, name: str, begin: int, end: int, step_s: int
    ) -> list[tuple[int, Minute]]:
        """Minutes, or hours where those are fine enough or all there is."""
        complete = await self._store.complete_until()
        if step_s < HOUR_S:
            complete = min(complete, int(self._clock.now()) - MINUTES_KEPT_S) // HOUR_S * HOUR_S
        middle = min(max(complete, begin), end)
        rows = await self._store.between(account, name, HOUR_S, begin, middle)
        rows += await self._store.between(account, name, MINUTE_S, middle, end)
        return [(at, self._decode(body)) for at, body in rows]

    async def _roll(self, hour: int) -> None:
        rows: list[ActivityRow] = []
        ordinary = 0
        for number, (account, name) in enumerate(await self._store.active(hour, hour + HOUR_S)):
            whole = Minute()
            minutes = await self._store.between(account, name, MINUTE_S, hour, hour + HOUR_S)
            for _, body in minutes:
                whole.merge(self._decode(body))
            ordinary += whole.calls - whole.deferred
            rows.append(self._row(hour, (account, name), whole, HOUR_S))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await self._store.put(rows)
                rows.clear()
        await self._store.put(rows)
        await self._store.complete(hour, ordinary)

    def _turn(self, now: float) -> None:
        """Begin another minute, when ``now`` is in a later one."""
        at = self._minute_of(now)
        if at <= self._at:
            return
        self._closed += ((self._at, key, self._minutes[key]) for key in self._dirty)
        self._dirty.clear()
        self._minutes = {}
        self._ordinary_before = self._ordinary if at == self._at + MINUTE_S else 0
        self._ordinary = 0
        self._at = at

    def _take_peaks(self) -> None:
        for key, peak in self._peaks().items():
            minute = self._minutes.get(key)
            if minute is None:
                if len(self._minutes) >= MOST_FUNCTIONS:
                    continue
                minute = self._minutes[key] = Minute()
            if peak > minute.peak:
                minute.peak = peak
                self._dirty.add(key)

    def _row(self, at: int, key: Key, minute: Minute, step: int) -> ActivityRow:
        body = self._encode(minute)
        return ActivityRow(
            key[0], step, key[1], at, minute.calls, minute.errors, minute.throttles, body
        )

    @staticmethod
    def _minute_of(moment: float) -> int:
        return int(moment) // MINUTE_S * MINUTE_S


def step_for(length_s: float) -> int:
    """The step with which a range of that many seconds is shown."""
    return next((step for step in STEPS_S if length_s / step <= _ORDINARY_STEPS), STEPS_S[-1])


def spark_lines(
    sparks: Iterable[Spark], *, since: int, until: int
) -> dict[str, dict[str, list[int]]]:
    """By name the ``calls`` and ``errors`` of each minute from ``since`` to before ``until``."""
    found: dict[str, dict[str, list[int]]] = {}
    for spark in sparks:
        place = (spark.at - since) // MINUTE_S
        if not since <= spark.at < until:
            continue
        lines = found.get(spark.name)
        if lines is None:
            size = (until - since) // MINUTE_S
            lines = found[spark.name] = {"calls": [0] * size, "errors": [0] * size}
        lines["calls"][place] = spark.calls
        lines["errors"][place] = spark.errors
    return found
