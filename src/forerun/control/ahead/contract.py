"""What calls tell those who look ahead of them."""

from typing import Any, Protocol

from forerun.control.registry import Resolved
from forerun.host import Run
from forerun.model import Timings, TraceContext


class Ahead(Protocol):
    """Looks ahead of calls: ``control.ahead.foresight.Foresight``, or who tells that. Neither may wait nor raise."""

    def began(
        self, resolved: Resolved, context: TraceContext, request_id: str, timings: Timings
    ) -> Any:
        """An execution was admitted; what this gives is for ``ended``."""

    def ended(
        self,
        traffic: Any,
        resolved: Resolved,
        context: TraceContext,
        run: Run | None,
        timings: Timings,
    ) -> None:
        """It is over; ``run`` is what came of it, ``None`` where it got no sandbox."""
