"""Makes the part that watches the platform itself: rules, what listens for them, and what looks around for them."""

from collections.abc import Sequence

from forerun.api.metaevents import MetaeventRoutes
from forerun.app.ground import Ground, Part
from forerun.control.metaevents import Metaevents, Notebook, Surroundings, Watcher
from forerun.metaevents import Limits
from forerun.model import FunctionVersion
from forerun.sources import Outbox
from forerun.storage.metaevents import MetaeventStore


def make_metaevents(ground: Ground, outbox: Outbox) -> Part:
    """It is started before all that runs executions, so that it misses none."""
    settings, clock, estate = ground.settings.metaevents, ground.clock, ground.services.estate
    region = ground.settings.server.region
    store = MetaeventStore(ground.state.messages)
    notebook = Notebook(store, clock)
    watcher = Watcher(
        outbox=outbox,
        bus=ground.bus,
        monitor=ground.monitor,
        notebook=notebook,
        clock=clock,
        limits=Limits(
            depth=settings.max_depth,
            rule_per_minute=settings.rule_per_minute,
            account_per_minute=settings.account_per_minute,
        ),
        region=region,
    )
    metaevents = Metaevents(
        store=store,
        watcher=watcher,
        notebook=notebook,
        registry=estate.registry,
        invocations=ground.state.invocations,
        clock=clock,
        settings=settings,
        region=region,
    )

    async def resolve(account: str, name: str) -> FunctionVersion:
        return (await estate.registry.resolve(account, name, None, 0.0)).function

    async def functions(account: str) -> Sequence[FunctionVersion]:
        found: list[FunctionVersion] = []
        marker: str | None = None
        while True:
            page = await estate.functions.page(account, marker, None)
            found += page.items
            marker = page.marker
            if marker is None:
                return found

    surroundings = Surroundings(
        index=watcher.index,
        bus=ground.bus,
        clock=clock,
        stats=ground.stats,
        profiles=ground.profiles,
        functions=functions,
        resolve=resolve,
    )

    async def start() -> None:
        estate.changes.listen(surroundings.changed)
        await metaevents.start()
        surroundings.start()

    async def close() -> None:
        await surroundings.close()
        await metaevents.close()

    routes = MetaeventRoutes(metaevents, ground.services.authorizer, clock)
    return Part(routes=routes.routes(), commands=routes.commands(), start=start, close=close)
