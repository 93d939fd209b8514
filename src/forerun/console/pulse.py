"""What functions did within the last minute, for whoever looks now: counted from every execution, kept for a minute."""

from collections import Counter
from math import log2

import msgspec

from forerun.aio import Clock
from forerun.events import Event, ExecutionEnded

SLOT_S = 5
SLOTS = 12
WINDOW_S = SLOT_S * SLOTS
# Durations fall into classes that are 9 % apart; a quantile is at most half of that off.
_CLASSES = 8
_SHORTEST_MS = 0.01


class PulseRow(msgspec.Struct):
    """A function's last minute. Quantiles are milliseconds of the calls that ran; ``starts`` counts by start type."""

    calls: int
    errors: int
    throttles: int
    p50: float
    p95: float
    starts: dict[str, int]


class Pulse(msgspec.Struct):
    """``at`` is epoch seconds; functions that were not called are left out."""

    at: float
    functions: dict[str, PulseRow]


class _Slot:
    __slots__ = ("calls", "durations", "errors", "starts", "throttles")

    def __init__(self) -> None:
        self.calls = self.errors = self.throttles = 0
        self.starts: dict[str, int] = {}
        self.durations: dict[int, int] = {}


_Slots = dict[int, _Slot]


class PulseBoard:
    """A listener of the bus, and what it counted. Its memory is that of the functions called within a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: dict[str, dict[str, _Slots]] = {}
        self._swept = 0

    async def consume(self, events: list[Event]) -> None:
        """Count what ended."""
        at = int(self._clock.now()) // SLOT_S
        for event in events:
            if isinstance(event, ExecutionEnded):
                self._count(event, at)
        if at != self._swept:
            self._swept = at
            self._sweep(at)

    def snapshot(self, account: str, name: str = "") -> Pulse:
        """The last minute of an account's functions, or of one of them."""
        now = self._clock.now()
        since = int(now) // SLOT_S - SLOTS
        functions = self._accounts.get(account, {})
        names = functions if not name else [name] if name in functions else []
        rows = {each: row for each in names if (row := _row(functions[each], since)) is not None}
        return Pulse(at=now, functions=rows)

    def _count(self, event: ExecutionEnded, at: int) -> None:
        record = event.record
        try:
            slot = self._accounts[record.account][record.name][at]
        except KeyError:
            functions = self._accounts.setdefault(record.account, {})
            slot = functions.setdefault(record.name, {})[at] = _Slot()
        slot.calls += 1
        status, start = record.status, record.start_type
        if status != "success":
            if status == "throttled":
                slot.throttles += 1
                return
            slot.errors += 1
        if start is not None:
            slot.starts[start] = slot.starts.get(start, 0) + 1
            shown = round(_CLASSES * log2(max(record.duration_ms, _SHORTEST_MS)))
            slot.durations[shown] = slot.durations.get(shown, 0) + 1

    def _sweep(self, at: int) -> None:
        for account, functions in list(self._accounts.items()):
            for name, slots in list(functions.items()):
                for old in [each for each in slots if each <= at - SLOTS]:
                    del slots[old]
                if not slots:
                    del functions[name]
            if not functions:
                del self._accounts[account]


def _row(slots: _Slots, since: int) -> PulseRow | None:
    fresh = [slot for at, slot in slots.items() if at > since]
    if not fresh:
        return None
    durations: Counter[int] = Counter()
    starts: Counter[str] = Counter()
    for slot in fresh:
        durations.update(slot.durations)
        starts.update(slot.starts)
    return PulseRow(
        calls=sum(slot.calls for slot in fresh),
        errors=sum(slot.errors for slot in fresh),
        throttles=sum(slot.throttles for slot in fresh),
        p50=_quantile(durations, 0.5),
        p95=_quantile(durations, 0.95),
        starts=starts,
    )


def _quantile(durations: Counter[int], q: float) -> float:
    left = q * durations.total()
    for each in sorted(durations):
        left -= durations[each]
        if left <= 0:
            return float(2 ** (each / _CLASSES))
    return 0.0
