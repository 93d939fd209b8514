"""What acts ahead of calls, put together: the predictor, the running executions, and who has the host hold what."""

import logging
from typing import NamedTuple

from forerun.aio import Clock
from forerun.api.forecasts import ForecastRoutes
from forerun.api.platform import Route
from forerun.app.state import State
from forerun.control.ahead.foresight import Foresight
from forerun.control.ahead.notebook import Notebook
from forerun.control.ahead.traffic import Arrivals
from forerun.control.registry import Registry
from forerun.control.specs import Specs
from forerun.errors import ForerunError
from forerun.host import Host
from forerun.model import Qualified
from forerun.prediction import Predictor, Traversals
from forerun.profiles import Profiler
from forerun.settings import Settings
from forerun.storage.foresight import ForesightStore

log = logging.getLogger("forerun.foresight")


class Ahead(NamedTuple):
    """Foresight, and where what it has learned is kept."""

    foresight: Foresight
    notebook: Notebook

    async def sweep(self, now: float) -> None:
        """Remove what is known of functions that were not called for long."""
        try:
            await self.notebook.trim(now)
        except ForerunError as error:
            log.warning("what was learned cannot be trimmed: %s", error.message)

    def routes(self, registry: Registry, host: Host) -> dict[str, Route]:
        """What can be asked under ``/forerun/``."""
        return ForecastRoutes(self.foresight, self.notebook, registry, host).routes()


def make_ahead(  # noqa: PLR0913 the wiring of a room, mostly by keyword
    settings: Settings,
    state: State,
    clock: Clock,
    *,
    host: Host,
    specs: Specs,
    registry: Registry,
    profiler: Profiler,
) -> Ahead:
    """Construct it; where the settings say that nothing is done ahead it holds only what is provisioned."""
    wanted = settings.foresight
    if not wanted.enabled:
        log.info("foresight.enabled is false: sandboxes are made when they are called for")
    arrivals = Arrivals()
    predictor: Predictor[Qualified] = Predictor(
        cost=arrivals.cost,
        group=lambda function: function.account,
        price=wanted.memory_price,
        correlation=wanted.leader_correlation,
        misses=wanted.periodic_misses,
        revive=lambda packed: Qualified(*packed),
    )
    notebook = Notebook(ForesightStore(state.traces_db), predictor, arrivals)
    foresight = Foresight(
        host=host,
        specs=specs,
        names=registry,
        policy=predictor,
        traversals=Traversals(
            likelihood=wanted.preload_likelihood,
            samples=wanted.preload_samples,
            margin_s=wanted.preload_margin_s,
            depth=wanted.preload_depth,
        ),
        learned=profiler.successors,
        arrivals=arrivals,
        notebook=notebook,
        clock=clock,
        keep_s=settings.host.keep_alive_min_s,
        pool_base=settings.host.pool_min,
        most=settings.limits.account_concurrency,
        active=wanted.enabled,
    )
    return Ahead(foresight, notebook)
