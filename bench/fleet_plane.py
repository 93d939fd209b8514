"""A control plane of the simulation: the product's view, placement and shares, without a wire and without calls of its own.

Time is virtual, so what is measured is the processor's: of each decision, and of each beat that is read and taken over.
"""

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from forerun.cluster import Beat
from forerun.cluster.beats import read
from forerun.cluster.lease import GrantedLease
from forerun.control.fleet.state import HostState
from forerun.control.fleet.view import View
from forerun.model import HeldShare, HostInfo, Share, ShareBook
from forerun.scheduling import Ask, Placed, Ring, Rule, grow, place

cpu = time.thread_time


class Books:
    """The database's shares, by account: each change is a transaction. ``changes`` names the accounts in order of their changes."""

    def __init__(self, step: int, maximum: Callable[[int], int]) -> None:
        self.step = step
        self._maximum = maximum
        self._books: dict[int, ShareBook] = {}
        self.changes: list[int] = []

    def of(self, account: int) -> ShareBook:
        """As it is now."""
        book = self._books.get(account)
        if book is None:
            most = self._maximum(account)
            book = self._books[account] = ShareBook(
                account=f"{account:012d}", function="", version=0, maximum=most, room=most
            )
        return book

    def change(self, account: int, amounts: Mapping[str, int]) -> None:
        """Hosts may run so much from now on."""
        book = self.of(account)
        held = {each.host: each for each in book.held}
        for host, amount in amounts.items():
            held[host] = HeldShare(host=host, amount=amount, counted=amount, epoch=book.version + 1)
        counted = sum(each.counted for each in held.values())
        self._books[account] = msgspec.structs.replace(
            book,
            version=book.version + 1,
            held=tuple(held.values()),
            room=max(0, book.maximum - counted),
        )
        self.changes.append(account)


class Plane:
    """``decided`` are seconds of the processor for each decision, ``heard`` for each beat."""

    def __init__(self, number: int, *, dead_s: float, lease_s: float, books: Books | None) -> None:
        self.number = number
        self._rule = Rule()
        self.view = View(self._rule, dead_s=dead_s)
        self.books = books
        self.decided = array("d")
        self.heard = array("d")
        self.read_s = 0.0
        self.beat_bytes = 0
        self.beats = 0
        self.granted: dict[str, GrantedLease] = {}
        self.connected: dict[str, HostInfo] = {}
        self.ring = Ring(())
        self._lease_s = lease_s
        self._last: dict[str, Beat] = {}
        self._shares: dict[int, dict[str, Share]] = {}
        self._seen = 0

    # -- hosts ---------------------------------------------------------------------------------------------------

    def hear(self, info: HostInfo, raw: bytes, now: float) -> None:
        """A host's beat, as it comes. Its lease is renewed."""
        self.beats += 1
        self.beat_bytes += len(raw)
        self.connected[info.name] = info
        began = cpu()
        said = read(raw, info.name, self._last.get(info.name))
        done = cpu()
        self.view.told(info, said, now)
        self.heard.append(cpu() - began)
        self.read_s += done - began
        self._last[info.name] = said
        granted = self.granted.get(info.name)
        if granted is None:
            granted = self.granted[info.name] = GrantedLease(self._lease_s)
        granted.answer(now)

    def forget_measured(self) -> None:
        """What was measured so far was of the very beginning."""
        del self.heard[:]
        self.beats = self.beat_bytes = 0
        self.read_s = 0.0

    def lose(self, name: str) -> None:
        """The connection to a host is over."""
        if self.connected.pop(name, None) is not None:
            self.view.lost(name)
            self._last.pop(name, None)

    def heard_at(self, name: str) -> float:
        """When it was heard last."""
        state = self.view.get(name)
        return state.heard_at if state is not None else float("-inf")

    # -- shares --------------------------------------------------------------------------------------------------

    def shares(self, account: int) -> Mapping[str, Share] | None:
        """As remembered; ``None`` where nothing is limited."""
        if self.books is None:
            return None
        known = self._shares.get(account)
        return known if known is not None else self._remember(account)

    def _remember(self, account: int) -> dict[str, Share]:
        assert self.books is not None
        book = self.books.of(account)
        found = self._shares[account] = {
            each.host: Share(book.key, each.amount, each.epoch) for each in book.held
        }
        return found

    def look(self) -> None:
        """Take over what others have changed of what is remembered."""
        if self.books is None:
            return
        changes = self.books.changes
        for account in set(changes[self._seen :]) & self._shares.keys():
            self._remember(account)
        self._seen = len(changes)

    def grow(self, account: int, full: Iterable[str]) -> bool:
        """Let one host more run it, as the product does; what others did is enough."""
        if self.books is None:
            return False
        full = set(full)
        before = self._shares.get(account, {})
        now = self._remember(account)
        for host, share in now.items():
            known = before.get(host)
            if host not in full and (known is None or share.amount > known.amount):
                return True
        book = self.books.of(account)
        amounts = grow(book, self._order(book.key, full), self.books.step)
        if amounts:
            self.books.change(account, amounts)
            self._remember(account)
        return bool(amounts)

    def _order(self, key: str, full: set[str]) -> Iterator[str]:
        if self.connected.keys() != self.ring.names:
            self.ring = self.ring.of(self.connected)
        return (host for host in self.ring.walk(key) if host not in full)

    # -- a call --------------------------------------------------------------------------------------------------

    def decide(
        self, ask: Ask, shares: Mapping[str, Share] | None, tried: set[str], chance: float
    ) -> Placed | None:
        """Where it would run; timed."""
        began = cpu()
        found: list[HostState] = self.view.candidates(ask, allowed=shares, chance=chance)
        if tried:
            found = [each for each in found if each.name not in tried]
        placed = place(ask, found, self._rule, allowed=shares, chance=chance)
        self.decided.append(cpu() - began)
        return placed
