"""What lasts: the databases, the key that secrets are sealed with, and the stores of what happens."""

import asyncio
import contextlib
import logging
from pathlib import Path

from forerun.aio import Clock
from forerun.errors import StorageFailed
from forerun.settings import Settings
from forerun.storage import (
    Db,
    EventQueue,
    InvocationStore,
    LogGroupStore,
    LogStore,
    Sealer,
    load_or_create_key,
    open_sqlite,
)
from forerun.storage.identity import IdentityStore
from forerun.storage.sqlite import MESSAGES, TRACES
from forerun.storage.traces import TraceStore

log = logging.getLogger("forerun.state")

OBJECTS = "objects"
"""The directory of the files that objects in buckets consist of; ``messages.db`` says which they are."""

_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class State:
    """The open databases, and the stores over them that are shared between rooms.

    ``traces_db`` holds traces, activity and profiles: what may be lost. ``messages`` holds the sources of events and
    what is on its way from them.
    """

    def __init__(
        self,
        db: Db,
        traces_db: Db,
        messages: Db,
        sealer: Sealer,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self.db = db
        self.messages = messages
        self.traces_db = traces_db
        self.sealer = sealer
        self.identities = IdentityStore(db, sealer)
        self.invocations = InvocationStore(db, clock)
        self.logs = LogStore(db, clock)
        self.log_groups = LogGroupStore(db, clock)
        self.queue = EventQueue(
            db,
            max_events=settings.limits.queued_events,
            max_bytes=settings.limits.queued_bytes,
        )
        self.traces = TraceStore(traces_db, clock)

    async def close(self) -> None:
        """Write what is queued, and close."""
        await self.traces_db.close()
        await self.messages.close()
        await self.db.close()


async def open_state(settings: Settings, clock: Clock) -> State:
    """Open the data directory. Raises ``StorageFailed`` when it cannot be read or written."""
    database, key = settings.server.database_path, settings.server.sealing_key_path
    if database.exists() and not key.exists():
        raise StorageFailed(
            f"The key file {key} is missing, and {database} cannot be read without it; restore it from its backup"
        )
    await asyncio.to_thread(_require_messages, settings.server.messages_path)
    sealer = Sealer(load_or_create_key(key))
    async with contextlib.AsyncExitStack() as opened:
        db = await open_sqlite(database)
        opened.push_async_callback(db.close)
        traces_db = await open_traces(settings.server.traces_path)
        opened.push_async_callback(traces_db.close)
        messages = await open_sqlite(settings.server.messages_path, migrations=MESSAGES)
        opened.pop_all()
    return State(db, traces_db, messages, sealer, clock, settings)


async def open_traces(path: Path) -> Db:
    """Open the database of traces; one that is damaged or newer is put aside, since the platform works without it.

    Raises ``StorageFailed`` when the disk does not let it.
    """
    try:
        return await open_sqlite(path, migrations=TRACES)
    except StorageFailed as error:
        # A newer schema has no cause; a disk that is full or refuses must not cost anybody the traces.
        cause = error.__cause__
        if cause is not None and getattr(cause, "sqlite_errorname", "") not in _DAMAGED:
            raise
        log.warning("%s; it is put aside as %s.unreadable, and traces begin anew", error, path.name)
        try:
            await asyncio.to_thread(_put_aside, path)
        except OSError:
            raise error from None
        return await open_sqlite(path, migrations=TRACES)


def _require_messages(path: Path) -> None:
    """A database that began anew would refer to none of the objects that there are, and they would be removed as nobody's."""
    if not path.exists() and next(path.parent.glob(f"{OBJECTS}/[0-9a-f][0-9a-f]/*"), None):
        raise StorageFailed(
            f"{path} is missing, and without it nobody knows what the files in {path.parent / OBJECTS} are; restore it "
            "from its backup, or move them away"
        )


def _put_aside(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(path.with_name(path.name + ".unreadable"))
