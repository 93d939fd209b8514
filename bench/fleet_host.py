"""A host as the simulation has it: memory that fills, sandboxes that wait and are evicted, shares, a lease. No sandbox is made.

What it promises and tells is the product's: ``Shares``, ``WorkLease``, ``Telling``. What it does with memory is a model: a working sandbox
takes the function's memory, an idle one ``IDLE_MB`` for ``KEEP_S``, the one that has waited longest goes first.
"""

from collections import deque

from forerun.cluster.beats import State, Telling
from forerun.cluster.lease import WorkLease
from forerun.cluster.shares import Shares
from forerun.host import HostStats
from forerun.model import HostInfo, Phase, Share
from forerun.scheduling import Ask

RUNTIME = "python3.11"
IDLE_MB = 24
KEEP_S = 300.0
POOL = 32
POOL_A_SECOND = 100.0
SANDBOXES_MOST = 2000
# What starts take, besides the function's own init.
POOL_MS = 3.0
FORK_MS = 10.0
INIT_MS = 100.0
WARM_MS = 0.3


class SimulatedHost:
    """``cut``: nobody hears it, and it hears nobody; ``dead``: it does nothing more. ``running`` counts calls."""

    def __init__(self, name: str, memory_mb: int, cpus: int, planes: int, lease_s: float) -> None:
        self.info = HostInfo(
            name=name,
            address=f"{name}:1",
            incarnation="1",
            version="1",
            protocols=(1, 1),
            isolation="jail",
            memory_mb=memory_mb,
            cpus=cpus,
            runtimes=(RUNTIME,),
        )
        self.name = name
        self.memory_mb = memory_mb
        self.cpus = cpus
        self.booked_mb = 0
        self.running = 0
        self.dead = self.cut = False
        self.cut_at = 0.0
        self.idle: dict[str, int] = {}
        self.trees: dict[str, bool] = {}
        self.shares = Shares()
        self.leases = [WorkLease(lease_s) for _ in range(planes)]
        self._telling = [Telling() for _ in range(planes)]
        self._since: dict[str, list[float]] = {}
        self._queue: deque[tuple[float, str]] = deque()
        self._waiting = 0
        self._pool = float(POOL)
        self._pool_at = 0.0

    # -- calls ---------------------------------------------------------------------------------------------------

    def take(self, ask: Ask, share: Share | None, now: float, *, idle_only: bool = False) -> str:
        """Begin a call: ``warm``, ``pool`` or ``fork``; ``not idle``, ``share`` or ``full`` when it refuses."""
        key, mb = ask.key, ask.memory_mb
        if idle_only and key not in self.idle:
            return "not idle"
        if share is not None and not self.shares.take(share):
            return "share"
        how = "warm" if key in self.idle else self._start(mb, now)
        if how == "full":
            if share is not None:
                self.shares.give_back(share.key)
            return how
        if how == "warm":
            self._use(key)
        self.trees[ask.trees[0]] = True
        self.booked_mb += mb
        self.running += 1
        return how

    def _start(self, mb: int, now: float) -> str:
        while (
            self.booked_mb + mb > self.memory_mb or self._waiting + self.running >= SANDBOXES_MOST
        ):
            if not self._evict():
                return "full"
        self._pool = min(POOL, self._pool + (now - self._pool_at) * POOL_A_SECOND)
        self._pool_at = now
        if self._pool < 1:
            return "fork"
        self._pool -= 1
        return "pool"

    def end(self, key: str, mb: int, share: Share | None, now: float, *, idle: bool = True) -> None:
        """A call is over; its sandbox waits, unless it went with the call."""
        self.booked_mb -= mb
        self.running -= 1
        if share is not None:
            self.shares.give_back(share.key)
        if idle:
            self.keep(key, now)

    def keep(self, key: str, now: float) -> None:
        """A sandbox of the version waits since ``now``, if it has room."""
        if self.booked_mb + IDLE_MB > self.memory_mb and not self._evict():
            return
        self.idle[key] = self.idle.get(key, 0) + 1
        self._since.setdefault(key, []).append(now)
        self._queue.append((now, key))
        self.booked_mb += IDLE_MB
        self._waiting += 1

    def _use(self, key: str) -> float:
        """Take one that waits, the newest of them; since when it has waited."""
        since = self._since[key]
        self._less(key)
        found = since.pop()
        if not since:
            del self._since[key]
        return found

    def _less(self, key: str) -> None:
        self.booked_mb -= IDLE_MB
        self._waiting -= 1
        left = self.idle[key] - 1
        if left:
            self.idle[key] = left
        else:
            del self.idle[key]

    def _evict(self) -> bool:
        while self._queue:
            since, key = self._queue.popleft()
            if self._drop(since, key):
                return True
        return False

    def _drop(self, moment: float, key: str) -> bool:
        """The one that waits since then goes, if it still does."""
        since = self._since.get(key)
        if not since or since[0] != moment:
            return False
        del since[0]
        if not since:
            del self._since[key]
        self._less(key)
        return True

    # -- what it says --------------------------------------------------------------------------------------------

    def tidy(self, now: float) -> None:
        """What has waited long enough goes."""
        while self._queue and self._queue[0][0] < now - KEEP_S:
            self._drop(*self._queue.popleft())

    def state(self) -> State:
        """What a beat is made of."""
        waiting = int(self._pool)
        stats = HostStats(
            name=self.name,
            isolation="jail",
            memory_mb=self.memory_mb,
            booked_mb=self.booked_mb,
            states={"busy": self.running, "idle": self._waiting, "pooled": waiting},
            pools={RUNTIME: (waiting, POOL), f"{RUNTIME}+sdk": (0, 0)},
            waiting=0,
            starts={},
            destroyed=0,
            failed=0,
        )
        return State(stats, Phase.ACTIVE, 0, self.idle, self.trees, self.shares.running(), {}, {})

    def telling(self, plane: int) -> Telling:
        """What that control plane was told."""
        return self._telling[plane]

    def connect_again(self, plane: int, lease_s: float) -> None:
        """A new connection: all is told anew, and it is not leased yet."""
        self._telling[plane] = Telling()
        self.leases[plane] = WorkLease(lease_s)


def start_ms(how: str, *, bring: bool) -> float:
    """What a start takes; ``bring``: its code had to come first."""
    if how == "warm":
        return WARM_MS
    return INIT_MS + (POOL_MS if how == "pool" else FORK_MS) + (100.0 if bring else 0.0)
