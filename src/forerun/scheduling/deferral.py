"""When events that may wait are run: while the machine has room, is no busier than usual, and no cheaper hour comes in time.

Pure: what is free, what goes on and the time are arguments. Loads are ordinary calls per minute, hours those of the day
in UTC, moments epoch seconds.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

HOUR_S = 3600
HOURS = 24
# So much busier than usual is still usual; and so few calls a minute make no hour busy or worth waiting for.
TOLERANCE = 1.25
FEW = 60.0
# An hour is worth waiting for when it is usually at most half as busy, and enough of it comes before the latest start.
CHEAPER = 0.5
ENOUGH_S = 600.0
# A day counts half as much as one that came a week later.
HALF_LIFE_S = 7 * 86_400.0
# What a run is supposed to need as long as nobody has asked which function it is.
ROUGH_MB = 512
# An event is due before its latest start by this, or by a quarter of its patience: it takes a moment to start.
LEAD_S = 5.0


def due_at(accepted_at: float, patience_s: float) -> float:
    """When an event that may wait ``patience_s`` seconds becomes due like any other."""
    return accepted_at + patience_s - min(LEAD_S, patience_s / 4)


class Usual:
    """How busy each hour of the day usually is."""

    def __init__(self, loads: Mapping[int, float] | None = None) -> None:
        """``loads`` by hour from 0 to 23; hours that are not known are left out."""
        self._loads = dict(loads or {})

    @classmethod
    def learn(cls, hours: Iterable[tuple[float, float]], now: float) -> Self:
        """From past hours, each the moment it began and its load; recent days count more."""
        sums: dict[int, tuple[float, float]] = {}
        for at, load in hours:
            weight = math.exp2(-max(0.0, now - at) / HALF_LIFE_S)
            total, weights = sums.get(_hour(at), (0.0, 0.0))
            sums[_hour(at)] = total + weight * load, weights + weight
        return cls({hour: total / weights for hour, (total, weights) in sums.items() if weights})

    def at(self, moment: float) -> float | None:
        """The usual load of that hour; ``None`` when it is not known."""
        return self._loads.get(_hour(moment))

    def cheaper_from(self, now: float) -> float:
        """When the next hour begins that is worth waiting for; infinity when none of the day is."""
        load = self.at(now)
        if load is None or load <= FEW:
            return math.inf
        begin = now // HOUR_S * HOUR_S
        for ahead in range(1, HOURS):
            other = self.at(begin + ahead * HOUR_S)
            if other is not None and other <= CHEAPER * load:
                return begin + ahead * HOUR_S
        return math.inf


class Room(NamedTuple):
    """What there is: MB for sandboxes, those booked, and by account how many calls run and how many may."""

    memory_mb: int
    booked_mb: int
    accounts: Mapping[str, tuple[int, int]]


class Turn(NamedTuple):
    """``most`` events of ``accounts`` may be run now, of those whose latest start is before ``before``.

    ``held_by`` says why the others wait; empty when nothing holds them.
    """

    most: int = 0
    accounts: tuple[str, ...] = ()
    before: float = math.inf
    held_by: str = ""


class Deferral:
    """Decides; ``idle_percent`` of the memory and of an account's concurrency must be free, ``at_once`` may run at once."""

    def __init__(self, *, idle_percent: float, at_once: int) -> None:
        self._idle = idle_percent / 100
        self._at_once = at_once

    def decide(self, now: float, room: Room, *, running: int, load: float, usual: Usual) -> Turn:
        """What may run now besides the ``running`` deferrable events; ``load`` is what goes on besides them."""
        if running >= self._at_once:
            return Turn(held_by=f"{running} deferrable events run already")
        spare_mb = room.memory_mb * (1 - self._idle) - room.booked_mb
        if spare_mb < 0:
            share = 100 * room.booked_mb / max(1, room.memory_mb)
            return Turn(held_by=f"{share:.0f} % of the memory is booked")
        expected = usual.at(now)
        if expected is not None and load > max(FEW, TOLERANCE * expected):
            return Turn(
                held_by=f"{load:.0f} calls a minute are more than the {expected:.0f} usual at this hour"
            )
        accounts = tuple(
            account for account, calls in room.accounts.items() if self._has_room(*calls)
        )
        if not accounts:
            return Turn(held_by="too much of the account's concurrency is in use")
        cheaper = usual.cheaper_from(now)
        return Turn(
            most=min(self._at_once - running, max(1, int(spare_mb / ROUGH_MB))),
            accounts=accounts,
            before=cheaper + ENOUGH_S,
            held_by=f"the hour from {_clock(cheaper)} UTC is cheaper" if cheaper < math.inf else "",
        )

    def _has_room(self, running: int, limit: int) -> bool:
        return running <= limit * (1 - self._idle) and running < limit


def _hour(moment: float) -> int:
    return int(moment // HOUR_S) % HOURS


def _clock(moment: float) -> str:
    return f"{_hour(moment):02d}:00"
