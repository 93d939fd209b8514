"""Makes the part that carries event source mappings out: pollers over everything that can be polled."""

from collections.abc import Awaitable, Callable, Sequence

from forerun.aio import TaskOwner
from forerun.api.sources import SourceRoutes
from forerun.app.ground import Ground, Part
from forerun.control.delivery.batch_runs import Around
from forerun.control.delivery.mapping_runs import MappingRuns
from forerun.control.delivery.taking import TakingRights
from forerun.model import DeadLetter
from forerun.storage.mappings import Mapping, MappingStore


def make_mappings(
    ground: Ground,
    sources: Sequence[Part],
    *,
    keep: Callable[[Sequence[DeadLetter]], Awaitable[None]],
) -> Part:
    """Construct it; what the ``sources`` can be polled for is, and their rows are shown beside those of the mappings.

    ``keep`` puts dead letters with the platform's others.
    """
    estate, clock = ground.services.estate, ground.clock
    rights = TakingRights(
        ground.services.authorizer,
        {sink.service: sink.policy for part in sources for sink in part.sinks},
    )
    owner = TaskOwner("mapped-functions")

    def look(account: str, name: str) -> None:
        owner.spawn(estate.mappings.check_function(account, name), name=name)

    def orphaned(mapping: Mapping) -> None:
        look(mapping.account, mapping.name)

    runs = MappingRuns(
        store=MappingStore(ground.state.db),
        pollables={each.service: each for part in sources for each in part.pollables},
        around=Around(
            registry=estate.registry,
            invoker=ground.invoker,
            admission=ground.admission,
            require=rights.require,
            put_away=keep,
            clock=clock,
        ),
        at_once=ground.settings.events.at_once,
        orphaned=orphaned,
    )

    async def start() -> None:
        estate.mappings.carrier = runs
        estate.changes.listen(lambda account, name, _retired: look(account, name))
        await runs.start()

    async def close() -> None:
        await runs.close(grace_s=ground.left())
        await owner.close()

    rows = [runs.rows, *(part.rows for part in sources if part.rows is not None)]
    return Part(routes=SourceRoutes(rows).routes(), start=start, close=close)
