"""Wiring: the only room that names concrete classes. It constructs, starts and stops; it decides nothing."""

from forerun.app.agent_process import serve_agent
from forerun.app.process import serve

__all__ = ["serve", "serve_agent"]
