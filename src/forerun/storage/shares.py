"""What each host may run of an account's concurrency, changed by several control planes at once.

A change is computed from a ``ShareBook`` and written only if no amount of the account was changed since it was read, nor its
reservations: so what was right by the book is right when it is written.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import LiteralString, NamedTuple

from forerun.errors import Conflict
from forerun.model import HeldShare, Share, ShareBook, share_key
from forerun.storage.db import Db, Row, Statement

PAGE = 500
_AT_ONCE = 32

_RESERVED: LiteralString = "CAST(coalesce((SELECT sum(reserved) FROM functions WHERE account = $1 AND reserved IS NOT NULL), 0) AS BIGINT)"
_OWN: LiteralString = "(SELECT reserved FROM functions WHERE account = $1 AND name = $2)"
_BOOK: LiteralString = (
    (
        "SELECT b.version, b.total, b.own, b.counted, s.host, s.amount, s.counted, s.epoch, s.renewed FROM (SELECT"
        " coalesce((SELECT version FROM share_accounts WHERE account = $1), 0) AS version,"
        " {total} AS total, {own} AS own,"
        " CAST(coalesce((SELECT sum(counted) FROM shares WHERE account = $1), 0) AS BIGINT) AS counted) b"
        " LEFT JOIN shares s ON s.account = $1 AND s.function = $2 ORDER BY s.host"
    )
    .replace("{total}", _RESERVED)
    .replace("{own}", _OWN)
)
# Who changes an account holds its row until that is committed.
_NEXT: LiteralString = (
    (
        "UPDATE share_accounts SET version = version + 1 WHERE account = $1 AND version = $3"
        " AND {total} = $4 AND coalesce({own}, -1) = $5"
    )
    .replace("{total}", _RESERVED)
    .replace("{own}", _OWN)
)
_SET: LiteralString = (
    "INSERT INTO shares (account, function, host, amount, counted, epoch, renewed) VALUES ($1, $2, $3, $4, $4, $5, 0)"
    " ON CONFLICT (account, function, host) DO UPDATE SET amount = excluded.amount, epoch = excluded.epoch, counted ="
    " CASE WHEN shares.counted > excluded.amount THEN shares.counted ELSE excluded.amount END"
)


class DrainingShare(NamedTuple):
    """What a host counts as beyond what it may run, until it says that it keeps to ``amount``."""

    account: str
    function: str
    host: str
    amount: int
    epoch: int
    renewed: int

    @property
    def share(self) -> Share:
        """As the host is told of it."""
        return Share(share_key(self.account, self.function), self.amount, self.epoch)


class ShareStore:
    """Shares over ``Db``; ``limit`` is the concurrency of an account."""

    def __init__(self, db: Db, *, limit: int) -> None:
        self._db = db
        self._limit = limit

    async def book(self, account: str, function: str) -> ShareBook:
        """A client as it is now; ``function`` is empty for what the account's functions share."""
        rows = await self._db.fetch(_BOOK, account, function)
        version, total, own, counted = rows[0][:4]
        return ShareBook(
            account=account,
            function=function,
            version=version,
            maximum=max(0, self._limit - total) if not function else own or 0,
            room=self._limit - counted,
            reserved_total=total,
            reserved=own,
            held=tuple(_held(row[4:]) for row in rows if row[4] is not None),
        )

    async def change(self, book: ShareBook, amounts: Mapping[str, int]) -> bool:
        """Let hosts run so much from now on; false when the book is not what is written any more.

        What a host has too much counts on until ``settle``.
        """
        client = (book.account, book.function)
        own = -1 if book.reserved is None else book.reserved
        try:
            await self._db.write(
                Statement(
                    "INSERT INTO share_accounts (account, version) VALUES ($1, 0) ON CONFLICT DO NOTHING",
                    (book.account,),
                ),
                Statement(_NEXT, (*client, book.version, book.reserved_total, own), 1),
                *(
                    Statement(_SET, (*client, host, amount, book.version + 1), 1)
                    for host, amount in sorted(amounts.items())
                ),
            )
        except Conflict:
            return False
        return True

    async def draining(self) -> list[DrainingShare]:
        """Hosts that count as more than they may run: all of them, read in pages."""
        found: list[DrainingShare] = []
        while True:
            last = found[-1][:3] if found else ("", "", "")
            rows = await self._db.fetch(
                "SELECT account, function, host, amount, epoch, renewed FROM shares WHERE counted > amount"
                " AND (account, function, host) > ($1, $2, $3) ORDER BY account, function, host LIMIT $4",
                *last,
                PAGE,
            )
            found += (DrainingShare(*row) for row in rows)
            if len(rows) < PAGE:
                return found

    async def settle(self, drained: Collection[DrainingShare]) -> None:
        """These run no more than they may, or are surely over; those that were changed since then are left as they are."""
        if not drained:
            return
        await self._db.write(
            *(
                Statement(
                    "UPDATE shares SET counted = amount"
                    " WHERE account = $1 AND function = $2 AND host = $3 AND epoch = $4",
                    (each.account, each.function, each.host, each.epoch),
                )
                for each in drained
            )
        )

    async def renew(self, heard: Collection[DrainingShare]) -> None:
        """These hosts are heard of, and may still run too much: nobody may take them for over."""
        if not heard:
            return
        await self._db.write(
            *(
                Statement(
                    "UPDATE shares SET renewed = renewed + 1"
                    " WHERE account = $1 AND function = $2 AND host = $3 AND epoch = $4 AND counted > amount",
                    (each.account, each.function, each.host, each.epoch),
                )
                for each in heard
            ),
            durable=False,
        )

    async def versions(self, accounts: Collection[str]) -> dict[str, int]:
        """The version of each account that has one."""
        names = sorted(accounts)
        found: dict[str, int] = {}
        for begin in range(0, len(names), _AT_ONCE):
            part = names[begin : begin + _AT_ONCE]
            # Always as many parameters, so that it is one statement.
            part += part[-1:] * (_AT_ONCE - len(part))
            rows = await self._db.fetch(_VERSIONS, *part)
            found.update((account, version) for account, version in rows)
        return found

    async def changed(self, account: str, *, since: int) -> dict[str, list[HeldShare]]:
        """By function, what was changed of an account after that version."""
        rows = await self._db.fetch(
            "SELECT function, host, amount, counted, epoch, renewed FROM shares WHERE account = $1 AND epoch > $2",
            account,
            since,
        )
        found: dict[str, list[HeldShare]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(_held(row[1:]))
        return found

    async def books(self) -> AsyncIterator[ShareBook]:
        """All clients of which any host has a row, for who looks for those that should be changed; ``room`` is not told.

        They are read in pages: load the ``book`` before it is changed.
        """
        totals: dict[str, int] = dict(
            await self._db.fetch(
                "SELECT account, CAST(sum(reserved) AS BIGINT) FROM functions WHERE reserved IS NOT NULL GROUP BY account"
            )
        )
        rows: list[Row] = []
        last: Row = ("", "", "")
        while True:
            page = await self._db.fetch(
                "SELECT s.account, s.function, s.host, s.amount, s.counted, s.epoch, s.renewed, f.reserved FROM shares s"
                " LEFT JOIN functions f ON f.account = s.account AND f.name = s.function"
                " WHERE (s.account, s.function, s.host) > ($1, $2, $3)"
                " ORDER BY s.account, s.function, s.host LIMIT $4",
                *last[:3],
                PAGE,
            )
            for row in page:
                if rows and rows[-1][:2] != row[:2]:
                    yield self._seen(rows, totals)
                    rows = []
                rows.append(row)
            if len(page) < PAGE:
                break
            last = page[-1]
        if rows:
            yield self._seen(rows, totals)

    def _seen(self, rows: list[Row], totals: Mapping[str, int]) -> ShareBook:
        account, function, *_, own = rows[0]
        total = totals.get(account, 0)
        return ShareBook(
            account=account,
            function=function,
            version=0,
            maximum=max(0, self._limit - total) if not function else own or 0,
            room=0,
            reserved_total=total,
            reserved=own,
            held=tuple(_held(row[2:7]) for row in rows),
        )

    async def of_account(self, account: str) -> list[ShareBook]:
        """An account's clients, to be shown: itself, then its reservations, and functions that hosts may still run something of."""
        reserved: dict[str, int] = dict(
            await self._db.fetch(
                "SELECT name, reserved FROM functions WHERE account = $1 AND reserved IS NOT NULL ORDER BY name",
                account,
            )
        )
        rows = await self._db.fetch(
            "SELECT function, host, amount, counted, epoch, renewed FROM shares WHERE account = $1 AND counted > 0"
            " ORDER BY function, host",
            account,
        )
        held: dict[str, list[HeldShare]] = {"": [], **{name: [] for name in reserved}}
        for row in rows:
            held.setdefault(row[0], []).append(_held(row[1:]))
        total = sum(reserved.values())
        return [
            ShareBook(
                account=account,
                function=name,
                version=0,
                maximum=reserved.get(name, 0) if name else max(0, self._limit - total),
                room=0,
                reserved_total=total,
                reserved=reserved.get(name),
                held=tuple(held[name]),
            )
            for name in sorted(held)
        ]

    async def drop_empty(self, rows: Collection[tuple[str, str, str, int]]) -> None:
        """Delete rows of nothing, by account, function, host and epoch, unless they were changed."""
        ordered = sorted(rows)
        for begin in range(0, len(ordered), _AT_ONCE):
            await self._db.write(
                *(
                    Statement(
                        "DELETE FROM shares WHERE account = $1 AND function = $2 AND host = $3 AND epoch = $4"
                        " AND counted = 0",
                        row,
                    )
                    for row in ordered[begin : begin + _AT_ONCE]
                ),
                durable=False,
            )


_VERSIONS: LiteralString = (
    "SELECT account, version FROM share_accounts WHERE account IN ("
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"
    " $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)"
)


def _held(row: Row) -> HeldShare:
    host, amount, counted, epoch, renewed = row
    return HeldShare(host=host, amount=amount, counted=counted, epoch=epoch, renewed=renewed)
