"""Functions whose calls are followed by calls of others: what precedes a spike, so that it is expected by another's. Pure.

Not rates but onsets are compared: ticks in which a function is called clearly more often than lately, or at all after a
silence. A pair is believed when onsets of the one are followed by onsets of the other at a steady lag, often enough, and
hardly without each other: their correlation is ``n / sqrt(onsets of the leader x onsets of the follower)``, which for rare
events is Pearson's.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple

from forerun.prediction.pairs import Pair, Pairs
from forerun.prediction.policy import F

# Ticks between two onsets that are looked at as a pair.
REACH = 256
# Ticks that the usual rate is remembered for, and that one onset lasts at most.
LEVEL_TICKS = 60.0
REFRACTORY = 10
RECENT_ONSETS = 32
CANDIDATES = 4
FEWEST_PAIRS = 5


class Lead(NamedTuple):
    """That so many calls of a follower begin in ticks ``first`` to before ``end``, because of ``leader``."""

    first: int
    end: int
    probability: float
    calls: int
    leader: Hashable


class _Watched(Pairs[F]):
    """One function: its leaders, its followers, and how often it is called of late."""

    __slots__ = ("followers", "level", "onset", "peak", "pending", "tick")

    def __init__(self) -> None:
        super().__init__()
        self.level = 0.0
        self.tick = 0
        self.onset = -REACH
        self.peak = 0
        self.followers: tuple[F, ...] = ()
        self.pending: tuple[Lead, ...] = ()

    def leads(self, follower: F) -> None:
        """Take note of a follower."""
        if follower not in self.followers:
            self.followers += (follower,)

    def alone(self, follower: F) -> None:
        """It has one follower less."""
        if follower in self.followers:
            self.followers = tuple(each for each in self.followers if each != follower)


class Leaders(Generic[F]):
    """All pairs of a platform; ``group`` is within whom functions may lead each other: an account.

    ``threshold`` is the correlation from which a leader is believed.
    """

    def __init__(self, group: Callable[[F], Hashable], threshold: float) -> None:
        self._group = group
        self._threshold = threshold
        self._functions: dict[F, _Watched[F]] = {}
        self._recent: dict[Hashable, deque[tuple[int, F]]] = {}

    def observe(self, function: F, tick: int, count: int) -> Iterable[F]:
        """So many calls in this tick; the functions that are expected because of it."""
        watched = self._functions.get(function)
        if watched is None:
            watched = self._functions[function] = _Watched()
        tick = max(tick, watched.tick)  # clocks go back
        level = watched.level * math.exp((watched.tick - tick) / LEVEL_TICKS)
        watched.level, watched.tick = level + count / LEVEL_TICKS, tick
        if tick - watched.onset <= REFRACTORY:
            watched.peak = max(watched.peak, count)
            return ()
        if count <= 3.0 * level + 3.0 * math.sqrt(level) + 0.5:
            return ()
        watched.onset, watched.peak = tick, count
        self._follow(function, watched, tick)
        return self._lead(function, watched, tick)

    def expected(self, function: F, tick: int) -> tuple[Lead, ...]:
        """What is expected of it from ``tick`` on."""
        watched = self._functions.get(function)
        if watched is None or not watched.pending:
            return ()
        watched.pending = tuple(lead for lead in watched.pending if lead.end > tick)
        return watched.pending

    def of(self, function: F) -> dict[F, Pair]:
        """Those that may lead it, believed or not."""
        watched = self._functions.get(function)
        return {} if watched is None else dict(watched.pairs())

    def believed(self, pair: Pair) -> bool:
        """Whether it is acted upon."""
        return pair.n >= FEWEST_PAIRS and pair.correlation >= self._threshold

    def put(self, function: F, pairs: Iterable[tuple[F, Pair]]) -> None:
        """Take up what was known."""
        watched = self._functions.setdefault(function, _Watched())
        for leader, pair in pairs:
            watched.keep(leader, pair)
            self._functions.setdefault(leader, _Watched()).leads(function)

    def forget(self, function: F) -> None:
        """It is no more."""
        watched = self._functions.pop(function, None)
        if watched is None:
            return
        for leader, _ in watched.pairs():
            self._functions[leader].alone(function)
        for follower in watched.followers:
            self._functions[follower].drop(function)

    def _follow(self, function: F, watched: "_Watched[F]", tick: int) -> None:
        """Whose onsets came before this one."""
        known = dict(watched.pairs())
        for leader, pair in tuple(known.items()):
            pair.follows += 1
            if pair.follows > FEWEST_PAIRS and 4 * pair.n < pair.follows:
                # It came before by chance, and now and then.
                del known[leader]
                self._part(function, watched, leader)
        recent = self._recent.setdefault(self._group(function), deque(maxlen=RECENT_ONSETS))
        seen: set[F] = {function}
        for at, leader in reversed(recent):
            if tick - at > REACH:
                break
            other = self._functions.get(leader)
            if at == tick or leader in seen or other is None:
                continue
            seen.add(leader)
            found = known.get(leader) or self._candidate(function, watched, leader, known)
            if found is not None:
                found.followed(tick - at, watched.peak / max(1, other.peak))
        for leader, pair in known.items():
            watched.keep(leader, pair)
        recent.append((tick, function))

    def _part(self, function: F, watched: "_Watched[F]", leader: F) -> None:
        watched.drop(leader)
        self._functions[leader].alone(function)

    def _candidate(
        self, function: F, watched: "_Watched[F]", leader: F, known: dict[F, Pair]
    ) -> Pair | None:
        """Watch another pair, in place of the one that is correlated least if there are many; ``None`` if all are good."""
        if len(known) >= CANDIDATES:
            least = min(known, key=lambda each: known[each].correlation)
            if known[least].correlation >= self._threshold:
                return None
            del known[least]
            self._part(function, watched, least)
        self._functions[leader].leads(function)
        pair = known[leader] = Pair(leads=1, follows=1)
        return pair

    def _lead(self, function: F, watched: "_Watched[F]", tick: int) -> list[F]:
        """Whom this onset leads."""
        led: list[F] = []
        for follower in watched.followers:
            other = self._functions[follower]
            pair = other.pair(function)
            if pair is None:
                continue
            believed = self.believed(pair)
            probability = (pair.n + 1) / (pair.leads + 2)
            pair.leads += 1
            other.keep(function, pair)
            if not believed:
                continue
            at = tick + pair.lag
            lead = Lead(
                first=max(tick + 1, math.floor(at - pair.slack)),
                end=math.ceil(at + pair.slack) + 1,
                probability=probability,
                calls=max(1, round(pair.gain * watched.peak)),
                leader=function,
            )
            live = [each for each in other.pending if each.end > tick]
            other.pending = (*live[-7:], lead)
            led.append(follower)
        return led
