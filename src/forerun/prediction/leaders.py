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

import msgspec

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


class _Watched(Generic[F]):
    """One function; most have neither leaders nor followers and share the empty ones."""

    __slots__ = ("followers", "leaders", "level", "onset", "peak", "pending", "tick")

    def __init__(self) -> None:
        self.level = 0.0
        self.tick = 0
        self.onset = -REACH
        self.peak = 0
        self.leaders: dict[F, Pair] | None = None
        self.followers: list[F] | None = None
        self.pending: tuple[Lead, ...] = ()

    def led_by(self, leader: F, pair: Pair) -> Pair:
        """Take note of a leader."""
        if self.leaders is None:
            self.leaders = {}
        self.leaders[leader] = pair
        return pair

    def leads(self, follower: F) -> None:
        """Take note of a follower."""
        if self.followers is None:
            self.followers = []
        if follower not in self.followers:
            self.followers.append(follower)

    def alone(self, follower: F) -> None:
        """It has one follower less."""
        if self.followers is not None and follower in self.followers:
            self.followers.remove(follower)
            self.followers = self.followers or None


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
        return {} if watched is None else watched.leaders or {}

    def believed(self, pair: Pair) -> bool:
        """Whether it is acted upon."""
        return pair.n >= FEWEST_PAIRS and pair.correlation >= self._threshold

    def put(self, function: F, pairs: Iterable[tuple[F, Pair]]) -> None:
        """Take up what was known."""
        watched = self._functions.setdefault(function, _Watched())
        for leader, pair in pairs:
            watched.led_by(leader, pair)
            self._functions.setdefault(leader, _Watched()).leads(function)

    def forget(self, function: F) -> None:
        """It is no more."""
        watched = self._functions.pop(function, None)
        if watched is None:
            return
        for leader in watched.leaders or ():
            self._functions[leader].alone(function)
        for follower in watched.followers or ():
            (self._functions[follower].leaders or {}).pop(function, None)

    def _follow(self, function: F, watched: "_Watched[F]", tick: int) -> None:
        """Whose onsets came before this one."""
        known = watched.leaders or {}
        for leader, pair in tuple(known.items()):
            pair.follows += 1
            if pair.follows > FEWEST_PAIRS and 4 * pair.n < pair.follows:
                # It came before by chance, and now and then.
                del known[leader]
                self._functions[leader].alone(function)
        recent = self._recent.setdefault(self._group(function), deque(maxlen=RECENT_ONSETS))
        seen: set[F] = {function}
        for at, leader in reversed(recent):
            if tick - at > REACH:
                break
            other = self._functions.get(leader)
            if at == tick or leader in seen or other is None:
                continue
            seen.add(leader)
            found = known.get(leader) or self._candidate(function, watched, leader)
            if found is not None:
                found.followed(tick - at, watched.peak / max(1, other.peak))
        recent.append((tick, function))

    def _candidate(self, function: F, watched: "_Watched[F]", leader: F) -> Pair | None:
        """Watch another pair, in place of the one that is correlated least if there are many; ``None`` if all are good."""
        known = watched.leaders or {}
        if len(known) >= CANDIDATES:
            least = min(known, key=lambda each: known[each].correlation)
            if known[least].correlation >= self._threshold:
                return None
            del known[least]
            self._functions[least].alone(function)
        self._functions[leader].leads(function)
        return watched.led_by(leader, Pair(leads=1, follows=1))

    def _lead(self, function: F, watched: "_Watched[F]", tick: int) -> list[F]:
        """Whom this onset leads."""
        led: list[F] = []
        for follower in watched.followers or ():
            other = self._functions[follower]
            pair = (other.leaders or {})[function]
            believed = self.believed(pair)
            probability = (pair.n + 1) / (pair.leads + 2)
            pair.leads += 1
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
