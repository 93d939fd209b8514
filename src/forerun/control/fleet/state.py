"""One host as it is believed to be: what its beats said, corrected by what was sent there since. Pure."""

from collections.abc import Mapping
from sys import intern

from forerun.cluster import Beat
from forerun.control.fleet.indexes import Holders
from forerun.host import HostStats, Standing
from forerun.model import ChannelQuality, HostInfo, Phase
from forerun.scheduling import Candidate, Rule

# What is told beyond these is not kept: what a host costs here has a bound, whatever it says.
IDLE_MOST = 20_000
TREES_MOST = 5_000
CHANNELS_MOST = 256
STANDINGS_MOST = 20_000
# A call that was sent so shortly before a beat came may not be in it.
UNSEEN_S = 0.02


class Correction:
    """What happened to a host's counts because of calls, and beats do not tell yet."""

    __slots__ = ("idle", "memory_mb", "running")

    def __init__(self) -> None:
        self.idle: dict[str, int] = {}
        self.running = 0
        self.memory_mb = 0


class HostState(Candidate):
    """A candidate, and what is known of it besides. Moments are seconds of the monotonic clock.

    ``heard_at`` is when its last beat came; ``running`` are calls that this control plane has there; ``said`` is its last beat's
    account; ``phase`` is what it takes itself for, ``listed`` the class of room that it is drawn in. What it has is entered in ``known``.
    """

    __slots__ = (
        "_before",
        "_since",
        "_since_at",
        "_told",
        "busy",
        "channels",
        "heard_at",
        "info",
        "known",
        "listed",
        "phase",
        "running",
        "said",
        "standings",
    )

    def __init__(self, info: HostInfo, known: "Known") -> None:
        super().__init__(info.name)
        self.known = known
        self.info = info
        self.heard_at = 0.0
        self.running = 0
        self.listed = -1
        self.phase = Phase.ACTIVE
        self.said: HostStats | None = None
        self.busy = 0
        self.channels: dict[str, ChannelQuality] = {}
        self.standings: dict[str, Standing] = {}
        self.trees: set[str] = set()
        self._before = Correction()
        self._since = Correction()
        self._since_at = 0.0
        self._told: dict[str, int] = {}
        self.about(info)

    def about(self, info: HostInfo) -> None:
        """Who it is, and what is wished of it."""
        self.info = info
        self.runtimes = frozenset(info.runtimes)
        self.isolation = info.isolation
        self.zone = info.zone
        self.memory_mb = info.memory_mb

    @property
    def wanted(self) -> bool:
        """Whether it shall get calls: its owner and it itself say so."""
        return self.info.phase is self.phase is Phase.ACTIVE

    # -- what it says --------------------------------------------------------------------------------------------

    def told(self, beat: Beat, now: float) -> None:
        """Its next beat. It knows of all calls but the latest."""
        self._before, self._since = self._since, Correction()
        if beat.whole:
            self._forget_said(beat)
        for key, count in beat.idle.items():
            if key in self._told:
                self._told[key] = count
            self._set_idle(key, count)
        changes = self._before.idle
        for key in list(self._told):
            if key in changes:
                self._set_idle(key, self._told[key] + changes[key])
            else:
                self._set_idle(key, self._told.pop(key))
        self._tell_trees(beat.trees)
        self._tell_channels(beat.channels)
        self._tell_standings(beat.standings)
        self.said = stats = beat.stats
        self.phase = beat.phase
        self.heard_at = now
        self._tell_pools(stats.pools)
        self.waiting = max(0, stats.waiting)
        self.memory_mb = max(0, stats.memory_mb)
        self.busy = max(0, stats.states.get("busy", 0) + stats.states.get("assigning", 0))
        self._settle()

    def leave(self) -> None:
        """It is gone: nobody finds it any more."""
        self.open = False
        known = self.known
        for key in self.idle:
            known.idle.discard(key, self)
        for tree in self.trees:
            known.trees.discard(tree, self)
        for service in self.channels:
            known.services.discard(service, self)
        for key in self.standings:
            known.standings.discard(key, self)
        for pool in self.pools:
            known.subpools.discard(pool, self)

    def _forget_said(self, beat: Beat) -> None:
        """All that follows is told anew, and what is not told is not there."""
        for key in [key for key in self.idle if key not in beat.idle]:
            self._set_idle(key, 0)
        self._told = dict.fromkeys(self._told, 0)
        self._tell_trees({tree: False for tree in self.trees if not beat.trees.get(tree)})
        self._tell_channels(
            dict.fromkeys(service for service in self.channels if service not in beat.channels)
        )
        self._tell_standings(
            dict.fromkeys(key for key in self.standings if key not in beat.standings)
        )

    def _tell_pools(self, pools: Mapping[str, tuple[int, int]]) -> None:
        before, self.pools = self.pools, {pool: waiting for pool, (waiting, _) in pools.items()}
        if before.keys() != self.pools.keys():
            for pool in before:
                self.known.subpools.discard(pool, self)
            for pool in self.pools:
                if "@" in pool:
                    self.known.subpools.add(pool, self)

    def _tell_trees(self, trees: Mapping[str, bool]) -> None:
        for tree, there in trees.items():
            if not there:
                self.trees.discard(tree)
                self.known.trees.discard(tree, self)
            elif tree not in self.trees and len(self.trees) < TREES_MOST:
                tree = intern(tree)  # noqa: PLW2901 one string for all hosts
                self.trees.add(tree)
                self.known.trees.add(tree, self)

    def _tell_channels(self, channels: Mapping[str, ChannelQuality | None]) -> None:
        rule = self.known.rule
        for service, quality in channels.items():
            self.reaches(service, None, rule)
            if quality is None:
                self.channels.pop(service, None)
                self.known.services.discard(service, self)
            elif service in self.channels or len(self.channels) < CHANNELS_MOST:
                service = intern(service)  # noqa: PLW2901 as above
                self.channels[service] = quality
                self.known.services.add(service, self)
                self.reaches(service, quality, rule)
            self.known.changed.add(service)

    def _tell_standings(self, standings: Mapping[str, Standing | None]) -> None:
        for key, standing in standings.items():
            if standing is None:
                self.standings.pop(key, None)
                self.preparing.pop(key, None)
                self.known.standings.discard(key, self)
            elif key in self.standings or len(self.standings) < STANDINGS_MOST:
                self.standings[key] = standing
                self.known.standings.add(key, self)
                if standing.preparing > 0:
                    self.preparing[key] = standing.preparing
                else:
                    self.preparing.pop(key, None)

    # -- what was sent there -------------------------------------------------------------------------------------

    def sent(self, key: str, memory_mb: int, now: float) -> bool:
        """A call is on its way to it; whether it finds an idle sandbox there, as far as that is known."""
        self._turn(now)
        since = self._since
        warm = self.idle.get(key, 0) > 0
        if warm:
            self._correct(key, -1)
        else:
            since.memory_mb += memory_mb
        since.running += 1
        self.running += 1
        self._settle()
        return warm

    def ended(self, key: str, now: float, *, idle: bool, freed_mb: int = 0) -> None:
        """A call there is over; whether its sandbox waits for another one, or what it was thought to take is free."""
        self._turn(now)
        self._since.memory_mb -= freed_mb
        if idle:
            self._correct(key, 1)
        self._since.running -= 1
        self.running -= 1
        self._settle()

    def refused(self, memory_mb: int) -> None:
        """It has no room for so much, until it says otherwise."""
        self._since.memory_mb += max(0, self.free_mb - memory_mb + 1)
        self._settle()
        self.room_mb = min(self.room_mb, memory_mb - 1)

    def not_idle(self, key: str) -> None:
        """No sandbox of a version waits there, until it says otherwise."""
        if count := self.idle.get(key, 0):
            self._correct(key, -count)

    def _correct(self, key: str, change: int) -> None:
        told = self._told.setdefault(key, self.idle.get(key, 0))
        corrected = self._since.idle
        corrected[key] = corrected.get(key, 0) + change
        # What is taken from nothing is owed: the sum may be less than the idle ones are.
        self._set_idle(key, told + self._before.idle.get(key, 0) + corrected[key])

    def _turn(self, now: float) -> None:
        """What was sent a while ago is in the next beat."""
        if now - self._since_at < UNSEEN_S:
            return
        self._since_at = now
        since, before = self._since, self._before
        if not since.idle:
            before.running += since.running
            before.memory_mb += since.memory_mb
            since.running = since.memory_mb = 0
            return
        for key, change in since.idle.items():
            before.idle[key] = before.idle.get(key, 0) + change
        before.running += since.running
        before.memory_mb += since.memory_mb
        self._since = Correction()

    def _settle(self) -> None:
        """What follows of what was said and sent."""
        stats = self.said
        if stats is None:
            return
        before, since = self._before, self._since
        self.load = max(0, self.busy + before.running + since.running) / max(1, self.info.cpus)
        free = stats.memory_mb - stats.booked_mb - before.memory_mb - since.memory_mb
        self.free_mb = max(0, free)
        states = stats.states
        giving = states.get("idle", 0) + states.get("pooled", 0)
        # Of idle ones it is not known what each has booked.
        share = giving / max(1, sum(states.values()))
        self.room_mb = max(0, free + int(stats.booked_mb * share))

    def _set_idle(self, key: str, count: int) -> None:
        idle = self.idle
        if count > 0:
            if key not in idle:
                if len(idle) >= IDLE_MOST:
                    return
                key = intern(key)
                self.known.idle.add(key, self)
            idle[key] = count
        elif idle.pop(key, None) is not None:
            self.known.idle.discard(key, self)


class Known:
    """Which hosts have what: idle sandboxes and standbys by version key, trees by digest, measured channels by service,
    sub-pools of accounts.

    ``changed`` are services of which something was told.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.idle: Holders[HostState] = Holders()
        self.trees: Holders[HostState] = Holders()
        self.services: Holders[HostState] = Holders()
        self.standings: Holders[HostState] = Holders()
        self.subpools: Holders[HostState] = Holders()
        self.changed: set[str] = set()
