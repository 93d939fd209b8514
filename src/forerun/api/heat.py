"""``GET /forerun/placements``: on which hosts the functions of an account ran in the last minutes, and how often."""

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.control.heat import WINDOW_S, Heatmap


class HeatRoutes:
    """Each caller is told of its own account."""

    def __init__(self, heat: Heatmap) -> None:
        self._heat = heat

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"placements": self._get}

    async def _get(self, caller: Caller, _query: Query) -> object:
        placed = self._heat.snapshot(caller.account)
        return {"Seconds": WINDOW_S, "Functions": placed.functions, "LeftOut": placed.left_out}
