"""Wiring: the only room that names concrete classes. It constructs, starts and stops; it decides nothing."""

from forerun.app.agent_process import serve_agent
from forerun.app.joining import Joining, join
from forerun.app.moving import move
from forerun.app.process import serve

__all__ = ["Joining", "join", "move", "serve", "serve_agent"]
