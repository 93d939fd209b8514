"""Who keeps agents running, as the settings say: the engine, or whoever started each of them."""

import dataclasses
import ipaddress
import logging

from forerun.aio import Clock
from forerun.cluster import EngineHere, Fleet, RayFleet, StaticFleet, split_address
from forerun.errors import SetupFailed
from forerun.settings import Settings
from forerun.storage.trust import TrustStore

log = logging.getLogger("forerun.cluster")


def with_usable_engine(settings: Settings) -> Settings:
    """The same, without an engine where no other machine could join: on loopback it would take another of the machine's
    addresses instead, and listen everywhere. Raises ``SetupFailed`` for an ``engine_address`` that is none.
    """
    cluster = settings.cluster
    if cluster.engine_address:
        _check_head(cluster.engine_address)
    address, _ = split_address(cluster.advertise or cluster.listen)
    try:
        alone = ipaddress.ip_address(address).is_loopback
    except ValueError:
        alone = address == "localhost"
    if not alone or cluster.engine == "none" or cluster.engine_address:
        return settings
    log.warning(
        "the engine is not started: only this machine reaches %s. For others to join: --cluster-listen IP:PORT",
        address,
    )
    return dataclasses.replace(settings, cluster=dataclasses.replace(cluster, engine="none"))


def _check_head(address: str) -> None:
    try:
        _, port = split_address(address)
    except SetupFailed as error:
        raise SetupFailed(f"cluster.engine_address: {error.message}") from error
    if port == 0:
        raise SetupFailed("cluster.engine_address: the engine's head must have a port")


def make_fleet(
    settings: Settings, trust: TrustStore, here: EngineHere, static: StaticFleet, clock: Clock
) -> Fleet:
    """The fleet for as long as the duties are here; ``trust`` writes by their fence."""
    if settings.cluster.engine == "none":
        return static
    return RayFleet(
        settings.cluster,
        here,
        clock,
        locate=trust.engine,
        moved=trust.move_engine,
        announced=static,
    )
