"""Wiring: the only room that names concrete classes. It constructs, starts and stops; it decides nothing.

What is offered is loaded when it is asked for: a single machine has nothing of clusters, an agent nothing of control planes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forerun.app.agent_process import serve_agent
    from forerun.app.joining import Joining, join
    from forerun.app.moving import move
    from forerun.app.process import serve
    from forerun.app.readiness import cluster_needs

__all__ = ["Joining", "cluster_needs", "join", "move", "serve", "serve_agent"]

_PLACES = {
    "Joining": "joining",
    "cluster_needs": "readiness",
    "join": "joining",
    "move": "moving",
    "serve": "process",
    "serve_agent": "agent_process",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
