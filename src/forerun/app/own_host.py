"""The host beside a control plane: an agent on the same machine, kept as those of other machines are."""

import ipaddress
import logging

from forerun.aio import Clock, TaskOwner
from forerun.app.agent_command import agent_command
from forerun.app.entering import Entered
from forerun.cluster import (
    AgentPlan,
    Announcer,
    EngineHere,
    Identity,
    Keeper,
    Knocker,
    NodeKeeper,
    certificate_span,
    split_address,
)
from forerun.errors import ForerunError
from forerun.settings import Settings
from forerun.storage.machines import ControlPlaneStore

log = logging.getLogger("forerun.cluster")

AGENT = "agent"
ENGINE = "engine"
# The door's own port is the control plane's; beside it those of the engine's head and of the agent.
HEAD_PORT, AGENT_PORT = 1, 2
FOLLOW_S = 5.0
LOOK_S = 3600.0
# The agent ends by itself before it is ended.
MORE_S = 5.0


class OwnHost:
    """What this machine has of a host and of the engine. ``start`` and ``close`` once each.

    With the engine a node is kept here whether or not the head is; without it the agent is kept here and announces itself.
    """

    def __init__(
        self, settings: Settings, entered: Entered, planes: ControlPlaneStore, clock: Clock
    ) -> None:
        self._settings = settings
        self._planes = planes
        self._clock = clock
        self._owner = TaskOwner("own-host")
        self._announcer: Announcer | None = None
        self._knocker: Knocker | None = None
        self._node: NodeKeeper | None = None
        self.here = _engine_here(settings, entered, clock)
        self._entered = entered

    async def start(self) -> None:
        """Begin to keep what belongs here. Raises ``SetupFailed``, for an address that no engine can use, too."""
        self._owner.spawn(self._keep_certified(), name="certificates")
        if (keeper := self.here.keeper(self._clock)) is not None:
            keeper.welcome()
        if self._settings.cluster.engine == "ray":
            self._node = NodeKeeper(self.here, self._clock, self._locate)
            await self._node.start()
        if keeper is not None:
            self.here.save_plan()
            await self._keep(keeper)

    async def _keep_certified(self) -> None:
        """What stands beside the control plane gets new certificates a third of their time before their end."""
        due = certificate_span(self._entered.identity.certificate_pem).renew_at()
        while True:
            await self._clock.sleep(LOOK_S)
            if self._clock.now() < due:
                continue
            try:
                due = await self._renew()
            except ForerunError as error:
                log.warning("no new certificate for this machine: %s", error.message)

    async def _renew(self) -> float:
        """New ones, from now on; when the next are due."""
        entered = self._entered
        identity = entered.authority.issue(
            entered.name, "control", addresses=_only_ip(entered.advertise), now=self._clock.now()
        )
        if self._settings.cluster.engine == "ray":
            self.here.renew(identity)
            # It reads its certificate when it starts; agents notice nothing of it.
            await self.here.node.end()
        if self._settings.cluster.host:
            mine = _host_identity(self._entered, self._clock)
            mine.save(self._settings.server.data_dir / AGENT)
            if self._knocker is not None:
                self._knocker.renew(mine)
        return certificate_span(identity.certificate_pem).renew_at()

    async def close(self, *, grace_s: float) -> None:
        """End what was begun here: node or head, and the agent, which may finish its calls."""
        if self._announcer is not None:
            await self._announcer.close()
        if self._node is not None:
            await self._node.close()
        await self._owner.close()
        await self.here.node.end()
        if (keeper := self.here.keeper(self._clock)) is not None:
            await keeper.end(grace_s + MORE_S)

    async def _keep(self, keeper: Keeper) -> None:
        """With the engine it is started here all the same, and announced: the engine takes seconds until it knows of it."""
        if self._settings.cluster.engine == "none":
            self._owner.spawn(keeper.run(), name="keeper")
        else:
            await keeper.ensure()
        knocker = self._knocker = Knocker(_host_identity(self._entered, self._clock))
        report = keeper.report if self._settings.cluster.engine == "none" else keeper.observe
        self._announcer = Announcer(self._clock, knocker, report, keeper.end)
        self._owner.spawn(self._follow(self._announcer), name="doors")

    async def _follow(self, announcer: Announcer) -> None:
        """Announce it at all control planes: whichever has the duties must know of it."""
        while True:
            try:
                doors = [plane.door for plane in await self._planes.all()]
                announcer.follow(list(dict.fromkeys([self._entered.advertise, *doors])))
            except ForerunError as error:
                log.warning("the control planes cannot be asked for: %s", error.message)
            await self._clock.sleep(FOLLOW_S)

    async def _locate(self) -> str:
        return self._settings.cluster.engine_address or await self._entered.trust.engine()


def _host_identity(entered: Entered, clock: Clock) -> Identity:
    addresses = _only_ip(entered.advertise)
    return entered.authority.issue(entered.name, "host", addresses=addresses, now=clock.now())


def _engine_here(settings: Settings, entered: Entered, clock: Clock) -> EngineHere:
    ip, port = split_address(entered.advertise)
    directory = settings.server.data_dir / AGENT
    agent = None
    if settings.cluster.host:
        _host_identity(entered, clock).save(directory)
        # Where any port does for the door, any does for the agent.
        _, wanted = split_address(settings.cluster.listen)
        mine, host = port + AGENT_PORT if wanted else 0, f"[{ip}]" if ":" in ip else ip
        command = agent_command(directory, f"{host}:{mine}")
        agent = AgentPlan(name=entered.name, command=command), directory
    return EngineHere(
        settings.server.data_dir / ENGINE,
        entered.identity,
        address=(ip, port + HEAD_PORT),
        secret=entered.kept.engine_secret,
        agent=agent,
        foreign=bool(settings.cluster.engine_address),
    )


def _only_ip(address: str) -> list[str]:
    """The host of ``HOST:PORT`` if it is an IP address: names of machines are in no certificate."""
    host, _ = split_address(address)
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return []
