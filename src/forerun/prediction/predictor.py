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
from forerun.prediction.leaders import Leaders, Pair
from forerun.prediction.policy import Cost, F
from forerun.prediction.waits import HORIZON, Chance, Wait, Waits

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
    "own": Reason.HABIT,
    "cycle": Reason.PERIOD,
    "sequel": Reason.HABIT,
}


class _Known(msgspec.Struct, gc=False):
    """What is known of a function besides its waits. ``burst``: calls in one tick, the largest of late."""

    calendar: Calendar | None = None
    burst: float = 1.0
    calls: int = 0


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
        self._price = price
        self._misses = misses
        self._revive = revive
        self._functions: dict[F, _Known] = {}
        self._minutes: Waits[F] = Waits(max(finest_s, MINUTE_S), kind)
        self._seconds: Waits[F] | None = (
            Waits(finest_s, kind) if finest_s < self._minutes.tick_s else None
        )
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
            known = self._functions[function] = _Known(Calendar.begin(minute))
        known.calls += count
        known.burst = max(float(count), FADING * known.burst + (1 - FADING) * count)
        news = self._minutes.observe(function, minute)
        if news and known.calendar is not None:
            known.calendar.note(minute)
        if self._seconds is not None:
            news = self._seconds.observe(function, int(at // self._seconds.tick_s)) or news
        led = self._leaders.observe(function, int(at // self._finest.tick_s), count)
        if not news:
            return led
        return (function, *led)

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
        wait, known = self._minutes.get(function), self._functions.get(function)
        if wait is None or known is None or wait.due >= 0:
            return
        if known.calendar is not None and known.calendar.minutes:
            self._asleep.setdefault(int(now // DAY_S) + 1, []).append(function)

    # -- telling -------------------------------------------------------------------------------------------------

    def windows(self, function: F, now: float, *, far: bool = False) -> Sequence[Expectation]:
        """See ``Policy``; with ``far`` as far ahead as anything is known, which takes longer."""
        if function not in self._functions:
            return ()
        found = [
            *self._by_seconds(function, now, far=far),
            *self._by_minutes(function, now, far=far),
            *self._by_leaders(function, now),
        ]
        return disjoint(found) if len(found) > 1 else found

    def _bar(self, function: F, tick_s: float) -> float:
        """The hazard in a tick from which on a sandbox is worth its memory."""
        cost = self._cost(function)
        worth = self._price * cost.start_ms / 1000.0
        return cost.memory_mb / 1024.0 * tick_s / worth if worth > 0.0 else math.inf

    def _by_seconds(self, function: F, now: float, *, far: bool) -> list[Expectation]:
        if self._seconds is None:
            return []
        tick_s = self._seconds.tick_s
        bar = self._bar(function, tick_s)
        chances = self._seconds.chances(function, int(now // tick_s), bar, far=far)
        return [self._expectation(self._seconds, function, each) for each in chances]

    def _by_minutes(self, function: F, now: float, *, far: bool) -> list[Expectation]:
        tick_s = self._minutes.tick_s
        bar = self._bar(function, tick_s)
        tick = int(now // tick_s)
        if self._seconds is not None and (wait := self._seconds.get(function)) is not None:
            # Seconds decide until they give the wait up.
            tick = max(tick, math.ceil((wait.last + HORIZON) * self._seconds.tick_s / tick_s))
        calendar = self._functions[function].calendar
        chances = self._minutes.chances(function, tick, bar, calendar, far=far)
        found = [self._expectation(self._minutes, function, each) for each in chances]
        wait = self._minutes.get(function)
        if calendar is not None and wait is not None and (far or wait.due < 0):
            tick = max(tick, wait.last + HORIZON + 1)
            end = int(now // DAY_S + 2) * int(DAY_S // tick_s)
            found += [
                self._expectation(self._minutes, function, Chance(at, at + 1, hazard, "cycle"))
                for at, hazard in calendar.ahead(tick, end)
                if hazard >= bar
            ]
        return found

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

    def _expectation(self, waits: Waits[F], function: F, chance: Chance) -> Expectation:
        reason, cause = _REASONS[chance.level], ""
        if reason is not Reason.RECENT:
            period_s, degree = regularity(waits.get(function), waits.tick_s)
            if degree >= 0.5:
                reason, cause = Reason.PERIOD, f"{period_s:g}"
            elif reason is Reason.PERIOD and chance.level != "cycle":
                reason = Reason.HABIT
        return Expectation(
            since=chance.first * waits.tick_s,
            until=chance.end * waits.tick_s,
            probability=chance.probability,
            reason=reason,
            count=max(1, round(self._functions[function].burst)),
            cause=cause,
        )

    def regularity(self, function: F, now: float) -> tuple[float, float]:
        """The period of its calls in seconds and how strictly they keep it, from 0 to 1; 0 after some misses in a row."""
        for waits in (self._seconds, self._minutes):
            if waits is None:
                continue
            wait = waits.get(function)
            period_s, degree = regularity(wait, waits.tick_s)
            if wait is None or degree <= 0.0:
                continue
            if now - wait.last * waits.tick_s <= (self._misses + 0.5) * period_s:
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
            last=(wait.last * tick_s if (wait := self._finest.get(function)) else 0.0),
            burst=max(1, round(known.burst)),
            period_s=period_s,
            regularity=degree,
            habits=[
                habits
                for waits in (self._seconds, self._minutes)
                if waits is not None and (habits := _habits(waits, function, now)) is not None
            ],
            days=[] if known.calendar is None else known.calendar.shown(),
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
        self._functions.pop(function, None)
        self._minutes.forget(function)
        if self._seconds is not None:
            self._seconds.forget(function)
        self._leaders.forget(function)

    def state(self, function: F) -> bytes:
        """What is known of it, for ``restore``; empty for a function that is not known."""
        known = self._functions.get(function)
        if known is None:
            return b""
        pairs = [(leader, pair) for leader, pair in self._leaders.of(function).items()]
        waits = [
            None if waits is None or (wait := waits.get(function)) is None else _packed(wait)
            for waits in (self._seconds, self._minutes)
        ]
        return _encode((known.calendar, known.burst, known.calls, waits, pairs))

    def restore(self, function: F, state: bytes) -> None:
        """Take up what was known. Raises ``msgspec.DecodeError`` for what is no state."""
        calendar, burst, calls, waits, pairs = _decode(state)
        self._functions[function] = _Known(calendar, burst, calls)
        for own, packed in zip((self._seconds, self._minutes), waits, strict=True):
            if own is not None and packed is not None:
                own.put(function, _unpacked(packed))
        self._leaders.put(function, ((self._revive(leader), pair) for leader, pair in pairs))

    def population(self) -> bytes:
        """What functions of all kinds have taught, for ``restore_population``."""
        return _encode_tables(
            [
                [list(waits.ages.items()), list(waits.rhythms.items())]
                for waits in (self._seconds, self._minutes)
                if waits is not None
            ]
        )

    def restore_population(self, state: bytes) -> None:
        """Take it up. Raises ``msgspec.DecodeError`` for what is no such state."""
        own = [waits for waits in (self._seconds, self._minutes) if waits is not None]
        for waits, (ages, rhythms) in zip(own, _decode_tables(state), strict=False):
            waits.ages.update({(kind, cls): row for (kind, cls), row in ages})
            waits.rhythms.update({((*row,), name): counts for (row, name), counts in rhythms})


def regularity(wait: Wait | None, tick_s: float) -> tuple[float, float]:
    """Median gap in seconds, and how strictly gaps keep to it: 1 - MAD / median, not below 0."""
    if wait is None or len(wait.gaps) < FEWEST_GAPS:
        return 0.0, 0.0
    gaps = sorted(wait.gaps[-16:])
    median = gaps[len(gaps) // 2]
    if median > HORIZON or median < 2:
        return 0.0, 0.0
    apart = sorted(abs(gap - median) for gap in gaps)[len(gaps) // 2]
    return median * tick_s, max(0.0, 1.0 - apart / median)


def _habits(waits: Waits[F], function: F, now: float) -> Habits | None:
    wait = waits.get(function)
    if wait is None or not wait.gaps:
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


def _packed(wait: Wait) -> tuple[Any, ...]:
    return wait.kind, wait.last, wait.due, wait.credited, wait.gaps, wait.row


def _unpacked(packed: Sequence[Any]) -> Wait:
    kind, last, due, credited, gaps, row = packed
    return Wait(kind, last, due, credited, list(gaps), tuple(row) if row else None)


_State = tuple[
    Calendar | None,
    float,
    int,
    list[tuple[str, int, int, int, list[int], tuple[str, int, int] | None] | None],
    list[tuple[Any, Pair]],
]
_Tables = list[
    tuple[
        list[tuple[tuple[str, int], list[float]]],
        list[tuple[tuple[tuple[str, int, int], str], list[float]]],
    ]
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_State).decode
_encode_tables = msgspec.msgpack.Encoder().encode
_decode_tables = msgspec.msgpack.Decoder(_Tables).decode
