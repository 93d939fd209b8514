"""On which host a call runs: hard constraints first, then whatever costs, in expected milliseconds. Pure.

What a host cannot do excludes it: it is gone or cordoned, lacks the runtime, the isolation, the zone, a share of the account, or the
memory. All else is weighed as the time that it is expected to take: the start, the way to the services that the function most likely
calls, and load. Where several come to the same, two of them are drawn and the one with less load is taken: who looks at the same old
news does not run to the same host.

Moving a function that has warm sandboxes on a worse path or on a busier host costs a start; staying costs the difference at each call.
Nobody knows how many calls will come: so it stays until what staying has cost would have paid for the start (``owed_ms``), which is
never more than twice the best in hindsight.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec

from forerun.model import START_MS, ChannelQuality, Likely, Placement

_total = itemgetter(0)

SHOWN = 4
SERVICES_MAX = 3
"""Services that are weighed for one call: the likeliest."""
TRANSFER_MAX_MS = 60_000.0
"""What carrying the bytes of one call may count at most, whatever is said of them."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for how much. ``likelihood`` and ``min_executions``: from when on a service does; all others are milliseconds.

    ``joined``: part of a start that is left when a sandbox is being prepared already. ``bring``: code that is not on the host;
    ``pool``, ``fork``, ``cold``: an unassigned sandbox that waits, one that is forked, an interpreter that is started; ``evict``:
    another must go first; ``line``: for each call that waits there for memory. ``failure`` and ``retransmit``: of a call to a service.
    ``load``: for the square of what a processor has to do beyond one call. ``affinity``: what a call's own host is worth. What differs
    by less than ``tie`` is alike. A quality older than ``stale_s`` seconds says nothing.
    """

    likelihood: float = 0.5
    min_executions: int = 20
    joined: float = 0.5
    bring: float = 100.0
    pool: float = 2.0
    fork: float = 10.0
    cold: float = 150.0
    evict: float = 30.0
    line: float = 100.0
    failure: float = 1000.0
    retransmit: float = 200.0
    load: float = 10.0
    affinity: float = 20.0
    tie: float = 2.0
    stale_s: float = 300.0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a call needs. ``pools`` are those whose unassigned sandboxes suit it, its account's own first; ``trees`` its code.

    ``isolation``, ``zone`` and ``affinity`` (a host) are empty where it does not matter. ``start_ms`` is what its init takes.
    """

    key: str
    runtime: str
    memory_mb: int
    pools: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    isolation: str = ""
    zone: str = ""
    affinity: str = ""
    start_ms: float = START_MS

    @property
    def narrow(self) -> bool:
        """Whether it may run on some of the hosts alone, whatever they have."""
        return bool(self.zone or self.isolation)

    def suits(self, host: "Candidate") -> bool:
        """Whether a host is of the kind that it may run on."""
        return (not self.zone or host.zone == self.zone) and (
            not self.isolation or host.isolation == self.isolation
        )


class Candidate:
    """A host as it is believed to be. Counts are those that it told, corrected by what was sent there since.

    ``open``: it is alive and nobody wishes it to be left. ``room_mb`` is what is free and what idle sandboxes would
    give; ``waiting`` calls wait for memory.
    ``load`` is how many calls run for each processor. ``idle`` and ``preparing`` count by version key, ``pools`` by name (a pool
    without waiting sandboxes has a zygote at least); ``ways`` are the milliseconds (``channel_ms``) of a call, by service, ``rates``
    the bytes per second of its channel where they are known.
    """

    __slots__ = (
        "free_mb",
        "idle",
        "isolation",
        "load",
        "memory_mb",
        "name",
        "open",
        "pools",
        "preparing",
        "rates",
        "room_mb",
        "runtimes",
        "trees",
        "waiting",
        "ways",
        "zone",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = False
        self.runtimes: frozenset[str] = frozenset()
        self.isolation = ""
        self.zone = ""
        self.memory_mb = 0
        self.free_mb = 0
        self.room_mb = 0
        self.waiting = 0
        self.load = 0.0
        self.idle: dict[str, int] = {}
        self.preparing: dict[str, int] = {}
        self.pools: dict[str, int] = {}
        self.trees: Collection[str] = ()
        self.ways: dict[str, float] = {}
        self.rates: dict[str, float] = {}

    def reaches(self, service: str, quality: ChannelQuality | None, rule: Rule) -> None:
        """What its channel to a service is like now; ``None`` for one that nothing is known of."""
        self.ways.pop(service, None)
        self.rates.pop(service, None)
        if quality is None or (ms := channel_ms(quality, rule)) is None:
            return
        self.ways[service] = ms
        if quality.bytes_per_s > 0:
            self.rates[service] = quality.bytes_per_s

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} open={self.open} free={self.free_mb} MB>"


Weighed = tuple[float, float, float, Candidate]
"""What a call is expected to cost on a host, what of that are the start and the channels; load is the rest."""


class Placed(NamedTuple):
    """The hosts to try, best first; never empty. ``services`` are those that counted.

    ``extra_ms`` is what the first one's channels and load cost more than the best of all, at each call.
    """

    weighed: Sequence[Weighed]
    services: Sequence[Likely]
    extra_ms: float

    @property
    def hosts(self) -> list[str]:
        """Their names, in order."""
        return [candidate.name for _, _, _, candidate in self.weighed]

    def idle_elsewhere(self, key: str, number: int) -> bool:
        """Whether an idle sandbox of the version is believed to be on the host of that number, and on a later one, too.

        Then that host is not to start another one should calls of others have been quicker: the next one is asked.
        """
        weighed = self.weighed
        if weighed[number][3].idle.get(key, 0) <= 0:
            return False
        return any(each[3].idle.get(key, 0) > 0 for each in weighed[number + 1 :])

    def placement(self, host: str) -> Placement:
        """What is kept of it in the record of a call that ran on ``host``."""
        first = self.services[0] if self.services else None
        return Placement(
            host=host,
            reason=self._reason(host),
            service=first.service if first is not None else "",
            likelihood=first.likelihood if first is not None else 0.0,
            scores={each.name: round(total, 3) for total, _, _, each in self.weighed[:SHOWN]},
        )

    def _reason(self, host: str) -> str:
        weighed = self.weighed
        _, start, nearest, best = weighed[0]
        if best.name != host:
            return f"{best.name} refused; next best"
        if len(weighed) == 1:
            return "the only host that can"
        if not self.services:
            return "warm" if start <= 0 else "cheapest start, then least load"
        service = self.services[0].service
        channels = [channel for _, _, channel, _ in weighed]
        if (further := nearest - min(channels)) > 0:
            return f"warm here: {further:.1f} ms further to {service} than a start elsewhere is worth yet"
        worst = max(channels)
        return f"nearest to {service}: {nearest:.1f} ms, elsewhere up to {worst:.1f} ms"


def qualified(likely: Sequence[Likely], rule: Rule) -> list[Likely]:
    """Those of a function's services whose channels count, likeliest first."""
    counting = [
        each
        for each in likely
        if each.likelihood >= rule.likelihood and each.executions >= rule.min_executions
    ]
    if len(counting) > 1:
        counting.sort(key=lambda each: -each.likelihood)
    return counting[:SERVICES_MAX]


def place(  # noqa: PLR0913 a call, the hosts, and all that is weighed, by keyword
    ask: Ask,
    candidates: Iterable[Candidate],
    rule: Rule,
    *,
    services: Sequence[Likely] = (),
    allowed: Collection[str] | None = None,
    owed_ms: float = 0.0,
    chance: float = 0.0,
) -> Placed | None:
    """Which hosts to try, in which order; ``None`` when none of them can now.

    ``services`` are those that count (``qualified``), ``allowed`` the hosts with a share of the account, ``owed_ms`` what calls of the
    version have paid so far for worse channels and more load, ``chance`` from 0 to 1.
    """
    able = _able(ask, candidates, allowed)
    if not able:
        return None
    channels = _channels(able, services) if services else [0.0] * len(able)
    key, affinity = ask.key, ask.affinity
    weighed = []
    least = math.inf
    for each, channel in zip(able, channels, strict=True):
        start = 0.0 if each.idle.get(key, 0) > 0 else _start_ms(each, ask, rule)
        staying = channel + load_ms(each.load, rule)
        least = min(least, staying)
        total = staying + (max(0.0, start - owed_ms) if owed_ms else start)
        if each.name == affinity:
            total -= rule.affinity
        weighed.append((total, start, channel, each))
    weighed.sort(key=_total)
    _draw(weighed, rule.tie, chance)
    _, _, channel, first = weighed[0]
    return Placed(weighed, services, channel + load_ms(first.load, rule) - least)


def load_ms(load: float, rule: Rule) -> float:
    """What a call is held up by others where so many run for each processor."""
    return rule.load * (load - 1.0) ** 2 if load > 1.0 else 0.0


def could_ever(ask: Ask, candidates: Iterable[Candidate]) -> tuple[bool, int]:
    """Whether any has its runtime, isolation and zone, and the memory of the largest of those, in MB."""
    suiting = [
        each.memory_mb for each in candidates if ask.runtime in each.runtimes and ask.suits(each)
    ]
    return bool(suiting), max(suiting, default=0)


def _able(
    ask: Ask, candidates: Iterable[Candidate], allowed: Collection[str] | None
) -> list[Candidate]:
    """Those that keep the hard constraints."""
    key, runtime, memory_mb = ask.key, ask.runtime, ask.memory_mb
    narrow = ask.narrow
    found = []
    for each in candidates:
        if not each.open or runtime not in each.runtimes or each.memory_mb < memory_mb:
            continue
        if narrow and not ask.suits(each):
            continue
        if allowed is not None and each.name not in allowed:
            continue
        if each.room_mb >= memory_mb or each.idle.get(key, 0) > 0:
            found.append(each)
    return found


def _start_ms(each: Candidate, ask: Ask, rule: Rule) -> float:
    """What a start takes where no sandbox of the version is idle."""
    start = ask.start_ms
    if each.preparing.get(ask.key, 0) > 0:
        return start * rule.joined
    trees = each.trees
    for tree in ask.trees:
        if tree not in trees:
            start += rule.bring
    start += _sandbox_ms(each, ask, rule)
    if each.free_mb < ask.memory_mb:
        start += rule.evict
    return start + rule.line * each.waiting


def _sandbox_ms(each: Candidate, ask: Ask, rule: Rule) -> float:
    """What an unassigned sandbox takes."""
    found = rule.cold
    for pool in ask.pools:
        waiting = each.pools.get(pool)
        if waiting:
            return rule.pool
        if waiting is not None:
            found = rule.fork
    return found


def _channels(able: Sequence[Candidate], services: Sequence[Likely]) -> list[float]:
    """What each one's channels to the services are expected to cost; an unknown one as much as the known ones on the average."""
    costs = [0.0] * len(able)
    for likely in services:
        weight = likely.likelihood * likely.calls
        service = likely.service
        _add(costs, weight, [each.ways.get(service) for each in able])
        if likely.carried > 0:
            _add(costs, weight, [_transfer_ms(likely, each.rates.get(service)) for each in able])
    return costs


def _add(costs: list[float], weight: float, found: Sequence[float | None]) -> None:
    known = [cost for cost in found if cost is not None]
    neutral = sum(known) / len(known) if known else 0.0
    for index, cost in enumerate(found):
        costs[index] += weight * (neutral if cost is None else cost)


def _transfer_ms(likely: Likely, rate: float | None) -> float | None:
    """What it takes until the bytes of one call are carried."""
    return min(TRANSFER_MAX_MS, likely.carried / rate * 1000.0) if rate else None


def channel_ms(quality: ChannelQuality, rule: Rule) -> float | None:
    """What one call over a channel costs beside its bytes; ``None`` where that is not known."""
    if not quality.samples or quality.age_s > rule.stale_s:
        return None
    return (
        quality.latency_ms + quality.failures * rule.failure + quality.retransmits * rule.retransmit
    )


def _draw(weighed: list[Weighed], tie: float, chance: float) -> None:
    """Of those that are as good as the first one, and as warm as the warmest of them, the less loaded of two goes first."""
    limit = weighed[0][0] + tie
    if len(weighed) == 1 or weighed[1][0] > limit:
        return
    near = [index for index, each in enumerate(weighed) if each[0] <= limit]
    warmest = min(weighed[index][1] for index in near) + tie
    near = [index for index in near if weighed[index][1] <= warmest]
    count = len(near)
    one = min(int(chance * count), count - 1)
    # The rest of the same draw says which is the other.
    other = (one + 1 + int((chance * count - one) * (count - 1))) % count if count > 1 else one
    first, second = weighed[near[one]][3], weighed[near[other]][3]
    taken = near[one] if first.load <= second.load else near[other]
    weighed.insert(0, weighed.pop(taken))
