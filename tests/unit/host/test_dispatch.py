"""Whatever happens in whatever order: nothing is handed out twice, nothing is overbooked, nobody is forgotten."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    consumes,
    multiple,
    rule,
)
from tests.unit.host.deciding import WAITING
from tests.unit.host.playing import KEYS, RUNTIMES, SUBPOOLS, HostPlayer, wants
from tests.unit.host.rig import spec

from forerun.errors import ForerunError, SetupFailed
from forerun.host.line import Ticket
from forerun.host.slots import Slot, State
from forerun.model import Standby


class HostMachine(HostPlayer):
    """An agent played by chance: it does what the effects say, in any order and with any outcome."""

    busy = Bundle("busy")

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


HostMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestHost = HostMachine.TestCase
