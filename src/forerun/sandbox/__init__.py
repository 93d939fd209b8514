"""One execution environment: made, spoken with, bounded in time and memory, and destroyed without a trace."""

from forerun.sandbox.contract import OnExit, Sandbox, Sandboxes, ServePlatform
from forerun.sandbox.interpreters import (
    Interpreter,
    find_nodes,
    find_pythons,
    own_interpreter,
    search_folders,
)
from forerun.sandbox.jail import JailSandboxes, JailSettings

__all__ = [
    "Interpreter",
    "JailSandboxes",
    "JailSettings",
    "OnExit",
    "Sandbox",
    "Sandboxes",
    "ServePlatform",
    "find_nodes",
    "find_pythons",
    "own_interpreter",
    "search_folders",
]
