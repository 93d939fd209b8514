"""Who has something, and some of them at random, at a cost that does not grow with how many there are. Pure."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

T = TypeVar("T")

_GOLDEN = 0.6180339887498949


class Holders(Generic[T]):
    """Who holds which key. A key that one alone holds, as most do, costs no container of its own."""

    def __init__(self) -> None:
        self._holders: dict[str, T | dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def add(self, key: str, holder: T) -> None:
        """It holds the key from now on."""
        known = self._holders.get(key)
        if known is None:
            self._holders[key] = holder
        elif isinstance(known, dict):
            known[holder] = None
        elif known is not holder:
            self._holders[key] = {known: None, holder: None}

    def discard(self, key: str, holder: T) -> None:
        """It does not hold it any more."""
        known = self._holders.get(key)
        if known is holder:
            del self._holders[key]
        elif isinstance(known, dict):
            known.pop(holder, None)
            if len(known) == 1:
                (self._holders[key],) = known

    def of(self, key: str) -> list[T]:
        """All of them."""
        return list(self._of(key))

    def some(self, key: str, limit: int, chance: float) -> list[T]:
        """At most ``limit`` of them, beginning anywhere; ``chance`` from 0 to 1."""
        known = self._of(key)
        if len(known) <= limit:
            return list(known)
        begin = int(chance * len(known))
        return list(islice(chain(known, known), begin, begin + limit))

    def _of(self, key: str) -> dict[T, None]:
        known = self._holders.get(key)
        if known is None:
            return {}
        return known if isinstance(known, dict) else {known: None}


class Bag(Generic[T]):
    """Members without order, any of which can be had by its number."""

    def __init__(self) -> None:
        self._members: list[T] = []
        self._places: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[T]:
        return iter(self._members)

    def __getitem__(self, number: int) -> T:
        return self._members[number]

    def add(self, member: T) -> None:
        """It belongs in from now on."""
        if member not in self._places:
            self._places[member] = len(self._members)
            self._members.append(member)

    def discard(self, member: T) -> None:
        """It does not any more."""
        place = self._places.pop(member, None)
        if place is None:
            return
        last = self._members.pop()
        if place < len(self._members):
            self._members[place] = last
            self._places[last] = place


class Rooms(Generic[T]):
    """Members by a size, so that some of those of at least a given size are drawn at once.

    Sizes are kept by their power of two: some of what is drawn may be smaller, by less than half.
    """

    def __init__(self) -> None:
        self._bags: dict[int, Bag[T]] = {}
        self._classes: dict[T, int] = {}

    def set(self, member: T, size: int) -> None:
        """It has this size from now on."""
        new, old = size.bit_length(), self._classes.get(member)
        if new == old:
            return
        if old is not None:
            self._bags[old].discard(member)
        self._classes[member] = new
        self._bags.setdefault(new, Bag()).add(member)

    def discard(self, member: T) -> None:
        """It is gone."""
        old = self._classes.pop(member, None)
        if old is not None:
            self._bags[old].discard(member)

    def some(self, size: int, limit: int, chance: float) -> list[T]:
        """At most ``limit`` different ones that have at least about this size; ``chance`` from 0 to 1."""
        least = size.bit_length()
        bags = [bag for kind, bag in self._bags.items() if kind >= least and len(bag)]
        total = sum(map(len, bags))
        if total <= limit:
            return [member for bag in bags for member in bag]
        drawn: dict[T, None] = {}
        for turn in range(limit):
            number = int((chance + turn * _GOLDEN) % 1.0 * total)
            for bag in bags:
                if number < len(bag):
                    drawn[bag[number]] = None
                    break
                number -= len(bag)
        return list(drawn)
