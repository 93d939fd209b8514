"""Messages of queues: put, taken, hidden, finished, moved; a few statements for any number of them.

What is put is synced before the call returns. That one was taken, hidden or finished is written and not synced: when the
machine loses power before it reaches the disk, the message comes again, as is allowed. When only the server dies nothing
of it is lost.

A **mark** is one taking of one message: its number and how often it had been taken. A mark of an earlier taking means nothing.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from forerun.storage.db import Db, Row, Statement, in_batches

INLINE_CHARACTERS = 2048
ONCE_S = 300
LONGEST_HIDDEN_S = 43_200
CHUNK = 2000
TIMES_BITS = 10
TIMES = (1 << TIMES_BITS) - 1

_COLUMNS: Final = "(seq, queue, visible_at, sent_at, grp, id, body, envelope)"
_PUT: Final = "INSERT INTO queue_messages " + _COLUMNS + " VALUES {values}"  # noqa: S608 literals
_PUT_NAMED: Final = (
    f"INSERT INTO queue_messages {_COLUMNS} SELECT column1, column2, column3, column4, column5, column6, "  # noqa: S608 literals
    "column7, column8 FROM (VALUES {values}) AS given WHERE EXISTS (SELECT 1 FROM queue_sent s WHERE "
    "s.queue = column2 AND s.scope = column9 AND s.name = column10 AND s.seq = column1)"
)
_NAME: Final = (
    "INSERT INTO queue_sent (queue, scope, name, seq, id, sent_at, expires_at) VALUES {values} "
    "ON CONFLICT (queue, scope, name) DO UPDATE SET seq = excluded.seq, id = excluded.id, "
    "sent_at = excluded.sent_at, expires_at = excluded.expires_at "
    "WHERE queue_sent.expires_at <= excluded.sent_at RETURNING seq"
)
_PUT_BODY: Final = "INSERT INTO queue_bodies SELECT $1, $2 WHERE EXISTS (SELECT 1 FROM queue_messages WHERE seq = $1)"
_NAMED: Final = "SELECT seq, id FROM queue_sent WHERE queue = $1 AND scope = $2 AND name = $3"

_TAKEN: Final = (
    "seq, received, sent_at, first_at, taken_at, grp, source, moved_at, tries, id, coalesce(body, "
    "(SELECT b.body FROM queue_bodies b WHERE b.seq = queue_messages.seq)), envelope"
)
_TAKE: Final = (
    "UPDATE queue_messages SET visible_at = $3, received = received + 1, taken_at = $2, "  # noqa: S608 literals
    "first_at = CASE WHEN first_at = 0 THEN $2 ELSE first_at END WHERE seq IN ({choice}) RETURNING "
    + _TAKEN
)
_CHOOSE: Final = "SELECT seq FROM queue_messages WHERE queue = $1 AND visible_at <= $2 ORDER BY visible_at LIMIT $4"
# The first messages of each group that is ready, the groups that have waited longest first.
_CHOOSE_ORDERED: Final = (
    "SELECT m.seq FROM (SELECT grp, ready_at FROM queue_groups WHERE queue = $1 AND ready_at <= $2 "
    "ORDER BY ready_at, grp LIMIT $4) g /*sqlite*/CROSS/*end*/ JOIN queue_messages m ON m.seq IN (SELECT s.seq FROM queue_messages s "
    "WHERE s.queue = $1 AND s.grp = g.grp AND s.grp <> '' ORDER BY s.seq LIMIT $4) WHERE m.visible_at <= $2 "
    "ORDER BY g.ready_at, g.grp, m.seq LIMIT $4"
)
_TAKE_ANY: Final = _TAKE.replace("{choice}", _CHOOSE)
_TAKE_ORDERED: Final = _TAKE.replace("{choice}", _CHOOSE_ORDERED)
_DUE: Final = "SELECT min(visible_at) FROM queue_messages WHERE queue = $1"
_DUE_ORDERED: Final = "SELECT min(ready_at) FROM queue_groups WHERE queue = $1"

_MARKED: Final = (
    "SELECT m.seq FROM json_each($2) j /*sqlite*/CROSS/*end*/ JOIN queue_messages m ON m.seq = (CAST(j.value AS BIGINT) >> 10) "
    "WHERE m.queue = $1 AND (m.received & 1023) = (CAST(j.value AS BIGINT) & 1023) AND m.visible_at > $3"
)
_FINISH: Final = "DELETE FROM queue_messages WHERE seq IN (" + _MARKED + ") RETURNING seq, received"  # noqa: S608 literals
_RELEASE: Final = (
    "UPDATE queue_messages SET visible_at = $4, received = received - $5 "  # noqa: S608 literals
    f"WHERE seq IN ({_MARKED}) RETURNING seq"
)
_HIDE: Final = (
    "UPDATE queue_messages SET visible_at = $4 WHERE seq = (CAST($2 AS BIGINT) >> 10) AND queue = $1 "
    "AND (received & 1023) = (CAST($2 AS BIGINT) & 1023) AND visible_at > $3 AND $4 <= taken_at + 43200 RETURNING seq"
)
_FIND: Final = (
    "SELECT visible_at, taken_at FROM queue_messages WHERE seq = (CAST($2 AS BIGINT) >> 10) AND queue = $1 "
    "AND (received & 1023) = (CAST($2 AS BIGINT) & 1023)"
)
_REMOVE: Final = "DELETE FROM queue_messages WHERE queue = $1 AND seq IN (SELECT CAST(value AS BIGINT) FROM json_each($2)) RETURNING seq"
_MOVE: Final = (
    "UPDATE queue_messages SET queue = $3, visible_at = $4, moved_at = $4, tries = received - 1, received = 0, first_at = 0, taken_at = 0, source = $5, "
    "sent_at = CASE WHEN grp = '' THEN sent_at ELSE $4 END "
    "WHERE queue = $1 AND seq IN (SELECT CAST(value AS BIGINT) FROM json_each($2)) RETURNING seq"
)
_EXPIRE: Final = (
    "DELETE FROM queue_messages WHERE seq IN (SELECT seq FROM queue_messages WHERE queue = $1 AND visible_at <= $2 "
    "AND sent_at <= $2 LIMIT $3) RETURNING seq"
)
_COUNT: Final = "SELECT queue, count(*), max(seq) FROM queue_messages GROUP BY queue"
_LAST: Final = (
    "SELECT coalesce(max(last), 0) FROM (SELECT max(seq) AS last FROM queue_sent "
    "UNION ALL SELECT max(queue) FROM queue_trash) AS lasts"
)
_HIDDEN: Final = "SELECT count(*), coalesce(sum(CASE WHEN received > 0 THEN 1 ELSE 0 END), 0) FROM queue_messages WHERE queue = $1 AND visible_at > $2"
_OLDEST: Final = "SELECT sent_at FROM queue_messages WHERE queue = $1 AND visible_at <= $2 ORDER BY visible_at LIMIT 1"
_DEAD: Final = (
    f"SELECT queue, {_TAKEN} FROM queue_messages WHERE queue IN (SELECT CAST(value AS BIGINT) FROM json_each($1)) "  # noqa: S608 literals
    "AND source <> '' AND seq > $2 ORDER BY seq LIMIT $3"
)
_HASTEN: Final = (
    "UPDATE queue_messages SET visible_at = CASE WHEN visible_at - $2 > $1 THEN visible_at - $2 ELSE $1 END "
    "WHERE visible_at > $1"
)
_TRASH: Final = "SELECT queue FROM queue_trash LIMIT 1"
_SWEEP: Final = "DELETE FROM queue_messages WHERE seq IN (SELECT seq FROM queue_messages WHERE queue = $1 LIMIT $2) RETURNING 1"
_SWEPT: Final = "DELETE FROM queue_trash WHERE queue = $1"
_FORGET: Final = "DELETE FROM queue_groups WHERE queue = $1"
_FORGET_NAMES: Final = (
    "DELETE FROM queue_sent WHERE (queue, scope, name) IN "
    "(SELECT queue, scope, name FROM queue_sent WHERE expires_at <= $1 LIMIT $2) RETURNING 1"
)


_NAMED_TYPES: Final = (
    *("BIGINT", "BIGINT", "DOUBLE PRECISION", "DOUBLE PRECISION"),
    *("TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT"),
)


class NewMessage(NamedTuple):
    """One to be put. ``seq`` is unique and grows; with a ``name`` it is put unless one was in the last ``once_s`` seconds.

    ``scope`` is where the name counts: everywhere in the queue, or in a group.
    """

    seq: int
    queue: int
    visible_at: float
    sent_at: float
    group: str
    id: str
    body: str
    envelope: str
    scope: str = ""
    name: str = ""
    once_s: float = ONCE_S


class StoredMessage(NamedTuple):
    """One that was taken or found; ``received`` counts this taking. Times are epoch seconds, 0 for never.

    ``source`` is the ARN of the queue that gave it up, ``moved_at`` when, ``tries`` after how many takings.
    """

    seq: int
    received: int
    sent_at: float
    first_at: float
    taken_at: float
    group: str
    source: str
    moved_at: float
    tries: int
    id: str
    body: str
    envelope: str

    @property
    def mark(self) -> int:
        """Names this taking."""
        return self.seq << TIMES_BITS | self.received & TIMES


class Waiting(NamedTuple):
    """Messages of a queue that are hidden, delayed, and since when the oldest visible one is there (epoch seconds)."""

    hidden: int
    delayed: int
    oldest_at: float | None


class QueueMessages:
    """Messages over ``Db``. ``ordered`` says whether a queue has groups; it never changes."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, messages: Sequence[NewMessage]) -> dict[int, tuple[int, str]]:
        """Return when all are on disk; of those that were not put, the number and id of the one that was before."""
        named = [message for message in messages if message.name]
        statements = [*in_batches(_NAME, [_name(message) for message in named])]
        naming = len(statements)
        plain = [_row(message) for message in messages if not message.name]
        statements += in_batches(_PUT, plain)
        rows = [(*_row(message), message.scope, message.name) for message in named]
        statements += in_batches(_PUT_NAMED, rows, types=_NAMED_TYPES)
        statements += [
            Statement(_PUT_BODY, (message.seq, message.body))
            for message in messages
            if len(message.body) > INLINE_CHARACTERS
        ]
        answers = await self._db.write(*statements)
        if not named:
            return {}
        new = {seq for rows in answers[:naming] for (seq,) in rows}
        return {each.seq: await self._earlier(each) for each in named if each.seq not in new}

    async def _earlier(self, message: NewMessage) -> tuple[int, str]:
        rows = await self._db.fetch(_NAMED, message.queue, message.scope, message.name)
        return (rows[0][0], rows[0][1]) if rows else (message.seq, message.id)

    async def take(
        self, queue: int, *, ordered: bool, most: int, now: float, until: float
    ) -> tuple[list[StoredMessage], float | None]:
        """Hide up to ``most`` messages until then; and when the next of those that are left can be had."""
        take, due = (_TAKE_ORDERED, _DUE_ORDERED) if ordered else (_TAKE_ANY, _DUE)
        rows, [(next_at,)] = await self._db.write(
            Statement(take, (queue, now, until, most)), Statement(due, (queue,)), durable=False
        )
        return sorted(StoredMessage(*row) for row in rows), next_at

    async def finish(
        self, queue: int, marks: Sequence[int], *, in_flight_at: float | None = None
    ) -> list[int]:
        """Remove what was taken under these marks; the marks of those that were there.

        With ``in_flight_at`` only those that are hidden at that time.
        """
        after = -1.0 if in_flight_at is None else in_flight_at
        [rows] = await self._db.write(
            Statement(_FINISH, (queue, _numbers(marks), after)), durable=False
        )
        return [seq << TIMES_BITS | received & TIMES for seq, received in rows]

    async def release(
        self, queue: int, marks: Sequence[int], *, now: float, until: float, begun: bool
    ) -> int:
        """Let what is in flight under these marks be had from ``until`` on; how many there were.

        Unless ``begun`` it counts as if it had not been taken.
        """
        args = (queue, _numbers(marks), now, until, 0 if begun else 1)
        [rows] = await self._db.write(Statement(_RELEASE, args), durable=False)
        return len(rows)

    async def hide(
        self, queue: int, changes: Sequence[tuple[int, float]], *, now: float
    ) -> list[bool]:
        """For each mark, hide it until then if it is in flight, and 12 hours after it was taken at most; whether it was."""
        answers = await self._db.write(
            *(Statement(_HIDE, (queue, mark, now, until)) for mark, until in changes),
            durable=False,
        )
        return [bool(rows) for rows in answers]

    async def hasten(self, now: float, by: float) -> None:
        """What cannot be had yet, in any queue, can be ``by`` seconds earlier, but not before ``now``."""
        await self._db.write(Statement(_HASTEN, (now, by)), durable=False)

    async def find(self, queue: int, mark: int) -> tuple[float, float] | None:
        """Until when it is hidden and when it was taken; ``None`` when there is no such taking."""
        rows = await self._db.fetch(_FIND, queue, mark)
        return (rows[0][0], rows[0][1]) if rows else None

    async def remove(self, queue: int, numbers: Sequence[int]) -> int:
        """Remove messages by number, whoever has them; how many there were."""
        [rows] = await self._db.write(Statement(_REMOVE, (queue, _numbers(numbers))), durable=False)
        return len(rows)

    async def move(
        self, queue: int, numbers: Sequence[int], *, to: int, source: str, now: float
    ) -> int:
        """Put them into another queue, as never received, with ``source`` as where they come from; how many there were."""
        [rows] = await self._db.write(
            Statement(_MOVE, (queue, _numbers(numbers), to, now, source)), durable=False
        )
        return len(rows)

    async def expire(self, queue: int, before: float) -> int:
        """Remove some of those that were sent up to ``before`` and are visible since; how many."""
        [rows] = await self._db.write(Statement(_EXPIRE, (queue, before, CHUNK)), durable=False)
        return len(rows)

    async def counts(self) -> tuple[dict[int, int], int]:
        """How many messages each queue has, and the greatest number of all, of those that are only remembered too."""
        rows = await self._db.fetch(_COUNT)
        [(last,)] = await self._db.fetch(_LAST)
        return {row[0]: row[1] for row in rows}, max(last, *(row[2] for row in rows), 0)

    async def waiting(self, queue: int, now: float) -> Waiting:
        """What of a queue is not to be had now, and the age of what is."""
        [(later, hidden)] = await self._db.fetch(_HIDDEN, queue, now)
        rows = await self._db.fetch(_OLDEST, queue, now)
        return Waiting(hidden, later - hidden, rows[0][0] if rows else None)

    async def moved(
        self, queues: Sequence[int], *, after: int, limit: int
    ) -> list[tuple[int, StoredMessage]]:
        """Messages that other queues gave up, by number, with the queue that has them now."""
        rows = await self._db.fetch(_DEAD, _numbers(queues), after, limit)
        return [(row[0], StoredMessage(*row[1:])) for row in rows]

    async def sweep(self, now: float) -> bool:
        """Remove some of what deleted queues left, and names that are old; whether there is more."""
        [names] = await self._db.write(Statement(_FORGET_NAMES, (now, CHUNK)), durable=False)
        trash = await self._db.fetch(_TRASH)
        if not trash:
            return len(names) == CHUNK
        [(queue,)] = trash
        [gone] = await self._db.write(Statement(_SWEEP, (queue, CHUNK)), durable=False)
        if len(gone) < CHUNK:
            await self._db.write(
                Statement(_FORGET, (queue,)), Statement(_SWEPT, (queue,)), durable=False
            )
        return True


def _row(message: NewMessage) -> Row:
    seq, queue, visible_at, sent_at, group, message_id, body, envelope, *_ = message
    inline = body if len(body) <= INLINE_CHARACTERS else None
    return seq, queue, visible_at, sent_at, group, message_id, inline, envelope


def _name(message: NewMessage) -> Row:
    return (
        message.queue,
        message.scope,
        message.name,
        message.seq,
        message.id,
        message.sent_at,
        message.sent_at + message.once_s,
    )


def _numbers(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()
