"""The sources of events, and what brings what they send to its targets: each a part that is made over the same ground."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.api.application import Handler
from forerun.api.platform import Command, Route
from forerun.app.services import Services
from forerun.app.state import State
from forerun.control.asynchronous import EventInvoker
from forerun.control.invoke import Invoker
from forerun.control.monitoring import Monitor
from forerun.events import Bus
from forerun.settings import Settings
from forerun.sources import Pollable, Shelf, Sink


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What every part stands on. ``base_url`` is where clients reach the server."""

    settings: Settings
    state: State
    clock: Clock
    base_url: str
    services: Services
    invoker: Invoker
    events: EventInvoker
    monitor: Monitor
    bus: Bus


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one source, or one consumer of them, adds to the platform.

    ``operations`` of AWS's services by service and name, ``routes`` and ``commands`` below ``/forerun/``; ``sinks``,
    ``pollables`` and ``shelves`` for those that deliver. ``start`` runs when all parts are made, in their order,
    ``close`` in the reverse one.
    """

    operations: Mapping[str, Mapping[str, Handler]] = {}
    routes: Mapping[str, Route] = {}
    commands: Mapping[str, Command] = {}
    sinks: Sequence[Sink] = ()
    pollables: Sequence[Pollable] = ()
    shelves: Sequence[Shelf] = ()
    start: Callable[[], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None


class Sourcing:
    """All parts; ``start`` then ``close``, once each."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    @property
    def operations(self) -> dict[str, Mapping[str, Handler]]:
        """Handlers by service and operation."""
        return _merged(part.operations for part in self._parts)

    @property
    def routes(self) -> dict[str, Route]:
        """What ``GET /forerun/NAME`` answers, by name."""
        return _merged(part.routes for part in self._parts)

    @property
    def commands(self) -> dict[str, Command]:
        """What ``POST /forerun/NAME`` does, by name."""
        return _merged(part.commands for part in self._parts)

    async def start(self) -> None:
        """Begin to send, take and deliver."""
        for part in self._parts:
            if part.start is not None:
                await part.start()

    async def close(self) -> None:
        """Send and take nothing any more."""
        for part in reversed(self._parts):
            if part.close is not None:
                await part.close()


def make_sourcing(ground: Ground) -> Sourcing:
    """Make every part. Sources come first, then those that deliver, which are told of all of them."""
    del ground
    sources: list[Part] = []
    return Sourcing(sources)


def _merged(maps: Any) -> dict[str, Any]:
    return dict(chain.from_iterable(each.items() for each in maps))
