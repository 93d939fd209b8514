"""Whatever happens in whatever order: nothing is handed out twice, nothing is overbooked, nobody is forgotten."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from tests.unit.host.deciding import CREATIONS, WAITING, dispatcher
from tests.unit.host.rig import spec

from forerun.errors import ForerunError, SetupFailed, Throttled
from forerun.host.effects import Effects
from forerun.host.hold import Hold
from forerun.host.line import Ticket
from forerun.host.outdated import OUTDATED_S
from forerun.host.slots import Slot, State
from forerun.host.subpools import POOLED_MB, booking_mb, owner_of
from forerun.model import Standby

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


class HostMachine(RuleBasedStateMachine):
    """An agent played by chance: it does what the effects say, in any order and with any outcome."""

    busy = Bundle("busy")

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

    @rule(target=busy, name=st.sampled_from(sorted(KEYS)))
    def invoke(self, name: str):
        return self.ask(f"{name}-{self.generations[name]}")

    @rule(target=busy, name=st.sampled_from(sorted(KEYS)))
    def invoke_late(self, name: str):
        """A call that was on its way while its key was given up."""
        return self.ask(f"{name}-{max(0, self.generations[name] - 1)}")

    @rule(target=busy, which=st.integers(0, 9))
    def invoke_slim(self, which: int):
        """One that finds only a sandbox that gave back memory."""
        families = [
            family
            for family in self.host.pool.families()
            if family.slim and not (family.warm or family.prewarmed)
        ]
        if not families:
            return multiple()
        family = families[which % len(families)]
        own = next(reversed(family.slim.values()))
        more = wants(family.key)[1] - self.host.ledger.held(own)
        fits = not self.host.line.lacking and more <= self.host.ledger.free_mb
        slots = self.ask(family.key)
        if fits:
            assert own.state is State.BUSY
        else:
            assert own.promised or own.state is not State.IDLE or self.host.line.lacking == WAITING
        return slots

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

    @rule(
        target=busy,
        name=st.sampled_from(sorted(KEYS)),
        idle=st.integers(0, 3),
        total=st.integers(0, 2),
        linger_s=st.sampled_from([None, 0.0, 5.0]),
        lease_s=st.sampled_from([0.0, 3.0, 1000.0]),
        rate=st.sampled_from([0.0, 0.1, 100.0]),
    )
    def stand_by(self, name, idle, total, linger_s, lease_s, rate):
        key = f"{name}-{self.generations[name]}"
        own = spec(key, memory_mb=wants(key)[1])
        standby = Standby(
            idle=idle, total=total, linger_s=linger_s, lease_s=lease_s, calls_per_s=rate
        )
        slots = self.act(self.host.stand_by(own, standby, self.now))
        return multiple(*map(self.call, slots))

    @rule(target=busy)
    def prepare(self):
        """What standbys lack is begun, as far as it may be."""
        host = self.host
        slots = []
        for hold in host.holds.hungry(2):
            key = hold.spec.key
            runtime, mb = wants(key)
            provisioned, others = host.holds.lacks(hold)
            for number in range(provisioned + others):
                if host.obstacle(mb, runtime) is not None:
                    host.holds.starve(hold)
                    break
                ticket = Ticket(key, runtime, mb, deadline=self.now + 10, yielding=True)
                first = number < provisioned
                host.holds.begin(hold, provisioned=first)
                self.preparing[ticket] = (hold, hold.turn, first)
                self.waiting.append(ticket)
                effects = host.ask(ticket, self.now)
                assert not effects.destroy, "something went for a preparation"
                slots += self.act(effects)
        return multiple(*map(self.call, slots))

    @rule(
        target=busy,
        pool=st.sampled_from((*SUBPOOLS, *RUNTIMES)),
        floor=st.integers(0, 2),
        borrow=st.booleans(),
    )
    def hold_pool(self, pool: str, floor: int, borrow: bool):
        effects = self.host.hold_pool(pool, floor, self.now, borrow=borrow)
        return multiple(*map(self.call, self.act(effects)))

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

    @rule(target=busy, which=st.integers(0, 9), ok=st.integers(0, 5))
    def make(self, which: int, ok: int):
        if not self.to_create:
            return multiple()
        slot = self.to_create.pop(which % len(self.to_create))
        if ok:
            effects = self.host.created(slot, f"s{next(self.names)}", self.now)
        else:
            effects = self.host.not_created(slot, SetupFailed("no"), self.now)
        return multiple(*map(self.call, self.act(effects)))

    @rule(target=busy, which=st.integers(0, 9), ok=st.integers(0, 4), ms=st.floats(0, 1e4))
    def load(self, which: int, ok: int, ms: float):
        if not self.assigning:
            return multiple()
        slot = self.assigning.pop(which % len(self.assigning))
        if ok:
            return multiple(*map(self.call, self.settle_loaded(slot, ms)))
        if (about := self.loading.pop(slot.id, None)) is not None:
            self.host.holds.ended(about[0], provisioned=about[2])
            about[0].failed("no", self.now)
        self.working.discard(slot.id)
        return multiple(*map(self.call, self.act(self.host.discard(slot))))

    @rule(target=busy)
    def work_off(self):
        """All that is to be made, loaded and destroyed, as far as that goes."""
        slots = []
        while self.to_create or self.to_destroy or self.assigning:
            if self.to_create:
                slot = self.to_create.pop()
                slots += self.act(self.host.created(slot, f"s{next(self.names)}", self.now))
            elif self.assigning:
                slots += self.settle_loaded(self.assigning.pop(), 5.0)
            else:
                slots += self.act(self.host.gone(self.to_destroy.pop()))
        return multiple(*map(self.call, slots))

    @rule(target=busy, slot=consumes(busy), ok=st.integers(0, 5))
    def end(self, slot: Slot[str], ok: int):
        self.working.discard(slot.id)
        effects = self.host.release(slot, self.now) if ok else self.host.discard(slot)
        return multiple(*map(self.call, self.act(effects)))

    @rule(target=busy, which=st.integers(0, 9))
    def bury(self, which: int):
        if not self.to_destroy:
            return multiple()
        slot = self.to_destroy.pop(which % len(self.to_destroy))
        return multiple(*map(self.call, self.act(self.host.gone(slot))))

    @rule(target=busy, which=st.integers(0, 9))
    def give_up(self, which: int):
        if not self.waiting:
            return multiple()
        ticket = self.waiting.pop(which % len(self.waiting))
        if ticket in self.preparing:
            self.waiting.append(ticket)
            self.waiting.sort(key=list(self.host.line).index)
            return multiple()
        error = ForerunError("gone")
        return multiple(*map(self.call, self.act(self.host.withdraw(ticket, error))))

    @rule(target=busy, seconds=st.sampled_from([0.1, 1.0, 7.0, 60.0]))
    def pass_time(self, seconds: float):
        self.now += seconds
        slots = self.act(self.host.tick(self.now))
        for name in KEYS:
            key = f"{name}-{self.generations[name]}"
            hold = self.host.holds.get(key)
            if hold is not None:
                assert hold.until > self.now, "beyond its lease"
                waiting = [slot for slot in self.of(key) if slot.state is State.IDLE]
                if hold.standby.linger_s == 0.0 and len(waiting) > hold.standby.idle:
                    assert sum(not s.provisioned for s in waiting) <= hold.standby.idle
        return multiple(*map(self.call, slots))

    def of(self, key: str) -> list[Slot[str]]:
        family = self.host.pool.family(key)
        return list(family.slots.values()) if family is not None else []

    @rule(target=busy, held_mb=st.lists(st.integers(0, 250), min_size=1, max_size=5))
    def weigh(self, held_mb: list[int]):
        """Idle ones rest for a second, and give back what they do not hold."""
        self.now += 1.0
        idle = [slot for slot in self.host.pool if slot.state is State.IDLE]
        for slot, mb in zip(idle, itertools.cycle(held_mb), strict=False):
            self.weights[slot.sandbox] = mb << 20
        return multiple(*map(self.call, self.act(self.host.tick(self.now))))

    @rule(target=busy, available_mb=st.integers(0, 200))
    def look_at_the_machine(self, available_mb: int):
        effects = self.host.relieve(available_mb, 100)
        assert available_mb < 100 or not effects
        assert all(slot.family for slot in effects.destroy)
        return multiple(*map(self.call, self.act_on_need(effects)))

    @rule(target=busy, name=st.sampled_from(sorted(KEYS)))
    def outdate(self, name: str):
        key = f"{name}-{self.generations[name]}"
        self.generations[name] += 1
        self.outdated[key] = self.now
        _, effects = self.host.drop(lambda other: other == key, self.now)
        return multiple(*map(self.call, self.act(effects)))

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


HostMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestHost = HostMachine.TestCase
