"""Memory for calls: what idle sandboxes give back of theirs, how they get it again, and who gives way to whom. Pure.

A sandbox that has been idle for a while books no more than it holds: it is slim then. Before it serves again it books
all its version may use, so that nothing ever runs on memory that is promised to another. A call that finds only a slim
sandbox, and too little memory, waits in line like any other; the sandbox is promised to it meanwhile and gives way to
nobody.
"""

import math
from collections.abc import Callable
from itertools import islice
from typing import Generic

from forerun.errors import Throttled
from forerun.host.effects import Effects
from forerun.host.evictor import Evictor
from forerun.host.ledger import Ledger
from forerun.host.line import REASON, Line, Ticket
from forerun.host.pool import Pool
from forerun.host.slots import S, Slot, State
from forerun.host.subpools import POOLED_MB
from forerun.model import StartType

MARGIN_MB = 2
SLIM_AFTER_S = 1.0
WEIGH_AGAIN_S = 10.0
WEIGHED_AT_ONCE = 64
RELIEVED_AT_ONCE = 128
MB = 1 << 20


class Room(Generic[S]):
    """The memory of one host. ``line``, ``pool`` and ``ledger`` are shared with the dispatcher.

    ``weigh`` answers how many bytes a sandbox holds; 0 when nobody knows. ``now`` is when anything was last decided, in
    seconds of the monotonic clock, set from outside: close enough to say what idle sandboxes have cost. ``unused``
    counts those that were prepared and went without a call.
    """

    def __init__(
        self,
        *,
        pool: Pool[S],
        ledger: Ledger,
        evictor: Evictor[S],
        line: Line,
        weigh: Callable[[S], int],
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._evictor = evictor
        self._line = line
        self._weigh = weigh
        self._full: dict[Slot[S], float] = {}
        self._promises: dict[Ticket, Slot[S]] = {}
        self._holders: dict[Slot[S], Ticket] = {}
        self._promised_mb = 0
        self.now = 0.0
        self.unused = 0

    # -- idle sandboxes give back --------------------------------------------------------------------------------

    def filled(self, slot: Slot[S]) -> None:
        """It has booked all its version may use; if it is provisioned, for good."""
        if not slot.provisioned:
            self._full[slot] = -math.inf

    def pinned(self, slot: Slot[S]) -> None:
        """It is provisioned from now on: it keeps all its memory while it is idle."""
        slot.provisioned = True
        self._full.pop(slot, None)

    def unpinned(self, slot: Slot[S]) -> None:
        """It is like others again."""
        slot.provisioned = False
        self.filled(slot)

    def slim(self, now: float) -> None:
        """Sandboxes that have been idle for a while book what they hold; a bounded number at once."""
        idle_since = now - SLIM_AFTER_S
        due = (
            slot
            for slot, not_before in self._full.items()
            if slot.state is State.IDLE and slot.idle_since <= idle_since and not_before <= now
        )
        for slot in tuple(islice(due, WEIGHED_AT_ONCE)):
            self._slim(slot, now)

    def squeeze(self, head: Ticket) -> bool:
        """Let sandboxes give back at once, however short they have been idle; whether the head's memory is free now.

        So a machine that is full of sandboxes at rest destroys none of them for the next one.
        """
        fresh = (
            slot
            for slot, not_before in self._full.items()
            if slot.state is State.IDLE and not_before < 0
        )
        for slot in tuple(islice(fresh, WEIGHED_AT_ONCE)):
            self._slim(slot, slot.idle_since)
            if self._fits(head):
                return True
        return False

    def _fits(self, head: Ticket) -> bool:
        own = self._promises.get(head)
        if own is None:
            return self._ledger.fits(head.memory_mb)
        return head.memory_mb - own.booked_mb <= self._ledger.free_mb

    def _slim(self, slot: Slot[S], now: float) -> None:
        """It books what it holds and a margin."""
        held_bytes = self._weigh(slot.sandbox) if slot.sandbox is not None else 0
        del self._full[slot]
        mb = max(POOLED_MB, -(-held_bytes // MB) + MARGIN_MB)
        if held_bytes <= 0 or mb >= slot.booked_mb:
            # At the end of the queue, so that those that never shrink do not use up the turns of others.
            self._full[slot] = now + WEIGH_AGAIN_S
            return
        slot.idle_mb_s = slot.booked_mb * (self.now - slot.idle_since)
        slot.slim_since = self.now
        self._ledger.rebook(slot, mb)
        slot.booked_mb = mb
        self._pool.slim(slot)

    # -- waiting calls and their sandboxes -----------------------------------------------------------------------

    def promise(self, ticket: Ticket) -> bool:
        """Keep a slim sandbox of the call's key for it, if there is one; whether it has one."""
        if ticket in self._promises:
            return True
        if ticket.ahead_of_need or (slot := self._pool.promise(ticket.key)) is None:
            return False
        self._promises[ticket] = slot
        self._holders[slot] = ticket
        self._promised_mb += slot.booked_mb
        return True

    def reunite(self, ticket: Ticket) -> Slot[S] | None:
        """The call's turn: an idle sandbox of its key, now busy and with all its memory.

        ``None`` when there is none, or when what it gave back is not free; the sandbox is promised to the call then.
        """
        if ticket.ahead_of_need:
            return None
        slot = self._pool.claim(ticket.key)
        if slot is None and self.promise(ticket):
            slot = self._promises[ticket]
            if not self._ledger.rebook(slot, slot.memory_mb):
                return None
            self._forget(ticket, slot)
            if slot.family is not None:
                slot.family.idle_mb_s += slot.idle_cost(self.now)
            self._pool.redeem(slot)
            slot.idle_since = self.now
            slot.booked_mb = slot.memory_mb
            self._evictor.demote(slot)
            self.filled(slot)
        if slot is not None:
            ticket.start = StartType.WARM if slot.calls else slot.start
        return slot

    def leave(self, ticket: Ticket) -> None:
        """The call waits no more; what was promised to it is there for others."""
        self._line.leave(ticket)
        slot = self._promises.get(ticket)
        if slot is not None:
            self._break(ticket, slot)

    def _break(self, ticket: Ticket, slot: Slot[S]) -> None:
        self._forget(ticket, slot)
        self._pool.unpromise(slot)
        self._evictor.arm(slot, slot.idle_since)

    def _forget(self, ticket: Ticket, slot: Slot[S]) -> None:
        del self._promises[ticket]
        del self._holders[slot]
        self._promised_mb -= slot.booked_mb

    # -- who gives way -------------------------------------------------------------------------------------------

    def destroy(self, slot: Slot[S], effects: Effects[S]) -> None:
        """It gives way for good; its memory is a prospect until it is gone."""
        ticket = self._holders.get(slot)
        if ticket is not None:
            self._break(ticket, slot)
        self._full.pop(slot, None)
        family = slot.family
        if family is not None and slot.state is State.IDLE:
            family.idle_mb_s += slot.idle_cost(self.now)
            self.unused += slot.prepared and not slot.calls
        if family is not None and family.hold is not None:
            self._pool.touch(family.hold)
        self._pool.discard(slot)
        self._evictor.forget(slot)
        self._ledger.returning(slot)
        effects.destroy.append(slot)

    def give_up(self, outdated: Callable[[str], bool], effects: Effects[S]) -> int:
        """Sandboxes of these keys shall serve no further call: idle ones go now, others after it; how many."""
        count = 0
        for family in self._pool.families():
            if not outdated(family.key):
                continue
            for slot in family.slots.values():
                count += slot.state is not State.DYING
                if slot.state is State.IDLE:
                    self.destroy(slot, effects)
                else:
                    slot.doomed = True
        return count

    def recall(self, effects: Effects[S]) -> bool:
        """A preparation that has no sandbox yet gives its memory back to a call; whether there was one."""
        ticket = self._line.first_yielding()
        if ticket is None:
            return False
        self.leave(ticket)
        self._ledger.release(ticket)
        ticket.error = Throttled("a call needed the memory", reason=REASON)
        effects.settle(ticket, None)
        return True

    def make(self, head: Ticket, effects: Effects[S]) -> None:
        """Destroy idle sandboxes until what returns suffices for the whole line; for its head, unassigned ones too.

        Promised ones stay: while calls before theirs lack anything that is not about to return, none is left to promise.
        """
        ledger = self._ledger
        while self.lacks():
            slot = self._evictor.least_valuable()
            if slot is None:
                break
            self.destroy(slot, effects)
        own = self._promises.get(head)
        own_mb = own.booked_mb if own is not None else 0
        mb, count = head.memory_mb - own_mb, 0 if own is not None else 1
        if not ledger.lacks(mb, count):
            return
        pooled, pooled_mb = self._pool.unassigned(head.account)
        if ledger.lacks(max(0, mb - pooled_mb), max(0, count - pooled)):
            return
        while ledger.lacks(mb, count):
            oldest = self._pool.oldest_unassigned(account=head.account)
            if oldest is None:
                return
            self.destroy(oldest, effects)

    def lacks(self) -> bool:
        """Whether what is free and what returns is not enough for all that wait."""
        return self._ledger.lacks(
            self._line.lacking_mb - self._promised_mb, self._line.lacking - len(self._promises)
        )

    def relieve(self, mb: int, effects: Effects[S]) -> None:
        """The machine itself is short of so much: idle sandboxes go, a bounded number at once."""
        mb -= self._ledger.returning_mb
        while mb > 0 and len(effects.destroy) < RELIEVED_AT_ONCE:
            slot = self._evictor.least_valuable()
            if slot is None:
                return
            mb -= slot.booked_mb
            self.destroy(slot, effects)
