"""Log groups and log streams: their names, retention and tags."""

from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import NotFound
from forerun.storage.db import Db, Row, Statement
from forerun.storage.sequence import Sequence

_CREATE = """
INSERT INTO log_groups (id, account, name, created_ms, tags) VALUES ($1, $2, $3, $4, $5)
"""
_COLUMNS = (
    "SELECT id, account, name, created_ms, retention_days, tags, stored_bytes FROM log_groups "
)
_ONE = _COLUMNS + "WHERE account = $1 AND name = $2"
_LIST = (
    _COLUMNS
    + "WHERE account = $1 AND name > $2 AND name >= $3 AND name < $4 ORDER BY name LIMIT $5"
)
_SET = "UPDATE log_groups SET retention_days = $3, tags = $4 WHERE account = $1 AND name = $2"
_DELETE = "DELETE FROM log_groups WHERE id = $1"
_DELETE_STREAMS = "DELETE FROM log_streams WHERE group_id = $1"
_GARBAGE = "INSERT INTO log_garbage (group_id) VALUES ($1)"
_CREATE_STREAM = "INSERT INTO log_streams (group_id, name, created_ms) VALUES ($1, $2, $3)"
_STREAM_COLUMNS = "SELECT name, created_ms, first_ms, last_ms, ingested_ms FROM log_streams "
_STREAMS_BY_NAME = (
    _STREAM_COLUMNS
    + "WHERE group_id = $1 AND name > $2 AND name >= $3 AND name < $4 ORDER BY name LIMIT $5"
)
_STREAMS_BY_NAME_DOWN = (
    _STREAM_COLUMNS
    + "WHERE group_id = $1 AND name < $2 AND name >= $3 AND name < $4 ORDER BY name DESC LIMIT $5"
)
_STREAMS_BY_EVENT = (
    _STREAM_COLUMNS
    + """WHERE group_id = $1 AND (COALESCE(last_ms, 0) > $2 OR (COALESCE(last_ms, 0) = $2 AND name > $3))
ORDER BY COALESCE(last_ms, 0), name LIMIT $4"""
)
_STREAMS_BY_EVENT_DOWN = (
    _STREAM_COLUMNS
    + """WHERE group_id = $1 AND (COALESCE(last_ms, 0) < $2 OR (COALESCE(last_ms, 0) = $2 AND name < $3))
ORDER BY COALESCE(last_ms, 0) DESC, name DESC LIMIT $4"""
)
_FREE = """
UPDATE log_groups SET stored_bytes = stored_bytes -
    (SELECT COALESCE(SUM(bytes), 0) FROM log_batches WHERE group_id = $1 AND stream = $2)
WHERE id = $1
"""
_DELETE_BATCHES = "DELETE FROM log_batches WHERE group_id = $1 AND stream = $2"
_DELETE_STREAM = "DELETE FROM log_streams WHERE group_id = $1 AND name = $2 RETURNING name"

# Sorts behind every name: names hold no character above it.
AFTER_ALL = "\U0010ffff"


class LogGroup(NamedTuple):
    """A group. ``retention_days`` 0: kept until the server's bound is reached."""

    id: int
    account: str
    name: str
    created_ms: int
    retention_days: int
    tags: dict[str, str]
    stored_bytes: int


class LogStream(NamedTuple):
    """A stream; the times of its first, last and latest written event are ``None`` while it is empty."""

    name: str
    created_ms: int
    first_ms: int | None
    last_ms: int | None
    ingested_ms: int | None


class StreamOrder(NamedTuple):
    """How streams are listed, and after which one (name, time of its last event) to go on."""

    by_event: bool = False
    descending: bool = False
    after: tuple[str, int] | None = None


class LogGroupStore:
    """Groups and streams. Events come and go through ``LogStore``."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._sequence = Sequence(clock)

    async def create(self, account: str, name: str, tags: dict[str, str]) -> None:
        """A new group; ``AlreadyExists``."""
        args = (self._sequence.take(), account, name, self._now_ms(), _json(tags))
        await self._db.write(Statement(_CREATE, args))

    async def get(self, account: str, name: str) -> LogGroup | None:
        """One group."""
        rows = await self._db.fetch(_ONE, account, name)
        return _group(rows[0]) if rows else None

    async def list(self, account: str, *, prefix: str, after: str, limit: int) -> list[LogGroup]:
        """Groups by name, from behind ``after``."""
        rows = await self._db.fetch(_LIST, account, after, prefix, prefix + AFTER_ALL, limit)
        return [_group(row) for row in rows]

    async def configure(self, group: LogGroup) -> None:
        """Set retention and tags as in ``group``; a group that is gone stays gone."""
        args = (group.account, group.name, group.retention_days, _json(group.tags))
        await self._db.write(Statement(_SET, args))

    async def delete(self, group: LogGroup) -> None:
        """Remove a group and its streams; its events are out of sight at once and removed by and by."""
        await self._db.write(
            Statement(_DELETE, (group.id,), expect=1),
            Statement(_DELETE_STREAMS, (group.id,)),
            Statement(_GARBAGE, (group.id,)),
        )

    async def create_stream(self, group: LogGroup, name: str) -> None:
        """A new, empty stream; ``AlreadyExists``."""
        await self._db.write(Statement(_CREATE_STREAM, (group.id, name, self._now_ms())))

    async def streams(
        self, group: LogGroup, order: StreamOrder, *, prefix: str = "", limit: int
    ) -> tuple[LogStream, ...]:
        """Streams of a group in ``order``; ``prefix`` counts only when ordered by name."""
        name, event_ms = order.after or (
            (AFTER_ALL, 1 << 62) if order.descending else ("", -(1 << 62))
        )
        if order.by_event:
            sql = _STREAMS_BY_EVENT_DOWN if order.descending else _STREAMS_BY_EVENT
            rows = await self._db.fetch(sql, group.id, event_ms, name, limit)
        else:
            sql = _STREAMS_BY_NAME_DOWN if order.descending else _STREAMS_BY_NAME
            rows = await self._db.fetch(sql, group.id, name, prefix, prefix + AFTER_ALL, limit)
        return tuple(LogStream(*row) for row in rows)

    async def delete_stream(self, group: LogGroup, name: str) -> None:
        """Remove a stream and its events; ``NotFound``."""
        answers = await self._db.write(
            Statement(_FREE, (group.id, name)),
            Statement(_DELETE_BATCHES, (group.id, name)),
            Statement(_DELETE_STREAM, (group.id, name)),
        )
        if not answers[2]:
            raise NotFound("The specified log stream does not exist.")

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _group(row: Row) -> LogGroup:
    return LogGroup(row[0], row[1], row[2], row[3], row[4], _tags(row[5]), row[6])


def _json(tags: dict[str, str]) -> str:
    return msgspec.json.encode(tags).decode()


_tags = msgspec.json.Decoder(dict[str, str]).decode
