"""Which idle sandboxes go, and when: by age, or because memory is needed. Pure; it names them, others destroy them.

Keep-alive follows the request volume of the key: from ``min_s`` for a rare one up to ``max_s`` for a busy one. Under
memory pressure the least valuable goes first; value = request rate of the key x cost of a start / memory, shared among
the sandboxes of the key.

Both orders are heaps with at most one live entry per sandbox, corrected when an entry comes up, so that using and
releasing a sandbox touches no heap.
"""

import heapq
import math
from typing import Generic

from forerun.host.slots import S, Slot, State

HALF_RATE = 1 / 60
SLACK = 64


class Evictor(Generic[S]):
    """Orders idle sandboxes; told of each by ``arm`` when it turns idle and by ``forget`` when it dies."""

    def __init__(self, *, min_s: float, max_s: float, half_rate: float = HALF_RATE) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._half_rate = half_rate
        self._by_time: list[tuple[float, int, Slot[S]]] = []
        self._by_value: list[tuple[float, int, Slot[S]]] = []
        self._live = 0

    def keep_s(self, slot: Slot[S], now: float) -> float:
        """Seconds this sandbox may stay idle, at the present rate of its key; half way at one call a minute."""
        family = slot.family
        rate = family.rate.per_second(now) if family else 0.0
        return self._min_s + (self._max_s - self._min_s) * rate / (rate + self._half_rate)

    def value(self, slot: Slot[S]) -> float:
        """What is lost by destroying it, as a logarithm; comparable between sandboxes at any moment."""
        family = slot.family
        if family is None:
            return -math.inf
        gain = math.log(max(slot.start_ms, 0.1)) - math.log(max(slot.memory_mb, 1))
        return family.rate.log_weight() + gain - math.log(max(len(family.slots), 1))

    def arm(self, slot: Slot[S], now: float) -> None:
        """It is idle from now on. Cheap when it was before: its entries are still in place."""
        if not slot.timed:
            if not slot.ranked:
                self._live += 1
            slot.timed = True
            heapq.heappush(self._by_time, (self._ends(slot, now), slot.id, slot))
        if not slot.ranked:
            slot.ranked = True
            heapq.heappush(self._by_value, (self.value(slot), slot.id, slot))

    def forget(self, slot: Slot[S]) -> None:
        """It dies; call once, after its state has become ``DYING``."""
        if slot.timed or slot.ranked:
            self._live -= 1
            slot.timed = slot.ranked = False
        bound = 2 * self._live + SLACK
        if len(self._by_time) > bound:
            self._by_time = _living(self._by_time)
        if len(self._by_value) > bound:
            self._by_value = _living(self._by_value)

    def expired(self, now: float) -> list[Slot[S]]:
        """Idle sandboxes whose keep-alive has ended, longest first; the caller must discard them all."""
        out: list[Slot[S]] = []
        heap = self._by_time
        while heap and heap[0][0] <= now:
            slot = heapq.heappop(heap)[2]
            if slot.state is State.DYING:
                continue
            if slot.state is State.IDLE:
                ends = self._ends(slot, now)
                if ends <= now:
                    out.append(slot)
                    continue
            else:
                ends = now + max(self._min_s, 1.0)
            heapq.heappush(heap, (ends, slot.id, slot))
        return out

    def _ends(self, slot: Slot[S], now: float) -> float:
        return min(slot.idle_since + self.keep_s(slot, now), slot.retire_at)

    def least_valuable(self) -> Slot[S] | None:
        """The idle sandbox whose loss costs least, or none when nothing is idle; the caller must discard it."""
        heap = self._by_value
        while heap:
            stale, _, slot = heapq.heappop(heap)
            if slot.state is State.DYING:
                continue
            if slot.state is not State.IDLE:
                slot.ranked = False
                continue
            value = self.value(slot)
            if value > stale and heap and value > heap[0][0]:
                heapq.heappush(heap, (value, slot.id, slot))
                continue
            return slot
        return None


def _living(heap: list[tuple[float, int, Slot[S]]]) -> list[tuple[float, int, Slot[S]]]:
    kept = [entry for entry in heap if entry[2].state is not State.DYING]
    heapq.heapify(kept)
    return kept
