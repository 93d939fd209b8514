"""Whatever is lost, late, restarted or cut off: no host runs more than it counts for, and what counts never exceeds the account's limit."""

import asyncio
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.fakes.clock import settle
from tests.unit.control.ledger import ACCOUNT
from tests.unit.control.sharing import World

from forerun.control.fleet import draining, limits
from forerun.errors import StorageFailed

PLANES = st.integers(0, 1)
HOSTS = st.sampled_from("abc")
FUNCTIONS = st.sampled_from(["", "f"])


class Sharing(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self._loop = asyncio.new_event_loop()
        # Nothing is to depend on how fast the machine is.
        self._kept = (draining.TELL_S, limits.GROW_S)
        draining.TELL_S = limits.GROW_S = 3600.0
        self.world = self._run(self._make())

    async def _make(self):
        world = World()
        await world.calm(1.0)
        return world

    def _run(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    def _settled(self):
        self._run(settle(6))

    def teardown(self):
        draining.TELL_S, limits.GROW_S = self._kept
        self._run(self.world.close())
        self._loop.close()

    async def _begin(self, plane, what, coroutine):
        plane.begin(what, coroutine)
        await settle(6)

    # -- what control planes do ----------------------------------------------------------------------------------

    @rule(number=PLANES)
    def look(self, number):
        plane = self.world.planes[number]
        self._run(self._begin(plane, "look", plane.limits.look()))

    @rule(number=PLANES, function=FUNCTIONS, full=st.sets(HOSTS, max_size=2))
    def grow(self, number, function, full):
        plane = self.world.planes[number]
        reserved = 1 if function else None
        growing = plane.limits.grow(ACCOUNT, function, reserved, full=full)
        self._run(self._begin(plane, f"grow {function}", growing))

    @rule(number=PLANES)
    def shrink(self, number):
        plane = self.world.planes[number]
        plane.shrinking.sample()
        self._run(self._begin(plane, "shrink", plane.shrinking.shrink()))

    @rule(amount=st.integers(0, 40))
    def reserve(self, amount):
        self.world.reserve("f", amount)
        plane = self.world.planes[0]
        self._run(self._begin(plane, "changed", plane.limits.changed(ACCOUNT, "f")))

    @rule(number=PLANES, function=FUNCTIONS, most=st.sampled_from([1, 10, 40]))
    def call(self, number, function, most):
        self.world.planes[number].send_calls(function, most)

    @rule(number=PLANES, function=FUNCTIONS, most=st.sampled_from([5, 40]), steps=st.integers(0, 4))
    def serve(self, number, function, most, steps):
        """A stretch in which one control plane grows a limit, and uses all of it."""
        self._run(self.world.serve(self.world.planes[number], function, most, steps))

    @rule(number=PLANES)
    def shrink_at_once(self, number):
        plane = self.world.planes[number]
        plane.shrinking.sample()
        self._run(self.world.finish(plane, "shrink", plane.shrinking.shrink()))

    # -- what happens between ------------------------------------------------------------------------------------

    def _gate(self, number, index):
        gates = self.world.planes[number].gates
        return gates[index % len(gates)] if gates else None

    @rule(number=PLANES, index=st.integers(0, 5))
    def let_one_through(self, number, index):
        if (gate := self._gate(number, index)) is not None:
            self.world.planes[number].pass_gate(gate)
            self._settled()

    @rule(number=PLANES, times=st.integers(2, 12))
    def let_all_through(self, number, times):
        plane = self.world.planes[number]
        for _ in range(times):
            for gate in list(plane.gates):
                plane.pass_gate(gate)
            self._settled()

    @rule(number=PLANES, index=st.integers(0, 5))
    def fail(self, number, index):
        gate = self._gate(number, index)
        if gate is not None and gate.act is not None:
            self.world.planes[number].fail(gate, StorageFailed("gone"))
            self._settled()

    @rule(index=st.integers(0, 5), to_host=st.booleans(), most=st.sampled_from([1, 3, 100]))
    def deliver(self, index, to_host, most):
        connections = self.world.connections()
        if connections:
            self.world.deliver(connections[index % len(connections)], to_host=to_host, most=most)
            self._settled()

    @rule()
    def deliver_all(self):
        for connection in self.world.connections():
            self.world.deliver(connection, to_host=False, most=100)
            self.world.deliver(connection, to_host=True, most=100)
        self._settled()

    @rule(seconds=st.sampled_from([0.3, 1.0, 2.5, 6.0, 13.0, 45.0]))
    def time_goes_by(self, seconds):
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([2.0, 8.0, 45.0]), planes=st.sampled_from([[0], [1], [0, 1]]))
    def all_is_well_for(self, seconds, planes):
        self._run(
            self.world.calm(seconds, planes=[self.world.planes[each] for each in planes], every=2.0)
        )

    @rule(number=PLANES, cut_off=st.booleans())
    def lose_or_find_the_database(self, number, cut_off):
        self.world.planes[number].cut_off = cut_off

    # -- what hosts do -------------------------------------------------------------------------------------------

    @rule(name=HOSTS)
    def beat(self, name):
        self.world.machines[name].beat()

    @rule(name=HOSTS, most=st.sampled_from([1, 5, 100]))
    def end_calls(self, name, most):
        self.world.machines[name].end_calls(most)

    @rule(name=HOSTS)
    def restart(self, name):
        self.world.restart(name)

    @rule(number=PLANES, name=HOSTS)
    def connect(self, number, name):
        self.world.planes[number].connect(name)
        self._settled()

    @rule(number=PLANES, name=HOSTS)
    def cut(self, number, name):
        self.world.planes[number].disconnect(name)
        self._settled()

    @invariant()
    def nothing_exceeds_what_it_counts_for(self):
        self.world.check()


Sharing.TestCase.settings = settings(
    max_examples=int(os.environ.get("LIMITS_EXAMPLES", "30")),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestSharing = Sharing.TestCase
