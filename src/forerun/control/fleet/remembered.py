"""What a control plane remembers of clients' shares. Pure; moments are seconds of the monotonic clock."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from forerun.model import HeldShare, Share, ShareBook

IDLE_S = 60.0
REFUSED_MOST = 8

Key = tuple[str, str]
"""Account, and function; that is empty for what the account's functions share."""


class Remembered:
    """A client as it was read. ``starts`` are the hosts of its shares with the incarnation each had before that, ``checked`` is for who compares them."""

    __slots__ = ("_refused", "book", "checked", "read_at", "shares", "starts", "used_at")

    def __init__(self, book: ShareBook, starts: Mapping[str, str], read_at: float) -> None:
        self.book = book
        self.read_at = read_at
        self.checked = -1
        self.used_at = read_at
        self.shares = {
            held.host: Share(book.key, held.amount, held.epoch) for held in book.held if held.amount
        }
        self.starts = tuple((host, starts.get(host, "")) for host in self.shares)
        self._refused: dict[frozenset[str], float] = {}

    def refuse(self, until: float, full: Collection[str]) -> None:
        """Nothing more was to be had by who finds these hosts full."""
        if len(self._refused) >= REFUSED_MOST:
            self._refused.clear()
        self._refused[frozenset(full)] = until

    def refuses(self, full: Collection[str], now: float) -> bool:
        """Whether there is no use in asking again so soon."""
        return bool(self._refused) and now < self._refused.get(frozenset(full), now)


class Clients:
    """Clients by key; of each account, up to which version all that is remembered of it is known."""

    def __init__(self) -> None:
        self._clients: dict[Key, Remembered] = {}
        self._versions: dict[str, int] = {}

    def get(self, key: Key) -> Remembered | None:
        """What is remembered."""
        return self._clients.get(key)

    def put(
        self, key: Key, book: ShareBook, starts: Mapping[str, str], read_at: float
    ) -> Remembered:
        """A client was read."""
        client = self._clients[key] = Remembered(book, starts, read_at)
        # What others changed while it was read is read once more.
        self._versions[book.account] = min(
            book.version, self._versions.get(book.account, book.version)
        )
        return client

    def grown(self, book: ShareBook, amounts: Mapping[str, int], starts: Mapping[str, str]) -> None:
        """What was just written over a book; ``starts`` are from before it was read."""
        epoch = book.version + 1
        before = {each.host: each.counted for each in book.held}
        rows = [
            HeldShare(
                host=host, amount=amount, counted=max(amount, before.get(host, 0)), epoch=epoch
            )
            for host, amount in amounts.items()
        ]
        self._merge((book.account, book.function), rows, epoch, starts, only_new=True)

    def accounts(self) -> set[str]:
        """Those of which any client is remembered."""
        return set(self._versions)

    def version(self, account: str) -> int | None:
        """Up to which version all that is remembered of the account is known."""
        return self._versions.get(account)

    def update(
        self,
        account: str,
        versions: tuple[int, int],
        changed: Mapping[str, Sequence[HeldShare]],
        starts: Mapping[str, str],
    ) -> None:
        """What was changed of an account after the first of the versions, up to the second or later."""
        for function, rows in changed.items():
            self._merge((account, function), rows, versions[1], starts)
        # One that was read meanwhile may be older.
        if self._versions.get(account) == versions[0]:
            self._versions[account] = versions[1]

    def _merge(
        self,
        key: Key,
        rows: Sequence[HeldShare],
        version: int,
        starts: Mapping[str, str],
        *,
        only_new: bool = False,
    ) -> None:
        client = self._clients.get(key)
        if client is None:
            return
        held = {each.host: each for each in client.book.held}
        for row in rows:
            known = held.get(row.host)
            if known is None or row.epoch >= known.epoch:
                held[row.host] = row
        book = msgspec.structs.replace(
            client.book, version=max(version, client.book.version), held=tuple(held.values())
        )
        known_starts = {**starts, **dict(client.starts)} if only_new else starts
        merged = self._clients[key] = Remembered(book, known_starts, client.read_at)
        merged.used_at = client.used_at

    def forget_idle(self, now: float) -> None:
        """Forget clients that nobody has called for a minute."""
        for key in [key for key, each in self._clients.items() if now - each.used_at > IDLE_S]:
            del self._clients[key]
        left = {account for account, _ in self._clients}
        self._versions = {name: each for name, each in self._versions.items() if name in left}
