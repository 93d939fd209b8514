"""The distributed engine, Ray, behind ``Fleet``: nothing else of the platform knows it, and only processes of their own import it."""

from forerun.cluster.engine.attaching import NodeKeeper
from forerun.cluster.engine.fleet import EngineHere, RayFleet
from forerun.cluster.engine.node import keeper_directory

__all__ = ["EngineHere", "NodeKeeper", "RayFleet", "keeper_directory"]
