"""Whatever happens in whatever order: nothing is handed out twice, nothing is overbooked, nobody is forgotten."""

import itertools

import pytest
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

from forerun.errors import ForerunError, SetupFailed, Throttled
from forerun.host.dispatch import OUTDATED_S, Dispatcher
from forerun.host.effects import Effects
from forerun.host.evictor import Evictor
from forerun.host.ledger import Ledger
from forerun.host.line import Ticket
from forerun.host.replenish import RefillPolicy, Replenisher
from forerun.host.room import POOLED_MB
from forerun.host.slots import Slot, State
from forerun.model import StartType

RUNTIMES = ("python3.11", "nodejs20.x")
KEYS = {
    f"{runtime}-{mb}-{n}": (runtime, mb) for runtime in RUNTIMES for mb in (64, 200) for n in "ab"
}
CAPACITY, WAITING, CREATIONS = 512, 6, 2


def wants(key: str) -> tuple[str, int]:
    """Runtime and MiB of a key, whose generation is after the last dash."""
    return KEYS[key.rpartition("-")[0]]


def dispatcher(*, capacity_mb: int = CAPACITY, count: int = 12, floor: int = 1) -> Dispatcher[str]:
    return Dispatcher(
        ledger=Ledger(capacity_mb, count),
        evictor=Evictor(min_s=10, max_s=100),
        replenisher=Replenisher(RefillPolicy(floor=floor, ceiling=4)),
        waiting_max=WAITING,
        creations_max=CREATIONS,
    )


class HostMachine(RuleBasedStateMachine):
    """An agent played by chance: it does what the effects say, in any order and with any outcome."""

    busy = Bundle("busy")

    @initialize(floor=st.integers(0, 2))
    def begin(self, floor: int) -> None:
        self.host = dispatcher(floor=floor)
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
            if slot is None:
                assert ticket.error is not None
                continue
            self.take(slot, ticket.key)
            if slot.state is State.ASSIGNING:
                assert slot.runtime == ticket.runtime
                self.assigning.append(slot)
            else:
                running.append(slot)
        return running

    def take(self, slot: Slot[str], key: str) -> None:
        assert slot.id not in self.working, "handed out twice"
        assert slot.sandbox is not None
        self.slim.discard(slot.id)
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
            assert own.promised or own.state is State.DYING or self.host.line.lacking == WAITING
        return slots

    def ask(self, key: str):
        slot = self.host.pool.claim(key)
        if slot is not None:
            self.take(slot, key)
            return self.call(slot)
        ticket = Ticket(key, *wants(key), deadline=self.now + 10)
        self.waiting.append(ticket)
        return multiple(*map(self.call, self.act(self.host.ask(ticket, self.now))))

    @rule(name=st.sampled_from(sorted(KEYS)))
    def prepare(self, name: str) -> None:
        key = f"{name}-{self.generations[name]}"
        ticket = Ticket(key, *wants(key), deadline=self.now + 10, ahead_of_need=True)
        effects = self.host.prepare(ticket, self.now)
        if effects is not None:
            self.waiting.append(ticket)
            assert self.act(effects) == []

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
            self.host.assigned(slot, ms, self.now)
            self.loaded[slot.id] = self.now
            return self.call(slot)
        self.working.discard(slot.id)
        return multiple(*map(self.call, self.act(self.host.discard(slot))))

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
        error = ForerunError("gone")
        return multiple(*map(self.call, self.act(self.host.withdraw(ticket, error))))

    @rule(target=busy, seconds=st.sampled_from([0.1, 1.0, 7.0, 60.0]))
    def pass_time(self, seconds: float):
        self.now += seconds
        return multiple(*map(self.call, self.act(self.host.tick(self.now))))

    @rule(target=busy, held_mb=st.lists(st.integers(0, 250), min_size=1, max_size=5))
    def weigh(self, held_mb: list[int]):
        weights = []
        for slot, mb in zip(self.host.due(self.now), itertools.cycle(held_mb), strict=False):
            assert slot.state is State.IDLE
            assert self.now - slot.idle_since >= 1
            weights.append((slot, mb << 20))
        effects = self.host.weighed(weights, self.now)
        self.slim |= {slot.id for slot, _ in weights if slot.slim}
        return multiple(*map(self.call, self.act(effects)))

    @rule(target=busy, available_mb=st.integers(0, 200))
    def look_at_the_machine(self, available_mb: int):
        effects = self.host.relieve(available_mb, 100)
        assert available_mb < 100 or not effects
        assert all(slot.family for slot in effects.destroy)
        return multiple(*map(self.call, self.act(effects)))

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
                    assert slot.state is State.IDLE, "works with less than it may use"
                    assert POOLED_MB <= slot.booked_mb < full
                elif not slot.slim:
                    assert slot.booked_mb == full
            elif slot.state is State.POOLED:
                assert ledger.held(slot) == POOLED_MB

    @invariant()
    def every_sandbox_is_in_one_state(self) -> None:
        pool = self.host.pool
        slots = list(pool)
        for state in State:
            assert pool.count(state) == sum(slot.state is state for slot in slots)
        for runtime in RUNTIMES:
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
        for runtime in RUNTIMES:
            if line.wanting(runtime):
                assert self.to_create
                assert not self.host.pool.pooled(runtime)
        if line.lacking:
            assert self.to_create or self.to_destroy or self.working or len(line) > line.lacking

    def teardown(self) -> None:
        if not hasattr(self, "host"):
            return
        self.now += 1000
        self.act(self.host.tick(self.now))
        assert self.waiting == []


HostMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestHost = HostMachine.TestCase


def ready(host: Dispatcher[str], key: str, mb: int, *, calls: int = 1) -> Slot[str]:
    """A busy sandbox of this key."""
    effects = host.ask(Ticket(key, "python3.11", mb, deadline=10), 0)
    if not effects.settled:
        effects = host.created(effects.create[0], f"box-{key}", 0)
    slot = effects.settled[0][1]
    assert slot is not None
    host.assigned(slot, 5, 0)
    for _ in range(calls):
        host.called(slot, 0)
    return slot


def test_memory_is_admitted_only_when_as_much_is_free() -> None:
    host = dispatcher(capacity_mb=768, floor=0)
    slot = ready(host, "a", 512)
    ticket = Ticket("b", "python3.11", 512, deadline=10)
    effects = host.ask(ticket, 0)
    assert not effects.create
    assert ticket.waited
    effects = host.release(slot, 1)
    assert effects.destroy == [slot]
    assert not ticket.booked
    effects = host.gone(slot)
    assert ticket.booked
    assert len(effects.create) == 1


def test_the_unassigned_give_way_only_when_that_helps() -> None:
    host = dispatcher(capacity_mb=300, floor=1)
    slot = ready(host, "a", 150)
    assert not host.created(next(s for s in host.pool if s is not slot), "pooled", 0)
    waiting = Ticket("b", "nodejs20.x", 300, deadline=10)
    assert host.ask(waiting, 0).destroy == []
    effects = host.release(slot, 0)
    assert [gone.sandbox for gone in effects.destroy] == ["box-a", "pooled"]
    assert not host.gone(effects.destroy[0])
    assert len(host.gone(effects.destroy[1]).create) == 1
    assert waiting.booked


def test_a_pool_half_full_is_refilled_by_the_tick_out_of_the_calls_way() -> None:
    host = dispatcher(floor=2)
    made = host.hold_ready("python3.11", 0).create
    while made:
        made = [new for slot in made for new in host.created(slot, f"p{slot.id}", 0).create]
    assert host.pool.pooled("python3.11") == 2
    assert host.ask(Ticket("a", "python3.11", 64, deadline=10), 0).create == []
    making = host.tick(0.25).create
    assert len(making) == 1
    assert host.pool.pooled("python3.11") == 1
    assert host.ask(Ticket("b", "python3.11", 64, deadline=10), 0.3).create == []
    late = Ticket("c", "python3.11", 64, deadline=10)
    assert host.ask(late, 0.3).create == []
    effects = host.created(making[0], "made", 0.3)
    assert effects.settled == [(late, making[0])]
    assert late.start is StartType.ZYGOTE
    assert len(effects.create) == 1


def test_a_second_release_of_a_given_up_sandbox_is_harmless() -> None:
    host = dispatcher(floor=0)
    slot = ready(host, "a", 64)
    assert host.discard(slot).destroy == [slot]
    assert not host.discard(slot)
    assert not host.release(slot, 0)


def test_a_waiting_call_of_the_key_inherits_the_sandbox() -> None:
    host = dispatcher(capacity_mb=64, floor=0)
    slot = ready(host, "a", 64)
    ticket = Ticket("a", "python3.11", 64, deadline=10)
    host.ask(ticket, 0)
    assert host.release(slot, 1).settled == [(ticket, slot)]
    assert ticket.start is StartType.WARM
    assert slot.state is State.BUSY


def test_preparation_takes_free_memory_only() -> None:
    host = dispatcher(capacity_mb=100, floor=0)
    host.release(ready(host, "a", 64), 0)
    ticket = Ticket("b", "python3.11", 64, deadline=10, ahead_of_need=True)
    assert host.prepare(ticket, 0) is None
    assert len(host.line) == 0


def test_no_wait_where_none_is_allowed() -> None:
    host = Dispatcher(
        ledger=Ledger(64, 10),
        evictor=Evictor(min_s=1, max_s=1),
        replenisher=Replenisher(RefillPolicy(floor=0)),
        waiting_max=0,
        creations_max=1,
    )
    ready(host, "a", 64)
    ticket = Ticket("b", "python3.11", 64, deadline=10)
    assert host.ask(ticket, 0).settled == [(ticket, None)]
    assert isinstance(ticket.error, Throttled)
    with pytest.raises(SetupFailed, match="65 MB"):
        host.ask(Ticket("c", "python3.11", 65, deadline=10), 0)
