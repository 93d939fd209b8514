"""Wiring: the only room that names concrete classes. It constructs, starts and stops; it decides nothing."""

from forerun.app.agent_process import serve_agent
from forerun.app.joining import Joining, join
from forerun.app.moving import move
from forerun.app.process import serve
from forerun.app.readiness import cluster_needs

__all__ = ["Joining", "cluster_needs", "join", "move", "serve", "serve_agent"]
