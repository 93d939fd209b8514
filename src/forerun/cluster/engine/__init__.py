"""The distributed engine, Ray, behind ``Fleet``: nothing else of the platform knows it, and only processes of their own import it."""

from forerun.cluster.engine.fleet import RayFleet
from forerun.cluster.engine.node import EngineNode, end_here, keeper_directory

__all__ = ["EngineNode", "RayFleet", "end_here", "keeper_directory"]
