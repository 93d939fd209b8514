"""Running executions with what they may still call, as signed JSON at ``/forerun/traversals``."""

from collections.abc import Mapping
from typing import Protocol

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.model import Qualified
from forerun.prediction import Ahead, Branch, Traversal


class Live(Protocol):
    """Who follows running executions; see ``prediction.Traversals``."""

    def live(self, account: str, now: float) -> list[Traversal]:
        """Those of an account that may call somebody."""
        ...


class TraversalRoutes:
    """The caller's own account only."""

    def __init__(self, running: Live, clock: Clock) -> None:
        self._running = running
        self._clock = clock

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {"traversals": self.get_traversals}

    async def get_traversals(self, caller: Caller, _query: Query) -> object:
        """The running executions that may call other functions, oldest first; probabilities are as of now.

        ``branches`` are their own calls, ``ahead`` is all that they may lead to; ``cause`` is the request id of the
        execution that one goes back to.
        """
        running = self._running.live(caller.account, self._clock.now())
        return {"Traversals": [_shown(each) for each in running]}


def _shown(each: Traversal) -> Mapping[str, object]:
    return {
        "function": _name(each.function),
        "request_id": each.request_id,
        "execution": each.execution,
        "cause": each.cause,
        "caller": each.caller,
        "began": each.began,
        "branches": [_branch(branch) for branch in each.branches],
        "ahead": [_ahead(ahead) for ahead in each.ahead],
    }


def _branch(each: Branch) -> Mapping[str, object]:
    return {
        "function": _name(each.function),
        "probability": round(each.probability, 4),
        "seen": each.seen,
        "excluded": each.excluded,
    }


def _ahead(each: Ahead) -> Mapping[str, object]:
    return {
        "function": _name(each.function),
        "probability": round(each.probability, 4),
        "since": each.since,
        "until": each.until,
        "count": round(each.count, 2),
    }


def _name(function: Qualified) -> str:
    return f"{function.name}:{function.qualifier}" if function.qualifier else function.name
