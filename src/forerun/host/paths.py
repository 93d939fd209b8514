"""What the paths of this host to services are like, kept up to date: an actor that reads connections, probes, and remembers."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from forerun.aio import Clock, TaskOwner
from forerun.host.channels import Channels, Sample, add_all
from forerun.host.flows import Flows, samples_of_calls
from forerun.host.probing import Lookup, Prober, look_up
from forerun.model import ChannelQuality, OutgoingCall

if TYPE_CHECKING:
    from forerun.sandbox import Connection

log = logging.getLogger("forerun.host")

_TICK_S = 0.5

Connections = Callable[[], Awaitable[Sequence["Connection"]]]


class Paths:
    """Three ways to know a path: calls of monitored executions (``heard``), connections of sandboxes (``connections``, read ``every_s``
    apart; ``None`` where they cannot be told from the machine's own), and probes of what is watched.

    With ``every_s`` 0 only what is heard is known.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        every_s: float,
        connections: Connections | None = None,
        local: bool = False,
        look: Lookup = look_up,
    ) -> None:
        self._clock = clock
        self._every_s = every_s
        self._connections = connections
        self._channels = Channels()
        self._flows = Flows()
        self._prober = Prober(self._take, clock, every_s=every_s, local=local, look=look)
        self._owner = TaskOwner("paths")

    def start(self) -> None:
        """Begin to measure."""
        if self._every_s <= 0:
            return
        self._owner.spawn(self._again(_TICK_S, self._prober.turn), name="probe")
        if self._connections is not None:
            self._owner.spawn(self._again(self._every_s, self._read), name="read")

    async def close(self) -> None:
        """Measure no more."""
        self._prober.close()
        await self._owner.close()

    def heard(self, calls: Iterable[OutgoingCall]) -> None:
        """An execution made these calls."""
        add_all(self._channels, samples_of_calls(calls), self._clock.monotonic())

    def watch(self, services: Sequence[str]) -> None:
        """Placement asks for these (``HOST:PORT``): they are probed for a minute from now on, at most ``probing.MOST_WATCHED`` at once."""
        if self._every_s > 0:
            self._prober.watched.watch(services, self._clock.monotonic())

    def channels(self) -> dict[str, ChannelQuality]:
        """All paths of which something is known, by service."""
        return self._channels.told(self._clock.monotonic())

    def _take(self, sample: Sample) -> None:
        self._channels.add(sample, self._clock.monotonic())

    async def _again(self, every_s: float, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(every_s)
            try:
                await turn()
            except Exception:
                log.exception("measuring paths failed; it goes on with the next turn")

    async def _read(self) -> None:
        if self._connections is None:
            return
        found = await self._connections()
        now = self._clock.monotonic()
        for connection in found:
            service = self._prober.watched.name_of(connection.address, connection.port)
            add_all(self._channels, self._flows.samples(service, connection), now)
