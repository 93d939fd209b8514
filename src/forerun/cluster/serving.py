"""An agent's side of the wire: serves its host to several control planes at once, and beats to each.

Each control plane has one connection; a new one ends what the older one asked for, since nobody can hear of it any more. A host works
for a control plane only while that one renews it: else it ends the calls of that one, and of no other.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.cluster.attending import Attending
from forerun.cluster.beats import State
from forerun.cluster.door import Guest
from forerun.cluster.here import Here
from forerun.cluster.shares import Shares
from forerun.cluster.verbs import Place
from forerun.host import HostAgent
from forerun.model import ChannelQuality, HostInfo, OutgoingCall, Phase
from forerun.settings import ClusterSettings

log = logging.getLogger("forerun.cluster")

CONTROL_PLANES_MAX = 64
LOOK_S = 0.1


class Serving:
    """``handle`` is the door's handler for ``calls``; ``start``, then ``close``.

    ``channels`` tells of the host's paths to services; ``measure`` is told which ones shall be measured, ``heard`` which
    calls executions have made. ``pulse`` is told while
    the process lives, several times a second, after how many seconds without another word it hangs. With ``announce_all`` control planes hear in which
    sandbox each call runs.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        host: HostAgent,
        here: Here,
        *,
        info: HostInfo,
        clock: Clock,
        settings: ClusterSettings,
        data_dir: Path,
        trees: Callable[[], Mapping[str, bool]],
        channels: Callable[[], Mapping[str, ChannelQuality]] = dict,
        measure: Callable[[list[str]], None] = lambda _: None,
        heard: Callable[[list[OutgoingCall]], None] = lambda _: None,
        pulse: Callable[[float], None] = lambda _: None,
        announce_all: bool = False,
    ) -> None:
        self.info = info
        self.phase = Phase.ACTIVE
        self.expelled: frozenset[str] = frozenset()
        """Names of hosts that get nothing here, as a control plane has told last."""
        self._ending = False
        self._host = host
        self._clock = clock
        self._settings = settings
        self._data_dir = data_dir
        self._trees = trees
        self._channels = channels
        self._pulse = pulse
        self._place = Place(
            host=host,
            here=here,
            clock=clock,
            owner=TaskOwner(f"serve-{info.name}"),
            accepts=lambda: self.phase is Phase.ACTIVE,
            set_phase=self.set_phase,
            measure=measure,
            heard=heard,
            expel=self._expel,
            shares=Shares(),
            announce_all=announce_all,
        )
        self._owner = TaskOwner(f"beats-{info.name}")
        self.attending: dict[str, Attending] = {}

    def start(self) -> None:
        """Begin to beat."""
        self._owner.spawn(self._beat(), name="beat")
        self._owner.spawn(self._look(), name="leases")

    async def close(self) -> None:
        """End the calls of all control planes, and the connections."""
        for one in list(self.attending.values()):
            one.end("the agent ends")
        await self._owner.close()
        await self._place.owner.close()

    @property
    def working(self) -> int:
        """Calls in flight."""
        return sum(one.working for one in self.attending.values())

    def set_phase(self, phase: Phase) -> None:
        """Take calls or not, from now on; every control plane sees it by the next beat."""
        if self._ending:
            return
        if phase is not self.phase:
            log.info("%s is %s", self.info.name, phase.value)
        self.phase = phase

    def _expel(self, names: list[str]) -> None:
        self.expelled = frozenset(names)

    def drain(self) -> None:
        """Take no more calls, whatever control planes wish: this process is about to end."""
        self.set_phase(Phase.DRAINING)
        self._ending = True

    async def handle(self, guest: Guest) -> None:
        """A control plane has come."""
        name = guest.name
        if name not in self.attending and len(self.attending) >= CONTROL_PLANES_MAX:
            guest.refuse("busy", f"{CONTROL_PLANES_MAX} control planes are connected already")
            return
        if (older := self.attending.pop(name, None)) is not None:
            older.end("the control plane has connected anew")
        address = guest.fields.get("address")
        theirs = guest.fields.get("lease_s")
        lease_s = self._settings.lease_s
        if isinstance(theirs, (int, float)) and 0 < theirs < lease_s:
            lease_s = float(theirs)
        guest.welcome({"info": msgspec.to_builtins(self.info)})
        one = Attending(
            self._place,
            name,
            address=address if isinstance(address, str) else "",
            lease_s=lease_s,
            on_end=self._left,
        )
        self.attending[name] = one
        self._place.here.come(one)
        guest.hand_over(one.link)
        log.info("control plane %s is connected", name)
        one.beat(self._state())

    def _left(self, one: Attending, reason: str) -> None:
        if self.attending.get(one.name) is one:
            del self.attending[one.name]
            log.warning("control plane %s is gone: %s", one.name, reason)
        self._place.here.leave(one)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._settings.beat_s)
            self._place.shares.forget(self._clock.monotonic())
            if self.attending:
                state = self._state()
                for one in list(self.attending.values()):
                    one.beat(state)

    async def _look(self) -> None:
        """End what has no lease any more; far more often than beats, since only what has ended is over."""
        while True:
            # What it runs must not outlive the shortest of its leases, should it hang from now on.
            leases = [one.lease_s for one in self.attending.values()]
            self._pulse(min(leases, default=self._settings.lease_s))
            now = self._clock.monotonic()
            for one in list(self.attending.values()):
                one.look(now)
            await self._clock.sleep(LOOK_S)

    def _state(self) -> State:
        try:
            free_mb = shutil.disk_usage(self._data_dir).free >> 20
        except OSError:
            free_mb = 0
        return State(
            stats=self._host.stats(),
            phase=self.phase,
            disk_free_mb=free_mb,
            idle=self._host.idle(),
            trees=self._trees(),
            running=self._place.shares.running(),
            channels=self._channels(),
            standings=self._host.standings(),
        )


async def until_quiet(serving: Serving, clock: Clock, within_s: float) -> bool:
    """Wait until no calls are in flight; false when some still are after ``within_s`` seconds."""
    deadline = clock.monotonic() + within_s
    while serving.working:
        if clock.monotonic() >= deadline:
            return False
        await asyncio.sleep(LOOK_S / 2)
    return True
