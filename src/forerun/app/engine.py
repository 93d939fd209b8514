"""Who keeps agents running, as the settings say: the engine, or whoever started each of them."""

from forerun.aio import Clock
from forerun.app.entering import Entered
from forerun.cluster import EngineHere, Fleet, RayFleet, StaticFleet
from forerun.settings import Settings


def make_fleet(
    settings: Settings, entered: Entered, here: EngineHere, static: StaticFleet, clock: Clock
) -> Fleet:
    """The fleet for as long as the duties are here."""
    if settings.cluster.engine == "none":
        return static
    return RayFleet(
        settings.cluster,
        here,
        clock,
        locate=entered.trust.engine,
        moved=entered.trust.move_engine,
        announced=static,
    )
