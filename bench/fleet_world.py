"""Virtual time over simulated hosts and control planes: calls come, hosts beat, die, are cut off, come back and join.

Every call ends in one way: done, refused (429), or lost with its host, which a caller who waits is told and after which an event is
run again. That none is missing, and that no event runs twice at once, is counted, not assumed.
"""

import gc
import heapq
import random
import resource
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from bench.fleet_call import Call, Plan
from bench.fleet_host import RUNTIME, SimulatedHost, start_ms
from bench.fleet_plane import Books, Plane, cpu
from bench.fleet_traffic import Traffic

from forerun.cluster.lease import END_S
from forerun.model import Share
from forerun.scheduling import Ask

BEAT_S = 0.5
DEAD_S = 3.0
LEASE_S = 6.0
LOOK_S = 0.2
TURN_S = 0.25
LIMITS_S = 1.0
PARKED_S = 0.25
WAIT_S = 10.0
# What it takes to hear that a connection is broken.
BROKEN_S = 0.001
EVENTS = 0.5

encode = msgspec.msgpack.Encoder().encode


def resident_mb() -> float:
    """What the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


Choose = Callable[["World", Call], Iterable[str]]


class World:
    """``choose`` places in another way than the product does. Counts are of calls that came after ``count_from``, virtual seconds."""

    def __init__(
        self, traffic: Traffic, plan: Plan, *, choose: Choose | None = None, count_from: float = 0.0
    ) -> None:
        self.traffic = traffic
        self.plan = plan
        self.choose = choose
        self.now = 0.0
        self.count_from = count_from
        self.chance = random.Random(plan.seed)
        limited = plan.step > 0 and choose is None
        self._needs: defaultdict[int, float] = defaultdict(float)
        for function in range(traffic.functions):
            self._needs[traffic.account[function]] += traffic.at_once(function)
        self.books = Books(plan.step, self._maximum) if limited else None
        self.planes = [
            Plane(number, dead_s=DEAD_S, lease_s=LEASE_S, books=self.books)
            for number in range(plan.planes)
        ]
        self.hosts: dict[str, SimulatedHost] = {}
        self.counts: Counter[str] = Counter()
        self.waited_ms: list[float] = []
        self.noticed: list[float] = []
        self.view_mb = 0.0
        self.telling_s = 0.0
        self._flying: defaultdict[str, dict[Call, None]] = defaultdict(dict)
        self._asks: dict[int, Ask] = {}
        self._due: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = 0
        self._over_at = 0.0
        for number in range(plan.hosts):
            self._add(f"host-{number}")

    def need(self, account: int) -> float:
        """How many calls of an account run at once on average."""
        return self._needs[account]

    def _maximum(self, account: int) -> int:
        return max(self.plan.maximum, int(3 * self._needs[account]))

    # -- time ----------------------------------------------------------------------------------------------------

    def at(self, moment: float, do: Callable[..., None], *given: object) -> None:
        """Do it then."""
        self._serial += 1
        heapq.heappush(self._due, (moment, self._serial, do, given))

    def run(self, seconds: float, *, drain: bool = True) -> None:
        """So many seconds of calls; then, if it shall ``drain``, what is under way until it is over."""
        for plane in self.planes:
            self.at(self.now, self._look, plane)
            self.at(self.now, self._turn, plane)
            self.at(self.now, self._compare, plane)
        end = self._over_at = self.now + seconds
        arrival = self.now + self.traffic.pause()
        while self._due or arrival < end:
            if not drain and self.now >= end:
                return
            if arrival < end and (not self._due or arrival <= self._due[0][0]):
                self.now = arrival
                self._arrive()
                arrival += self.traffic.pause()
                continue
            self.now, _, do, given = heapq.heappop(self._due)
            do(*given)

    @property
    def under_way(self) -> int:
        """Calls that came and have not ended."""
        ended = sum(self.counts[each] for each in ("done", "refused", "told lost"))
        return self.counts["came"] - ended

    def _again(self, pause: float, do: Callable[..., None], *given: object) -> None:
        """Later, as long as calls come or are under way."""
        if self.now < self._over_at or self.under_way:
            self.at(self.now + pause, do, *given)

    # -- hosts ---------------------------------------------------------------------------------------------------

    def _add(self, name: str) -> SimulatedHost:
        plan = self.plan
        host = SimulatedHost(name, plan.memory_mb, plan.cpus, plan.planes, LEASE_S)
        self.hosts[name] = host
        return host

    def join(self, name: str) -> None:
        """One more host, without anything."""
        host = self._add(name)
        for plane in self.planes:
            self._beat(host, plane)
        self.at(self.now + BEAT_S, self._beats, host)

    def begin(self) -> None:
        """All hosts are there, and each control plane hears of them: it is told all, and then that nothing has changed."""
        for plane in self.planes:
            for _ in range(2):
                told = [(host.info, self._told(host, plane)) for host in self.hosts.values()]
                if plane.number == 0 and not plane.beats:
                    gc.collect()
                    self.view_mb = -resident_mb()
                for info, raw in told:
                    plane.hear(info, raw, self.now)
        gc.collect()
        if len(self.planes) == 1:
            self.view_mb += resident_mb()
        for plane in self.planes:
            plane.forget_measured()
        for number, host in enumerate(self.hosts.values()):
            self.at(self.now + BEAT_S * number / len(self.hosts), self._beats, host)

    def _beats(self, host: SimulatedHost) -> None:
        if host.dead:
            return
        host.tidy(self.now)
        for plane in self.planes:
            if not host.cut:
                self._beat(host, plane)
        self._again(BEAT_S, self._beats, host)

    def _beat(self, host: SimulatedHost, plane: Plane) -> None:
        plane.hear(host.info, self._told(host, plane), self.now)
        host.leases[plane.number].renewed(self.now, self.now)

    def _told(self, host: SimulatedHost, plane: Plane) -> bytes:
        began = cpu()
        raw = encode(host.telling(plane.number).beat(host.state(), self.now))
        self.telling_s += cpu() - began
        return raw

    def kill(self, name: str) -> None:
        """Its agent is killed: connections break at once."""
        host = self.hosts[name]
        host.dead = True
        for plane in self.planes:
            self.at(self.now + BROKEN_S, self._lose, plane, name)

    def cut_off(self, name: str, heal_s: float | None = None) -> None:
        """Nobody hears it any more, and it hears nobody; for so long, which everybody notices, or for good."""
        assert heal_s is None or heal_s > DEAD_S + 2 * LOOK_S
        host = self.hosts[name]
        host.cut, host.cut_at = True, self.now
        if heal_s is not None:
            self.at(self.now + heal_s, self._heal, host)

    def _heal(self, host: SimulatedHost) -> None:
        host.cut = False
        for plane in self.planes:
            if host.name not in plane.connected:
                host.connect_again(plane.number, LEASE_S)
                self._beat(host, plane)

    def _look(self, plane: Plane) -> None:
        """Connections without beats are over."""
        for name in [name for name in plane.connected if self.now - plane.heard_at(name) > DEAD_S]:
            self._lose(plane, name)
        self._again(LOOK_S, self._look, plane)

    def _turn(self, plane: Plane) -> None:
        plane.view.silent(self.now)
        plane.view.refresh()
        self._again(TURN_S, self._turn, plane)

    def _compare(self, plane: Plane) -> None:
        plane.look()
        self._again(LIMITS_S, self._compare, plane)

    def _lose(self, plane: Plane, name: str) -> None:
        """A host's calls of this control plane are lost: who waits is told, events run again when it surely has ended them."""
        if name not in plane.connected:
            return
        host = self.hosts[name]
        if host.cut:
            self.noticed.append(self.now - host.cut_at)
        plane.lose(name)
        flying = self._flying[name]
        for call in [call for call in flying if call.plane is plane]:
            del flying[call]
            self._land(call, idle=False, lost=True)

    # -- calls ---------------------------------------------------------------------------------------------------

    def ask_of(self, function: int) -> Ask:
        """What its calls ask for; the code of each function is its own."""
        ask = self._asks.get(function)
        if ask is None:
            account = self.traffic.account[function]
            key = f"{account:012d}:f{function}:{'c' * 16}"
            pools = (f"{RUNTIME}@{account:012d}", RUNTIME)
            ask = self._asks[function] = Ask(
                key=key,
                runtime=RUNTIME,
                memory_mb=self.traffic.mb[function],
                pools=pools,
                trees=(f"{function:064x}",),
            )
        return ask

    def _arrive(self) -> None:
        function = self.traffic.draw()
        # Half as long to twice as long as usual.
        ms = self.traffic.ms[function] * 2 ** (2 * self.chance.random() - 1)
        plane = self.planes[int(self.chance.random() * len(self.planes))]
        account = self.traffic.account[function]
        call = Call(function, account, self.ask_of(function), ms, self.now, plane)
        call.event = self.chance.random() < EVENTS
        self.counts["came"] += 1
        self._count(call, "counted")
        self._send(call)

    def _count(self, call: Call, what: str, by: float = 1) -> None:
        if call.came >= self.count_from:
            self.counts[what] += by

    def _send(self, call: Call) -> None:
        full: set[str] = set()
        shared: set[str] = set()
        refusals = 0
        while True:
            taken = self._round(call, full, shared)
            refusals += len(full) + len(shared)
            if taken or not call.plane.grow(call.account, full):
                break
            self._count(call, "grown")
            shared.clear()
        if taken:
            self._count(call, "sent on", refusals > 0)
            return
        self._wait(call, limited=bool(shared))

    def _wait(self, call: Call, *, limited: bool) -> None:
        if limited or self.now - call.came > WAIT_S:
            self._count(call, "at its limit" if limited else "no room in time")
            self.counts["refused"] += 1
            return
        self._count(call, "waited for room", not call.parked)
        call.parked = True
        self.at(self.now + PARKED_S, self._send, call)

    def _round(self, call: Call, full: set[str], shared: set[str]) -> bool:
        """Whether any of those that seem able took it."""
        if self.choose is not None:
            return self._others(call)
        plane = call.plane
        while True:
            shares = plane.shares(call.account)
            placed = plane.decide(call.ask, shares, full | shared, self.chance.random())
            if placed is None:
                return False
            for number, name in enumerate(placed.hosts):
                call.idle_only = placed.idle_elsewhere(call.ask.key, number)
                said = self._try(call, name, shares[name] if shares is not None else None)
                if said == "taken":
                    return True
                if said != "not idle":
                    (shared if said == "share" else full).add(name)

    def _others(self, call: Call) -> bool:
        assert self.choose is not None
        return any(self._try(call, name, None) == "taken" for name in self.choose(self, call))

    def _try(self, call: Call, name: str, share: Share | None) -> str:
        view, ask, host = call.plane.view, call.ask, self.hosts[name]
        state = view.get(name)
        if state is None or name not in call.plane.connected:
            return "away"
        call.warm = view.sent(state, ask, self.now)
        call.host, call.share = host, share
        if host.dead or host.cut:
            # It is on its way to nobody, until the host is given up.
            self._flying[name][call] = None
            return "taken"
        # What brought nothing yet: its code is to be had elsewhere.
        bring = ask.trees[0] not in host.trees
        how = host.take(ask, share, self.now, idle_only=call.idle_only)
        if how in ("share", "full", "not idle"):
            view.ended(state, ask, self.now, idle=call.warm and how == "share",
                       freed_mb=0 if call.warm else ask.memory_mb)  # fmt: skip
            if how == "full":
                view.refused(state, ask)
            elif how == "not idle":
                view.not_idle(state, ask)
            self._count(call, f"refused: {how}")
            return how
        call.runs += 1
        self._count(call, how)
        self._count(call, "beside an idle one", self._beside(call, how))
        took_ms = start_ms(how, bring=bring)
        if call.came >= self.count_from and how != "warm":
            self.waited_ms.append(took_ms)
        if call.run_until > self.now:
            self.counts["twice at once"] += 1
        end = self.now + (took_ms + call.ms) / 1000
        call.run_until = end
        self._flying[name][call] = None
        self.at(end, self._end, call, host, share, call.runs)
        return "taken"

    def _beside(self, call: Call, how: str) -> bool:
        """Whether it was started anew though one of its sandboxes was idle where it might have run; looked at in some calls."""
        if how == "warm" or self._serial % 16:
            return False
        self._count(call, "looked at")
        return any(call.ask.key in host.idle for host in self.hosts.values())

    def _end(self, call: Call, host: SimulatedHost, share: Share | None, run: int) -> None:
        """The handler has returned, if it was not ended before."""
        if host.dead:
            return
        host.end(call.ask.key, call.ask.memory_mb, share, self.now)
        # One that was lost may run elsewhere by now, or be on its way to this very host again.
        if not host.cut and call.runs == run and self._flying[host.name].pop(call, self) is None:
            self._land(call, idle=True, lost=False)

    def _land(self, call: Call, *, idle: bool, lost: bool) -> None:
        """The control plane has an answer, or there will be none."""
        host = call.host
        assert host is not None
        if lost:
            self.counts["lost with a host"] += 1
            if host.cut or host.dead:
                until = self.now if host.dead else host.leases[call.plane.number].until + END_S
                call.run_until = min(call.run_until, until)
            if not call.event:
                self.counts["told lost"] += 1
                return
            self.counts["run again"] += 1
            over_in_s = call.plane.granted[host.name].over_in_s(self.now)
            self.at(self.now + over_in_s, self._send, call)
            return
        state = call.plane.view.get(host.name)
        if state is not None:
            freed_mb = 0 if idle or call.warm else call.ask.memory_mb
            call.plane.view.ended(state, call.ask, self.now, idle=idle, freed_mb=freed_mb)
        self.counts["done"] += 1
