"""What all hosts are believed to be like, by host and by what placement asks for. Pure: time and chance are arguments.

What it costs follows from what there is, never from how many versions or calls there could be: of a version that is nowhere idle nothing is
kept, and of one host at most so much as ``state`` says. A look for candidates touches a bounded number of hosts.
"""

import heapq
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

from forerun.cluster import Beat
from forerun.control.fleet.indexes import Rooms
from forerun.control.fleet.state import HostState, Known
from forerun.host import Standing
from forerun.model import ChannelQuality, HostInfo, Likely
from forerun.scheduling import Ask, Rule

CANDIDATES_MOST = 32
IDLE_SOME = 12
TREES_SOME = 4
NEAR_SOME = 6
ROOM_SOME = 6
# Of how many services the nearest hosts are known, how long after somebody asked, and how many are looked at again at once.
NEAR_MOST = 1_000
NEAR_AGAIN = 8


class View:
    """The hosts. Moments are seconds of the monotonic clock; one that is silent for ``dead_s`` is not ``open``."""

    def __init__(self, rule: Rule, *, dead_s: float) -> None:
        self._dead_s = dead_s
        self._hosts: dict[str, HostState] = {}
        self._known = Known(rule)
        # By runtime and zone, those of all zones under the empty one.
        self._rooms: dict[tuple[str, str], Rooms[HostState]] = {}
        self._nearest: OrderedDict[str, list[HostState]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[HostState]:
        return iter(self._hosts.values())

    def get(self, name: str) -> HostState | None:
        """A host that is known, open or not."""
        return self._hosts.get(name)

    # -- what is heard -------------------------------------------------------------------------------------------

    def told(self, info: HostInfo, beat: Beat, now: float) -> HostState:
        """A host's beat. One that was begun anew has nothing of what it had."""
        state = self._hosts.get(info.name)
        if state is not None and state.info.incarnation != info.incarnation:
            self.lost(info.name)
            state = None
        if state is None:
            state = self._hosts[info.name] = HostState(info, self._known)
        elif state.info is not info:
            self._unlist(state)
            state.about(info)
        state.told(beat, now)
        state.open = state.wanted
        self._list(state)
        return state

    def lost(self, name: str) -> bool:
        """It is gone; whether it was known."""
        state = self._hosts.pop(name, None)
        if state is None:
            return False
        self._unlist(state)
        state.leave()
        for near in self._nearest.values():
            if state in near:
                near.remove(state)
        return True

    def silent(self, now: float) -> list[str]:
        """Hosts that have not been heard of for too long; they get no calls from now on, until they are heard of again."""
        horizon = now - self._dead_s
        found = []
        for state in self._hosts.values():
            if state.heard_at < horizon and state.open:
                state.open = False
                self._unlist(state)
                found.append(state.name)
        return found

    # -- what is done --------------------------------------------------------------------------------------------

    def sent(self, state: HostState, ask: Ask, now: float) -> bool:
        """A call of that kind is on its way there; whether a sandbox waits for it, as far as that is known."""
        warm = state.sent(ask.key, ask.memory_mb, now)
        self._list(state)
        return warm

    def ended(
        self, state: HostState, ask: Ask, now: float, *, idle: bool, freed_mb: int = 0
    ) -> None:
        """It is over; whether its sandbox waits for another one, or so much memory is free that it was thought to take."""
        if self._hosts.get(state.name) is not state:
            # It is gone, and so is what it had.
            return
        state.ended(ask.key, now, idle=idle, freed_mb=freed_mb)
        self._list(state)

    def refused(self, state: HostState, ask: Ask) -> None:
        """It had no room for a call of that kind."""
        state.refused(ask.memory_mb)
        self._list(state)

    def not_idle(self, state: HostState, ask: Ask) -> None:
        """None of its sandboxes waits for a call of that kind: another control plane's calls have them."""
        state.not_idle(ask.key)

    # -- what is asked -------------------------------------------------------------------------------------------

    def candidates(
        self,
        ask: Ask,
        *,
        services: Sequence[Likely] = (),
        allowed: Collection[str] | None = None,
        chance: float = 0.0,
    ) -> list[HostState]:
        """At most ``CANDIDATES_MOST`` hosts worth weighing; only those ``allowed``, if that is given."""
        if allowed is not None and len(allowed) <= CANDIDATES_MOST:
            return self._named(allowed)
        found: dict[HostState, None] = {}
        known = self._known
        if ask.affinity and (own := self._hosts.get(ask.affinity)) is not None:
            found[own] = None
        found |= dict.fromkeys(known.idle.some(ask.key, IDLE_SOME, chance))
        for likely in services:
            found |= dict.fromkeys(self._near(likely.service)[: NEAR_SOME // len(services)])
        for pool in ask.pools:
            if "@" in pool:
                found |= dict.fromkeys(known.subpools.some(pool, TREES_SOME, chance))
        for tree in ask.trees[:1]:
            found |= dict.fromkeys(known.trees.some(tree, TREES_SOME, chance))
        if allowed is not None:
            found = {state: None for state in found if state.name in allowed}
        found |= dict.fromkeys(self._more(ask, allowed, chance))
        return [state for state in found if ask.suits(state)] if ask.narrow else list(found)

    def _more(
        self, ask: Ask, allowed: Collection[str] | None, chance: float
    ) -> Sequence[HostState]:
        """Some of those with room, or of those that are allowed."""
        if allowed is None:
            rooms = self._rooms.get((ask.runtime, ask.zone))
            # None is drawn by its isolation: of more, some have it.
            limit = CANDIDATES_MOST if ask.isolation else ROOM_SOME
            return rooms.some(ask.memory_mb, limit, chance) if rooms is not None else ()
        names = [state.name for state in self.suiting(ask, allowed=allowed)] if ask.narrow else None
        among = allowed if names is None else names
        begin = int(chance * len(among))
        return self._named(islice(chain(among, among), begin, begin + ROOM_SOME))

    def suiting(
        self, ask: Ask, *, allowed: Collection[str] | None = None, chance: float = 0.0
    ) -> list[HostState]:
        """Hosts that could run it if they had room; some of them, unless there are few."""

        def suits(state: HostState) -> bool:
            return (
                state.open
                and ask.runtime in state.runtimes
                and state.memory_mb >= ask.memory_mb
                and ask.suits(state)
            )

        if allowed is not None:
            return [state for state in self._named(allowed) if suits(state)]
        rooms = self._rooms.get((ask.runtime, ask.zone))
        some = rooms.some(0, CANDIDATES_MOST, chance) if rooms is not None else []
        return [state for state in some if suits(state)] or [
            state for state in self._hosts.values() if suits(state)
        ]

    def unsuited(self, ask: Ask) -> set[str]:
        """Hosts that could not run it if they were empty, open or not."""
        return {
            state.name
            for state in self._hosts.values()
            if not ask.suits(state)
            or state.memory_mb < ask.memory_mb
            or ask.runtime not in state.runtimes
        }

    def with_tree(self, digest: str) -> list[str]:
        """The hosts that have this code."""
        return [state.name for state in self._known.trees.of(digest)]

    def with_idle(self, key: str) -> list[str]:
        """The hosts where sandboxes of the version wait."""
        return [state.name for state in self._known.idle.of(key)]

    def standing(self, key: str) -> Standing:
        """The sandboxes of a version on all hosts; of those without a standby only the idle ones are known."""
        idle = working = preparing = provisioned = 0
        failure = ""
        standing = self._known.standings.of(key)
        for state in standing:
            each = state.standings[key]
            idle += each.idle
            working += each.working
            preparing += each.preparing
            provisioned += each.provisioned
            failure = failure or each.failure
        for state in self._known.idle.of(key):
            if key not in state.standings:
                idle += state.idle[key]
        return Standing(
            idle=idle,
            working=working,
            preparing=preparing,
            provisioned=provisioned,
            failure=failure,
        )

    def channels(self, service: str) -> dict[str, ChannelQuality]:
        """What the hosts' paths to a service are like, by host, as far as they are measured."""
        return {state.name: state.channels[service] for state in self._known.services.of(service)}

    def refresh(self, limit: int = NEAR_AGAIN) -> None:
        """Find anew who is near to services of which something was told; a few of those that somebody asks for."""
        changed = self._known.changed
        due = [service for service in self._nearest if service in changed]
        for service in due[:limit]:
            changed.discard(service)
            self._nearest[service] = self._find_near(service)
        if len(due) <= limit:
            # What nobody asks for is found when somebody does.
            changed.clear()

    # -- the steps -----------------------------------------------------------------------------------------------

    def _named(self, names: Iterable[str]) -> list[HostState]:
        hosts = self._hosts
        return [hosts[name] for name in names if name in hosts]

    def _near(self, service: str) -> list[HostState]:
        near = self._nearest.get(service)
        if near is None:
            if len(self._nearest) >= NEAR_MOST:
                self._nearest.popitem(last=False)
            near = self._nearest[service] = self._find_near(service)
        return near

    def _find_near(self, service: str) -> list[HostState]:
        costs = [
            (state.ways[service], state.name, state)
            for state in self._known.services.of(service)
            if service in state.ways
        ]
        return [state for _, _, state in heapq.nsmallest(2 * NEAR_SOME, costs)]

    def _list(self, state: HostState) -> None:
        """It is drawn among those with its room from now on."""
        room = state.room_mb.bit_length()
        if not state.open or room == state.listed:
            return
        state.listed = room
        for kind in _kinds(state):
            rooms = self._rooms.get(kind)
            if rooms is None:
                rooms = self._rooms[kind] = Rooms()
            rooms.set(state, state.room_mb)

    def _unlist(self, state: HostState) -> None:
        state.listed = -1
        for kind in _kinds(state):
            if kind in self._rooms:
                self._rooms[kind].discard(state)


def _kinds(state: HostState) -> Iterator[tuple[str, str]]:
    """What it is drawn by: each of its runtimes, in its zone and in all."""
    for runtime in state.runtimes:
        yield runtime, ""
        if state.zone:
            yield runtime, state.zone
