"""An agent played by chance: what it knows of its sandboxes, and what must be true after every step."""

import itertools

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
)
from tests.unit.host.deciding import CREATIONS, WAITING, dispatcher

from forerun.errors import Throttled
from forerun.host.effects import Effects
from forerun.host.hold import Hold
from forerun.host.line import Ticket
from forerun.host.outdated import OUTDATED_S
from forerun.host.slots import Slot, State
from forerun.host.subpools import POOLED_MB, booking_mb, owner_of

RUNTIMES = ("python3.11", "nodejs20.x")
KEYS = {
    f"{runtime}-{mb}-{n}": (runtime, mb) for runtime in RUNTIMES for mb in (64, 200) for n in "ab"
}


ACCOUNTS = {"a": "1" * 12, "b": "2" * 12}
SUBPOOLS = tuple(f"{runtime}@{account}" for runtime in RUNTIMES for account in ACCOUNTS.values())


def account_of(key: str) -> str:
    return ACCOUNTS[key.split("-")[2]]


def wants(key: str) -> tuple[str, int]:
    """Runtime and MiB of a key, whose generation is after the last dash."""
    return KEYS[key.rpartition("-")[0]]


class HostPlayer(RuleBasedStateMachine):
    """It does what the effects say, and checks that nothing is handed out twice, overbooked or forgotten."""

    @initialize(floor=st.integers(0, 2))
    def begin(self, floor: int) -> None:
        self.weights: dict[str, int] = {}
        self.host = dispatcher(floor=floor, weights=self.weights)
        self.now = 0.0
        self.names = itertools.count()
        self.to_create: list[Slot[str]] = []
        self.to_destroy: list[Slot[str]] = []
        self.assigning: list[Slot[str]] = []
        self.waiting: list[Ticket] = []
        self.working: set[int] = set()
        self.served: dict[str, str] = {}
        self.slim: set[int] = set()
        self.generations = dict.fromkeys(KEYS, 0)
        self.outdated: dict[str, float] = {}
        self.loaded: dict[int, float] = {}
        self.preparing: dict[Ticket, tuple[Hold, int, bool]] = {}
        self.loading: dict[int, tuple[Hold, int, bool]] = {}

    def act(self, effects: Effects[str]) -> list[Slot[str]]:
        """Take note of the effects; answers the sandboxes handed to calls that go on at once."""
        self.to_create += effects.create
        for slot in effects.destroy:
            assert slot not in self.to_destroy
            self.to_destroy.append(slot)
            self.working.discard(slot.id)
        running = []
        for ticket, slot in effects.settled:
            if ticket in self.waiting:
                place = self.waiting.index(ticket)
                if slot is not None and slot.id in self.slim:
                    assert all(t.booked for t in self.waiting[:place]), "overtaken"
                self.waiting.remove(ticket)
            about = self.preparing.pop(ticket, None)
            if slot is None:
                assert ticket.error is not None
                if about is not None:
                    self.host.holds.ended(about[0], provisioned=about[2])
                continue
            self.take(slot, ticket.key)
            assert owner_of(slot.runtime) in ("", account_of(ticket.key)), "another's"
            if about is not None:
                assert slot.state is State.ASSIGNING, "a preparation took what was ready"
                self.loading[slot.id] = about
            self.slim.discard(slot.id)
            if slot.state is State.ASSIGNING:
                assert slot.runtime == ticket.runtime
                self.assigning.append(slot)
            else:
                running.append(slot)
        return running

    def take(self, slot: Slot[str], key: str) -> None:
        assert slot.id not in self.working, "handed out twice"
        assert slot.sandbox is not None
        assert self.served.setdefault(slot.sandbox, key) == key, "served a second key"
        self.working.add(slot.id)

    def call(self, slot: Slot[str]) -> Slot[str]:
        self.host.called(slot, self.now)
        return slot

    def ask(self, key: str):
        slot = self.host.pool.claim(key)
        if slot is not None:
            self.take(slot, key)
            return self.call(slot)
        runtime, mb = wants(key)
        account = account_of(key)
        try:
            pool = self.host.warming.source(key, runtime, account, self.now)
        except Throttled:
            assert not self.host.pool.pooled(f"{runtime}@{account}")
            return multiple()
        ticket = Ticket(key, pool, mb, deadline=self.now + 10, account=account)
        self.waiting.append(ticket)
        return multiple(*map(self.call, self.act_on_need(self.host.ask(ticket, self.now))))

    def act_on_need(self, effects: Effects[str]) -> list[Slot[str]]:
        """As ``act``, of what was decided because memory lacks."""
        assert not any(slot.provisioned for slot in effects.destroy), "provisioned, and evicted"
        return self.act(effects)

    def settle_loaded(self, slot: Slot[str], ms: float) -> list[Slot[str]]:
        """The code is loaded: its call begins, or the sandbox was prepared ahead of one."""
        self.host.assigned(slot, ms, self.now)
        self.loaded[slot.id] = self.now
        about = self.loading.pop(slot.id, None)
        if about is None:
            return [slot]
        hold, turn, provisioned = about
        self.host.holds.ended(hold, provisioned=provisioned)
        self.working.discard(slot.id)
        if self.host.prepared(slot, hold, hold.standby, turn=turn, provisioned=provisioned):
            return self.act(self.host.release(slot, self.now))
        return self.act(self.host.discard(slot))

    def of(self, key: str) -> list[Slot[str]]:
        family = self.host.pool.family(key)
        return list(family.slots.values()) if family is not None else []

    @invariant()
    def nothing_outdated_is_kept(self) -> None:
        for slot in self.host.pool:
            if slot.state is State.IDLE and (at := self.outdated.get(slot.family.key)) is not None:
                assert self.loaded[slot.id] >= at + OUTDATED_S

    @invariant()
    def nothing_is_overbooked(self) -> None:
        ledger = self.host.ledger
        assert 0 <= ledger.booked_mb <= ledger.capacity_mb
        owners = [ticket for ticket in self.waiting if ticket.booked] + list(self.host.pool)
        assert ledger.booked_mb == sum(map(ledger.held, owners))
        assert sum(ledger.held(owner) > 0 for owner in owners) <= ledger.capacity_count
        for slot in self.host.pool:
            if slot.family is not None:
                assert ledger.held(slot) == slot.booked_mb
                full = wants(slot.family.key)[1]
                if slot.slim and slot.state is not State.DYING:
                    self.slim.add(slot.id)
                    assert slot.state is State.IDLE, "works with less than it may use"
                    assert POOLED_MB <= slot.booked_mb < full
                elif not slot.slim:
                    assert slot.booked_mb == full
            elif slot.state is State.POOLED:
                assert ledger.held(slot) == booking_mb(slot.runtime)

    @invariant()
    def what_holds_is_kept_to(self) -> None:
        holds, line = self.host.holds, self.host.line
        assert holds.making == len(self.preparing) + len(self.loading)
        assert not (line.lacking and line.first_yielding()), "a call waits for a preparation"
        for name in KEYS:
            key = f"{name}-{self.generations[name]}"
            hold = holds.get(key)
            family = self.host.pool.family(key)
            assert (family.hold if family is not None else None) is hold
            living = [slot for slot in self.of(key) if slot.state is not State.DYING]
            total = hold.standby.total if hold is not None else 0
            assert sum(slot.provisioned for slot in living) <= total
            assert all(not (slot.provisioned and slot.slim) for slot in living)
            standing = holds.standing(key)
            doing = sum(
                slot.state is State.BUSY
                or (slot.state is State.ASSIGNING and slot.id not in self.loading)
                for slot in living
                if not slot.doomed
            )
            assert standing.working == doing
            assert standing.idle == sum(slot.state is State.IDLE for slot in living)

    @invariant()
    def every_sandbox_is_in_one_state(self) -> None:
        pool = self.host.pool
        slots = list(pool)
        for state in State:
            assert pool.count(state) == sum(slot.state is state for slot in slots)
        for runtime in (*RUNTIMES, *SUBPOOLS):
            of = [slot for slot in slots if slot.runtime == runtime]
            assert pool.pooled(runtime) == sum(slot.state is State.POOLED for slot in of)
            assert pool.creating(runtime) == sum(slot.state is State.CREATING for slot in of)
        assert pool.count(State.CREATING) == len(self.to_create) <= CREATIONS
        assert pool.count(State.DYING) == len(self.to_destroy)
        for family in pool.families():
            kinds = (family.warm, family.prewarmed, family.slim)
            promised = {slot.id: slot for slot in family.slots.values() if slot.promised}
            idle = family.warm | family.prewarmed | family.slim | promised
            assert len(idle) == sum(map(len, kinds)) + len(promised)
            assert all(slot.slim for slot in promised.values())
            assert all(slot.slim for slot in family.slim.values())
            lacking = sum(t.key == family.key and not t.booked for t in self.waiting)
            assert len(promised) <= lacking
            assert all(slot.state is State.IDLE for slot in idle.values())
            assert set(idle) == {
                slot.id for slot in family.slots.values() if slot.state is State.IDLE
            }
            assert all(slot.calls for slot in family.warm.values())

    @invariant()
    def nobody_is_forgotten(self) -> None:
        line = self.host.line
        assert list(line) == self.waiting
        assert line.lacking <= WAITING
        assert line.lacking_mb == sum(t.memory_mb for t in line if not t.booked)
        for runtime in (*RUNTIMES, *SUBPOOLS):
            if line.wanting(runtime):
                assert self.to_create
                assert not self.host.pool.pooled(runtime)
        if line.lacking:
            busy = self.to_create or self.to_destroy or self.working or len(line) > line.lacking
            assert busy or self.reserved_against(line.first_lacking())

    def reserved_against(self, head: Ticket) -> bool:
        """Whether the call cannot fit beside what gives way to nobody."""
        ledger = self.host.ledger
        reserved = [
            slot
            for slot in self.host.pool
            if slot.provisioned or owner_of(slot.runtime) not in ("", head.account)
        ]
        mb = sum(map(ledger.held, reserved))
        return ledger.capacity_mb - mb < head.memory_mb or len(reserved) >= ledger.capacity_count

    def teardown(self) -> None:
        if not hasattr(self, "host"):
            return
        self.now += 1000
        self.act(self.host.tick(self.now))
        assert self.waiting == []
