"""Variable limits: how much of what a client may run at most its hosts may run now, grown in steps while calls are refused.

A control plane remembers the shares of the clients that it serves, and hosts refuse what exceeds the newest share they know of: so
what is remembered may be old without harm. It is used for ``valid_s`` after it was last compared with the database, and for the very
start of a host that was known before it was read: one that was started again knows of no share.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping

from forerun.aio import Clock, TaskOwner
from forerun.cluster import Beat, Links, RemoteHost
from forerun.control.fleet.draining import Draining
from forerun.control.fleet.heard import Heard
from forerun.control.fleet.remembered import Clients, Key, Remembered
from forerun.control.limits import ClientLimit, HostPart, reason
from forerun.errors import StorageFailed, Throttled
from forerun.model import Phase, Share, ShareBook
from forerun.scheduling import Ring, grow, shrink, take_back
from forerun.settings import ClusterSettings
from forerun.storage.shares import DrainingShare, ShareStore

log = logging.getLogger("forerun.limits")

TRIES = 32
GROW_S = 5.0
# So long nobody asks the database again about a limit of which nothing is left.
REFUSED_S = 0.2
RETRY_AFTER_S = 1.0
DRAW_S = 2.0
DRAWN_MOST = 10_000
# A host needs a moment to end what runs when its lease is over; clocks of machines run differently fast.
END_S = 2.0
DRIFT = 1.02

_NOTHING: Mapping[str, Share] = {}


class _Turns:
    """Those who want one client to grow: one at a time."""

    __slots__ = ("callers", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.callers = 0


class FleetLimits:
    """Implements ``Limits`` over many hosts. ``start`` then ``close``, once each; ``heard`` is to be told of every beat."""

    def __init__(
        self, store: ShareStore, links: Links, clock: Clock, settings: ClusterSettings
    ) -> None:
        self._store = store
        self._links = links
        self._clock = clock
        self.step = settings.share
        lease_s = settings.lease_s
        self._pause_s = lease_s / 6
        self.valid_s = 2 * lease_s
        """Seconds that what is remembered may be used, and leases of work renewed, after the database was last looked into."""
        self.over_s = (2 * self.valid_s + 2 * (lease_s + END_S)) * DRIFT
        """Seconds after which a host that no control plane hears is surely over."""
        self._looked = float("-inf")
        # How many connections hosts have made so far; on each it is another start of the host, maybe.
        self._came = 0
        self.heard_of = Heard()
        self._draining = Draining(
            store, links, self.heard_of, clock, lease_s=lease_s + END_S, over_s=self.over_s
        )
        self._clients = Clients()
        self._growing: dict[Key, _Turns] = {}
        self._drawn: dict[Key, float] = {}
        self._ring = Ring(())
        self._owner = TaskOwner("limits")

    # -- for each call -------------------------------------------------------------------------------------------

    def hosts(self, account: str, function: str, reserved: int | None) -> Mapping[str, Share]:
        """See ``Limits``; nothing when nothing is remembered that may be used: ``grow`` reads it."""
        return self._usable((account, function if reserved is not None else ""))

    def _usable(self, key: Key) -> Mapping[str, Share]:
        client = self._clients.get(key)
        if client is None:
            return _NOTHING
        now = self._clock.monotonic()
        if now - max(self._looked, client.read_at) > self.valid_s:
            return _NOTHING
        if client.checked != self._came and not self._same_starts(client):
            return _NOTHING
        client.used_at = now
        return client.shares

    def _same_starts(self, client: Remembered) -> bool:
        """Whether its hosts are those of the time before it was read; looked at once for each host that came since."""
        remotes = self._links.hosts
        for host, incarnation in client.starts:
            remote = remotes.get(host)
            if remote is not None and remote.info.incarnation != incarnation:
                return False
        client.checked = self._came
        return True

    async def grow(
        self,
        account: str,
        function: str,
        reserved: int | None,
        *,
        full: Collection[str] = (),
        tried: Mapping[str, Share] | None = None,
    ) -> bool:
        """See ``Limits``. ``tried`` is what ``hosts`` said when the call was refused, so that what has grown since then is used first.

        Also true when others let hosts run more. Calls of one client wait for each other here.
        """
        key = (account, function if reserved is not None else "")
        seen = self._usable(key) if tried is None else tried
        turns = self._growing.setdefault(key, _Turns())
        turns.callers += 1
        try:
            async with asyncio.timeout(GROW_S), turns.lock:
                if _more(self._usable(key), seen, full):
                    return True
                client = self._clients.get(key)
                if client is not None and client.refuses(full, self._clock.monotonic()):
                    return False
                return await self._grow(key, seen, full)
        except TimeoutError:
            raise StorageFailed(
                f"The limit of {account} was not read within {GROW_S:g} s."
            ) from None
        finally:
            turns.callers -= 1
            if not turns.callers:
                del self._growing[key]

    def draw(self, account: str, function: str, reserved: int | None, host: str) -> None:
        """See ``Limits``; at most once in ``DRAW_S`` for each client."""
        key = (account, function if reserved is not None else "")
        now = self._clock.monotonic()
        if now - self._drawn.get(key, -DRAW_S) < DRAW_S or host in self._usable(key):
            return
        if len(self._drawn) >= DRAWN_MOST:
            self._drawn.clear()
        self._drawn[key] = now
        self._owner.spawn(self._draw(key, host), name="draw")

    async def _draw(self, key: Key, host: str) -> None:
        began, starts = self._clock.monotonic(), self._starts()
        try:
            book = await self._store.book(*key)
            client = self._clients.put(key, book, starts, began)
            if host in client.shares or not self._takes(host):
                # Others have given it one meanwhile.
                return
            if steps := grow(book, [host], self.step):
                await self._give(book, steps, starts)
        except StorageFailed as error:
            log.warning("%s got no share of %s: %s", host, key[0], error.message)

    def used_up(self, account: str, function: str, reserved: int | None) -> bool:
        """See ``Limits``."""
        client = self._clients.get((account, function if reserved is not None else ""))
        return client is None or _at_maximum(client.book)

    def exhausted(self, account: str, function: str, reserved: int | None) -> Throttled:
        """See ``Limits``; the message names the current and the maximum limit."""
        client = self._clients.get((account, function if reserved is not None else ""))
        book = client.book if client is not None else None
        current = book.current if book is not None else 0
        maximum = book.maximum if book is not None else reserved or 0
        whose = f"function {function}" if reserved is not None else f"account {account}"
        message = f"Rate Exceeded. The current limit of {whose} is {current} concurrent executions, its maximum {maximum}"
        if current < maximum:
            message += "; no host has room for more of it now"
        return Throttled(f"{message}.", reason=reason(reserved), retry_after_s=RETRY_AFTER_S)

    # -- growing -------------------------------------------------------------------------------------------------

    async def _grow(self, key: Key, seen: Mapping[str, Share], full: Collection[str]) -> bool:
        for _ in range(TRIES):
            began, starts = self._clock.monotonic(), self._starts()
            book = await self._store.book(*key)
            client = self._clients.put(key, book, starts, began)
            if _more(client.shares, seen, full):
                return True
            steps = grow(book, self._candidates(book.key, full), self.step)
            if steps:
                if await self._give(book, steps, starts):
                    return True
            elif not await self._take_back(book, full):
                client.refuse(self._clock.monotonic() + REFUSED_S, full)
                return False
        return False

    async def _give(
        self, book: ShareBook, steps: Mapping[str, int], starts: Mapping[str, str]
    ) -> bool:
        """Whether hosts may run that much from now on: not when others have changed the account meanwhile."""
        if not await self._store.change(book, steps):
            return False
        self._clients.grown(book, steps, starts)
        return True

    async def _take_back(self, book: ShareBook, full: Collection[str]) -> bool:
        """Hosts that can use no more of it give back what they do not use; whether any of that is free now."""
        if not _at_maximum(book) or not any(
            self._alive(host) for host in self._ring.names.difference(full)
        ):
            return False
        runs = {
            host: self.heard_of.running_on(host, book.key) for host in full if self._alive(host)
        }
        running = {host: calls for host, calls in runs.items() if calls is not None}
        dead = {held.host for held in book.held if not self._alive(held.host)}
        amounts = take_back(book, self.step, running=running, dead=dead)
        if not amounts:
            return False
        if not await self._store.change(book, amounts):
            return True
        epoch = book.version + 1
        rows = [
            DrainingShare(book.account, book.function, host, amount, epoch, 0)
            for host, amount in amounts.items()
            if host not in dead
        ]
        kept = await self._draining.tell(rows)
        await self._store.settle(kept)
        return bool(kept)

    def _candidates(self, key: str, full: Collection[str]) -> Iterator[str]:
        names = self._links.hosts.keys()
        if names != self._ring.names:
            self._ring = self._ring.of(names)
        return (host for host in self._ring.walk(key) if host not in full and self._takes(host))

    def _alive(self, host: str) -> bool:
        remote = self._links.hosts.get(host)
        return remote is not None and remote.alive

    def _takes(self, host: str) -> bool:
        remote = self._links.hosts.get(host)
        return remote is not None and remote.alive and remote.info.phase is Phase.ACTIVE

    # -- remembering ---------------------------------------------------------------------------------------------

    def _starts(self) -> dict[str, str]:
        return {name: remote.info.incarnation for name, remote in self._links.hosts.items()}

    def heard(self, host: RemoteHost, beat: Beat) -> None:
        """A host's beat has come, of which nobody knows yet: no call has gone there on a new connection."""
        self._came += beat.whole
        self.heard_of.beat(host.name, beat, self._clock.monotonic())

    def may_renew(self) -> bool:
        """Whether leases of work may be renewed: only while others can learn that this control plane hears its hosts."""
        return self._clock.monotonic() - self._looked <= self.valid_s

    async def start(self) -> None:
        """Begin to look. Raises ``StorageFailed``."""
        await self.look()
        self._owner.spawn(self._keep_looking(), name="look")

    async def close(self) -> None:
        """Stop looking."""
        await self._owner.close()

    async def _keep_looking(self) -> None:
        while True:
            await self._clock.sleep(self._pause_s)
            try:
                await self.look()
            except StorageFailed as error:
                log.warning("limits were not compared with the database: %s", error.message)

    async def look(self) -> None:
        """Compare what is remembered with the database, and see to what hosts shall give back. Raises ``StorageFailed``."""
        began = self._clock.monotonic()
        await self._draining.look(max(self._looked, began - self.valid_s))
        starts = self._starts()
        self._clients.forget_idle(began)
        versions = await self._store.versions(self._clients.accounts())
        for account, version in versions.items():
            since = self._clients.version(account)
            if since is not None and version > since:
                changed = await self._store.changed(account, since=since)
                self._clients.update(account, (since, version), changed, starts)
        self._looked = began
        self.heard_of.forget(before=began - 4 * self.over_s)

    # -- giving back ---------------------------------------------------------------------------------------------

    async def changed(self, account: str, function: str) -> None:
        """A reservation was changed, or a function deleted: what hosts have too much is taken back. Raises ``StorageFailed``."""
        for name in ("", function):
            for _ in range(TRIES):
                book = await self._store.book(account, name)
                amounts = shrink(book, self.order(book), self.step, use=float("inf"))
                if not amounts or await self._store.change(book, amounts):
                    break

    def order(self, book: ShareBook) -> list[str]:
        """The hosts of a client in the order of the ring; those that it does not know are last."""
        missing = {held.host for held in book.held}
        found: list[str] = []
        if len(missing) > 1:
            for host in self._ring.walk(book.key):
                if host in missing:
                    found.append(host)
                    missing.remove(host)
                    if not missing:
                        break
        return [*found, *sorted(missing)]

    # -- showing -------------------------------------------------------------------------------------------------

    async def list(self, account: str) -> list[ClientLimit]:
        """The account's clients: what it shares, and each reservation. Raises ``StorageFailed``."""
        shown: list[ClientLimit] = []
        for book in await self._store.of_account(account):
            parts = [
                HostPart(
                    host=held.host,
                    limit=held.amount,
                    counted=held.counted,
                    running=self.heard_of.running_on(held.host, book.key) or 0,
                )
                for held in book.held
            ]
            shown.append(
                ClientLimit(
                    function=book.function,
                    maximum=book.maximum,
                    current=book.current,
                    running=sum(part.running for part in parts),
                    hosts=tuple(parts),
                )
            )
        return shown


def _more(shares: Mapping[str, Share], seen: Mapping[str, Share], full: Collection[str]) -> bool:
    """Whether hosts with room may run more than was seen."""
    for host, share in shares.items():
        before = seen.get(host)
        if host not in full and (before is None or share.amount > before.amount):
            return True
    return False


def _at_maximum(book: ShareBook) -> bool:
    return book.counted >= book.maximum or book.room <= 0
