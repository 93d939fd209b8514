"""How a client's limit is spread over hosts in steps: which host gets the next, which one gives one back, and what counts meanwhile. Pure.

All that is counted never exceeds what the client may have at most. What was taken from a host counts on until the host says that it
keeps to the rest, or is surely over.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from math import ceil
from typing import Generic, NamedTuple, TypeVar

from forerun.model import ShareBook

FULL = 0.75
"""Which part of its current limit a client may use on average, and still have it made smaller to that."""


def grow(book: ShareBook, hosts: Iterable[str], step: int) -> dict[str, int]:
    """Which host gets the next step, and how much it may run then; empty when the maximum is reached, or there is no host.

    ``hosts`` are those that could run it, in the order of the ring. One without any is first, then who has the fewest steps. The
    last step is what is left of the maximum.
    """
    held = {each.host: each for each in book.held}
    free = max(0, min(book.maximum - book.counted, book.room))
    left = book.maximum - book.current
    best: tuple[int, str, int] | None = None
    for host in hosts:
        has = held.get(host)
        amount, back = (has.amount, has.counted - has.amount) if has else (0, 0)
        # What counts for the host anyway costs nothing.
        gain = min(step, free + back, left)
        steps = ceil(amount / step)
        if gain > 0 and (best is None or steps < best[0]):
            best = (steps, host, amount + gain)
            if not steps:
                break
    return {best[1]: best[2]} if best else {}


def shrink(
    book: ShareBook,
    order: Sequence[str],
    step: int,
    *,
    use: float,
    gone: Collection[str] = (),
    floor: int = 1,
) -> dict[str, int]:
    """What hosts may run from now on, of those that give something back; empty when nobody does.

    ``use`` is how many calls ran at once on average. Steps go back, the last one of ``order`` first, while the rest is enough for that, and while
    more than ``floor`` steps are left. Hosts that are ``gone`` give back everything. A current limit above the maximum is made smaller.
    """
    amounts = {each.host: each.amount for each in book.held if each.amount}
    places = {host: place for place, host in enumerate(order)}
    targets = {host: 0 for host in amounts if host in gone}
    for host in targets:
        del amounts[host]
    current = sum(amounts.values())
    while current > 0:
        host = max(
            amounts, key=lambda each: (ceil(amounts[each] / step), places.get(each, 1 << 30))
        )
        last = (amounts[host] - 1) % step + 1
        beyond = current - book.maximum
        if beyond > 0:
            last = min(last, beyond)
        elif current - last < use / FULL or _steps(amounts, step) <= floor:
            break
        current -= last
        targets[host] = amounts[host] = amounts[host] - last
        if not amounts[host]:
            del amounts[host]
    return targets


def _steps(amounts: Mapping[str, int], step: int) -> int:
    return sum(ceil(amount / step) for amount in amounts.values())


def take_back(
    book: ShareBook, step: int, *, running: Mapping[str, int], dead: Collection[str]
) -> dict[str, int]:
    """At the maximum: what hosts that can run nothing more of it may run from now on, so that others get the rest.

    ``running`` are calls that run now, by those hosts; ``dead`` hosts give back everything. It counts until it is settled.
    """
    targets: dict[str, int] = {}
    wanted = step
    for each in book.held:
        if each.amount and each.host in dead:
            targets[each.host] = 0
    for each in book.held:
        runs = running.get(each.host)
        if runs is None or each.host in dead:
            continue
        unused = min(wanted, each.amount - runs)
        if unused > 0:
            targets[each.host] = each.amount - unused
            wanted -= unused
    return targets


K = TypeVar("K", bound=Hashable)


class Waits(Generic[K]):
    """Says what has stood still for so long that it is over: by the own monotonic clock of who asks, since clocks differ."""

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._seen: dict[K, tuple[Hashable, float]] = {}

    def over(self, found: Mapping[K, Hashable], now: float) -> set[K]:
        """The keys whose value has been the same for ``over_s``; keys that are not ``found`` any more are forgotten."""
        before, self._seen = self._seen, {}
        over: set[K] = set()
        for key, value in found.items():
            known = before.get(key)
            since = known[1] if known is not None and known[0] == value else now
            self._seen[key] = (value, since)
            if now - since >= self._over_s:
                over.add(key)
        return over


class Averages(NamedTuple):
    """Calls that ran at once on average: by key, and by key and host. What ran nothing is not there."""

    all: Mapping[str, float]
    on: Mapping[tuple[str, str], float]


class Use:
    """How many calls of each client ran at once over a period: on average, and no fewer than when it was looked at last."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._samples = 0

    def add(self, running: Mapping[str, Mapping[str, int]]) -> None:
        """One look at all clients: calls by host and key."""
        self._samples += 1
        self._last = {
            (key, host): calls
            for host, calls_of in running.items()
            for key, calls in calls_of.items()
        }
        for each, calls in self._last.items():
            self._sums[each] = self._sums.get(each, 0) + calls

    def take(self) -> Averages | None:
        """Since the last time; ``None`` when nobody has looked."""
        if not self._samples:
            return None
        # A load that comes is more than its average: what it has just been given is not taken from it.
        on = {
            each: max(total / self._samples, self._last.get(each, 0))
            for each, total in self._sums.items()
        }
        self._sums, self._last, self._samples = {}, {}, 0
        whole: dict[str, float] = {}
        for (key, _), calls in on.items():
            whole[key] = whole.get(key, 0.0) + calls
        return Averages(whole, on)
