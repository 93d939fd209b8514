"""What a function knows of those whose calls come before its own, in few bytes: there are millions of them. Pure."""

import math
from array import array
from collections.abc import Iterator
from typing import Generic

import msgspec

from forerun.prediction.policy import F

_NUMBERS = 7


class Pair(msgspec.Struct, array_like=True, gc=False):
    """A leader as its follower knows it: how often it led, lag and spread in ticks, calls of the follower for each of its own.

    ``leads`` and ``follows`` count the onsets of both since the pair is watched; ``strays`` those at another lag.
    """

    n: int = 0
    lag: float = 0.0
    spread: float = 0.0
    gain: float = 1.0
    leads: int = 0
    follows: int = 0
    strays: int = 0

    @property
    def correlation(self) -> float:
        """From 0 to 1."""
        both = self.leads * self.follows
        return min(1.0, self.n / math.sqrt(both)) if both else 0.0

    @property
    def slack(self) -> float:
        """Ticks around the lag in which the follower is to be expected."""
        return max(1.0, 2.0 * self.spread)

    def followed(self, lag: int, gain: float) -> None:
        """Another onset of the follower came ``lag`` ticks after the leader's."""
        off = lag - self.lag
        if self.n and abs(off) > max(2.0, 3.0 * self.spread, 0.25 * self.lag):
            self.strays += 1
            if self.strays > self.n:
                self.n, self.lag, self.spread, self.gain, self.strays = 1, lag, 0.0, gain, 0
            return
        self.n += 1
        share = max(1.0 / self.n, 0.1)
        self.lag += off * share
        self.spread += (abs(lag - self.lag) - self.spread) * share
        self.gain += (gain - self.gain) * share


# What most functions share: nobody leads them.
_NO_NUMBERS: "array[float]" = array("f")


class Pairs(Generic[F]):
    """A function's leaders, a handful: names in a tuple, numbers in one array."""

    __slots__ = ("_leaders", "_numbers")

    def __init__(self) -> None:
        self._leaders: tuple[F, ...] = ()
        self._numbers = _NO_NUMBERS

    def pairs(self) -> Iterator[tuple[F, Pair]]:
        """Leaders and what is known of them; the pairs are copies."""
        for place, leader in enumerate(self._leaders):
            yield leader, self._at(place)

    def pair(self, leader: F) -> Pair | None:
        """A copy of what is known of a leader."""
        return self._at(self._leaders.index(leader)) if leader in self._leaders else None

    def keep(self, leader: F, pair: Pair) -> None:
        """It leads, and this is known of it."""
        numbers = array("f", msgspec.structs.astuple(pair))
        if leader in self._leaders:
            at = self._leaders.index(leader) * _NUMBERS
            self._numbers[at : at + _NUMBERS] = numbers
        else:
            self._leaders += (leader,)
            # The empty one is shared.
            self._numbers = self._numbers + numbers

    def drop(self, leader: F) -> None:
        """It leads no more."""
        if leader in self._leaders:
            at = self._leaders.index(leader) * _NUMBERS
            self._leaders = tuple(each for each in self._leaders if each != leader)
            del self._numbers[at : at + _NUMBERS]

    def _at(self, place: int) -> Pair:
        at = place * _NUMBERS
        n, lag, spread, gain, *counts = self._numbers[at : at + _NUMBERS]
        return Pair(int(n), lag, spread, gain, *map(int, counts))
