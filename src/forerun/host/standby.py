"""What a host holds ready of each version: what is missing, what is too much, and when to look again. Pure.

Holds are looked at when something happened to their sandboxes and when something of theirs is due, never all of them.
What was claimed is replaced only when it stays away for a while: most calls are shorter than a start.
"""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Generic

from forerun.host.effects import Effects
from forerun.host.evictor import Evictor
from forerun.host.face import Standing
from forerun.host.hold import Hold
from forerun.host.pool import Pool
from forerun.host.room import Room
from forerun.host.slots import Family, S, Slot, State
from forerun.model import SandboxSpec, Standby

PATIENCE_S = 1.0
HOLDS_MAX = 20_000
LOOKED_AT_ONCE = 1000


class Holds(Generic[S]):
    """The holds of one host. ``pool``, ``evictor`` and ``room`` are shared with the dispatcher.

    ``making`` sandboxes are being prepared now; so many were ``prepared`` ever.
    """

    def __init__(self, *, pool: Pool[S], evictor: Evictor[S], room: Room[S]) -> None:
        self._pool = pool
        self._evictor = evictor
        self._room = room
        self._holds: dict[str, Hold] = {}
        self._due: list[tuple[float, int, Hold]] = []
        self._numbers = itertools.count()
        self._hungry: dict[str, Hold] = {}
        self.making = 0
        self.prepared = 0

    def __len__(self) -> int:
        return len(self._holds)

    def get(self, key: str) -> Hold | None:
        """What holds for this key now."""
        return self._holds.get(key)

    def stand_by(
        self, spec: SandboxSpec, standby: Standby, now: float, effects: Effects[S]
    ) -> None:
        """Hold this from now on; one that asks for nothing, or whose lease is over, ends what held.

        Beyond ``HOLDS_MAX`` versions nothing is held.
        """
        hold = self._holds.get(spec.key)
        if not _asks(standby):
            if hold is not None:
                self._end(hold, now, effects)
            return
        if hold is not None:
            turn = hold.turn
            hold.replace(spec, standby, now)
            family = self._family(hold)
            self._release_provisioned(family, standby.total, now)
            self._give_up(hold, family, now, effects, fewer=hold.turn > turn)
            self._rerank(family)
        elif len(self._holds) < HOLDS_MAX:
            hold = self._holds[spec.key] = Hold(spec, standby, now)
            self._rerank(self._pool.pin(spec.key, hold))
        else:
            return
        self._look(hold, now, effects)

    def drop(self, outdated: Callable[[str], bool], now: float, effects: Effects[S]) -> None:
        """Nothing is held of these keys any more."""
        for hold in [hold for key, hold in self._holds.items() if outdated(key)]:
            self._end(hold, now, effects)

    def look(self, now: float, effects: Effects[S]) -> None:
        """At those that something has happened to, and those that something is due of; a bounded number at once."""
        touched = self._pool.touched
        for _ in range(min(len(touched), LOOKED_AT_ONCE)):
            hold = touched.pop()
            hold.touched = False
            self._look(hold, now, effects)
        for _ in range(LOOKED_AT_ONCE):
            if not self._due or self._due[0][0] > now:
                break
            at, _, hold = heapq.heappop(self._due)
            if at == hold.due_at:
                hold.due_at = math.inf
                self._look(hold, now, effects)

    def surplus(self, slot: Slot[S], hold: Hold) -> bool:
        """Whether a sandbox that has just ended its call shall go at once."""
        family = slot.family
        standby = hold.standby
        if standby.linger_s is None:
            return False
        self._pool.touch(hold)
        if slot.provisioned or family is None:
            return False
        return standby.linger_s <= 0 and family.idle >= standby.idle

    # -- what is missing -----------------------------------------------------------------------------------------

    def hungry(self, limit: int) -> list[Hold]:
        """Those that lack sandboxes, a bounded number; each is told of again after another ``look`` or ``starve``."""
        keys = list(itertools.islice(self._hungry, limit))
        return [self._hungry.pop(key) for key in keys]

    def starve(self, hold: Hold) -> None:
        """What it lacks could not be begun now."""
        if self._holds.get(hold.spec.key) is hold:
            self._hungry[hold.spec.key] = hold

    def lacks(self, hold: Hold) -> tuple[int, int]:
        """How many sandboxes to begin: provisioned ones, and others."""
        standby = hold.standby
        family = self._family(hold)
        provisioned = 0
        if standby.total:
            held = sum(_lives(slot) and slot.provisioned for slot in family.slots.values())
            provisioned = max(0, standby.total - held - hold.making_provisioned)
        others = standby.idle - family.idle - hold.making - provisioned
        return provisioned, max(0, others)

    def begin(self, hold: Hold, *, provisioned: bool) -> None:
        """One more is being prepared for it."""
        hold.making += 1
        hold.making_provisioned += provisioned
        self.making += 1

    def ended(self, hold: Hold, *, provisioned: bool) -> None:
        """One that was being prepared is ready, or has failed."""
        hold.making -= 1
        hold.making_provisioned -= provisioned
        self.making -= 1
        self._pool.touch(hold)

    def fits(self, slot: Slot[S], hold: Hold, *, turn: int, provisioned: bool) -> bool:
        """Whether a sandbox that has just been prepared for a hold is still wanted; it is provisioned then, if it shall be.

        Not after what was begun in another ``turn``, unless it is missing. Ask after ``ended``.
        """
        current = self._holds.get(hold.spec.key)
        if current is None or slot.doomed:
            return False
        self.prepared += 1
        more, others = self.lacks(current)
        if provisioned and more:
            self._room.pinned(slot)
            return True
        return bool(others) or (current is hold and turn == hold.turn and not provisioned)

    def standing(self, key: str) -> Standing:
        """How it is with the sandboxes of a key."""
        hold = self._holds.get(key)
        family = self._pool.family(key)
        idle = working = provisioned = 0
        for slot in family.slots.values() if family is not None else ():
            if not _lives(slot):
                continue
            idle += slot.state is State.IDLE
            working += slot.state is State.BUSY or not (slot.prepared or slot.state is State.IDLE)
            provisioned += slot.provisioned
        return Standing(
            idle=idle,
            working=working,
            preparing=hold.making if hold else 0,
            provisioned=provisioned,
            failure=hold.failure if hold else "",
        )

    def standings(self) -> dict[str, Standing]:
        """How it is with all keys that something holds for."""
        return {key: self.standing(key) for key in self._holds}

    # -- the steps -----------------------------------------------------------------------------------------------

    def _family(self, hold: Hold) -> Family[S]:
        return self._pool.pin(hold.spec.key, hold)

    def _look(self, hold: Hold, now: float, effects: Effects[S]) -> None:
        if self._holds.get(hold.spec.key) is not hold:
            return
        if now >= hold.until:
            self._end(hold, now, effects)
            return
        due = self._give_up(hold, self._family(hold), now, effects, fewer=False)
        if not any(self.lacks(hold)):
            hold.lacking_since = math.inf
            hold.eager = False
            self._hungry.pop(hold.spec.key, None)
        else:
            hold.lacking_since = min(hold.lacking_since, now)
            patient = -math.inf if hold.eager else hold.lacking_since + PATIENCE_S
            at = max(hold.retry_at, patient)
            if at <= now:
                self._hungry[hold.spec.key] = hold
            else:
                due = min(due, at)
        self._remind(hold, min(due, hold.until))

    def _remind(self, hold: Hold, at: float) -> None:
        if at < hold.due_at:
            hold.due_at = at
            heapq.heappush(self._due, (at, next(self._numbers), hold))

    def _end(self, hold: Hold, now: float, effects: Effects[S]) -> None:
        """It holds no more: what nobody used goes, and what the host's own rule would have given up already."""
        family = self._family(hold)
        self._release_provisioned(family, 0, now)
        idle = [slot for slot in family.slots.values() if _waits(slot)]
        del self._holds[hold.spec.key]
        self._hungry.pop(hold.spec.key, None)
        self._pool.unpin(hold.spec.key)
        hold.turn += 1
        for slot in idle:
            if _unused(slot) or self._evictor.ends(slot, now) <= now:
                self._room.destroy(slot, effects)
            else:
                self._evictor.rerank(slot)

    def _give_up(
        self, hold: Hold, family: Family[S], now: float, effects: Effects[S], *, fewer: bool
    ) -> float:
        """Let go what waits without need, longest first; when the next is due. ``fewer``: less is wanted than before."""
        standby = hold.standby
        over = family.idle - standby.idle
        linger_s = standby.linger_s
        if over <= 0 or (linger_s is None and not fewer):
            return math.inf
        idle = [slot for slot in family.slots.values() if _waits(slot) and not slot.provisioned]
        idle.sort(key=lambda slot: (not (fewer and _unused(slot)), slot.idle_since))
        for slot in idle[:over]:
            if not (fewer and _unused(slot)):
                own = linger_s is None
                ends = self._evictor.ends(slot, now) if own else slot.idle_since + (linger_s or 0.0)
                if ends > now:
                    return ends
            self._room.destroy(slot, effects)
        return math.inf

    def _release_provisioned(self, family: Family[S], total: int, now: float) -> None:
        """Beyond ``total`` they are like others from now on; those that wait unused first, those that work last."""
        provisioned = [slot for slot in family.slots.values() if slot.provisioned and _lives(slot)]
        provisioned.sort(key=lambda slot: (slot.state is not State.IDLE, slot.calls))
        for slot in provisioned[: max(0, len(provisioned) - total)]:
            self._room.unpinned(slot)
            if slot.state is State.IDLE:
                self._evictor.arm(slot, now)

    def _rerank(self, family: Family[S]) -> None:
        for slot in family.slots.values():
            if slot.state is State.IDLE:
                self._evictor.rerank(slot)


def _asks(standby: Standby) -> bool:
    """Whether it says anything about its version."""
    wants = standby.idle or standby.total or standby.linger_s is not None
    return bool(wants) and standby.lease_s > 0


def _lives(slot: Slot[S]) -> bool:
    """Whether it will serve another call."""
    return slot.state is not State.DYING and not slot.doomed


def _waits(slot: Slot[S]) -> bool:
    return slot.state is State.IDLE and not slot.promised


def _unused(slot: Slot[S]) -> bool:
    return slot.prepared and not slot.calls
