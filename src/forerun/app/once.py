"""Makes the part that keeps executions from happening more often than wanted."""

from collections.abc import Sequence

from forerun.api.once import OnceRoutes
from forerun.app.ground import Ground, Part
from forerun.control.lookup import Lookup
from forerun.control.once import (
    Dependencies,
    FolderState,
    Line,
    Once,
    OnceConfigs,
    WebState,
)
from forerun.storage.aliases import AliasStore
from forerun.storage.functions import FunctionStore
from forerun.storage.once import OnceStore


def make_once(ground: Ground, sources: Sequence[Part]) -> Part:
    """Construct it, before invocations and functions; ``sources`` tell the states of what is in them."""
    state, clock, settings = ground.state, ground.clock, ground.settings
    store = OnceStore(state.messages)
    line = Line(store, clock)
    kinds = {kind: each for part in sources for kind, each in part.dependencies.items()}
    dependencies = Dependencies(
        {
            **kinds,
            "http": WebState(private=settings.events.private_urls),
            "directory": FolderState(settings.events.folders, clock),
        }
    )
    once = Once(
        runner=ground.invoker,
        store=store,
        line=line,
        dependencies=dependencies,
        clock=clock,
        init_s=settings.sandbox.init_timeout_s,
    )
    estate = ground.services.estate
    configs = OnceConfigs(
        store=OnceStore(state.told_messages),
        line=line,
        dependencies=dependencies,
        lookup=Lookup(
            functions=FunctionStore(state.db, state.sealer),
            aliases=AliasStore(state.db),
            region=settings.server.region,
        ),
        changes=estate.changes,
        clock=clock,
    )
    estate.registry.connect(store.config)
    ground.invoker.connect(once)
    routes = OnceRoutes(configs)

    async def close() -> None:
        await configs.close()
        await once.close()

    return Part(
        routes=routes.routes(), commands=routes.commands(), start=configs.start, close=close
    )
