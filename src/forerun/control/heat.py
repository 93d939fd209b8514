"""Where the calls of the last minutes ran: counts by function and host, for whoever looks at placement.

A listener of the bus. Its memory is bounded: at most ``PAIRS`` pairs of a function and a host in each stretch of ``SLOT_S`` seconds; what is
beyond that is counted as left out.
"""

from collections import Counter
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.events import Event, ExecutionEnded

SLOT_S = 30
SLOTS = 10
WINDOW_S = SLOT_S * SLOTS
PAIRS = 5000
SHOWN = 100


class Heat(msgspec.Struct, rename="pascal"):
    """A function's calls of the last ``WINDOW_S`` seconds by host."""

    function_name: str
    calls: int
    hosts: dict[str, int]


class Placed(NamedTuple):
    """The busiest functions of an account; ``left_out`` calls are of further ones, or of pairs beyond the bound."""

    functions: list[Heat]
    left_out: int


class _Slot:
    __slots__ = ("counts", "left_out")

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], int] = {}
        self.left_out: Counter[str] = Counter()


class Heatmap:
    """``consume`` is given to the bus."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[int, _Slot] = {}

    async def consume(self, events: list[Event]) -> None:
        """Count what ran on a host."""
        at = int(self._clock.monotonic()) // SLOT_S
        slot = self._slots.get(at)
        if slot is None:
            slot = self._slots[at] = _Slot()
            for old in [each for each in self._slots if each <= at - SLOTS]:
                del self._slots[old]
        counts = slot.counts
        for event in events:
            record = event.record if isinstance(event, ExecutionEnded) else None
            if record is None or not record.host:
                continue
            pair = record.account, record.name, record.host
            if pair in counts or len(counts) < PAIRS:
                counts[pair] = counts.get(pair, 0) + 1
            else:
                slot.left_out[record.account] += 1

    def snapshot(self, account: str) -> Placed:
        """The account's functions, the busiest first, at most ``SHOWN`` of them."""
        since = int(self._clock.monotonic()) // SLOT_S - SLOTS
        found: dict[str, Counter[str]] = {}
        left_out = 0
        for at, slot in self._slots.items():
            if at <= since:
                continue
            left_out += slot.left_out[account]
            for (owner, name, host), calls in slot.counts.items():
                if owner == account:
                    found.setdefault(name, Counter())[host] += calls
        rows = [Heat(name, hosts.total(), dict(hosts)) for name, hosts in found.items()]
        rows.sort(key=lambda row: (-row.calls, row.function_name))
        return Placed(rows[:SHOWN], left_out + sum(row.calls for row in rows[SHOWN:]))
