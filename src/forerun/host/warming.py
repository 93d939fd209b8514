"""The warming pools of a host: whose calls are served from which, and how many unassigned sandboxes wait. Pure."""

from typing import Generic

from forerun.errors import Throttled
from forerun.host.effects import Effects
from forerun.host.ledger import Ledger
from forerun.host.line import SPENT, Line, Ticket
from forerun.host.pool import Pool
from forerun.host.replenish import Replenisher
from forerun.host.room import Room
from forerun.host.slots import S, Slot, State
from forerun.host.subpools import Subpools, booking_mb, is_shared


class Warming(Generic[S]):
    """Pools and sub-pools. All it is made of is shared with the dispatcher; ``turns`` are the creations it may begin at once."""

    def __init__(
        self,
        *,
        pool: Pool[S],
        ledger: Ledger,
        line: Line,
        room: Room[S],
        replenisher: Replenisher,
        turns: int,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._line = line
        self._room = room
        self._replenisher = replenisher
        self._turns = turns
        self._subpools = Subpools()

    def source(self, key: str, pool: str, account: str, now: float) -> str:
        """The pool that a call is served from: its account's sub-pool first.

        Raises ``Throttled`` when that is empty, and all it may use.
        """
        own = self._subpools.of(pool, account)
        if own is None:
            return pool
        family = self._pool.family(key)
        coming = self._pool.creating(own) > self._line.wanting(own)
        if self._pool.pooled(own) or coming or (family is not None and family.slim):
            return own
        self._replenisher.asked(own, now)
        if not self._subpools.borrows(own):
            raise Throttled(
                f"all sandboxes of the pool {own} are in use; more calls could run if more were held in it, "
                "or if it might borrow (setting host.account_pools)",
                reason=SPENT,
            )
        return pool

    def hold(self, pool: str, floor: int, *, borrow: bool) -> None:
        """Let so many of it wait at least from now on."""
        if not is_shared(pool):
            self._subpools.set(pool, borrow=borrow)
        self._replenisher.hold(pool, floor)

    def forget(self, pool: str, effects: Effects[S]) -> None:
        """None of it shall wait any more."""
        self._subpools.remove(pool)
        self._replenisher.forget(pool)
        while (slot := self._pool.oldest_unassigned(pool)) is not None:
            self._room.destroy(slot, effects)

    def take_in(self, slot: Slot[S]) -> bool:
        """Let a sandbox that was made wait unassigned; not for a sub-pool that was given up, nor without memory."""
        pool = slot.runtime
        if not (is_shared(pool) or self._subpools.knows(pool)):
            return False
        mb = booking_mb(pool)
        if not (self._ledger.held(slot) or self._ledger.book(slot, mb)):
            return False
        slot.booked_mb = mb
        return True

    def extend(self, ticket: Ticket) -> bool:
        """Where a new booking does not fit, that of the unassigned sandbox it would get may grow; it becomes the ticket's."""
        slot = self._pool.youngest_unassigned(ticket.runtime)
        if slot is None or not self._ledger.rebook(slot, ticket.memory_mb):
            return False
        self._ledger.move(slot, ticket)
        return True

    def half_empty(self, pool: str, now: float) -> bool:
        """Whether less than half of what shall wait does."""
        return 2 * self._pool.pooled(pool) < self._replenisher.target(pool, now)

    def shrink(self, now: float, effects: Effects[S]) -> None:
        """Give up some of what waits beyond its target."""
        for pool in self._replenisher.runtimes:
            surplus = self._replenisher.surplus(pool, pooled=self._pool.pooled(pool), now=now)
            for _ in range(surplus):
                if (oldest := self._pool.oldest_unassigned(pool)) is not None:
                    self._room.destroy(oldest, effects)

    def refill(self, pool: str, now: float, effects: Effects[S]) -> None:
        """Begin what it lacks, out of free memory."""
        spare = max(0, self._pool.creating(pool) - self._line.wanting(pool))
        due = self._replenisher.due(pool, pooled=self._pool.pooled(pool), creating=spare, now=now)
        turns = self._turns - self._pool.count(State.CREATING)
        mb = booking_mb(pool)
        for _ in range(min(due, turns)):
            if not self._ledger.fits(mb):
                return
            slot = self._pool.begin(pool)
            self._ledger.book(slot, mb)
            slot.booked_mb = mb
            effects.create.append(slot)
