"""``GET /forerun/delivery``: how messages come to their targets."""

from collections.abc import Awaitable, Callable, Mapping

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.control.delivery.outbox import DurableOutbox


class DeliveryRoutes:
    """Tells of the server's outbox, and each account of its own targets and dead letters.

    ``kept`` counts the platform's dead letters of an account and their bytes; ``stopped`` the loops that were stopped.
    """

    def __init__(
        self,
        outbox: DurableOutbox,
        kept: Callable[[str], Awaitable[Mapping[str, int]]],
        stopped: Callable[[], int],
    ) -> None:
        self._outbox = outbox
        self._kept = kept
        self._stopped = stopped

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"delivery": self.get}

    async def get(self, caller: Caller, _query: Query) -> object:
        """What is on its way; targets that failed and are left alone, with seconds until they are tried again."""
        status = self._outbox.status()
        kept = await self._kept(caller.account)
        return {
            "Waiting": status.messages,
            "WaitingBytes": status.bytes,
            "Targets": status.targets,
            "Paused": {
                target: round(seconds, 1)
                for target, seconds in status.paused.items()
                if f":{caller.account}:" in target
            },
            "DeadLetters": kept["letters"],
            "DeadLetterBytes": kept["bytes"],
            "StoppedLoops": self._stopped(),
        }
