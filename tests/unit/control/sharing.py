"""A cluster in miniature for tests of limits: real deciders, control planes and hosts' counters; what lies between them is in the test's hands.

Whatever a control plane asks the database or a host waits at a gate until the test lets it through, or fails it; messages of a
connection wait in order until the test delivers them. Time goes on only when the test says so.
"""

import asyncio
import itertools
from collections import deque

from tests.fakes.clock import settle
from tests.unit.control.ledger import ACCOUNT, Gate, GatedStore, Ledger

from forerun.cluster import Beat, Shares
from forerun.cluster.lease import END_S, WorkLease
from forerun.control.fleet.limits import FleetLimits
from forerun.control.fleet.shrinking import Shrinking
from forerun.errors import HostUnreachable, StorageFailed
from forerun.host import HostStats
from forerun.model import HostInfo, share_key
from forerun.settings import ClusterSettings

SETTINGS = ClusterSettings(share=10, lease_s=6, dead_s=3, shrink_s=30)
STATS = HostStats(
    name="", isolation="", memory_mb=0, booked_mb=0, states={}, pools={}, waiting=0, starts={}, destroyed=0, failed=0
)  # fmt: skip


class Connection:
    """Messages of a control plane and a host that wait to be delivered, in order; with the host's lease for it."""

    def __init__(self, plane, host):
        self.plane = plane
        self.host = host
        self.incarnation = host.incarnation
        self.lease = WorkLease(SETTINGS.lease_s)
        self.to_host = deque()
        self.to_plane = deque()
        self.beat_at = float("-inf")
        self.whole = True


class Machine:
    """A host: the calls that run there, each with the connection that it came by."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.incarnation = 0
        self.start()

    def start(self):
        self.incarnation += 1
        self.shares = Shares()
        self.calls = []

    def running(self):
        found = {}
        for key, _ in self.calls:
            found[key] = found.get(key, 0) + 1
        return found

    def end_calls(self, most):
        for key, _ in self.calls[:most]:
            self.shares.give_back(key)
        del self.calls[:most]

    def end_what_is_over(self):
        over = [call for call in self.calls if self.world.now >= call[1].lease.until + END_S]
        for call in over:
            self.calls.remove(call)
            self.shares.give_back(call[0])

    def receive(self, connection, kind, content):
        if connection.incarnation != self.incarnation:
            return
        now = self.world.now
        if kind == "renew":
            connection.lease.renewed(content, now)
        elif kind == "keep_to":
            gate, shares = content
            kept = self.shares.keep_to(shares)
            connection.to_plane.append(("kept", (gate, kept)))
        elif connection.lease.holds(now) and self.shares.take(content):
            self.calls.append((content.key, connection))

    def beat(self):
        for plane in self.world.planes:
            connection = plane.connections.get(self.name)
            if connection is not None and connection.incarnation == self.incarnation:
                beat = Beat(
                    sequence=1, sent=self.world.now, whole=True, stats=STATS, running=self.running()
                )
                connection.to_plane.append(("beat", beat))


class Remote:
    """A host as a control plane sees it."""

    def __init__(self, plane, name):
        self._plane = plane
        self.name = name
        self.info = None
        self.phase = None

    @property
    def alive(self):
        connection = self._plane.connections.get(self.name)
        return (
            connection is not None
            and self._plane.monotonic() - connection.beat_at <= SETTINGS.dead_s
        )

    async def keep_to(self, shares):
        connection = self._plane.connections.get(self.name)
        if connection is None:
            raise HostUnreachable("not connected")
        if self._plane.world.at_once:
            return connection.host.shares.keep_to(shares)
        gate = Gate("keep_to", None)
        connection.to_host.append(("keep_to", (gate, list(shares))))
        return await self._plane.wait(gate)


class Plane:
    """A control plane; its clock runs ``rate`` times as fast as the world's."""

    def __init__(self, world, number, rate):
        self.world = world
        self.number = number
        self._rate = rate
        self._offset = 1000.0 * number
        self.gates = []
        self.asked = []
        self.cut_off = False
        self.connections = {}
        self.hosts = {name: Remote(self, name) for name in world.machines}
        self.tasks = {}
        store = GatedStore(self)
        self.limits = FleetLimits(store, self, self, SETTINGS)
        self.shrinking = Shrinking(store, self.limits, self, SETTINGS)
        for name in world.machines:
            self.connect(name)

    # The clock and the links of its limits.

    def monotonic(self):
        return self._offset + self.world.now * self._rate

    async def sleep(self, seconds):
        raise AssertionError("nobody waits for time here")

    # What the test does.

    async def wait(self, gate):
        self.asked.append(gate.name)
        if self.cut_off and gate.act is not None:
            raise StorageFailed("the database is gone")
        if self.world.at_once:
            await asyncio.sleep(0)
            return gate.act()
        self.gates.append(gate)
        return await gate.future

    def connect(self, name):
        host = self.world.machines[name]
        self.disconnect(name)
        self.connections[name] = Connection(self, host)
        self.hosts[name].info = HostInfo(
            name=name,
            address="",
            incarnation=str(host.incarnation),
            version="",
            protocols=(1, 1),
            isolation="",
            memory_mb=0,
            cpus=0,
            runtimes=(),
        )

    def disconnect(self, name):
        connection = self.connections.pop(name, None)
        if connection is None:
            return
        for kind, content in [*connection.to_host, *connection.to_plane]:
            if kind in ("keep_to", "kept"):
                self.fail(content[0], HostUnreachable("the connection is lost"))

    def begin(self, what, coroutine):
        """Run it in the background, unless it still does."""
        task = self.tasks.get(what)
        if task is not None and not task.done():
            coroutine.close()
            return
        task = self.tasks[what] = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(self._ended)

    def _ended(self, task):
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StorageFailed):
            self.world.errors.append(error)

    def fail(self, gate, error):
        if gate in self.gates:
            self.gates.remove(gate)
        if not gate.future.done():
            gate.future.set_exception(error)

    def pass_gate(self, gate):
        """The first time it happens; the second time the control plane learns of it."""
        if gate.act is not None and not gate.done:
            gate.result, gate.done = gate.act(), True
        elif gate.done:
            self.gates.remove(gate)
            if not gate.future.done():
                gate.future.set_result(gate.result)

    def send_calls(self, function, most):
        shares = self.limits.hosts(ACCOUNT, function, 1 if function else None)
        for name, share in shares.items():
            connection = self.connections.get(name)
            if connection is not None and self.hosts[name].alive:
                connection.to_host.extend([("call", share)] * most)

    def receive(self, connection, kind, content):
        name = connection.host.name
        if kind == "kept":
            gate, kept = content
            gate.done, gate.result = True, kept
            self.pass_gate(gate)
        elif kind == "beat":
            connection.beat_at = self.monotonic()
            self.limits.heard(self.hosts[name], content)
            if self.limits.may_renew():
                connection.to_host.append(("renew", content.sent))


class World:
    """All of it. Its verbs are what may happen, in any order; ``check`` is what must hold at every moment."""

    def __init__(self, *, limit=40, reserved=(("f", 15),), planes=2, hosts=3):
        self.now = 0.0
        self.at_once = False
        self.errors = []
        self.ledger = Ledger(limit, reserved)
        self.machines = {name: Machine(self, name) for name in "abcdefgh"[:hosts]}
        rates = itertools.cycle((1.0, 1.01, 0.99))
        self.planes = []
        for number, rate in zip(range(planes), rates, strict=False):
            self.planes.append(Plane(self, number, rate))

    def advance(self, seconds):
        self.now += seconds
        for machine in self.machines.values():
            machine.end_what_is_over()

    def connections(self):
        return [each for plane in self.planes for each in plane.connections.values()]

    def deliver(self, connection, *, to_host, most=1):
        queue = connection.to_host if to_host else connection.to_plane
        receiver = connection.host if to_host else connection.plane
        for _ in range(min(most, len(queue))):
            receiver.receive(connection, *queue.popleft())

    def restart(self, name):
        self.machines[name].start()

    def reserve(self, function, amount):
        if (
            sum(self.ledger.reserved.values()) - self.ledger.reserved.get(function, 0) + amount
            <= self.ledger.limit
        ):
            self.ledger.reserved[function] = amount

    def running(self, function=""):
        key = share_key(ACCOUNT, function)
        return sum(machine.running().get(key, 0) for machine in self.machines.values())

    def check(self):
        if self.errors:
            raise self.errors[0]
        assert sum(row.counted for row in self.ledger.rows.values()) <= self.ledger.limit
        for name, machine in self.machines.items():
            for key, calls in machine.running().items():
                counted = self.ledger.counted(key, name)
                assert calls <= counted, (
                    f"{calls} calls of {key} run on {name}, which counts for {counted}"
                )

    async def finish(self, plane, what, coroutine):
        """Begin it, and let the control plane go on until it is over, or waits for a host."""
        plane.begin(what, coroutine)
        for _ in range(100):
            await settle(4)
            task = plane.tasks[what]
            gates = [gate for gate in plane.gates if gate.act is not None]
            if task.done() or not gates:
                break
            for gate in gates:
                plane.pass_gate(gate)
            for connection in list(plane.connections.values()):
                self.deliver(connection, to_host=True, most=100)
                self.deliver(connection, to_host=False, most=100)
        self.check()

    async def serve(self, plane, function, most, steps):
        """Grow a limit by steps and send calls to all hosts that may run some; what waits between is delivered before."""
        for machine in self.machines.values():
            machine.beat()
        for connection in list(plane.connections.values()):
            self.deliver(connection, to_host=False, most=100)
        for _ in range(steps):
            await self.finish(
                plane,
                f"grow {function}",
                plane.limits.grow(ACCOUNT, function, 1 if function else None),
            )
        plane.send_calls(function, most)
        for connection in list(plane.connections.values()):
            self.deliver(connection, to_host=True, most=100)
        await settle(4)

    async def calm(self, seconds=0.0, *, planes=None, every=0.5):
        """Let everything that waits happen in order, and so much time go by; the control planes look all the while."""
        end = self.now + seconds
        planes = self.planes if planes is None else planes
        while True:
            for plane in planes:
                plane.begin("look", plane.limits.look())
            for machine in self.machines.values():
                machine.beat()
            for _ in range(60):
                await settle(3)
                busy = False
                for plane in planes:
                    for connection in list(plane.connections.values()):
                        busy |= bool(connection.to_host or connection.to_plane)
                        self.deliver(connection, to_host=True, most=100)
                        self.deliver(connection, to_host=False, most=100)
                    for gate in list(plane.gates):
                        busy |= gate.act is not None
                        plane.pass_gate(gate)
                self.check()
                if not busy:
                    break
            if self.now >= end:
                break
            self.advance(every)

    async def close(self):
        tasks = [task for plane in self.planes for task in plane.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self, plane, function="", *, full=()):
        """One call as the way to the hosts has it: the host that runs it now. Raises ``Throttled``."""
        reserved = self.ledger.reserved.get(function)
        while True:
            shares = plane.limits.hosts(ACCOUNT, function, reserved)
            for name, share in shares.items():
                if name not in full and plane.hosts[name].alive:
                    machine = self.machines[name]
                    if machine.shares.take(share):
                        machine.calls.append((share.key, plane.connections[name]))
                        self.check()
                        return name
            if not await plane.limits.grow(ACCOUNT, function, reserved, full=full, tried=shares):
                raise plane.limits.exhausted(ACCOUNT, function, reserved)
