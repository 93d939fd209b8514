"""Hosts of a cluster that are only pretended: they keep count of sandboxes and memory, say how they are, and fail as told."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from forerun.cluster import NOT_IDLE, SHARE, Beat
from forerun.errors import HostUnreachable, Throttled
from forerun.host import HostStats, Run, SandboxInfo, Standing
from forerun.model import (
    Call,
    ChannelQuality,
    Egress,
    HostInfo,
    LoggingConfig,
    Outcome,
    Phase,
    SandboxSpec,
    Share,
    Standby,
    StartType,
    Timings,
    TraceContext,
)

MEMORY_MB = 1024


def spec(
    name: str = "f",
    *,
    memory_mb: int = 128,
    runtime: str = "python3.11",
    zone: str = "",
    isolation: str = "",
) -> SandboxSpec:
    return SandboxSpec(
        key=f"{name}-1",
        account="1" * 12,
        region="us-home-1",
        name=name,
        version="1",
        function_arn=f"arn:aws:lambda:us-home-1:{'1' * 12}:function:{name}",
        runtime=runtime,
        handler="app.handler",
        memory_mb=memory_mb,
        ephemeral_mb=512,
        timeout_s=3,
        environment={},
        code_dir=f"/trees/{name}",
        layers_dir=None,
        egress=Egress.NONE,
        logging=LoggingConfig(group="g"),
        log_stream="",
        zone=zone,
        isolation=isolation,
    )


def call(request_id: str = "r", reserved: int | None = None) -> Call:
    return Call(
        request_id=request_id, payload=b"{}", invoked_arn="arn", deadline_ms=0, reserved=reserved
    )


class FakeHost:
    """Implements ``RemoteHost``. ``failing`` is raised for calls, ``gates`` hold them by request id, ``held`` is what it was told to hold."""

    def __init__(
        self,
        name: str,
        *,
        memory_mb: int = MEMORY_MB,
        cpus: int = 4,
        runtimes: tuple[str, ...] = ("python3.11",),
        zone: str = "",
        isolation: str = "jail",
    ) -> None:
        self.name = name
        self.info = HostInfo(
            name=name,
            address=f"{name}:1",
            incarnation="1",
            version="1",
            protocols=(1, 1),
            isolation=isolation,
            memory_mb=memory_mb,
            cpus=cpus,
            runtimes=runtimes,
            zone=zone,
        )
        self.alive = True
        self.idle: Counter[str] = Counter()
        self.busy = 0
        self.busy_mb = 0
        self.idle_mb: dict[str, int] = {}
        self.trees: set[str] = set()
        self.channels: dict[str, ChannelQuality] = {}
        self.failing: Exception | None = None
        self.gates: dict[str, asyncio.Event] = {}
        self.served: list[str] = []
        self.refused = 0
        self.shares: Counter[str] = Counter()
        self.most_at_once = 0
        self.held: dict[str, Standby] = {}
        self.pools: dict[str, int] = {}
        self.ready: list[str] = []
        self.snapshots: list[str] = []
        self.dropped = 0
        self.cordoned = False
        self.contexts: dict[str, TraceContext] = {}
        self.sequence = 0

    def beat(self) -> Beat:
        self.sequence += 1
        booked = self.busy_mb + self._idle_mb()
        return Beat(
            sequence=self.sequence,
            sent=0.0,
            whole=True,
            stats=HostStats(
                name=self.name,
                isolation="jail",
                memory_mb=self.info.memory_mb,
                booked_mb=booked,
                states={"idle": self.idle.total(), "busy": self.busy},
                pools={pool: (count, count) for pool, count in self.pools.items()},
                waiting=0,
                starts={"warm": len(self.served)},
                destroyed=0,
                failed=0,
            ),
            idle=dict(self.idle),
            trees=dict.fromkeys(self.trees, True),
            channels=dict(self.channels),
            standings={key: self.standing(key) for key in self.held},
        )

    def _idle_mb(self) -> int:
        return sum(count * self.idle_mb.get(key, 0) for key, count in self.idle.items())

    async def run(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        if self.failing is not None:
            self.refused += 1
            raise self.failing
        share = call.share
        if share is not None and self.shares[share.key] >= share.amount:
            self.refused += 1
            raise Throttled("as much as it may", reason=SHARE)
        if call.idle_only and not self.idle[spec.key]:
            self.refused += 1
            raise Throttled("nothing of it is idle", reason=NOT_IDLE)
        warm = self._take(spec)
        self.idle_mb[spec.key] = spec.memory_mb
        self.trees.add(spec.code_dir.rpartition("/")[2])
        self.busy += 1
        self.busy_mb += spec.memory_mb
        self.most_at_once = max(self.most_at_once, self.busy)
        if share is not None:
            self.shares[share.key] += 1
        try:
            gate = self.gates.get(call.request_id) or self.gates.get("*")
            if gate is not None:
                await gate.wait()
            if self.failing is not None:
                raise self.failing
        finally:
            self.busy -= 1
            self.busy_mb -= spec.memory_mb
            if share is not None:
                self.shares[share.key] -= 1
        self.idle[spec.key] += 1
        self.served.append(call.request_id)
        return Run(
            outcome=Outcome(payload=b"{}"),
            start_type=StartType.WARM if warm else StartType.POOL,
            sandbox_id=f"{self.name}-s",
            isolation="jail",
            placement="idle sandbox of this version" if warm else "warming pool",
            log_stream="",
        )

    def _take(self, spec: SandboxSpec) -> bool:
        if self.idle[spec.key] > 0:
            self.idle[spec.key] -= 1
            return True
        if self.busy_mb + spec.memory_mb > self.info.memory_mb:
            self.refused += 1
            raise Throttled("no memory free", reason="ConcurrentInvocationLimitExceeded")
        while self.idle.total():
            if self.busy_mb + spec.memory_mb + self._idle_mb() <= self.info.memory_mb:
                break
            self.idle[next(key for key, count in self.idle.items() if count)] -= 1
        return False

    async def take_snapshot(self, spec: SandboxSpec) -> None:
        self.snapshots.append(spec.key)

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        if standby.idle or standby.total or standby.linger_s is not None:
            self.held[spec.key] = standby
        else:
            self.held.pop(spec.key, None)

    def standing(self, key: str) -> Standing:
        return Standing(idle=self.idle[key], working=self.busy)

    def hold_ready(self, runtime: str) -> None:
        self.ready.append(runtime)

    def hold_pool(self, pool: str, floor: int, *, borrow: bool = True) -> None:
        self.pools[pool] = floor

    def drop(self, outdated: Callable[[str], bool]) -> int:
        gone = [key for key in self.idle if outdated(key)]
        for key in gone:
            del self.idle[key]
        return len(gone)

    def running(self, access_key_id: str) -> TraceContext | None:
        return self.contexts.get(access_key_id)

    def stats(self) -> HostStats:
        return self.beat().stats

    def sandboxes(self) -> list[SandboxInfo]:
        return [
            SandboxInfo(
                id=f"{self.name}-{key}",
                state="idle",
                runtime="python3.11",
                isolation="jail",
                key=key,
                booked_mb=128,
                used_bytes=0,
                calls=1,
                idle_s=0.0,
            )
            for key, count in self.idle.items()
            if count
        ]

    def cordon(self, on: bool) -> None:
        self.cordoned = on
        phase = Phase.CORDONED if on else Phase.ACTIVE
        self.info = msgspec.structs.replace(self.info, phase=phase)

    async def keep_to(self, shares: Sequence[Share]) -> Mapping[str, int]:
        return {share.key: share.epoch for share in shares}


class FakeLinks:
    """Implements ``Links`` over pretended hosts."""

    def __init__(self, *hosts: FakeHost) -> None:
        self.all = {host.name: host for host in hosts}
        self.hosts = dict(self.all)
        self._on_beat: Callable[[FakeHost, Beat], None] = lambda *_: None
        self._on_lost: Callable[[FakeHost], None] = lambda *_: None

    def follow(self, hosts: Sequence[HostInfo]) -> None:
        self.hosts = {info.name: self.all[info.name] for info in hosts}

    def listen(
        self,
        on_beat: Callable[[FakeHost, Beat], None],
        on_lost: Callable[[FakeHost], None],
    ) -> None:
        self._on_beat, self._on_lost = on_beat, on_lost

    def beat(self, *names: str) -> None:
        """These hosts say how they are; all, unless they are named."""
        for name in names or list(self.hosts):
            host = self.hosts[name]
            if host.alive:
                self._on_beat(host, host.beat())

    def join(self, host: FakeHost) -> None:
        self.all[host.name] = self.hosts[host.name] = host
        self.beat(host.name)

    def lose(self, name: str, *, error: Exception | None = None) -> None:
        """It is gone at once; calls that run there end with ``error``."""
        host = self.hosts.pop(name)
        host.alive = False
        host.failing = error or HostUnreachable("gone")
        for gate in host.gates.values():
            gate.set()
        self._on_lost(host)

    async def close(self) -> None:
        self.hosts = {}


class FakeLimits:
    """Implements ``Limits``: ``step`` calls more on one host more, up to ``most``, for each thing that is limited together."""

    def __init__(self, hosts: Sequence[str], *, most: int, step: int) -> None:
        self._hosts = list(hosts)
        self._most = most
        self._step = step
        self._shares: defaultdict[str, dict[str, Share]] = defaultdict(dict)

    def hosts(self, account: str, function: str, reserved: int | None) -> Mapping[str, Share]:
        return self._shares[_limited(account, function, reserved)]

    async def grow(
        self,
        account: str,
        function: str,
        reserved: int | None,
        *,
        full: Sequence[str] = (),
        tried: Mapping[str, Share] | None = None,
    ) -> bool:
        await asyncio.sleep(0)
        key = _limited(account, function, reserved)
        shares = self._shares[key]
        given = sum(share.amount for share in shares.values())
        most = self._most if reserved is None else reserved
        step = min(self._step, most - given)
        free = [name for name in self._hosts if name not in shares and name not in full]
        if step <= 0 or not free:
            return False
        self._shares[key] = {**shares, free[0]: Share(key, step, len(shares) + 1)}
        return True

    def draw(self, account: str, function: str, reserved: int | None, host: str) -> None:
        key = _limited(account, function, reserved)
        shares = self._shares[key]
        given = sum(share.amount for share in shares.values())
        if (step := min(self._step, self._most - given)) > 0 and host not in shares:
            self._shares[key] = {**shares, host: Share(key, step, len(shares) + 1)}

    def used_up(self, account: str, function: str, reserved: int | None) -> bool:
        shares = self._shares[_limited(account, function, reserved)]
        most = self._most if reserved is None else reserved
        return sum(share.amount for share in shares.values()) >= most

    def exhausted(self, account: str, function: str, reserved: int | None) -> Throttled:
        return Throttled("Rate Exceeded.", reason="ConcurrentInvocationLimitExceeded")


def _limited(account: str, function: str, reserved: int | None) -> str:
    return account if reserved is None else f"{account}:{function}"
