"""What lasts: the database, the key that secrets in it are sealed with, and the stores of what happens."""

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
    database, key = settings.server.database_path, settings.server.sealing_key_path
    if database.exists() and not key.exists():
        raise StorageFailed(
            f"The key file {key} is missing, and {database} cannot be read without it; restore it from its backup"
        )
    sealer = Sealer(load_or_create_key(key))
    return State(await open_sqlite(database), sealer, clock, settings)
