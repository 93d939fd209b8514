"""What ``ShareStore`` keeps, in memory, for one account; every verb happens at one moment, when a gate is let through."""

import asyncio

from forerun.model import HeldShare, ShareBook
from forerun.storage.shares import DrainingShare

ACCOUNT = "000000000001"


class Ledger:
    """The rows of one account."""

    def __init__(self, limit, reserved):
        self.limit = limit
        self.reserved = dict(reserved)
        self.version = 0
        self.rows = {}

    def book(self, account, function):
        total = sum(self.reserved.values())
        own = self.reserved.get(function)
        return ShareBook(
            account=account,
            function=function,
            version=self.version,
            maximum=own or 0 if function else max(0, self.limit - total),
            room=self.limit - sum(row.counted for row in self.rows.values()),
            reserved_total=total,
            reserved=own,
            held=tuple(row for (name, _), row in sorted(self.rows.items()) if name == function),
        )

    def change(self, book, amounts):
        now = self.book(book.account, book.function)
        if (book.version, book.reserved_total, book.reserved) != (
            now.version,
            now.reserved_total,
            now.reserved,
        ):
            return False
        self.version += 1
        for host, amount in amounts.items():
            old = self.rows.get((book.function, host))
            counted = max(amount, old.counted if old else 0)
            renewed = old.renewed if old else 0
            self.rows[book.function, host] = HeldShare(
                host=host, amount=amount, counted=counted, epoch=self.version, renewed=renewed
            )
        return True

    def draining(self):
        return [
            DrainingShare(ACCOUNT, name, host, row.amount, row.epoch, row.renewed)
            for (name, host), row in sorted(self.rows.items())
            if row.draining
        ]

    def _set(self, each, **fields):
        row = self.rows.get((each.function, each.host))
        if row is not None and row.epoch == each.epoch:
            values = {
                "amount": row.amount,
                "counted": row.counted,
                "epoch": row.epoch,
                "renewed": row.renewed,
            }
            self.rows[each.function, each.host] = HeldShare(host=each.host, **(values | fields))

    def settle(self, drained):
        for each in drained:
            self._set(each, counted=each.amount)

    def renew(self, heard):
        for each in heard:
            self._set(each, renewed=each.renewed + 1)

    def versions(self, accounts):
        return {account: self.version for account in accounts}

    def changed(self, account, *, since):
        found = {}
        for (name, _), row in self.rows.items():
            if row.epoch > since:
                found.setdefault(name, []).append(row)
        return found

    def of_account(self, account):
        names = {name for (name, _), row in self.rows.items() if row.counted}
        return [
            self.book(account, name) for name in ["", *sorted(names.union(self.reserved) - {""})]
        ]

    def all_books(self):
        return [self.book(ACCOUNT, name) for name in sorted({name for name, _ in self.rows})]

    def drop_empty(self, rows):
        for _, name, host, epoch in rows:
            row = self.rows.get((name, host))
            if row is not None and row.epoch == epoch and not row.counted:
                del self.rows[name, host]

    def counted(self, key, host):
        function = key.partition(":")[2]
        row = self.rows.get((function, host))
        return row.counted if row else 0


class Gate:
    """Something that a control plane waits for. ``act`` does it; ``answer`` lets the control plane have what came of it."""

    def __init__(self, name, act):
        self.name = name
        self.act = act
        self.done = False
        self.result = None
        self.future = asyncio.get_running_loop().create_future()


class GatedStore:
    """The ledger as one control plane reaches it."""

    def __init__(self, plane):
        self._plane = plane
        ledger = plane.world.ledger
        for verb in (
            "book",
            "change",
            "draining",
            "settle",
            "renew",
            "versions",
            "changed",
            "of_account",
            "all_books",
            "drop_empty",
        ):
            setattr(self, verb, self._gated(verb, getattr(ledger, verb)))

    def _gated(self, verb, act):
        async def ask(*args, **kwargs):
            return await self._plane.wait(Gate(verb, lambda: act(*args, **kwargs)))

        return ask

    async def books(self):
        for book in await self.all_books():
            yield book
