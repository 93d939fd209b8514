"""Messages on their way to queues, topics, buses and URLs: durable, bounded, claimed lane by lane.

``put`` returns when all are on disk. A claimed message stays until ``settle`` says what became of it, in one transaction
with whatever takes its place: a message to a dead-letter queue, or a dead letter. An owner that died loses its claims at
the next ``recover``.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from forerun.errors import ForerunError, Throttled
from forerun.model import DeadLetter, Message
from forerun.storage.db import Db, Row, Statement, in_batches
from forerun.storage.dead_letters import put_statement
from forerun.storage.dialect import CLAIMED, ONE_OF

_ROW_BYTES: Final = 512
# Between two counts of an outbox that looks full.
RECOUNT_S: Final = 10.0

_PUT = """/*free*/
INSERT INTO outbox (id, lane, message, accepted_at, attempt, due_at, owner, bytes)
VALUES {values} ON CONFLICT (id) DO NOTHING RETURNING lane, bytes
"""
_CLAIM = (
    "/*free*/ UPDATE outbox SET owner = $1 WHERE number" + ONE_OF  # noqa: S608 literals
    + "SELECT number FROM outbox WHERE lane = $2 AND owner = '' AND due_at <= $3 ORDER BY due_at, number LIMIT $4"
    + CLAIMED + " RETURNING number, id, lane, message, accepted_at, attempt, due_at"
)  # fmt: skip
# By a join: SQLite would read the whole table for pairs behind IN.
_DONE = """/*free*/
DELETE FROM outbox WHERE number IN (
    SELECT o.number FROM (VALUES {values}) AS v JOIN outbox AS o ON o.id = v.column1 AND o.owner = v.column2
    /*pg FOR UPDATE OF o */
) RETURNING bytes
"""
_AGAIN = """/*free*/
UPDATE outbox SET owner = '', attempt = $3, due_at = $4 WHERE id = $1 AND owner = $2 RETURNING 0
"""
_RECOVER = "UPDATE outbox SET owner = '' WHERE owner <> '' AND owner <> $1 RETURNING 0"
_HASTEN = """
UPDATE outbox SET due_at = CASE WHEN due_at - $2 > $1 THEN due_at - $2 ELSE $1 END WHERE due_at > $1 AND owner = ''
"""
_SIZE = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM outbox"
_LANES = "SELECT lane, COUNT(*), MIN(due_at) FROM outbox WHERE owner = '' GROUP BY lane"
_DUE = "SELECT COUNT(*), MIN(due_at) FROM outbox WHERE lane = $1 AND owner = ''"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Waiting(msgspec.Struct, kw_only=True):
    """A message in the outbox. ``lane`` is its target; ``attempt`` counts from 1; times are epoch seconds."""

    id: str
    lane: str
    message: Message
    accepted_at: float
    attempt: int = 1
    due_at: float = 0.0
    number: int = 0


class Settlement(msgspec.Struct, kw_only=True):
    """What became of claimed messages: those that are ``done``; those that wait ``again``, with their new ``attempt`` and
    ``due_at``; and what takes the place of done ones: ``instead`` messages and dead ``letters``.
    """

    done: list[Waiting] = []
    again: list[Waiting] = []
    instead: list[Waiting] = []
    letters: list[DeadLetter] = []


class LaneDepth(NamedTuple):
    """Unclaimed messages of a lane, and when the first of them is due; ``None`` when there is none."""

    messages: int
    due_at: float | None


class OutboxStore:
    """The outbox. ``recover`` is called once, before anything else; the bounds are counted in memory."""

    def __init__(
        self, db: Db, *, max_messages: int, max_bytes: int, owner: str | None = None
    ) -> None:
        """``owner`` names this server in its claims; by default a new name for each start."""
        self._db = db
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._owner = owner or secrets.token_hex(8)
        self._messages = 0
        self._bytes = 0
        self._counted_at = -RECOUNT_S

    async def recover(self) -> dict[str, LaneDepth]:
        """Count what an earlier server left and make what it held claimable; the lanes."""
        await self._db.write(Statement(_RECOVER, (self._owner,)))
        self._counted_at = -RECOUNT_S
        await self._recount()
        return {lane: LaneDepth(count, due) for lane, count, due in await self._db.fetch(_LANES)}

    async def hasten(self, soon: float, by: float) -> None:
        """Unclaimed messages that are due after ``soon`` are due ``by`` seconds earlier, but not before ``soon``: their order stays."""
        await self._db.write(Statement(_HASTEN, (soon, by)), durable=False)

    async def put(
        self, messages: Sequence[Waiting], letters: Sequence[DeadLetter] = ()
    ) -> dict[str, int]:
        """Return when all are on disk, in one transaction; how many each lane got. A known id changes nothing.

        Raises ``Throttled`` when there is no room for them, ``StorageFailed`` when the disk does not take them.
        """
        rows = [_values(message) for message in messages]
        size = sum(row[-1] for row in rows)
        if not self._has_room(len(rows), size):
            await self._recount()
        if not self._has_room(len(rows), size):
            raise Throttled(
                f"The outbox is full ({self._messages} messages, {self._bytes} bytes wait for their targets); "
                "try again later",
                reason="CallerRateLimitExceeded",
                retry_after_s=5.0,
            )
        self._count(len(rows), size)
        try:
            written = await self._db.write(
                *in_batches(_PUT, rows), *(put_statement(letter) for letter in letters)
            )
        except ForerunError:
            self._count(-len(rows), -size)
            raise
        return self._counted(written[: len(written) - len(letters)], len(rows), size)

    async def claim(self, lane: str, limit: int, *, now: float) -> list[Waiting]:
        """Take at most ``limit`` messages of a lane that are due, in its order. A claim is not synced."""
        statement = Statement(_CLAIM, (self._owner, lane, now, limit))
        (rows,) = await self._db.write(statement, durable=False)
        return sorted((_waiting(row) for row in rows), key=lambda each: (each.due_at, each.number))

    async def settle(self, settlement: Settlement) -> dict[str, int]:
        """Carry out what became of claimed messages, in one transaction; how many each lane got ``instead``.

        Not synced where nothing takes the place of what is done: what is lost then is delivered once more.
        """
        rows = [_values(each) for each in settlement.instead]
        size = sum(row[-1] for row in rows)
        self._count(len(rows), size)
        done = list(in_batches(_DONE, [(each.id, self._owner) for each in settlement.done]))
        again = [
            Statement(_AGAIN, (each.id, self._owner, each.attempt, each.due_at))
            for each in settlement.again
        ]
        instead = list(in_batches(_PUT, rows))
        try:
            written = await self._db.write(
                *done,
                *instead,
                *again,
                *(put_statement(letter) for letter in settlement.letters),
                durable=bool(rows or settlement.letters),
            )
        except ForerunError:
            self._count(-len(rows), -size)
            raise
        gone = [row[0] for each in written[: len(done)] for row in each]
        self._count(-len(gone), -sum(gone))
        return self._counted(written[len(done) : len(done) + len(instead)], len(rows), size)

    async def depth(self, lane: str) -> LaneDepth:
        """What waits in a lane."""
        ((count, due),) = await self._db.fetch(_DUE, lane)
        return LaneDepth(count, due)

    def size(self) -> tuple[int, int]:
        """Messages and bytes in the outbox, claimed ones included."""
        return self._messages, self._bytes

    def _has_room(self, messages: int, size: int) -> bool:
        return (
            self._messages + messages <= self._max_messages
            and self._bytes + size <= self._max_bytes
        )

    async def _recount(self) -> None:
        """What was put here may have been delivered by another server; looked at now and then."""
        now = asyncio.get_running_loop().time()
        if now - self._counted_at >= RECOUNT_S:
            self._counted_at = now
            ((self._messages, self._bytes),) = await self._db.fetch(_SIZE)

    def _counted(self, written: list[list[Row]], rows: int, size: int) -> dict[str, int]:
        """Correct the count by what was there already; the new ones by lane."""
        lanes: dict[str, int] = {}
        new = [row for each in written for row in each]
        for lane, _ in new:
            lanes[lane] = lanes.get(lane, 0) + 1
        self._count(len(new) - rows, sum(each for _, each in new) - size)
        return lanes

    def _count(self, messages: int, size: int) -> None:
        self._messages += messages
        self._bytes += size


def _values(each: Waiting) -> Row:
    packed = _encode(each.message)
    return (
        each.id,
        each.lane,
        packed,
        each.accepted_at,
        each.attempt,
        each.due_at or each.accepted_at,
        "",
        len(packed) + _ROW_BYTES,
    )


def _waiting(row: Row) -> Waiting:
    return Waiting(
        number=row[0],
        id=row[1],
        lane=row[2],
        message=_decode(row[3]),
        accepted_at=row[4],
        attempt=row[5],
        due_at=row[6],
    )
