"""How a simulated fleet begins, and other ways to choose a host that placement is compared with. They see hosts as they really are."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from bench.fleet_call import Call
from bench.fleet_host import KEEP_S
from bench.fleet_world import Choose, World

from forerun.scheduling import Ring

TRIED = 32
# Shares that accounts begin with are for so much more than they use on average.
SPARE = 1.3


def at_random(world: World, _: Call) -> Iterable[str]:
    """Any host, and any other when that has no room."""
    names = list(world.hosts)
    return (names[int(world.chance.random() * len(names))] for _ in range(TRIED))


def least_loaded(world: World, call: Call) -> Iterable[str]:
    """The host that runs least for its size, of those with room."""
    free = [
        host for host in _living(world) if host.booked_mb + call.ask.memory_mb <= host.memory_mb
    ]
    yield min(free or _living(world), key=lambda host: host.running / host.cpus).name


class ByHash:
    """Each version has its host; the next on the ring when that has no room."""

    def __init__(self) -> None:
        self._ring = Ring(())

    def __call__(self, world: World, call: Call) -> Iterable[str]:
        if self._ring.names != world.hosts.keys():
            self._ring = self._ring.of(world.hosts)
        return islice(self._ring.walk(call.ask.key), TRIED)


def oracle(world: World, call: Call) -> Iterable[str]:
    """An idle sandbox wherever there is one; else the least loaded host. It knows everything at once."""
    warm = [host for host in _living(world) if call.ask.key in host.idle]
    if warm:
        yield min(warm, key=lambda host: host.running / host.cpus).name
    yield from least_loaded(world, call)


def _living(world: World):
    return [host for host in world.hosts.values() if not (host.dead or host.cut)]


CHOICES: dict[str, Choose] = {
    "an oracle": oracle,
    "by hash": ByHash(),
    "least loaded": least_loaded,
    "at random": at_random,
}


def fill(world: World) -> None:
    """Let the fleet be as after a while: sandboxes wait where their calls would have been sent, and accounts have their shares."""
    traffic, chance = world.traffic, world.chance
    ring = Ring(world.hosts)
    names = list(world.hosts)
    kept: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    homes: dict[int, list[str]] = {}
    by_hash = isinstance(world.choose, ByHash)
    for function in range(traffic.functions):
        waiting = _waiting(traffic.rates[function], traffic.at_once(function), chance.random())
        if not waiting:
            continue
        ask = world.ask_of(function)
        if by_hash:
            hosts = [next(ring.walk(ask.key))]
        elif world.books is not None:
            account = traffic.account[function]
            hosts = homes.get(account) or homes.setdefault(
                account, list(_homes(world, ring, account))
            )
        else:
            hosts = names
        for _ in range(waiting):
            name = hosts[int(chance.random() * len(hosts))]
            kept[name].append((-KEEP_S * chance.random(), ask.key))
            world.hosts[name].trees[ask.trees[0]] = True
    for name, sandboxes in kept.items():
        for since, key in sorted(sandboxes):
            world.hosts[name].keep(key, since)


def _waiting(rate: float, at_once: float, drawn: float) -> int:
    if at_once > 0.2:
        return math.ceil(at_once + 2 * math.sqrt(at_once))
    return int(drawn < 1 - math.exp(-rate * KEEP_S))


def _homes(world: World, ring: Ring, account: int) -> Iterator[str]:
    books = world.books
    assert books is not None
    left = min(books.of(account).maximum, SPARE * world.need(account))
    amounts = {}
    for name in ring.walk(books.of(account).key):
        amounts[name] = min(books.step, books.of(account).maximum - sum(amounts.values()))
        left -= books.step
        if left <= 0:
            break
    books.change(account, amounts)
    yield from amounts
