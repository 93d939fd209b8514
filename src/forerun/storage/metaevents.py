"""Rules of metaevents, and what they remember. What is remembered is of one revision of the criteria, and goes with it."""

from collections.abc import Sequence
from typing import NamedTuple

from forerun.storage.db import Db, Statement, in_batches

_PUT = """
INSERT INTO metaevents (account, name, revision, since, created, modified, definition)
SELECT $1, $2, $3, $4, $5, $6, $7 WHERE EXISTS (SELECT 1 FROM metaevents WHERE account = $1 AND name = $2)
OR (SELECT count(*) FROM metaevents WHERE account = $1) < $8
ON CONFLICT (account, name) DO UPDATE SET revision = excluded.revision, since = excluded.since,
modified = excluded.modified, definition = excluded.definition RETURNING 1
"""
_ALL = "SELECT account, name, revision, since, created, modified, definition FROM metaevents ORDER BY account, name"
_DELETE = "DELETE FROM metaevents WHERE account = $1 AND name = $2 RETURNING 1"
_FORGET_MEMORY = (
    "DELETE FROM metaevent_memories WHERE account = $1 AND name = $2 AND revision <> $3"
)
_FORGET_SEEN = "DELETE FROM metaevent_seen WHERE account = $1 AND name = $2 AND revision <> $3"
# What is written behind comes after its rule was deleted or changed, now and then: then it is not kept.
_REMEMBER = """
INSERT INTO metaevent_memories (account, name, revision, memory)
SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM metaevents WHERE account = $1 AND name = $2 AND revision = $3)
ON CONFLICT (account, name) DO UPDATE SET revision = excluded.revision, memory = excluded.memory
"""
_SEEN = """
INSERT INTO metaevent_seen (account, name, part, revision, at) VALUES {values}
ON CONFLICT (account, name, part) DO UPDATE SET revision = excluded.revision, at = excluded.at
"""
_MEMORIES = """
SELECT m.account, m.name, m.revision, m.memory FROM metaevent_memories m
JOIN metaevents r ON r.account = m.account AND r.name = m.name AND r.revision = m.revision
"""
_LAST_SEEN = """
SELECT s.account, s.name, s.part, s.revision, s.at FROM metaevent_seen s
JOIN metaevents r ON r.account = s.account AND r.name = s.name AND r.revision = s.revision
"""
_TRIM_SEEN = """
DELETE FROM metaevent_seen WHERE NOT EXISTS (SELECT 1 FROM metaevents r WHERE r.account = metaevent_seen.account
AND r.name = metaevent_seen.name AND r.revision = metaevent_seen.revision)
"""


class RuleRow(NamedTuple):
    """One rule; ``since`` is when its criteria were registered or enabled. Times are epoch seconds."""

    account: str
    name: str
    revision: str
    since: float
    created: float
    modified: float
    definition: bytes


class MemoryRow(NamedTuple):
    """What a rule remembers, in the owner's own encoding."""

    account: str
    name: str
    revision: str
    memory: bytes


class SeenRow(NamedTuple):
    """When the event of an absence, the node ``part`` of its criteria, was seen last (epoch seconds)."""

    account: str
    name: str
    part: int
    revision: str
    at: float


class MetaeventStore:
    """Rules are on disk when ``put`` and ``delete`` return; what they remember survives the server, not the machine."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, rule: RuleRow, *, most: int) -> bool:
        """Keep a rule, in place of an older one; false when the account would have more than ``most``."""
        [rows, *_] = await self._db.write(
            Statement(_PUT, (*rule, most)),
            Statement(_FORGET_MEMORY, (rule.account, rule.name, rule.revision)),
            Statement(_FORGET_SEEN, (rule.account, rule.name, rule.revision)),
        )
        return bool(rows)

    async def delete(self, account: str, name: str) -> bool:
        """Forget a rule with all it remembers; whether there was one."""
        [rows, *_] = await self._db.write(
            Statement(_DELETE, (account, name)),
            Statement(_FORGET_MEMORY, (account, name, "")),
            Statement(_FORGET_SEEN, (account, name, "")),
        )
        return bool(rows)

    async def rules(self) -> list[RuleRow]:
        """All rules of all accounts."""
        return [RuleRow(*row) for row in await self._db.fetch(_ALL)]

    async def memories(self) -> list[MemoryRow]:
        """What is remembered, of rules as they are now."""
        return [MemoryRow(*row) for row in await self._db.fetch(_MEMORIES)]

    async def seen(self) -> list[SeenRow]:
        """What was seen last, of rules as they are now; what is left of others is removed."""
        await self._db.write(Statement(_TRIM_SEEN), durable=False)
        return [SeenRow(*row) for row in await self._db.fetch(_LAST_SEEN)]

    async def remember(self, memories: Sequence[MemoryRow], *, durable: bool = False) -> None:
        """Keep what rules remember; of a rule that was changed meanwhile it is left out."""
        if memories:
            await self._db.write(*(Statement(_REMEMBER, row) for row in memories), durable=durable)

    async def saw(self, rows: Sequence[SeenRow]) -> None:
        """Keep when something was seen last."""
        if rows:
            await self._db.write(*in_batches(_SEEN, rows), durable=False)
