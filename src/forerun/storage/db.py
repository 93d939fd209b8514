"""The few verbs every store is written with; one SQL text with ``$1`` parameters serves every database."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
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


# Few different lengths, so that few different statements are prepared; longest first.
_BATCHES = (64, 16, 4, 1)


def in_batches(
    sql: LiteralString,
    rows: Sequence[Sequence[Any]],
    *,
    types: tuple[LiteralString, ...] = (),
) -> Iterator[Statement]:
    """``sql`` with ``{values}`` once for many rows: ``($1, $2), ($3, $4), ...``.

    One statement for 64 rows costs the database a fraction of 64 statements, and Python's threads less contention.
    ``types`` are PostgreSQL's, of each column; needed where the values are a table of their own and not all texts.
    """
    done = 0
    while done < len(rows):
        size = next(size for size in _BATCHES if size <= len(rows) - done)
        part = rows[done : done + size]
        done += size
        values = _marks(size, len(part[0]), types)
        yield Statement(sql.replace("{values}", values), [value for row in part for value in row])


@lru_cache(maxsize=256)
def _marks(rows: int, width: int, types: tuple[LiteralString, ...]) -> LiteralString:
    # The other rows follow the first.
    casts = [f"/*pg ::{type_} */" for type_ in types] or [""] * width
    return ", ".join(
        "("
        + ", ".join(
            f"${row * width + column + 1}{'' if row else casts[column]}" for column in range(width)
        )
        + ")"
        for row in range(rows)
    )


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
