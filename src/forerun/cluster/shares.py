"""How many calls a host runs of what is limited together, by the newest share that it was told of. Pure.

What a host promises: of a key it never runs more than the newest amount that it has seen allows, once it has said that it keeps to
it. Shares come with calls, and by themselves when one becomes smaller; they may come late and in any order.
"""

from collections.abc import Iterable

from forerun.model import Share

FORGET_S = 600.0
"""Seconds after which a key is forgotten that the host may not run any more; far longer than a control plane uses an old share."""


class _Entry:
    __slots__ = ("amount", "epoch", "idle_since", "running")

    def __init__(self, share: Share) -> None:
        self.amount = share.amount
        self.epoch = share.epoch
        self.running = 0
        self.idle_since: float | None = None


class Shares:
    """Counts calls by key; one for each start of an agent, whose earlier promises are void."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def take(self, share: Share) -> bool:
        """Begin a call that counts with ``share``; false when the host runs as many as the newest share of that key allows.

        Each one that was true is followed by one ``give_back``.
        """
        entry = self._adopt(share)
        if entry.running >= entry.amount:
            return False
        entry.running += 1
        return True

    def give_back(self, key: str) -> None:
        """A call that was taken is over."""
        entry = self._entries.get(key)
        if entry is not None and entry.running:
            entry.running -= 1

    def keep_to(self, shares: Iterable[Share]) -> dict[str, int]:
        """Take over what is newer than known. The epoch by key of those that no more calls run of than they allow.

        From then on no more run of them, unless a newer share allows more. What is left out still runs too many; ask again.
        """
        kept: dict[str, int] = {}
        for share in shares:
            entry = self._adopt(share)
            if entry.running <= entry.amount:
                kept[share.key] = entry.epoch
        return kept

    def running(self) -> dict[str, int]:
        """Calls by key, of those keys that any call runs of."""
        return {key: entry.running for key, entry in self._entries.items() if entry.running}

    def forget(self, now: float) -> None:
        """Forget keys that nothing has been allowed of for ``FORGET_S``; ``now`` is monotonic, in seconds. Call it now and then."""
        gone: list[str] = []
        for key, entry in self._entries.items():
            if entry.amount or entry.running:
                entry.idle_since = None
            elif entry.idle_since is None:
                entry.idle_since = now
            elif now - entry.idle_since >= FORGET_S:
                gone.append(key)
        for key in gone:
            del self._entries[key]

    def _adopt(self, share: Share) -> _Entry:
        entry = self._entries.get(share.key)
        if entry is None:
            entry = self._entries[share.key] = _Entry(share)
        elif share.epoch > entry.epoch:
            entry.amount, entry.epoch = share.amount, share.epoch
        return entry
