"""What lasts: the database, the key that secrets in it are sealed with, and the stores of what happens."""

from forerun.aio import Clock
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


class State:
    """The open database, and the stores over it that are shared between rooms."""

    def __init__(self, db: Db, sealer: Sealer, clock: Clock, settings: Settings) -> None:
        self.db = db
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

    async def close(self) -> None:
        """Write what is queued, and close."""
        await self.db.close()


async def open_state(settings: Settings, clock: Clock) -> State:
    """Open the data directory. Raises ``StorageFailed`` when it cannot be read or written."""
    sealer = Sealer(load_or_create_key(settings.server.sealing_key_path))
    return State(await open_sqlite(settings.server.database_path), sealer, clock, settings)
