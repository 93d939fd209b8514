"""All sandboxes of a host and the legal moves between their states. Pure: who acts on the answers is elsewhere.

Promises: a sandbox is chosen and marked in one step, so nobody else can choose it meanwhile; it serves one key only and
never becomes unassigned again; every move costs the same however many sandboxes there are.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic

from forerun.host.hold import Hold
from forerun.host.rates import Rate
from forerun.host.slots import Family, S, Slot, State
from forerun.host.subpools import booking_mb, is_shared, owner_of

REMEMBERED_KEYS = 10_000
RATE_MEMORY_S = 300.0


class IllegalMove(Exception):
    """A sandbox was asked to leave a state it is not in: a fault of the caller, never of the load."""


class Pool(Generic[S]):
    """The table of sandboxes with its indexes: idle by key (with all their memory, or slim), unassigned by runtime."""

    def __init__(self) -> None:
        self._slots: dict[int, Slot[S]] = {}
        self._families: dict[str, Family[S]] = {}
        self._retired: OrderedDict[str, Family[S]] = OrderedDict()
        self._pinned: dict[str, Family[S]] = {}
        self._pooled: dict[str, dict[int, Slot[S]]] = {}
        self._creating: dict[str, int] = {}
        self._counts = dict.fromkeys(State, 0)
        self._next = 1
        self.touched: list[Hold] = []

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot[S]]:
        return iter(tuple(self._slots.values()))

    def count(self, state: State) -> int:
        """How many sandboxes are in this state."""
        return self._counts[state]

    def pooled(self, runtime: str) -> int:
        """How many unassigned sandboxes of the runtime wait."""
        return len(self._pooled.get(runtime, ()))

    def creating(self, runtime: str) -> int:
        """How many of the runtime are being made."""
        return self._creating.get(runtime, 0)

    def families(self) -> list[Family[S]]:
        """The families that have sandboxes."""
        return list(self._families.values())

    def family(self, key: str) -> Family[S] | None:
        """The sandboxes of a key that has some, or whose family is pinned."""
        return self._families.get(key) or self._pinned.get(key)

    def pin(self, key: str, hold: Hold) -> Family[S]:
        """The family of a key, which is remembered from now on, with what holds for it."""
        family = self._pinned.get(key)
        if family is None:
            family = self._families.get(key) or self._retired.pop(key, None)
            family = self._pinned[key] = family or Family(key, Rate(RATE_MEMORY_S))
        family.hold = hold
        return family

    def unpin(self, key: str) -> None:
        """Nothing holds for this key any more."""
        family = self._pinned.pop(key)
        family.hold = None
        if not family.slots:
            self._remember(family)

    def touch(self, hold: Hold) -> None:
        """Something has happened to the sandboxes of this hold."""
        if not hold.touched:
            hold.touched = True
            self.touched.append(hold)

    def begin(self, runtime: str) -> Slot[S]:
        """A new entry, ``CREATING``."""
        slot: Slot[S] = Slot(self._next, runtime)
        self._next += 1
        self._slots[slot.id] = slot
        self._counts[State.CREATING] += 1
        self._creating[runtime] = self._creating.get(runtime, 0) + 1
        return slot

    def ready(self, slot: Slot[S], sandbox: S) -> None:
        """``CREATING`` to ``POOLED``: it waits unassigned."""
        self._leave(slot, State.CREATING)
        slot.sandbox = sandbox
        self._enter(slot, State.POOLED)
        self._pooled.setdefault(slot.runtime, {})[slot.id] = slot

    def claim(self, key: str) -> Slot[S] | None:
        """An idle sandbox of this key with all its memory, now ``BUSY``: warm before prewarmed, the most recently used first."""
        family = self._families.get(key)
        if family is None:
            return None
        if family.warm:
            slot = family.warm.popitem()[1]
        elif family.prewarmed:
            slot = family.prewarmed.popitem()[1]
        else:
            return None
        counts = self._counts
        counts[State.IDLE] -= 1
        counts[State.BUSY] += 1
        slot.state = State.BUSY
        return slot

    def slim(self, slot: Slot[S]) -> None:
        """An idle sandbox has given back memory: ``claim`` passes it over from now on."""
        if slot.state is not State.IDLE or slot.slim or slot.family is None:
            raise IllegalMove(f"{slot!r} is not idle with all its memory")
        self._unlist(slot, slot.family)
        slot.slim = True
        slot.family.slim[slot.id] = slot

    def promise(self, key: str) -> Slot[S] | None:
        """A slim sandbox of this key, kept from now on for one call; it stays idle until ``redeem``."""
        family = self._families.get(key)
        if family is None or not family.slim:
            return None
        slot = family.slim.popitem()[1]
        slot.promised = True
        return slot

    def unpromise(self, slot: Slot[S]) -> None:
        """The call does without it; any call of its key may have it again."""
        if not slot.promised or slot.family is None:
            raise IllegalMove(f"{slot!r} was not promised")
        slot.promised = False
        slot.family.slim[slot.id] = slot

    def redeem(self, slot: Slot[S]) -> None:
        """A promised sandbox has all its memory again and is ``BUSY``."""
        if not slot.promised:
            raise IllegalMove(f"{slot!r} was not promised")
        self._leave(slot, State.IDLE)
        self._enter(slot, State.BUSY)
        slot.slim = slot.promised = False

    def claim_unassigned(self, runtime: str, key: str) -> Slot[S] | None:
        """A waiting sandbox of this runtime, now ``ASSIGNING`` to ``key``; the youngest, whose pages are hottest."""
        slot = self.youngest_unassigned(runtime)
        if slot is None:
            return None
        self._leave(slot, State.POOLED)
        self._enter(slot, State.ASSIGNING)
        family = self._family(key)
        slot.family = family
        family.slots[slot.id] = slot
        return slot

    def unassigned(self, account: str) -> tuple[int, int]:
        """How many unassigned sandboxes may give way to a call of this account, and their MB: not those of others' sub-pools."""
        names = self._yielding(account)
        counts = [len(self._pooled[name]) for name in names]
        mb = sum(count * booking_mb(name) for name, count in zip(names, counts, strict=True))
        return sum(counts), mb

    def youngest_unassigned(self, runtime: str) -> Slot[S] | None:
        """The one that ``claim_unassigned`` would take."""
        waiting = self._pooled.get(runtime)
        return next(reversed(waiting.values())) if waiting else None

    def oldest_unassigned(self, runtime: str | None = None, *, account: str = "") -> Slot[S] | None:
        """An unassigned sandbox to be discarded: of this runtime, or of the one that has most.

        The sub-pool of the ``account`` comes last, those of others never.
        """
        if runtime is None:
            names = self._yielding(account)
            runtime = max(names, key=lambda name: (is_shared(name), self.pooled(name)), default="")
        waiting = self._pooled.get(runtime)
        return next(iter(waiting.values())) if waiting else None

    def _yielding(self, account: str) -> list[str]:
        return [name for name in self._pooled if is_shared(name) or owner_of(name) == account]

    def assigned(self, slot: Slot[S]) -> None:
        """``ASSIGNING`` to ``BUSY``: the code is loaded, its call may begin."""
        self._leave(slot, State.ASSIGNING)
        self._enter(slot, State.BUSY)

    def release(self, slot: Slot[S], now: float) -> None:
        """``BUSY`` to ``IDLE``; a sandbox that served no call yet counts as prewarmed."""
        if slot.state is not State.BUSY:
            raise IllegalMove(f"{slot!r} is not busy")
        family = slot.family
        if family is None:
            raise IllegalMove(f"{slot!r} has no key")
        counts = self._counts
        counts[State.BUSY] -= 1
        counts[State.IDLE] += 1
        slot.state = State.IDLE
        slot.idle_since = now
        (family.warm if slot.calls else family.prewarmed)[slot.id] = slot

    def discard(self, slot: Slot[S]) -> None:
        """Any living state to ``DYING``: it will not be used again."""
        if slot.state is State.DYING:
            raise IllegalMove(f"{slot!r} is dying already")
        self._leave(slot, slot.state)
        self._enter(slot, State.DYING)

    def remove(self, slot: Slot[S]) -> None:
        """``DYING`` to nothing: the sandbox is gone and so is its entry."""
        self._leave(slot, State.DYING)
        del self._slots[slot.id]
        family = slot.family
        if family is not None:
            del family.slots[slot.id]
            if not family.slots:
                self._retire(family)

    def rate(self, key: str) -> Rate:
        """How often the key is called, whether it has sandboxes now or not."""
        family = self.family(key) or self._retired.get(key)
        if family is None:
            family = Family(key, Rate(RATE_MEMORY_S))
            self._remember(family)
        return family.rate

    def _enter(self, slot: Slot[S], state: State) -> None:
        slot.state = state
        self._counts[state] += 1

    def _leave(self, slot: Slot[S], state: State) -> None:
        if slot.state is not state:
            raise IllegalMove(f"{slot!r} is not {state.value}")
        self._counts[state] -= 1
        if state is State.CREATING:
            self._creating[slot.runtime] -= 1
        elif state is State.POOLED:
            waiting = self._pooled[slot.runtime]
            del waiting[slot.id]
            if not waiting:
                del self._pooled[slot.runtime]
        elif state is State.IDLE and slot.family is not None:
            self._unlist(slot, slot.family)

    def _unlist(self, slot: Slot[S], family: Family[S]) -> None:
        """Take an idle one out of the index of its kind."""
        if slot.promised:
            return
        listed = family.slim if slot.slim else family.warm if slot.calls else family.prewarmed
        del listed[slot.id]

    def _family(self, key: str) -> Family[S]:
        family = self._families.get(key)
        if family is None:
            family = self._pinned.get(key) or self._retired.pop(key, None)
            family = self._families[key] = family or Family(key, Rate(RATE_MEMORY_S))
        return family

    def _retire(self, family: Family[S]) -> None:
        """Keep only how often it was called."""
        del self._families[family.key]
        if family.hold is None:
            self._remember(family)

    def _remember(self, family: Family[S]) -> None:
        self._retired[family.key] = family
        if len(self._retired) > REMEMBERED_KEYS:
            self._retired.popitem(last=False)
