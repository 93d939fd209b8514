"""All sources of events, and what brings what they send to its targets: made over one ground, started, closed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from forerun.aio import App
from forerun.api.handlers import Handler
from forerun.api.platform import Command, Route
from forerun.api.s3.door import S3Service
from forerun.app.buckets import make_buckets
from forerun.app.buses import make_buses
from forerun.app.delivery import make_delivery
from forerun.app.folders import make_folders
from forerun.app.ground import Ground, Part
from forerun.app.hooks import make_hooks
from forerun.app.mappings import make_mappings
from forerun.app.metaevents import make_metaevents
from forerun.app.once import make_once
from forerun.app.queues import make_queues
from forerun.app.schedules import make_schedules
from forerun.app.topics import make_topics


class Sourcing:
    """All parts; ``start`` then ``close``, once each."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    @property
    def operations(self) -> dict[str, Mapping[str, Handler]]:
        """Handlers by service and operation."""
        return _merged(part.operations for part in self._parts)

    @property
    def linked(self) -> dict[str, Mapping[str, Handler]]:
        """Operations that links without a signature may ask for."""
        return _merged(part.linked for part in self._parts)

    @property
    def doors(self) -> dict[bytes, App]:
        """What serves requests that are signed otherwise, by the beginning of the path."""
        return {prefix: app for part in self._parts for prefix, app in part.doors.items()}

    @property
    def policies(self) -> dict[str, Callable[[str], Awaitable[str | None]]]:
        """What tells the resource policies of queues, topics and buses, by service."""
        return {sink.service: sink.policy for part in self._parts for sink in part.sinks}

    @property
    def s3(self) -> S3Service | None:
        """What is behind S3's door."""
        return next((part.s3 for part in self._parts if part.s3 is not None), None)

    @property
    def routes(self) -> dict[str, Route]:
        """What ``GET /forerun/NAME`` answers, by name."""
        return _merged(part.routes for part in self._parts)

    @property
    def commands(self) -> dict[str, Command]:
        """What ``POST /forerun/NAME`` does, by name."""
        return _merged(part.commands for part in self._parts)

    @property
    def served(self) -> dict[str, frozenset[str]]:
        """The names of all operations that are answered, by service, whatever door they come through."""
        found = {service: frozenset(handlers) for service, handlers in self.operations.items()}
        return found if self.s3 is None else {**found, "s3": frozenset(self.s3.handlers)}

    async def start(self) -> None:
        """Begin to send, take and deliver."""
        for part in self._parts:
            if part.start is not None:
                await part.start()

    def dismiss(self) -> None:
        """Send clients away who wait: the server is about to stop."""
        for part in self._parts:
            if part.dismiss is not None:
                part.dismiss()

    async def close(self) -> None:
        """Send and take nothing any more."""
        for part in reversed(self._parts):
            if part.close is not None:
                await part.close()


def make_sourcing(ground: Ground) -> Sourcing:
    """Make every part. Sources come first, each over the ``ground`` and with the outbox that takes what it sends."""
    delivery = make_delivery(ground)
    buses = make_buses(ground, delivery.outbox)
    sources: list[Part] = [
        make_queues(ground),
        buses.part,
        make_schedules(ground, delivery.outbox, others=[buses.firings]),
        make_topics(ground, delivery.outbox),
        make_hooks(ground, delivery.outbox),
        make_folders(ground, delivery.outbox),
    ]
    sources.append(make_buckets(ground, delivery, sources))
    delivery.connect(sources)
    return Sourcing(
        [
            delivery.first,
            make_metaevents(ground, delivery.outbox),
            *sources,
            delivery.part,
            make_mappings(ground, sources, keep=delivery.outbox.keep),
            make_once(ground, sources),
        ]
    )


def _merged(maps: Any) -> dict[str, Any]:
    return dict(chain.from_iterable(each.items() for each in maps))
