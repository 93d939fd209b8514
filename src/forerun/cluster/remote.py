"""A host on another machine, as a control plane has it: calls go over one connection, all else is what its beats told.

Of a call it is known for certain whether it may have begun: a host that refuses says so, and what was never sent surely was not;
everything else that is lost may have run. A call costs its caller one frame and a future, no task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from forerun.aio import Clock
from forerun.cluster import frames
from forerun.cluster.contract import Beat
from forerun.cluster.flight import Flight, Landed
from forerun.cluster.frames import AnswerHead, AskHead
from forerun.cluster.known import Known, Levels
from forerun.cluster.moments import arrive
from forerun.cluster.session import Session
from forerun.errors import HostLost, HostUnreachable, InvalidInput, NoSuchRuntime
from forerun.host import HostStats, Run, SandboxInfo, Standing
from forerun.model import (
    WITH_SDK,
    Call,
    HostInfo,
    Phase,
    SandboxSpec,
    Share,
    Standby,
    Timings,
    TraceContext,
)

log = logging.getLogger("forerun.cluster")

ANSWER_S = 10.0
# A snapshot takes an init, behind a wait for memory and for code.
SNAPSHOT_S = 180.0
SHOWN_S = 1.0
POOL_MAX = 10_000


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a control plane treats its hosts, in seconds.

    ``patience_s`` is what a call may take besides its function's timeout: waits for memory, code, and init.
    """

    dead_s: float
    lease_s: float
    patience_s: float = 240.0


class RemoteAgent:
    """Implements ``RemoteHost``. Whoever connects to it hands in each connection by ``attach``."""

    def __init__(self, info: HostInfo, *, clock: Clock, terms: Terms) -> None:
        self.name = info.name
        self._info = info
        self._clock = clock
        self._terms = terms
        self._session: Session | None = None
        self._known = Known()
        self._levels = Levels()
        self._shown: list[SandboxInfo] = []
        self._shown_at = -SHOWN_S
        if info.phase is not Phase.ACTIVE:
            self.set_phase(info.phase)

    # -- the connection ------------------------------------------------------------------------------------------

    @property
    def info(self) -> HostInfo:
        """Who it is."""
        return self._info

    @property
    def alive(self) -> bool:
        """Whether it is connected and its beats are no older than ``cluster.dead_s``."""
        session = self._session
        return (
            session is not None
            and session.beat is not None
            and self._clock.monotonic() - session.beat_at <= self._terms.dead_s
        )

    @property
    def trees(self) -> Mapping[str, bool]:
        """Digests of the code that is on it."""
        return self._known.trees

    @property
    def beat(self) -> Beat | None:
        """The latest one of the connection that there is."""
        return self._session.beat if self._session is not None else None

    @property
    def was_beaten(self) -> bool:
        """Whether the latest connection was of any use."""
        return self._known.stats is not None

    def moved(self, info: HostInfo) -> None:
        """It is to be found there from now on, and that is wished of it; all else one that is connected says itself."""
        if info.phase is not self._info.phase:
            self.set_phase(info.phase)
        if self._session is None:
            self._info = info
        else:
            self._info = msgspec.structs.replace(self._info, address=info.address, phase=info.phase)

    def attach(self, session: Session, info: HostInfo) -> None:
        """It is connected; what it was told before to hold it is told again."""
        known = self._info
        # Where it was found, and what is wished of it, it need not know.
        self._info = msgspec.structs.replace(
            info, name=known.name, address=known.address, phase=known.phase
        )
        self._session, self._known = session, Known()

    def beaten(self, session: Session, beat: Beat) -> None:
        """A beat came. Raises ``Unbelievable``."""
        self._known.take(beat)
        if beat.whole:
            for spec, ask in self._levels.again(self._clock.monotonic()):
                session.tell(ask, spec)

    def detach(self, session: Session) -> None:
        """The connection is over."""
        if self._session is session:
            self._session = None

    def look(self, now: float) -> None:
        """End what is too old: the connection without beats, calls beyond their deadline. ``now`` is monotonic."""
        session = self._session
        if session is None:
            return
        if now - session.beat_at > self._terms.dead_s:
            session.end(f"no heartbeat for {now - session.beat_at:.1f} s")
            return
        session.expire(now)

    def leave(self, reason: str) -> None:
        """Give the connection up; calls in flight are lost."""
        if self._session is not None:
            self._session.end(reason)

    # -- calls ---------------------------------------------------------------------------------------------------

    async def run(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        """See ``RemoteHost.run``. Times are the host's, moved by the difference of the clocks that the call itself shows."""
        session = self._living()
        clock = self._clock
        flight = Flight(call, clock.monotonic() + spec.timeout_s + self._terms.patience_s)
        sent = clock.now()
        number = session.call(spec, call, flight, sent)
        try:
            landed = await (flight.landed if call.sink is None else session.carry(number, flight))
        except asyncio.CancelledError:
            session.cancel(number)
            raise
        return self._arrived(landed, timings, sent)

    def _arrived(self, landed: Landed, timings: Timings, sent: float) -> Run:
        run, moments = landed
        run.host = self.name
        arrive(run, moments, timings, sent, self._clock.now())
        return run

    async def take_snapshot(self, spec: SandboxSpec) -> None:
        """See ``Host.take_snapshot``."""
        await self._ask(AskHead(verb="take_snapshot"), spec, within_s=SNAPSHOT_S)

    async def keep_to(self, shares: Sequence[Share]) -> Mapping[str, int]:
        """See ``RemoteHost.keep_to``."""
        try:
            answer = await self._ask(AskHead(verb="keep_to", shares=list(shares)))
        except HostLost as error:
            raise HostUnreachable(error.message) from error
        wanted = {share.key: share.epoch for share in shares}
        # Of what was not asked it has nothing to say, and it has kept to nothing older than that.
        return {key: epoch for key, epoch in answer.kept.items() if epoch >= wanted.get(key, 2**63)}

    # -- what is held there --------------------------------------------------------------------------------------

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """See ``Host.stand_by``; told again when the host is connected again, as long as its lease holds."""
        ask = AskHead(verb="stand_by", standby=standby)
        self._levels.stand_by(spec, ask, self._clock.monotonic() + standby.lease_s)
        self._tell(ask, spec)

    def standing(self, key: str) -> Standing:
        """See ``Host.standing``; of the latest beats."""
        return self._known.standing(key)

    def hold_ready(self, runtime: str) -> None:
        """See ``Host.hold_ready``."""
        ask = AskHead(verb="hold_ready", runtime=runtime)
        self._levels.hold(f"ready {runtime}", ask)
        self._tell(ask)

    def hold_pool(self, pool: str, floor: int, *, borrow: bool = True) -> None:
        """See ``Host.hold_pool``."""
        runtime = pool.partition("@")[0].removesuffix(WITH_SDK).partition("+")[0]
        if runtime not in self._info.runtimes:
            raise NoSuchRuntime(f"{self.name} has no interpreter for {runtime}")
        if not 0 <= floor <= POOL_MAX:
            raise InvalidInput(f"a pool holds from 0 to {POOL_MAX} sandboxes, not {floor}")
        ask = AskHead(verb="hold_pool", runtime=pool, floor=floor, borrow=borrow)
        self._levels.hold(f"pool {pool}", ask)
        self._tell(ask)

    def cordon(self, on: bool) -> None:  # noqa: FBT001 a switch
        """See ``RemoteHost.cordon``."""
        self.set_phase(Phase.CORDONED if on else Phase.ACTIVE)

    def set_phase(self, phase: Phase) -> None:
        """What is wished of it; told again when it is connected again. A draining one ends when its calls are over."""
        ask = AskHead(verb="phase", phase=phase)
        self._levels.hold("phase", ask)
        self._tell(ask)

    def measure(self, services: Sequence[str]) -> None:
        """Let it probe its paths to these services (``HOST:PORT``) from now on, and no others."""
        ask = AskHead(verb="measure", services=list(services))
        self._levels.hold("measure", ask)
        self._tell(ask)

    def expel(self, names: Sequence[str]) -> None:
        """Let it give nothing to other hosts of these names, and to all others again."""
        ask = AskHead(verb="expel", keys=list(names))
        self._levels.hold("expel", ask)
        self._tell(ask)

    def drop(self, outdated: Callable[[str], bool]) -> int:
        """See ``Host.drop``; counted are those that were idle there by its latest beats."""
        session = self._session
        keys = set(self._known.idle) | set(self._known.standings) | self._levels.drop(outdated)
        if session is not None:
            keys |= session.keys()
        gone = [key for key in keys if outdated(key)]
        for start in range(0, len(gone), frames.KEYS_MAX):
            self._tell(AskHead(verb="drop", keys=gone[start : start + frames.KEYS_MAX]))
        return sum(self._known.idle.get(key, 0) for key in gone)

    # -- how it is -----------------------------------------------------------------------------------------------

    def running(self, access_key_id: str) -> TraceContext | None:
        """See ``Host.running``; of calls from here."""
        return self._session.running(access_key_id) if self._session is not None else None

    def stats(self) -> HostStats:
        """See ``Host.stats``; of the latest beat."""
        return self._known.stats or _nothing(self._info)

    def sandboxes(self) -> list[SandboxInfo]:
        """See ``Host.sandboxes``; as they were told when they were asked for before, which asks for them again."""
        now = self._clock.monotonic()
        if self.alive and now - self._shown_at >= SHOWN_S:
            self._shown_at = now
            asking = self._living().ask(AskHead(verb="sandboxes"), None, now + ANSWER_S)
            asking.add_done_callback(self._take_shown)
        return self._shown

    async def fetch_sandboxes(self) -> list[SandboxInfo]:
        """Those that it has now. Raises ``HostUnreachable``, ``HostLost``."""
        answer = await self._ask(AskHead(verb="sandboxes"))
        self._shown = [msgspec.structs.replace(one, host=self.name) for one in answer.sandboxes]
        return self._shown

    def _take_shown(self, asking: "asyncio.Future[AnswerHead]") -> None:
        if not asking.cancelled() and asking.exception() is None:
            found = asking.result().sandboxes
            self._shown = [msgspec.structs.replace(one, host=self.name) for one in found]

    def _living(self) -> Session:
        session = self._session
        if session is None or not self.alive:
            raise HostUnreachable(f"{self.name} is not connected")
        return session

    def _tell(self, ask: AskHead, spec: SandboxSpec | None = None) -> None:
        if self._session is not None and self._session.beat is not None:
            self._session.tell(ask, spec)

    def _ask(
        self, ask: AskHead, spec: SandboxSpec | None = None, within_s: float = ANSWER_S
    ) -> Awaitable[AnswerHead]:
        return self._living().ask(ask, spec, self._clock.monotonic() + within_s)


def _nothing(info: HostInfo) -> HostStats:
    """Of a host that has not said anything yet."""
    return HostStats(
        name=info.name,
        isolation=info.isolation,
        memory_mb=info.memory_mb,
        booked_mb=0,
        states={},
        pools={},
        waiting=0,
        starts={},
        destroyed=0,
        failed=0,
    )
