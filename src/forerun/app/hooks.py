"""Makes the part that takes signed webhooks."""

import logging

from forerun.aio import TaskOwner
from forerun.api.hooks import PREFIX, HookDoor, HookRoutes
from forerun.app.ground import Ground, Part
from forerun.errors import ForerunError
from forerun.sources import Outbox
from forerun.sources.hooks import Hooks, Receiver
from forerun.storage.hooks import HookStore

SWEEP_S = 60.0

log = logging.getLogger("forerun.hooks")


def make_hooks(ground: Ground, outbox: Outbox) -> Part:
    """Construct it; deliveries that cannot be replayed any more are forgotten by themselves."""
    state, clock, settings = ground.state, ground.clock, ground.settings
    store = HookStore(state.messages)
    hooks = Hooks(store, state.sealer, clock, region=settings.server.region)
    receiver = Receiver(hooks, store, outbox, clock)
    routes = HookRoutes(hooks, receiver, ground.services.authorizer, ground.base_url)
    owner = TaskOwner("hooks")

    async def sweep() -> None:
        while True:
            await clock.sleep(SWEEP_S)
            try:
                await store.sweep(clock.now())
            except ForerunError as error:
                log.warning("old deliveries are still known: %s", error.message)

    async def start() -> None:
        owner.spawn(sweep(), name="sweep")

    return Part(
        doors={
            PREFIX: HookDoor(receiver, ground.monitor, clock, body_s=settings.server.body_timeout_s)
        },
        routes=routes.routes(),
        commands=routes.commands(),
        rows=routes.rows,
        start=start,
        close=owner.close,
    )
