"""Which idle sandboxes go, and when: by age, or because memory is needed. Pure; it names them, others destroy them.

Keep-alive follows the request volume of the key: from ``min_s`` for a rare one up to ``max_s`` for a busy one. Under
memory pressure the least valuable goes first; value = request rate of the key x cost of a start / memory, shared among
the sandboxes of the key.

Memory is what the sandbox has booked: of two alike, the one that has given most of it back already stays longer.

Both orders are heaps with at most one live entry per sandbox, corrected when an entry comes up, so that using and
releasing a sandbox touches no heap. Values rise by themselves; what lowers one is told by ``demote`` or ``rerank``.

What a standby holds stays, as long as it holds. Its expected rate of calls counts in place of the past one; what was prepared
and nobody has used goes before everything else; what is provisioned never goes.
"""

import heapq
import math
from collections.abc import Iterator
from typing import Generic

from forerun.host.hold import wording
from forerun.host.slots import S, Slot, State

HALF_RATE = 1 / 60
SLACK = 64
UNUSED = 1e9
LOOK_AGAIN_S = 5.0


class Evictor(Generic[S]):
    """Orders idle sandboxes; told of each by ``arm`` when it turns idle and by ``forget`` when it dies."""

    def __init__(self, *, min_s: float, max_s: float, half_rate: float = HALF_RATE) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._half_rate = half_rate
        self._by_time: list[tuple[float, int, Slot[S]]] = []
        self._by_value: list[tuple[float, int, Slot[S]]] = []
        self._live = 0
        self._now = 0.0

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
        gain = math.log(max(slot.start_ms, 0.1)) - math.log(max(slot.booked_mb, 1))
        hold = family.hold
        if hold is not None and hold.standby.calls_per_s > 0:
            weight = family.rate.log_weight_of(hold.standby.calls_per_s, self._now)
        else:
            weight = family.rate.log_weight()
        if slot.prepared and not slot.calls:
            weight -= UNUSED
        return weight + gain - math.log(max(len(family.slots), 1))

    def arm(self, slot: Slot[S], now: float) -> None:
        """It is idle from now on. Cheap when it was before: its entries are still in place."""
        if not slot.timed:
            if not slot.ranked:
                self._live += 1
            slot.timed = True
            heapq.heappush(self._by_time, (self.ends(slot, now), slot.id, slot))
        if not slot.ranked:
            slot.ranked = True
            self._rank(slot, self.value(slot))

    def rerank(self, slot: Slot[S]) -> None:
        """It is idle, and may be worth less than before."""
        if slot.ranked:
            self._rank(slot, self.value(slot))
            self._compact()

    def demote(self, slot: Slot[S]) -> None:
        """It works, and is worth less than before: ``arm`` ranks it anew when it is idle again."""
        slot.ranked = False
        self._compact()

    def forget(self, slot: Slot[S]) -> None:
        """It dies; call once, after its state has become ``DYING``."""
        if slot.timed or slot.ranked:
            self._live -= 1
            slot.timed = slot.ranked = False
        self._compact()

    def expired(self, now: float) -> Iterator[Slot[S]]:
        """Idle sandboxes whose keep-alive has ended, longest first; the caller must discard each before it asks for the next."""
        self._now = now
        while self._by_time and self._by_time[0][0] <= now:
            slot = heapq.heappop(self._by_time)[2]
            if slot.state is State.DYING:
                continue
            if slot.state is State.IDLE and not slot.promised:
                own = self.ends(slot, now)
                ends = _held_until(slot, own)
                if ends <= now:
                    yield slot
                    continue
                if own <= now and slot.family is not None and slot.family.hold is not None:
                    slot.kept, slot.cause = True, wording(slot.family.hold.standby)
                # What holds may be over sooner than it says.
                ends = min(ends, now + LOOK_AGAIN_S)
            else:
                ends = now + max(self._min_s, 1.0)
            heapq.heappush(self._by_time, (ends, slot.id, slot))

    def ends(self, slot: Slot[S], now: float) -> float:
        """When this idle sandbox goes, as far as no standby has a say in it."""
        return min(slot.idle_since + self.keep_s(slot, now), slot.retire_at)

    def least_valuable(self) -> Slot[S] | None:
        """The idle sandbox whose loss costs least, promised ones apart; the caller must discard it. ``None`` without any."""
        heap = self._by_value
        while heap:
            entry = heapq.heappop(heap)
            if not _valid(entry):
                continue
            stale, _, slot = entry
            if slot.state is not State.IDLE or slot.promised or slot.provisioned:
                slot.ranked = False
                continue
            value = self.value(slot)
            if value > stale and heap and value > heap[0][0]:
                self._rank(slot, value)
                continue
            return slot
        return None

    def _rank(self, slot: Slot[S], value: float) -> None:
        slot.rank = value
        heapq.heappush(self._by_value, (value, slot.id, slot))

    def _compact(self) -> None:
        bound = 2 * self._live + SLACK
        if len(self._by_time) > bound:
            self._by_time = [entry for entry in self._by_time if entry[2].state is not State.DYING]
            heapq.heapify(self._by_time)
        if len(self._by_value) > bound:
            self._by_value = [entry for entry in self._by_value if _valid(entry)]
            heapq.heapify(self._by_value)


def _held_until(slot: Slot[S], own: float) -> float:
    """When this idle sandbox goes, which by the host's own rule were at ``own``."""
    family = slot.family
    hold = family.hold if family is not None else None
    if family is None or hold is None or own >= slot.retire_at:
        return own
    if slot.provisioned or family.idle <= hold.standby.idle:
        return max(own, min(hold.until, slot.retire_at))
    linger_s = hold.standby.linger_s
    return own if linger_s is None else min(slot.idle_since + linger_s, slot.retire_at)


def _valid(entry: tuple[float, int, Slot[S]]) -> bool:
    """Whether it is the latest of its sandbox's entries by value, and that lives."""
    rank, _, slot = entry
    return slot.ranked and rank == slot.rank and slot.state is not State.DYING
