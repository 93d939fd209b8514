"""The few verbs every store is written with; one SQL text with ``$1`` parameters serves every database."""

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple, Protocol

Row = tuple[Any, ...]


class Statement(NamedTuple):
    """One SQL statement of a transaction.

    With ``expect`` set, another number of affected rows than that undoes the whole transaction with
    ``forerun.errors.Conflict``: that is how stores compare and set.
    """

    sql: LiteralString
    args: Sequence[Any] = ()
    expect: int | None = None


class Db(Protocol):
    """A database: reads see every write that was answered before."""

    async def fetch(self, sql: LiteralString, *args: Any) -> list[Row]:
        """Rows of a query."""
        ...

    async def write(self, *statements: Statement, durable: bool = True) -> list[list[Row]]:
        """Run the statements as one transaction; the rows each one returned (``RETURNING``), else empty lists.

        Returns when the transaction is committed; with ``durable`` also synced to disk, so that it survives the
        machine. Raises ``AlreadyExists`` on a unique key, ``Conflict`` on a missed ``expect``, ``StorageFailed`` when
        the disk is full, read-only or damaged.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued and close."""
        ...
