"""The platform's own policy: what functions did at their times decides when each shall have a sandbox ready. Pure.

A sandbox is worth its memory in a tick when the chance of a call in it, times what waiting for a start costs, is at least
what holding it for the tick costs: ``hazard x start_s x price >= memory_gb x tick_s``. ``price`` is the one dial. Seconds decide
for the first minutes of a wait, minutes for some hours, the calendar beyond; leaders and bursts say how many.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic

import msgspec

from forerun.model import Expectation, Reason
from forerun.prediction.calendar import Calendar
from forerun.prediction.expectations import disjoint
from forerun.prediction.forecast import Forecast, Habits, LeaderView
from forerun.prediction.leaders import Leaders
from forerun.prediction.pairs import Pair
from forerun.prediction.policy import Cost, F
from forerun.prediction.wait import HORIZON, Packed, Wait
from forerun.prediction.waits import Chance, Waits

SECOND_S, MINUTE_S, DAY_S = 1.0, 60.0, 86_400.0
# GB-seconds of memory that one second less of waiting for a start is worth.
PRICE = 300.0
CORRELATION = 0.7
FEWEST_GAPS = 5
MISSES = 3
# How much of the largest burst remains after each smaller one.
FADING = 0.8
_REASONS = {
    "age": Reason.RECENT,
    "rhythm": Reason.PERIOD,
    "silence": Reason.RECENT,
    "own": Reason.HABIT,
    "cycle": Reason.PERIOD,
    "sequel": Reason.HABIT,
}


class _Known(Generic[F]):
    """What is known of a function. ``burst``: calls in one tick, the largest of late; ``calls``: all there were."""

    __slots__ = ("burst", "calendar", "calls", "minutes", "seconds")

    def __init__(
        self, minutes: Wait[F], seconds: Wait[F] | None, calendar: Calendar, burst: float = 1.0
    ) -> None:
        self.minutes = minutes
        self.seconds = seconds
        self.calendar = calendar
        self.burst = burst
        self.calls = 0


class Predictor(Generic[F]):
    """Implements ``Policy``. ``cost`` and ``kind`` tell of a function what it costs and how it is called; ``group``, among
    whom it may have leaders.

    ``finest_s`` is how exactly calls are told: a second live, a minute in recordings by the minute. ``revive`` makes a
    function of what ``state`` has made of it.
    """

    def __init__(  # noqa: PLR0913 what is known of functions, all by keyword
        self,
        *,
        cost: Callable[[F], Cost],
        kind: Callable[[F], str] = lambda _: "",
        group: Callable[[F], Hashable] = lambda _: "",
        finest_s: float = SECOND_S,
        price: float = PRICE,
        correlation: float = CORRELATION,
        misses: int = MISSES,
        revive: Callable[[Any], F] = lambda function: function,
    ) -> None:
        self._cost = cost
        self._kind = kind
        self._price = price
        self._misses = misses
        self._revive = revive
        self._functions: dict[F, _Known[F]] = {}
        self._minutes: Waits[F] = Waits(max(finest_s, MINUTE_S))
        self._seconds: Waits[F] | None = Waits(finest_s) if finest_s < MINUTE_S else None
        self._finest = self._minutes if self._seconds is None else self._seconds
        self._leaders: Leaders[F] = Leaders(group, correlation)
        self._asleep: dict[int, list[F]] = {}

    def __len__(self) -> int:
        return len(self._functions)

    # -- learning ------------------------------------------------------------------------------------------------

    def observe(self, function: F, at: float, count: int = 1) -> Iterable[F]:
        """See ``Policy``."""
        known = self._functions.get(function)
        minute = int(at // self._minutes.tick_s)
        if known is None:
            known = self._functions[function] = self._begin(function, at)
            known.burst, news = float(count) if count > 1 else 1.0, True
        else:
            fading = FADING * known.burst + (1 - FADING) * count
            # Most have one call at a time: they share one number.
            known.burst = max(float(count), fading) if fading > 1.0 else 1.0
            news = self._minutes.observe(known.minutes, minute)
            if self._seconds is not None and known.seconds is not None:
                tick = int(at // self._seconds.tick_s)
                news = self._seconds.observe(known.seconds, tick) or news
        known.calls += count
        if known.minutes.last == minute:
            known.calendar.note(minute)
        led = self._leaders.observe(function, int(at // self._finest.tick_s), count)
        return (function, *led) if news else led

    def _begin(self, function: F, at: float) -> _Known[F]:
        kind = self._kind(function)
        minute = int(at // self._minutes.tick_s)
        seconds = None
        if self._seconds is not None:
            seconds = self._seconds.begin(function, kind, int(at // self._seconds.tick_s))
        return _Known(self._minutes.begin(function, kind, minute), seconds, Calendar(minute))

    def advance(self, now: float) -> Iterable[F]:
        """See ``Policy``."""
        touched = self._minutes.advance(int(now // self._minutes.tick_s))
        for function in touched:
            self._lay(function, now)
        for day in [day for day in self._asleep if day <= now // DAY_S]:
            for function in self._asleep.pop(day):
                touched.append(function)
                self._lay(function, now)
        if self._seconds is not None:
            touched += self._seconds.advance(int(now // self._seconds.tick_s))
        return touched

    def _lay(self, function: F, now: float) -> None:
        """One whose wait is given up is looked at once a day while its calendar knows something."""
        known = self._functions.get(function)
        if known is not None and known.minutes.due < 0 and known.calendar.minutes:
            self._asleep.setdefault(int(now // DAY_S) + 1, []).append(function)

    # -- telling -------------------------------------------------------------------------------------------------

    def windows(self, function: F, now: float, *, far: bool = False) -> Sequence[Expectation]:
        """See ``Policy``; with ``far`` as far ahead as anything is known, which takes longer."""
        known = self._functions.get(function)
        if known is None:
            return ()
        found = [
            *self._by_seconds(known, now, far=far),
            *self._by_minutes(known, now, far=far),
            *self._by_leaders(function, now),
        ]
        return disjoint(found) if len(found) > 1 else found

    def _bar(self, function: F, tick_s: float) -> float:
        """The hazard in a tick from which on a sandbox is worth its memory."""
        cost = self._cost(function)
        worth = self._price * cost.start_ms / 1000.0
        return cost.memory_mb / 1024.0 * tick_s / worth if worth > 0.0 else math.inf

    def _by_seconds(self, known: _Known[F], now: float, *, far: bool) -> list[Expectation]:
        waits, wait = self._seconds, known.seconds
        if waits is None or wait is None:
            return []
        bar = self._bar(wait.function, waits.tick_s)
        chances = waits.chances(wait, int(now // waits.tick_s), bar, far=far)
        return [self._expectation(waits, wait, each, known.burst) for each in chances]

    def _by_minutes(self, known: _Known[F], now: float, *, far: bool) -> list[Expectation]:
        waits, wait, calendar = self._minutes, known.minutes, known.calendar
        bar = self._bar(wait.function, waits.tick_s)
        tick = int(now // waits.tick_s)
        if self._seconds is not None and known.seconds is not None:
            # Seconds decide until they give the wait up.
            sure_s = (known.seconds.last + HORIZON) * self._seconds.tick_s
            tick = max(tick, math.ceil(sure_s / waits.tick_s))
        chances = waits.chances(wait, tick, bar, calendar, far=far)
        if calendar.minutes and (far or wait.due < 0):
            tick = max(tick, wait.last + HORIZON + 1)
            end = int(now // DAY_S + 2) * int(DAY_S // waits.tick_s)
            chances += [
                Chance(at, at + 1, hazard, "cycle")
                for at, hazard in calendar.ahead(tick, end)
                if hazard >= bar
            ]
        return [self._expectation(waits, wait, each, known.burst) for each in chances]

    def _by_leaders(self, function: F, now: float) -> list[Expectation]:
        tick_s = self._finest.tick_s
        return [
            Expectation(
                since=lead.first * tick_s,
                until=lead.end * tick_s,
                probability=lead.probability,
                reason=Reason.LEADER,
                count=lead.calls,
                cause=_shown(lead.leader),
            )
            for lead in self._leaders.expected(function, int(now // tick_s))
        ]

    def _expectation(
        self, waits: Waits[F], wait: Wait[F], chance: Chance, burst: float
    ) -> Expectation:
        reason, cause = _REASONS[chance.level], ""
        if reason is not Reason.RECENT:
            period_s, degree = regularity(wait, waits.tick_s)
            if degree >= 0.5:
                reason, cause = Reason.PERIOD, f"{period_s:g}"
            elif reason is Reason.PERIOD and chance.level != "cycle":
                reason = Reason.HABIT
        return Expectation(
            since=chance.first * waits.tick_s,
            until=chance.end * waits.tick_s,
            probability=chance.probability,
            reason=reason,
            count=max(1, round(burst)),
            cause=cause,
        )

    def _waits(self, known: _Known[F]) -> list[tuple[Waits[F], Wait[F]]]:
        """By resolution, the finest first."""
        if self._seconds is None or known.seconds is None:
            return [(self._minutes, known.minutes)]
        return [(self._seconds, known.seconds), (self._minutes, known.minutes)]

    def regularity(self, function: F, now: float) -> tuple[float, float]:
        """The period of its calls in seconds and how strictly they keep it, from 0 to 1; 0 after some misses in a row."""
        known = self._functions.get(function)
        for waits, wait in () if known is None else self._waits(known):
            period_s, degree = regularity(wait, waits.tick_s)
            if degree > 0.0 and now - wait.last * waits.tick_s <= (self._misses + 0.5) * period_s:
                return period_s, degree
        return 0.0, 0.0

    def explain(self, function: F, now: float) -> Forecast | None:
        """What is expected of it and what that rests on; ``None`` for a function that was never called."""
        known = self._functions.get(function)
        if known is None:
            return None
        period_s, degree = self.regularity(function, now)
        pairs = sorted(self._leaders.of(function).items(), key=lambda each: -each[1].correlation)
        tick_s = self._finest.tick_s
        return Forecast(
            at=now,
            calls=known.calls,
            last=self._waits(known)[0][1].last * tick_s,
            burst=max(1, round(known.burst)),
            period_s=period_s,
            regularity=degree,
            habits=[
                habits
                for waits, wait in self._waits(known)
                if (habits := _habits(waits, wait, now)) is not None
            ],
            days=known.calendar.shown(),
            leaders=[
                LeaderView(
                    name=_shown(leader),
                    lag_s=round(pair.lag * tick_s, 3),
                    correlation=round(pair.correlation, 3),
                    seen=pair.n,
                    gain=round(pair.gain, 2),
                    believed=self._leaders.believed(pair),
                )
                for leader, pair in pairs
            ],
            windows=list(self.windows(function, now, far=True)),
        )

    # -- keeping -------------------------------------------------------------------------------------------------

    def functions(self) -> Iterable[F]:
        """All that are known."""
        return self._functions.keys()

    def forget(self, function: F) -> None:
        """It is no more."""
        known = self._functions.pop(function, None)
        if known is not None:
            for waits, wait in self._waits(known):
                waits.forget(wait)
        self._leaders.forget(function)

    def state(self, function: F) -> bytes:
        """What is known of it, for ``restore``; empty for a function that is not known."""
        known = self._functions.get(function)
        if known is None:
            return b""
        return _encode(
            (
                known.burst,
                known.calls,
                known.calendar.packed(),
                known.minutes.packed(),
                None if known.seconds is None else known.seconds.packed(),
                list(self._leaders.of(function).items()),
            )
        )

    def restore(self, function: F, state: bytes) -> None:
        """Take up what was known. Raises ``msgspec.DecodeError`` for what is no state."""
        burst, calls, calendar, minutes, seconds, pairs = _decode(state)
        known = self._functions[function] = _Known(
            Wait.unpack(function, minutes),
            Wait.unpack(function, seconds) if seconds and self._seconds is not None else None,
            Calendar.unpack(calendar),
            burst,
        )
        known.calls = calls
        for waits, wait in self._waits(known):
            waits.resume(wait)
        self._leaders.put(function, ((self._revive(leader), pair) for leader, pair in pairs))

    def population(self) -> bytes:
        """What functions of all kinds have taught, for ``restore_population``."""
        return _encode_tables(
            [
                [list(table.items()) for table in (waits.ages, waits.rhythms, waits.silences)]
                for waits in (self._seconds, self._minutes)
                if waits is not None
            ]
        )

    def restore_population(self, state: bytes) -> None:
        """Take it up. Raises ``msgspec.DecodeError`` for what is no such state."""
        own = [waits for waits in (self._seconds, self._minutes) if waits is not None]
        for waits, (ages, rhythms, silences) in zip(own, _decode_tables(state), strict=False):
            waits.ages.update({(kind, cls): row for (kind, cls), row in ages})
            waits.rhythms.update({((*row,), name): counts for (row, name), counts in rhythms})
            waits.silences.update(silences)


def regularity(wait: Wait[F], tick_s: float) -> tuple[float, float]:
    """Median gap in seconds, and how strictly gaps keep to it: 1 - MAD / median, not below 0."""
    if len(wait.gaps) < FEWEST_GAPS:
        return 0.0, 0.0
    gaps = sorted(wait.gaps[-16:])
    median = gaps[len(gaps) // 2]
    if median > HORIZON or median < 2:
        return 0.0, 0.0
    apart = sorted(abs(gap - median) for gap in gaps)[len(gaps) // 2]
    return median * tick_s, max(0.0, 1.0 - apart / median)


def _habits(waits: Waits[F], wait: Wait[F], now: float) -> Habits | None:
    if not wait.gaps:
        return None
    age = int(now // waits.tick_s) - wait.last
    levels = waits.hazards(wait, age) if 0 < age <= HORIZON else []
    gaps = sorted(wait.gaps)
    return Habits(
        tick_s=waits.tick_s,
        gaps=len(gaps),
        shortest_s=gaps[0] * waits.tick_s,
        median_s=gaps[len(gaps) // 2] * waits.tick_s,
        longest_s=gaps[-1] * waits.tick_s,
        age_s=age * waits.tick_s,
        chances={name: round(hazard, 4) for name, hazard in levels},
    )


def _shown(function: object) -> str:
    """The name of a function as people read it."""
    return str(getattr(function, "name", function))


_State = tuple[
    float,
    int,
    tuple[int, int, bool, list[int], list[int]],
    Packed,
    Packed | None,
    list[tuple[Any, Pair]],
]
_Tables = list[
    tuple[
        list[tuple[tuple[str, int], list[float]]],
        list[tuple[tuple[tuple[str, int, int], str], list[float]]],
        list[tuple[int, list[float]]],
    ]
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_State).decode
_encode_tables = msgspec.msgpack.Encoder().encode
_decode_tables = msgspec.msgpack.Decoder(_Tables).decode
