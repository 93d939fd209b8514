"""What lasts: the databases, the key that secrets are sealed with, and the stores of what happens."""

import asyncio
import contextlib
import logging
import shutil
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
from forerun.storage.files import FileStore
from forerun.storage.identity import IdentityStore
from forerun.storage.key_hash import MOVING, KeyHashStore
from forerun.storage.sqlite import MESSAGES, TRACES
from forerun.storage.traces import TraceStore
from forerun.storage.vault import FETCHING, NO_VAULT, DatabaseVault, Vault

log = logging.getLogger("forerun.state")

OBJECTS = "objects"
"""The directory of the files that objects in buckets consist of; ``messages.db`` says which they are."""

SCHEMAS = ("forerun", "traces", "messages")
"""What of PostgreSQL the three databases are."""

WHICH_KEY = b"which-key"

MOVED = "moved.json"
"""The file that says that a data directory's state is in a database since it was moved there."""

_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class State:
    """The open databases, and the stores over them that are shared between rooms.

    ``traces_db`` holds traces, activity and profiles: what may be lost. ``messages`` holds the sources of events and
    what is on its way from them. ``vault`` is where files are besides the data directory. ``told_messages`` is ``messages`` for what
    control planes remember: a write returns when all of them know of it.
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
        self.vault: Vault = NO_VAULT
        self.files: FileStore | None = None
        self.db = db
        self.messages = self.told_messages = messages
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

    def keep_files(self, db: Db, clock: Clock, settings: Settings) -> None:
        """Have files in this database, too; the data directory is a cache of them."""
        self.files = FileStore(db, clock)
        self.vault = DatabaseVault(self.files, settings.server.data_dir, clock)

    async def close(self) -> None:
        """Write what is queued, and close."""
        await self.traces_db.close()
        await self.messages.close()
        await self.db.close()


async def open_state(settings: Settings, clock: Clock) -> State:
    """Open the data directory, or the database of a cluster. Raises ``StorageFailed`` when it cannot be read or written."""
    if settings.cluster.database:
        return await _open_shared(settings, clock)
    database, key = settings.server.database_path, settings.server.sealing_key_path
    await asyncio.to_thread(_require_unmoved, settings.server.data_dir)
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


async def _open_shared(settings: Settings, clock: Clock) -> State:
    """The three schemas of one PostgreSQL; the data directory is a cache of the files that are in it."""
    # An optional dependency: who has one machine needs no PostgreSQL.
    from forerun.storage.postgresql import open_postgresql  # noqa: PLC0415

    async with contextlib.AsyncExitStack() as opened:
        dbs = []
        for schema in SCHEMAS:
            dbs.append(await open_postgresql(settings.cluster.database, schema=schema))
            opened.push_async_callback(dbs[-1].close)
        db, traces_db, messages = dbs
        sealer = await _shared_sealer(db, settings.server.sealing_key_path)
        opened.pop_all()
    state = State(db, traces_db, messages, sealer, clock, settings)
    await asyncio.to_thread(shutil.rmtree, settings.server.data_dir / FETCHING, ignore_errors=True)
    state.keep_files(db, clock, settings)
    return state


async def _shared_sealer(db: Db, path: Path) -> Sealer:
    """Over the key that the database is sealed with; the first one makes it. Raises ``StorageFailed`` for another one."""
    hashes = KeyHashStore(db)
    sealed = await hashes.get()
    if sealed.startswith(MOVING):
        raise StorageFailed(
            "An installation is being moved into the database; run forerun migrate again until it is done"
        )
    key, is_new = await asyncio.to_thread(_load_key, path, bool(sealed))
    sealer = Sealer(key)
    if await hashes.claim(sealer.derive(WHICH_KEY).hex()):
        return sealer
    if is_new:
        await asyncio.to_thread(path.unlink)
    raise StorageFailed(
        f"The key in {path} is not the one that the database was sealed with: join with a token of the cluster and an empty "
        "data directory, or restore the key from its backup"
    )


def _load_key(path: Path, sealed: bool) -> tuple[bytes, bool]:  # noqa: FBT001 whether there must be one
    is_new = not path.exists()
    if is_new and sealed:
        raise StorageFailed(
            f"The database was sealed by another control plane, whose key is not in {path}: join with a token of the cluster, "
            "or restore the key from its backup"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return load_or_create_key(path), is_new


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


def _require_unmoved(directory: Path) -> None:
    """What went on elsewhere since would run a second time here."""
    if (directory / MOVED).exists():
        raise StorageFailed(
            f"What was in {directory} has been moved to a database: start with --cluster --database, or remove {directory / MOVED} "
            "to go on with the state as it was then"
        )


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
