"""What a host does next: who gets which sandbox, what is made and what is destroyed. Pure.

Every method is one synchronous step that changes the pool, the ledger and the line together and answers with
``Effects``: what the agent has to carry out. A call is served by the cheapest of: an idle sandbox of its version (used
before prepared ahead, one with all its memory before a slim one), an unassigned one of its runtime, a new one.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Generic

from forerun.errors import ForerunError, SetupFailed, Throttled
from forerun.host.effects import Effects
from forerun.host.evictor import Evictor
from forerun.host.hold import Hold, wording
from forerun.host.ledger import Ledger
from forerun.host.line import REASON, Line, Ticket
from forerun.host.outdated import Outdated
from forerun.host.pool import Pool
from forerun.host.replenish import Replenisher
from forerun.host.room import Room
from forerun.host.slots import S, Slot, State
from forerun.host.standby import Holds
from forerun.host.subpools import is_shared
from forerun.host.warming import Warming
from forerun.model import SandboxSpec, Standby, StartType


class Dispatcher(Generic[S]):
    """The decisions of one host. Times are seconds of the monotonic clock.

    ``waiting_max`` bounds the line; ``creations_max`` the sandboxes in the making;
    a sandbox serves its key for ``lifetime_s`` seconds at most. A ticket is settled once, with a
    sandbox or with ``ticket.error``. ``weigh`` answers how many bytes a sandbox holds, 0 when nobody knows.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        ledger: Ledger,
        evictor: Evictor[S],
        replenisher: Replenisher,
        waiting_max: int,
        creations_max: int,
        weigh: Callable[[S], int],
        lifetime_s: float = math.inf,
    ) -> None:
        self.pool: Pool[S] = Pool()
        self.ledger = ledger
        self.evictor = evictor
        self.replenisher = replenisher
        self.line = Line()
        self.room: Room[S] = Room(
            pool=self.pool, ledger=ledger, evictor=evictor, line=self.line, weigh=weigh
        )
        self.holds: Holds[S] = Holds(pool=self.pool, evictor=evictor, room=self.room)
        # Half of the turns at most for what nobody waits for, so that a call that comes meanwhile need not wait for its own.
        self._turns = max(1, creations_max // 2)
        self.warming: Warming[S] = Warming(
            pool=self.pool,
            ledger=ledger,
            line=self.line,
            room=self.room,
            replenisher=replenisher,
            turns=self._turns,
        )
        self.short = False
        self._waiting_max = waiting_max
        self._creations_max = creations_max
        self._lifetime_s = lifetime_s
        self._outdated = Outdated()
        self._orders: deque[str] = deque()
        self._nothing: Effects[S] = Effects()
        self._closing = False

    # -- a call and its sandbox ----------------------------------------------------------------------------------

    def ask(self, ticket: Ticket, now: float) -> Effects[S]:
        """A call for which nothing is idle with all its memory. It may be settled in this very step.

        A pool that is still half full is refilled by the next tick: a fork at this moment would make the call wait
        for the processor. Raises ``SetupFailed`` when it asks for more than the host has, ``Throttled`` when too many wait already.
        """
        if ticket.memory_mb > self.ledger.capacity_mb:
            raise SetupFailed(
                f"the function needs {ticket.memory_mb} MB, this host has {self.ledger.capacity_mb} MB for sandboxes"
            )
        effects: Effects[S] = Effects()
        self.room.now = now
        self.line.join(ticket)
        if not self.room.promise(ticket):
            self.replenisher.asked(ticket.runtime, now)
            self._serve_own(ticket.runtime, effects)
        self._advance(effects)
        ticket.waited = not ticket.settled and not ticket.booked
        if ticket.waited and self.line.lacking > self._waiting_max:
            self.room.leave(ticket)
            ticket.error = _throttled("too many calls wait for memory on this host")
            effects.settle(ticket, None)
        elif ticket.waited and ticket.impatient and self.room.lacks():
            self.room.leave(ticket)
            ticket.error = _throttled("this host has no memory free")
            effects.settle(ticket, None)
        if self.warming.half_empty(ticket.runtime, now):
            self._refill(ticket.runtime, now, effects)
        return effects

    def obstacle(self, memory_mb: int, pool: str) -> str | None:
        """Why no sandbox can be made ahead of need now; empty where calls just go first, ``None`` where nothing is in the way."""
        if memory_mb > self.ledger.capacity_mb:
            return (
                f"it needs {memory_mb} MB, this host has {self.ledger.capacity_mb} MB for sandboxes"
            )
        if self._closing or self.line.lacking or self._orders:
            return ""
        if self.short:
            return "the machine is short of memory"
        if not self.ledger.fits(memory_mb):
            return f"it needs {memory_mb} MB, {self.ledger.free_mb} MB are free"
        creating = self.pool.count(State.CREATING) >= self._turns and not self.pool.pooled(pool)
        return "" if creating or self.holds.making >= self._turns else None

    def assigned(self, slot: Slot[S], start_ms: float, now: float) -> None:
        """The code is loaded: the sandbox is busy from now on. ``start_ms`` is what the start cost.

        If its key was given up while this call was on its way, it is the only one the sandbox serves.
        """
        self.pool.assigned(slot)
        self.room.filled(slot)
        if slot.family is not None and self._outdated.knows(slot.family.key, now):
            slot.doomed = True
        slot.start_ms = start_ms
        slot.retire_at = now + self._lifetime_s
        slot.idle_since = now

    def prepared(
        self, slot: Slot[S], hold: Hold, about: Standby, *, turn: int, provisioned: bool
    ) -> bool:
        """A sandbox was made for what a hold asked in that ``turn``; its code is loaded. Whether it is still wanted."""
        slot.start, slot.cause = about.start, wording(about)
        return self.holds.fits(slot, hold, turn=turn, provisioned=provisioned)

    def called(self, slot: Slot[S], now: float) -> float:
        """A busy sandbox begins a call; what idle ones of its key have cost since the call before, in MB times seconds."""
        slot.calls += 1
        family = slot.family
        if family is None:
            return 0.0
        family.rate.note(now)
        if family.hold is not None:
            self.pool.touch(family.hold)
        cost = family.idle_mb_s + slot.booked_mb * (now - slot.idle_since)
        family.idle_mb_s = 0.0
        return cost

    def release(self, slot: Slot[S], now: float) -> Effects[S]:
        """The call has ended and the sandbox can serve its key again, unless it was given up meanwhile."""
        if slot.doomed or now >= slot.retire_at or slot.state is State.DYING:
            return self.discard(slot)
        if not self.line:
            hold = slot.family.hold if slot.family is not None else None
            if hold is not None and self.holds.surplus(slot, hold):
                return self.discard(slot)
            self._idle(slot, now)
            return self._nothing
        effects: Effects[S] = Effects()
        self.room.now = now
        heir = self.line.heir(slot.family.key) if slot.family is not None else None
        if heir is None:
            self._idle(slot, now)
            if slot.family is not None and slot.family.hold is not None:
                self.pool.touch(slot.family.hold)
        else:
            slot.idle_since = now
            heir.start = StartType.WARM if slot.calls else slot.start
            self.room.leave(heir)
            self.ledger.release(heir)
            effects.settle(heir, slot)
        self._advance(effects)
        return effects

    def discard(self, slot: Slot[S]) -> Effects[S]:
        """The sandbox must not be used again; harmless when that is known already."""
        effects: Effects[S] = Effects()
        if slot.state is not State.DYING:
            self.room.destroy(slot, effects)
            self._advance(effects)
        return effects

    def died(self, slot: Slot[S], now: float) -> Effects[S]:
        """A sandbox that waited has ended unasked. If it was prepared and never used, the next would do the same."""
        hold = slot.family.hold if slot.family is not None else None
        if hold is not None and slot.prepared and not slot.calls:
            hold.failed("the sandbox ended by itself while it waited for its first call", now)
        return self.discard(slot)

    def withdraw(self, ticket: Ticket, error: ForerunError | None = None) -> Effects[S]:
        """The call waits no more; with ``error`` its caller is told so. Nothing happens to a settled ticket."""
        effects: Effects[S] = Effects()
        if not ticket.settled:
            self.room.leave(ticket)
            self.ledger.release(ticket)
            ticket.error = error
            effects.settle(ticket, None)
            self._advance(effects)
        return effects

    # -- what became of the effects ------------------------------------------------------------------------------

    def created(self, slot: Slot[S], sandbox: S, now: float) -> Effects[S]:
        """A sandbox is there, waiting and unassigned."""
        effects: Effects[S] = Effects()
        self.replenisher.made(slot.runtime)
        self.pool.ready(slot, sandbox)
        ticket = self.line.first_wanting(slot.runtime)
        if ticket is not None:
            ticket.start = StartType.ZYGOTE if slot.zygote else StartType.COLD
            self._grant(ticket, effects)
        elif self._closing or not self.warming.take_in(slot):
            self.room.destroy(slot, effects)
        else:
            self._serve_own(slot.runtime, effects)
        self._advance(effects)
        self._refill(slot.runtime, now, effects)
        return effects

    def not_created(self, slot: Slot[S], error: ForerunError, now: float) -> Effects[S]:
        """Making it failed; the call that has waited longest for its like is told why."""
        effects: Effects[S] = Effects()
        self.replenisher.failed(slot.runtime, now)
        self.pool.discard(slot)
        self.pool.remove(slot)
        self.ledger.release(slot)
        ticket = self.line.first_yielding(slot.runtime) or self.line.first_wanting(slot.runtime)
        if ticket is not None:
            self.line.leave(ticket)
            self.ledger.release(ticket)
            ticket.error = error
            effects.settle(ticket, None)
        self._advance(effects)
        return effects

    def gone(self, slot: Slot[S]) -> Effects[S]:
        """A destroyed sandbox has left nothing; its memory is free."""
        effects: Effects[S] = Effects()
        self.pool.remove(slot)
        self.ledger.release(slot)
        self._advance(effects)
        return effects

    # -- from time to time, and on command -----------------------------------------------------------------------

    def tick(self, now: float) -> Effects[S]:
        """What time brings: refused waiters, ended keep-alives, memory given back, pools that grow or shrink.

        Call it a few times a second.
        """
        effects: Effects[S] = Effects()
        self.room.now = now
        for ticket in self.line:
            if ticket.deadline <= now:
                what = "sandbox could be made" if ticket.booked else "memory became free"
                self.room.leave(ticket)
                self.ledger.release(ticket)
                ticket.error = _throttled(f"no {what} on this host in time")
                effects.settle(ticket, None)
        self.holds.look(now, effects)
        for slot in self.evictor.expired(now):
            self.room.destroy(slot, effects)
        self.room.slim(now)
        self.warming.shrink(now, effects)
        self._advance(effects)
        for runtime in self.replenisher.runtimes:
            self._refill(runtime, now, effects)
        return effects

    def stand_by(self, spec: SandboxSpec, standby: Standby, now: float) -> Effects[S]:
        """Hold this of the version from now on; nothing of a version that was given up a moment ago."""
        effects: Effects[S] = Effects()
        self.room.now = now
        if not self._outdated.knows(spec.key, now):
            self.holds.stand_by(spec, standby, now, effects)
            self._advance(effects)
        return effects

    def hold_ready(self, runtime: str, now: float) -> Effects[S]:
        """Keep unassigned sandboxes of this runtime from now on."""
        effects: Effects[S] = Effects()
        self.replenisher.use(runtime)
        self._refill(runtime, now, effects)
        return effects

    def hold_pool(self, pool: str, floor: int, now: float, *, borrow: bool) -> Effects[S]:
        """Let so many of a pool wait at least from now on; a sub-pool of none is given up."""
        if not (floor or is_shared(pool)):
            return self.abandon(pool)
        self.warming.hold(pool, floor, borrow=borrow)
        effects: Effects[S] = Effects()
        self._refill(pool, now, effects)
        return effects

    def abandon(self, pool: str) -> Effects[S]:
        """Keep no unassigned sandboxes of this pool any more, and give up those that wait."""
        effects: Effects[S] = Effects()
        self.warming.forget(pool, effects)
        self._advance(effects)
        return effects

    def drop(self, outdated: Callable[[str], bool], now: float) -> tuple[int, Effects[S]]:
        """Sandboxes of these keys shall serve no further call: idle ones go now, working ones after their call.

        Answers how many. For a while calls of these keys may still come, and leave no sandbox behind.
        """
        effects: Effects[S] = Effects()
        count = self.room.give_up(outdated, effects)
        self.holds.drop(outdated, now, effects)
        self._outdated.add(outdated, now)
        self._advance(effects)
        return count, effects

    def relieve(self, available_mb: int, floor_mb: int) -> Effects[S]:
        """The machine has so much left. Below the floor, the least valuable idle sandboxes go, and nothing is made ahead of need."""
        effects: Effects[S] = Effects()
        self.short = available_mb < floor_mb
        if self.short:
            self.room.relieve(floor_mb - available_mb, effects)
        return effects

    def close(self) -> None:
        """Make nothing ahead of need any more."""
        self._closing = True

    # -- the steps -----------------------------------------------------------------------------------------------

    def _idle(self, slot: Slot[S], now: float) -> None:
        self.pool.release(slot, now)
        if not (slot.timed and slot.ranked):
            self.evictor.arm(slot, now)

    def _grant(self, ticket: Ticket, effects: Effects[S]) -> None:
        """An unassigned sandbox is known to wait: it is the ticket's, with the ticket's memory."""
        slot = self.pool.claim_unassigned(ticket.runtime, ticket.key)
        if slot is None:
            return
        self.room.leave(ticket)
        slot.prepared = ticket.yielding
        slot.memory_mb = slot.booked_mb = self.ledger.move(ticket, slot)
        effects.settle(ticket, slot)

    def _serve_own(self, pool: str, effects: Effects[S]) -> None:
        """What waits for one account alone serves its calls at once, though others wait for memory: it has its own."""
        if is_shared(pool):
            return
        slot, ticket = self.pool.youngest_unassigned(pool), self.line.first_lacking_of(pool)
        if slot is None or ticket is None or ticket.memory_mb > slot.booked_mb:
            return
        self.warming.extend(ticket)
        self.line.booked(ticket)
        ticket.start = StartType.POOL
        self._grant(ticket, effects)

    def _advance(self, effects: Effects[S]) -> None:
        """Move the line as far as memory, unassigned sandboxes and the bound on creations allow."""
        while (head := self.line.first_lacking()) is not None:
            slot = self.room.reunite(head)
            if slot is not None:
                self.room.leave(head)
                effects.settle(head, slot)
                continue
            if not (self.ledger.book(head, head.memory_mb) or self.warming.extend(head)):
                if self.room.squeeze(head) or self.room.recall(effects):
                    continue
                self.room.make(head, effects)
                break
            self.line.booked(head)
            if self.pool.pooled(head.runtime):
                head.start = StartType.POOL
                self._grant(head, effects)
            else:
                self._orders.append(head.runtime)
        while self._orders and self.pool.count(State.CREATING) < self._creations_max:
            runtime = self._orders.popleft()
            if self.line.wanting(runtime) > self.pool.creating(runtime):
                effects.create.append(self.pool.begin(runtime))

    def _refill(self, pool: str, now: float, effects: Effects[S]) -> None:
        """Begin what the warming pool lacks, when no call waits for the memory or for the turn."""
        if not (self._closing or self.short or self.line.lacking or self._orders):
            self.warming.refill(pool, now, effects)


def _throttled(message: str) -> Throttled:
    return Throttled(message, reason=REASON)
