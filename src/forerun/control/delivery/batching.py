"""Which messages go to a function together, and when. Pure: the time is an argument.

A batch is full by number or by bytes, or its window has passed. Messages of one group stay in the order they came: while
a batch with some of a group runs, the rest of that group waits, and is let go when something of it failed.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

import msgspec

from forerun.sources import Pulled

# The largest payload of a synchronous invocation, as on AWS, and what stands around and between the records.
PAYLOAD_BYTES = 6 * 1024 * 1024
HEAD, TAIL = b'{"Records":[', b"]}"
AROUND = len(HEAD) + len(TAIL) - 1


def payload_of(batch: Sequence[Pulled]) -> bytes:
    """What the function is given: the records as the source made them, never decoded."""
    return HEAD + b",".join([message.record for message in batch]) + TAIL


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How large a batch may be, and for how many seconds its first message may wait for others."""

    messages: int = 10
    window_s: float = 0.0
    payload_bytes: int = PAYLOAD_BYTES


class Cut(NamedTuple):
    """``batch`` may run now. ``lost`` are hidden no more: they, and those of their group behind them, come again."""

    batch: list[Pulled]
    lost: list[Pulled]


class _Held(NamedTuple):
    message: Pulled
    hidden_until: float


class Batcher:
    """Holds what was taken and does not run yet. Times are epoch seconds.

    What has no group is of the group ``""``, which is never busy.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._groups: dict[str, deque[_Held]] = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()
        self._count = 0
        self._ready_count = 0
        self._ready_bytes = 0
        # Before that nothing is lost, so that nothing has to be looked through.
        self._all_hidden_until = inf

    def __len__(self) -> int:
        """How many messages wait, for whatever reason."""
        return self._count

    def add(self, messages: Iterable[Pulled], *, hidden_until: float) -> None:
        """These were taken, in this order; from ``hidden_until`` on somebody else may take them."""
        self._all_hidden_until = min(self._all_hidden_until, hidden_until)
        for message in messages:
            group = message.group
            held = self._groups.get(group)
            if held is None:
                held = self._groups[group] = deque()
                if group not in self._busy:
                    self._ready.append(group)
            held.append(_Held(message, hidden_until))
            self._count += 1
            if group not in self._busy:
                self._account(message, 1)

    def due(self, now: float) -> float:
        """When the first message that may run has waited for its window; infinity when none may run.

        Where a window is long for the time that the source hides what is taken, half of that time is left to run it. What was
        taken later than ``now``, before the clock was set back, has waited.
        """
        return min(
            (self._end_of_window(self._groups[group][0], now) for group in self._ready),
            default=inf,
        )

    def _end_of_window(self, held: _Held, now: float) -> float:
        taken = held.message.taken_at
        if taken > now:
            return now
        return taken + min(self._limits.window_s, max(0.0, held.hidden_until - taken) / 2)

    def next(self, now: float) -> Cut:
        """The next batch, empty when none is to run now; its groups are busy until ``ended``."""
        lost = self._forget_lost(now)
        if not self._ready_count or not (self._full() or now >= self.due(now)):
            return Cut([], lost)
        return Cut(self._cut(), lost)

    def ended(self, batch: Sequence[Pulled], failed: Iterable[str] = ()) -> list[Pulled]:
        """A batch is over. ``failed`` are the groups of which something comes again; what waits of them is let go."""
        dropped: list[Pulled] = []
        failures = set(failed)
        for group in {message.group for message in batch if message.group}:
            self._busy.discard(group)
            held = self._groups.get(group)
            if held is None:
                continue
            self._ready.append(group)
            for item in held:
                self._account(item.message, 1)
            if group in failures:
                dropped += self._drop(group)
        return dropped

    def clear(self) -> list[Pulled]:
        """Let go of all that waits; what is busy stays so."""
        waiting = [item.message for held in self._groups.values() for item in held]
        self._groups.clear()
        self._ready.clear()
        self._count = self._ready_count = self._ready_bytes = 0
        return waiting

    def _account(self, message: Pulled, sign: int) -> None:
        self._ready_count += sign
        self._ready_bytes += sign * (len(message.record) + 1)

    def _full(self) -> bool:
        return (
            self._ready_count >= self._limits.messages
            or self._ready_bytes + AROUND > self._limits.payload_bytes
        )

    def _cut(self) -> list[Pulled]:
        """The first messages that fit; a single one always does."""
        batch: list[Pulled] = []
        room = self._limits.payload_bytes - AROUND
        while self._ready and len(batch) < self._limits.messages:
            group = self._ready[0]
            message = self._groups[group][0].message
            room -= len(message.record) + 1
            if batch and room < 0:
                break
            batch.append(message)
            self._take_first(group)
            if group:
                self._busy.add(group)
        self._leave_busy()
        return batch

    def _leave_busy(self) -> None:
        """Only the group that was cut last can have more that waits."""
        if self._ready and self._ready[0] in self._busy:
            for item in self._groups[self._ready.popleft()]:
                self._account(item.message, -1)

    def _take_first(self, group: str) -> Pulled:
        """Remove the first message of the first ready group."""
        held = self._groups[group]
        message = held.popleft().message
        self._count -= 1
        self._account(message, -1)
        if not held:
            del self._groups[group]
            self._ready.remove(group)
        return message

    def _forget_lost(self, now: float) -> list[Pulled]:
        if now < self._all_hidden_until:
            return []
        lost: list[Pulled] = []
        for group in list(self._ready):
            held = self._groups[group]
            if group and any(item.hidden_until <= now for item in held):
                lost += self._drop(group)
            elif not group:
                lost += self._without(held, now)
        items = (item for held in self._groups.values() for item in held)
        self._all_hidden_until = min((item.hidden_until for item in items), default=inf)
        return lost

    def _without(self, held: deque[_Held], now: float) -> list[Pulled]:
        """Keep of what has no group what is hidden still."""
        lost = []
        for _ in range(len(held)):
            item = held.popleft()
            if item.hidden_until > now:
                held.append(item)
            else:
                lost.append(item.message)
                self._count -= 1
                self._account(item.message, -1)
        if not held:
            del self._groups[""]
            self._ready.remove("")
        return lost

    def _drop(self, group: str) -> list[Pulled]:
        dropped = []
        while group in self._groups:
            dropped.append(self._take_first(group))
        return dropped
