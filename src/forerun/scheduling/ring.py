"""A ring of hosts: where a client's first host is, and which comes next. Pure.

Each host stands at many places of the ring, and a client begins at its own. So the hosts of two clients are mostly different ones,
and a host that comes or goes moves few clients.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from struct import unpack

PLACES = 64
"""Places of one host: so many that hosts have nearly equal parts of the ring."""

_PER_HASH = 8


# Above so many new hosts it is quicker to begin anew.
_FEW = 32


class Ring:
    """Hosts by name, each once; it is not changed."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        # A place that two hosts share by chance belongs to the first by name, whatever the order they came in.
        owners = {
            place: name for name in sorted(self.names, reverse=True) for place in _places(name)
        }
        self._places = sorted(owners)
        self._hosts = [owners[place] for place in self._places]

    def of(self, names: Iterable[str]) -> "Ring":
        """The ring of other hosts; where only a few are others it costs little."""
        wanted = frozenset(names)
        gone, new = self.names - wanted, wanted - self.names
        if len(new) > _FEW:
            return Ring(wanted)
        ring = Ring(())
        ring.names = wanted
        kept = [index for index, name in enumerate(self._hosts) if name not in gone]
        ring._places = [self._places[index] for index in kept]
        ring._hosts = [self._hosts[index] for index in kept]
        for name in new:
            for place in _places(name):
                index = bisect_left(ring._places, place)
                ring._places.insert(index, place)
                ring._hosts.insert(index, name)
        return ring

    def walk(self, key: str) -> Iterator[str]:
        """Every host once, from the key's own place onward: the same for the same key and hosts."""
        hosts = self._hosts
        begin = bisect_right(self._places, _hash(key))
        seen: set[str] = set()
        for index in range(begin, begin + len(hosts)):
            name = hosts[index % len(hosts)]
            if name not in seen:
                seen.add(name)
                yield name
                if len(seen) == len(self.names):
                    return


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8, person=b"key").digest())


@lru_cache(maxsize=4096)
def _places(name: str) -> tuple[int, ...]:
    found: list[int] = []
    for number in range(PLACES // _PER_HASH):
        digest = blake2b(name.encode(), salt=number.to_bytes(8), person=b"host").digest()
        found.extend(unpack(f">{_PER_HASH}Q", digest))
    return tuple(found)
