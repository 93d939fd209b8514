"""Makes the part that calls by the clock: EventBridge Scheduler, and the view of all that is called so."""

import random
from collections.abc import Sequence

from forerun.api.firings import FiringRoutes, Others
from forerun.api.scheduler import SchedulerRoutes
from forerun.app.ground import Ground, Part
from forerun.sources import Outbox
from forerun.sources.schedules import Firer, Schedules
from forerun.storage.schedules import ScheduleStore


def make_schedules(ground: Ground, outbox: Outbox, *, others: Sequence[Others] = ()) -> Part:
    """``others`` tell what else is called by the clock, such as rules of buses."""
    region, clock = ground.settings.server.region, ground.clock
    store = ScheduleStore(ground.state.messages)
    firer = Firer(store, outbox, clock, region=region, chance=random.random)
    schedules = Schedules(store, firer, clock, region=region, chance=random.random)

    async def start() -> None:
        await schedules.start()
        await firer.start()

    async def close() -> None:
        await schedules.close()
        await firer.close()

    return Part(
        operations={"scheduler": SchedulerRoutes(schedules, ground.services.authorizer).routes()},
        routes=FiringRoutes(schedules, ground.state.invocations.one, clock, others).routes(),
        start=start,
        close=close,
    )
