"""Fires schedules: hands the message of each moment over, then writes down the next one."""

import logging
from collections.abc import Callable, Iterable

from forerun.aio import Clock, TaskOwner
from forerun.sources import Outbox, Timetable
from forerun.sources.schedules.plan import Chance, done, judge
from forerun.sources.schedules.targets import make_message
from forerun.storage.schedules import ScheduleStore, StoredSchedule

log = logging.getLogger("forerun.schedules")

PAGE = 5000
SWEEP_S = 3600.0
TOKEN_AGE_S = 86_400.0
AT_ONCE = 128


class Firer:
    """Keeps the moments of all schedules; ``start`` then ``close``.

    A message is handed over before it is written down that it was, so a server that dies in between hands it over again,
    with the same id.
    """

    def __init__(
        self, store: ScheduleStore, outbox: Outbox, clock: Clock, *, region: str, chance: Chance
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._region = region
        self._chance = chance
        self._timetable: Timetable[int] = Timetable("schedules", self._fire, clock, at_once=AT_ONCE)
        self._owner = TaskOwner("schedules-upkeep")
        self._completed: list[Callable[[str], None]] = []

    async def start(self) -> None:
        """Set what is stored, and begin."""
        after = 0
        while page := await self._store.pending(after, PAGE):
            for schedule_id, due in page:
                self._timetable.set(schedule_id, due)
            after = page[-1][0]
        self._timetable.start()
        self._owner.spawn(self._sweep(), name="tokens")

    async def close(self) -> None:
        """Fire nothing any more."""
        await self._timetable.close()
        await self._owner.close()

    @property
    def busy(self) -> bool:
        """Whether something is being fired now."""
        return self._timetable.busy

    def listen(self, completed: Callable[[str], None]) -> None:
        """Tell of each schedule that was deleted because it has done all: its account."""
        self._completed.append(completed)

    def set(self, schedule_id: int, due: float | None) -> None:
        """A schedule was made or changed; it is due then."""
        if due is None:
            self._timetable.cancel(schedule_id)
        else:
            self._timetable.set(schedule_id, due)

    def forget(self, schedule_ids: Iterable[int]) -> None:
        """These schedules are gone."""
        for schedule_id in schedule_ids:
            self._timetable.cancel(schedule_id)

    async def _fire(self, schedule_id: int, _due: float) -> float | None:
        schedule = await self._store.by_id(schedule_id)
        if schedule is None or not schedule.enabled:
            return None
        now = self._clock.now()
        verdict = judge(schedule.config, schedule.firing, now)
        if verdict is None:
            return schedule.firing.due
        if verdict.missed:
            log.warning(
                "schedule %s/%s of %s was due %.0f s ago, longer than its retry age",
                schedule.group, schedule.name, schedule.account, now - verdict.moment,
            )  # fmt: skip
        else:
            due = schedule.firing.due
            message = make_message(schedule, verdict.moment, due or now, self._region)
            await self._outbox.send([message])
        firing = done(schedule.config, schedule.firing, verdict, now, self._chance)
        if firing.due is None and schedule.config.delete_after:
            if settled := await self._store.complete(schedule):
                for completed in self._completed:
                    completed(schedule.account)
        else:
            settled = await self._store.fired(schedule, firing)
        return firing.due if settled else await self._changed(schedule)

    async def _changed(self, schedule: StoredSchedule) -> float | None:
        """When it is due after a change that came while it fired."""
        found = await self._store.by_id(schedule.id)
        return found.firing.due if found is not None and found.enabled else None

    async def _sweep(self) -> None:
        while True:
            await self._store.forget_tokens(self._clock.now() - TOKEN_AGE_S)
            await self._clock.sleep(SWEEP_S)
