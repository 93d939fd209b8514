"""A control plane's connections to all hosts: made, watched, and made again."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from forerun.aio import Clock, TaskOwner, cut
from forerun.cluster.contract import Beat, RemoteHost
from forerun.cluster.frames import KEYS_MAX, TreeSource
from forerun.cluster.giving import Giver
from forerun.cluster.introductions import introduced
from forerun.cluster.knocking import Knocker
from forerun.cluster.remote import RemoteAgent, Terms
from forerun.cluster.session import Session
from forerun.cluster.tls import Peer
from forerun.errors import ForerunError, HostUnreachable, InvalidInput
from forerun.model import HostInfo

log = logging.getLogger("forerun.cluster")

LOOK_S = 0.2
AGAIN_S = 0.1
AGAIN_MAX_S = 2.0

OnBeat = Callable[[RemoteHost, Beat], None]
OnLost = Callable[[RemoteHost], None]


class AgentLinks:
    """Implements ``Links``. ``start`` it once there is a giver; ``address`` is this process's door.

    ``renew`` says whether what this control plane has claimed outlives the lease that a renewal gives its hosts.
    """

    def __init__(
        self,
        knocker: Knocker,
        *,
        clock: Clock,
        terms: Terms,
        address: str,
        renew: Callable[[], bool] = lambda: True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._knocker = knocker
        self._clock = clock
        self._terms = terms
        self._address = address
        self._renew = renew
        self._chance = chance
        self._giver: Giver
        self._agents: dict[str, RemoteAgent] = {}
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._on_beat: list[OnBeat] = []
        self._on_lost: list[OnLost] = []
        self._owner = TaskOwner("links")
        self._looked_at = clock.monotonic()
        self._closing = False
        self._expelled: list[str] = []

    def start(self, giver: Giver) -> None:
        """Begin to watch; what hosts want comes from ``giver``."""
        self._giver = giver
        self._owner.spawn(self._look(), name="look")

    @property
    def hosts(self) -> Mapping[str, RemoteAgent]:
        """See ``Links.hosts``."""
        return self._agents

    def follow(self, hosts: Sequence[HostInfo]) -> None:
        """See ``Links.follow``."""
        wanted = {info.name: info for info in hosts}
        for name in [name for name in self._agents if name not in wanted]:
            self._forget(name)
        for name, info in wanted.items():
            known = self._agents.get(name)
            if known is None:
                self._agents[name] = agent = RemoteAgent(info, clock=self._clock, terms=self._terms)
                agent.expel(self._expelled)
                self._tasks[name] = self._owner.spawn(self._keep(agent), name=f"keep {name}")
            else:
                # Connected, it says itself who it is.
                known.moved(info)

    def expel(self, names: Sequence[str]) -> None:
        """Hosts are told to give nothing to those of these names."""
        if self._expelled != (told := sorted(names)[:KEYS_MAX]):
            self._expelled = told
            for agent in self._agents.values():
                agent.expel(told)

    def listen(self, on_beat: OnBeat, on_lost: OnLost) -> None:
        """See ``Links.listen``."""
        self._on_beat.append(on_beat)
        self._on_lost.append(on_lost)

    def holders(self, digest: str) -> list[TreeSource]:
        """The hosts that have a tree, by their latest beats."""
        return [
            TreeSource(agent.info.address, agent.name, "host")
            for agent in self._agents.values()
            if digest in agent.trees and agent.alive
        ]

    async def close(self) -> None:
        """See ``Links.close``."""
        self._closing = True
        for name in list(self._agents):
            self._forget(name)
        await self._owner.close()

    def _forget(self, name: str) -> None:
        self._tasks.pop(name).cancel()
        agent = self._agents.pop(name)
        agent.leave("it is none of the hosts any more")

    async def _keep(self, agent: RemoteAgent) -> None:
        """Connect, and again, as long as it is one of the hosts."""
        pause, said = AGAIN_S, ""
        while True:
            try:
                ended = await self._connect(agent)
            except ForerunError as error:
                if error.message != said:
                    said = error.message
                    log.warning("no connection to %s: %s", agent.name, said)
                await self._clock.sleep(pause * (0.5 + self._chance() / 2))
                pause = min(2 * pause, AGAIN_MAX_S)
                continue
            reason = await ended
            said, beaten = reason, agent.was_beaten
            log.warning("%s is lost: %s", agent.name, reason)
            # One that connects and is of no use is not asked at once for ever.
            pause = AGAIN_S if beaten else min(2 * pause, AGAIN_MAX_S)
            await self._clock.sleep(pause * (0.5 + self._chance() / 2))

    async def _connect(self, agent: RemoteAgent) -> "asyncio.Future[str]":
        """A connection is there; what comes of it says why it ended. Raises ``ForerunError``."""
        knocked = await self._knocker.knock(
            agent.info.address,
            "calls",
            {"address": self._address, "lease_s": self._terms.lease_s},
            expect=Peer(agent.name, "host"),
        )
        try:
            info = introduced(msgspec.convert(knocked.fields.get("info"), HostInfo))
        except (msgspec.ValidationError, InvalidInput) as error:
            cut(knocked.transport)
            raise HostUnreachable(f"{agent.name} does not say who it is: {error}") from None
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_beat(session: Session, beat: Beat) -> None:
            agent.beaten(session, beat)
            for listener in self._on_beat:
                listener(agent, beat)

        def on_end(session: Session, reason: str) -> None:
            agent.detach(session)
            for listener in self._on_lost:
                listener(agent)
            if not ended.done():
                ended.set_result(reason)
            if not self._closing:
                self._owner.spawn(session.close(), name="close")

        session = Session(
            agent.name,
            clock=self._clock,
            lease_s=self._terms.lease_s,
            giver=self._giver,
            renew=self._renew,
            on_beat=on_beat,
            on_end=on_end,
        )
        agent.attach(session, info)
        knocked.hand_over(session.link)
        return ended

    async def _look(self) -> None:
        """Look for what is too old. After a pause of this process itself, what has come meanwhile is read first."""
        while True:
            await self._clock.sleep(LOOK_S)
            now = self._clock.monotonic()
            late = now - self._looked_at > self._terms.dead_s / 2
            self._looked_at = now
            if not late:
                for agent in list(self._agents.values()):
                    agent.look(now)
