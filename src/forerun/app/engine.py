"""Who keeps agents running, as the settings say: the engine, or whoever started each of them."""

from forerun.aio import Clock
from forerun.app.agent_command import agent_command
from forerun.app.entering import Entered
from forerun.cluster import (
    AgentPlan,
    EngineHere,
    Fleet,
    RayFleet,
    StaticFleet,
    split_address,
)
from forerun.settings import Settings

AGENT = "agent"
ENGINE = "engine"
# Beside the door's own.
PORTS_FROM_DOOR = 1


def make_fleet(settings: Settings, entered: Entered, static: StaticFleet, clock: Clock) -> Fleet:
    """The fleet for as long as the duties are here. Raises ``SetupFailed``."""
    if settings.cluster.engine == "none":
        return static
    ip, port = split_address(entered.advertise)
    directory = settings.server.data_dir / AGENT
    agent = None
    identity = entered.identity
    if settings.cluster.host:
        host = entered.authority.issue(entered.name, "host", addresses=[ip], now=clock.now())
        host.save(directory)
        command = agent_command(directory, f"{ip}:{port + PORTS_FROM_DOOR + 1}")
        agent = AgentPlan(name=entered.name, command=command), directory
    here = EngineHere(
        settings.server.data_dir / ENGINE,
        identity,
        address=(ip, port + PORTS_FROM_DOOR),
        secret=entered.kept.engine_secret,
        agent=agent,
    )
    return RayFleet(
        settings.cluster,
        here,
        clock,
        locate=entered.trust.engine,
        moved=entered.trust.move_engine,
    )
