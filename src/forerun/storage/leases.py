"""Rights that only one process of several has at a time, by the database's clock; and writes that nobody else can make.

A lease ends by itself when its holder does not renew it. Each new holder gets a higher fence. Who was paused and does not know
that its lease is over is harmless as far as it writes through ``FencedDb``: a write proves, in its own transaction, that its
fence is still the newest, and keeps the row of the lease from being changed until it is committed. So every write of an old holder is
either committed before the new one holds the lease, or never.
"""

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

from forerun.errors import Conflict, DutyLost
from forerun.storage.db import Db, Row, Statement

POSTGRESQL_NOW: LiteralString = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"

_TAKE: LiteralString = (
    "/*free*/ INSERT INTO leases (name, owner, fence, expires) VALUES ($1, $2, 1, {now} + $3)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = leases.fence + 1,"
    " expires = excluded.expires WHERE leases.expires <= {now} RETURNING fence"
)
_RENEW: LiteralString = "/*free*/ UPDATE leases SET expires = {now} + $4 WHERE name = $1 AND owner = $2 AND fence = $3 RETURNING fence"
_HOLDER: LiteralString = "SELECT owner, fence, expires - {now} FROM leases WHERE name = $1"
_FENCE: LiteralString = "SELECT fence FROM {leases} WHERE name = $1"
# The next holder changes the key, and waits for what is under way under this fence, but not for a process that was paused in the
# middle of it. Who only renews the lease waits for nobody.
_PROOF: LiteralString = (
    "/*free*/ SELECT fence/*pg , set_config('idle_in_transaction_session_timeout', '2000', true) */"
    " FROM {leases} WHERE name = $1 AND fence = $2 /*pg FOR KEY SHARE */"
)


class Lease(NamedTuple):
    """A lease that was taken. It ends ``ttl_s`` after the moment before it was asked for, at the earliest."""

    name: str
    owner: str
    fence: int
    ttl_s: float


class Holder(NamedTuple):
    """Who has a lease, and for how many seconds more if it is not renewed."""

    owner: str
    fence: int
    remaining_s: float


class LeaseStore:
    """Leases, over ``Db``. ``now`` is SQL for the time of the database, in seconds."""

    def __init__(self, db: Db, *, now: LiteralString = POSTGRESQL_NOW) -> None:
        self._db = db
        self._take = _TAKE.replace("{now}", now)
        self._renew = _RENEW.replace("{now}", now)
        self._holder = _HOLDER.replace("{now}", now)

    async def take(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        """The lease, if nobody has it now; ``owner`` must be new with each start of a process."""
        [rows] = await self._db.write(Statement(self._take, (name, owner, float(ttl_s))))
        return Lease(name, owner, rows[0][0], ttl_s) if rows else None

    async def renew(self, lease: Lease) -> bool:
        """Hold it for ``ttl_s`` from now on; false when somebody else has had it since, or it was given back.

        A lease that ran out and was not taken by anybody goes on.
        """
        args = (lease.name, lease.owner, lease.fence, float(lease.ttl_s))
        [rows] = await self._db.write(Statement(self._renew, args))
        return bool(rows)

    async def release(self, lease: Lease) -> None:
        """Give it back at once; what is still on its way under its fence is not written any more."""
        await self._db.write(
            Statement(
                "/*free*/ UPDATE leases SET owner = '', fence = fence + 1, expires = 0"
                " WHERE name = $1 AND owner = $2 AND fence = $3",
                (lease.name, lease.owner, lease.fence),
            )
        )

    async def holder(self, name: str) -> Holder | None:
        """Who has it now."""
        rows = await self._db.fetch(self._holder, name)
        held = [Holder(*row) for row in rows if row[2] > 0]
        return held[0] if held else None


class FencedDb:
    """A ``Db`` for the holder of a lease alone: writes of an old holder raise ``DutyLost`` and change nothing.

    ``leases`` is the table as it is seen from this database.
    """

    def __init__(
        self,
        db: Db,
        lease: Lease,
        *,
        leases: LiteralString = "forerun.leases",
    ) -> None:
        self._db = db
        self._lease = lease
        self._fence = _FENCE.replace("{leases}", leases)
        proof = _PROOF.replace("{leases}", leases)
        self._proof = Statement(proof, (lease.name, lease.fence), expect=1)

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """Rows of a query; anybody may read."""
        return await self._db.fetch(sql, *args)

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """As ``Db.write``; raises ``DutyLost`` when somebody else holds the lease by now, or has held it."""
        try:
            results = await self._db.write(self._proof, *statements, durable=durable)
        except Conflict as error:
            if await self._is_newest():
                raise
            raise DutyLost(f"{self._lease.name} is held by another process now.") from error
        return results[1:]

    async def close(self) -> None:
        """Leave the database open for others."""

    async def _is_newest(self) -> bool:
        rows: Sequence[Row] = await self._db.fetch(self._fence, self._lease.name)
        return bool(rows) and rows[0][0] == self._lease.fence
