"""What a source of events stands on, and what it adds: the form that every part of the platform's eventing has."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from forerun.aio import App, Clock
from forerun.api.handlers import Handler
from forerun.api.platform import Command, Route
from forerun.api.s3.door import S3Service
from forerun.api.sources import Rows
from forerun.app.services import Services
from forerun.app.state import State
from forerun.control.asynchronous import EventInvoker
from forerun.control.invoke import Invoker
from forerun.control.monitoring import Monitor
from forerun.control.once import Dependency
from forerun.events import Bus
from forerun.host import HostStats
from forerun.profiles import Profile
from forerun.scheduling import Admission
from forerun.settings import Settings
from forerun.sources import Pollable, Shelf, Sink


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What every part stands on. ``base_url`` is where clients reach the server; ``stats`` are the host's numbers,
    ``profiles`` those of an account. ``left`` are the seconds that what runs may take at the end."""

    settings: Settings
    state: State
    clock: Clock
    base_url: str
    services: Services
    invoker: Invoker
    admission: Admission
    events: EventInvoker
    monitor: Monitor
    bus: Bus
    stats: Callable[[], HostStats]
    profiles: Callable[[str], Awaitable[Sequence[Profile]]]
    left: Callable[[], float]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one source, or one consumer of them, adds to the platform.

    ``operations`` of AWS's services by service and name, ``linked`` those that links without a signature may ask for;
    ``routes`` and ``commands`` below ``/forerun/``; ``doors`` serve what is signed otherwise, by the beginning of the path;
    ``sinks``, ``pollables`` and ``shelves`` for those that deliver, ``dependencies`` for what executions may depend on, by kind. ``rows`` are the lines that ``GET /forerun/sources`` has of it.
    ``set_back`` is told by how many seconds the clock on the wall was set back.
    ``start`` runs when all parts are made, in their order, ``close`` in the reverse one; ``dismiss`` before all of them, when
    the server is about to stop: no client waits for anything any more.
    """

    operations: Mapping[str, Mapping[str, Handler]] = {}
    linked: Mapping[str, Mapping[str, Handler]] = {}
    doors: Mapping[bytes, App] = {}
    routes: Mapping[str, Route] = {}
    commands: Mapping[str, Command] = {}
    sinks: Sequence[Sink] = ()
    pollables: Sequence[Pollable] = ()
    shelves: Sequence[Shelf] = ()
    dependencies: Mapping[str, Dependency] = {}
    rows: Rows | None = None
    s3: S3Service | None = None
    start: Callable[[], Awaitable[None]] | None = None
    set_back: Callable[[float], Awaitable[None]] | None = None
    dismiss: Callable[[], None] | None = None
    close: Callable[[], Awaitable[None]] | None = None
