"""Tells every control plane what changed of the configuration, in one order, so that what they remember of it is never old.

Whoever changes something adds ``tell(topic, key)`` to the transaction of the change: it gets the next number, and listeners
are woken (PostgreSQL's LISTEN/NOTIFY) when it is committed. They read what is new from the table, so that nothing is missed and
the order is that of the numbers; what was missed for longer than it is kept is told as ``EVERYTHING``.

A reader may rely on what it remembers while ``behind`` is false: it has asked the database within the last ``lease_s`` seconds, and
has acted on all that it was told. Whoever changed something waits by ``settle`` until each reader has acted on it, or has been cut
off for so long that its lease is surely over. So nobody is served older configuration after the change was answered, and
the database may still be away for as long as a lease without anybody noticing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, LiteralString, NamedTuple

import asyncpg

from forerun.aio import Clock, TaskOwner
from forerun.errors import StorageFailed
from forerun.storage.db import Db, Statement
from forerun.storage.leases import POSTGRESQL_NOW
from forerun.storage.postgresql_session import connected

log = logging.getLogger("forerun.feed")

EVERYTHING = "*"
"""The topic of a change that may have been of anything."""

KEPT = 10_000
KEPT_S = 3600.0
LEASE_S = 5.0
POLL_S = 1.0
# A reader whose commit was not on disk when the database went down seems to have been cut off earlier than it was.
MARGIN_S = 2.0
ASK_S = 5.0
ASK_AGAIN_S = 0.25
TRIM_EVERY_S = 60.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_LOST = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    StorageFailed,
)

_TELL: LiteralString = (
    "WITH next AS (UPDATE {schema}.feed SET number = number + 1 WHERE id = 1 RETURNING number),"
    " told AS (INSERT INTO {schema}.changes (number, topic, key, at) SELECT number, $1, $2, {now} FROM next"
    " RETURNING number) SELECT number, pg_notify('forerun_changes', '') FROM told"
)
_REGISTER: LiteralString = (
    "INSERT INTO {schema}.feed_readers (name, number, seen) VALUES ($1, 0, {now})"
    " ON CONFLICT (name) DO UPDATE SET seen = excluded.seen"
)
_LATEST: LiteralString = "SELECT number FROM {schema}.feed WHERE id = 1"
_SINCE: LiteralString = (
    "SELECT number, topic, key FROM {schema}.changes WHERE number > $1 ORDER BY number LIMIT 1000"
)
_ACTED: LiteralString = (
    "WITH acted AS (UPDATE {schema}.feed_readers SET number = $2, seen = {now} WHERE name = $1)"
    " SELECT pg_notify('forerun_acted', '')"
)
_SEEN: LiteralString = "UPDATE {schema}.feed_readers SET seen = {now} WHERE name = $1"
_LEAVE: LiteralString = "DELETE FROM {schema}.feed_readers WHERE name = $1"
_TRIM: LiteralString = (
    "DELETE FROM {schema}.changes WHERE at < {now} - $2"
    " OR number <= (SELECT number FROM {schema}.feed WHERE id = 1) - $1"
)
_TRIM_READERS: LiteralString = "DELETE FROM {schema}.feed_readers WHERE seen < {now} - $1"
_WAITED_FOR: LiteralString = (
    "SELECT name FROM {schema}.feed_readers WHERE number < $1 AND seen > {now} - $2 LIMIT 1"
)
_AGREED: LiteralString = (
    "SELECT name FROM {schema}.feed_readers reader WHERE seen > {now} - $3 AND EXISTS ("
    "SELECT 1 FROM {schema}.changes one WHERE one.number > reader.number AND one.topic = $1 AND one.key = $2) LIMIT 1"
)


class Change(NamedTuple):
    """Something that changed. ``topic`` says what kind, ``key`` which one; ``number`` only grows."""

    number: int
    topic: str
    key: str


Listener = Callable[[Change], None]


class Feed:
    """``start`` then ``close``, once each. ``name`` is this reader's, new with each start of a process.

    ``db`` is any database of the same server; ``schema`` is where the feed's tables are.
    """

    def __init__(
        self,
        url: str,
        db: Db,
        clock: Clock,
        *,
        name: str,
        schema: LiteralString = "forerun",
        lease_s: float = LEASE_S,
    ) -> None:
        self._url = url
        self._db = db
        self._clock = clock
        self._name = name
        self._lease_s = lease_s
        self._listeners: list[Listener] = []
        self._owner = TaskOwner("feed")
        self._connection: Any = None
        self._woken = asyncio.Event()
        self._acted = asyncio.Event()
        self._began = False
        self._until = float("-inf")
        self.number = 0
        """The latest change that the listeners know of."""
        self._schema = schema

    @property
    def behind(self) -> bool:
        """Whether something may have changed that this process has not acted on: what it remembers must not be used."""
        return self._clock.monotonic() >= self._until

    @property
    def connected(self) -> bool:
        """Whether it hears of changes at once."""
        return self._connection is not None and not self._connection.is_closed()

    def tell(self, topic: str, key: str = "") -> Statement:
        """Add it, as the last one, to the transaction that changes this; it returns the number."""
        return Statement(self._sql(_TELL), (topic, key))

    def listen(self, listener: Listener) -> None:
        """Hear of every change from now on, in order; one may be told twice. Listeners neither wait nor raise."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Listen from now on. Raises ``StorageFailed`` when the database cannot be reached."""
        try:
            await self._connect()
        except _LOST as error:
            self._drop()
            raise StorageFailed(f"Changes cannot be listened to: {error}") from error
        self._owner.spawn(self._run(), name="run")

    async def close(self) -> None:
        """Say that nobody has to wait for this reader any more, and end."""
        await self._owner.close()
        self._until = float("-inf")
        self._drop()
        try:
            await self._db.write(Statement(self._sql(_LEAVE), (self._name,)))
        except StorageFailed as error:
            log.warning("who changes something will wait for this reader once: %s", error.message)

    async def settle(self) -> None:
        """Return when every reader has acted on all that is committed by now, or surely relies on nothing any more.

        Raises ``StorageFailed`` when the database cannot be asked.
        """
        [[number]] = await self._db.fetch(self._sql(_LATEST))
        await self._until_nobody(_WAITED_FOR, number)

    async def agreed(self, topic: str, key: str) -> None:
        """Return when no reader relies on what this was before its latest change: who has just read it may tell of it then.

        Raises ``StorageFailed`` when the database cannot be asked.
        """
        await self._until_nobody(_AGREED, topic, key)

    async def _until_nobody(self, sql: LiteralString, *args: Any) -> None:
        cut_off_s = self._lease_s + MARGIN_S
        deadline = self._clock.monotonic() + 2 * cut_off_s
        while True:
            self._acted.clear()
            rows = await self._db.fetch(self._sql(sql), *args, cut_off_s)
            if not rows:
                return
            if self._clock.monotonic() > deadline:
                raise StorageFailed(f"{rows[0][0]} does not act on what changed.")
            await _wait(self._acted, ASK_AGAIN_S)

    def _sql(self, text: LiteralString) -> LiteralString:
        return text.replace("{schema}", self._schema).replace("{now}", POSTGRESQL_NOW)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                if not self.connected:
                    await self._connect()
                pause = _FIRST_PAUSE_S
                await self._follow()
            except _LOST as error:
                log.warning("cut off from changes: %s", error or type(error).__name__)
            except Exception:
                log.exception("a change was not acted on; it is told again")
            self._drop()
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _connect(self) -> None:
        """Listen, be waited for, and learn what was missed; in this order, so that nothing falls between."""
        self._connection = await connected(self._url, self._schema)
        self._connection.add_termination_listener(self._wake)
        await self._connection.add_listener("forerun_changes", self._wake)
        await self._connection.add_listener("forerun_acted", self._wake_authors)
        await self._connection.execute("SET synchronous_commit = off")
        await self._db.write(Statement(self._sql(_REGISTER), (self._name,)))
        asked = self._clock.monotonic()
        await self._read()
        await self._act(asked)

    async def _follow(self) -> None:
        trimmed = self._clock.monotonic()
        while True:
            if not self._woken.is_set():
                await _wait(self._woken, min(POLL_S, self._lease_s / 4))
            self._woken.clear()
            asked = self._clock.monotonic()
            if await self._read():
                await self._act(asked)
            else:
                await self._connection.execute(self._sql(_SEEN), self._name, timeout=ASK_S)
                self._until = asked + self._lease_s
            if asked - trimmed > TRIM_EVERY_S:
                trimmed = asked
                await self._trim()

    async def _read(self) -> bool:
        """Tell what is new; whether there was something."""
        latest: int = await self._connection.fetchval(self._sql(_LATEST), timeout=ASK_S)
        if not self._began:
            self._began, self.number = True, latest
        if latest == self.number:
            return False
        if latest < self.number:
            # The database went back to an earlier state.
            self._deliver(Change(latest, EVERYTHING, ""))
        while self.number < latest:
            rows = await self._connection.fetch(self._sql(_SINCE), self.number, timeout=ASK_S)
            if not rows or rows[0][0] != self.number + 1:
                # Not kept any more.
                self._deliver(Change(latest, EVERYTHING, ""))
            else:
                for row in rows:
                    self._deliver(Change(*row))
        return True

    def _deliver(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)
        self.number = change.number

    async def _act(self, asked: float) -> None:
        """Say that all was acted on that was there when the database was asked; that is good for a lease."""
        await self._connection.execute(self._sql(_ACTED), self._name, self.number, timeout=ASK_S)
        self._until = asked + self._lease_s

    async def _trim(self) -> None:
        for sql, *args in ((_TRIM, KEPT, KEPT_S), (_TRIM_READERS, KEPT_S)):
            await self._connection.execute(self._sql(sql), *args, timeout=ASK_S)

    def _wake(self, *_: object) -> None:
        self._woken.set()

    def _wake_authors(self, *_: object) -> None:
        self._acted.set()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
