"""Makes the modules that open connections watchable, when a function imports them and not before.

A finder in front of all others lets the usual ones find the module, and changes it once it is there. In a zygote that
is done before the fork for what is imported there, and what changes modules is loaded there, too.

What cannot be seen: drivers in C or Rust that open their sockets themselves (uvloop, pycurl, libpq, gRPC).
"""

from __future__ import annotations

import functools
import importlib
import sys

from forerun.runtime.calls import quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Whose import is watched: the module of ours that changes it, and the function there.
_CHANGES = {
    "socket": ("instrument_sockets", "change_socket"),
    "asyncio.base_events": ("instrument_sockets", "change_event_loop"),
    "urllib3.util.connection": ("instrument_sockets", "change_urllib3"),
    "http.client": ("instrument_http", "change_client"),
    "urllib3.response": ("instrument_http", "change_urllib3"),
    "httpcore._sync.connection_pool": ("instrument_httpcore", "change_pool"),
    "httpcore._async.connection_pool": ("instrument_httpcore", "change_async_pool"),
    "aiohttp.connector": ("instrument_aiohttp", "change_connector"),
    "aiohttp.client_reqrep": ("instrument_aiohttp", "change_messages"),
}
_MARK = "_forerun_watched"


def install() -> None:
    """Watch imports from now on, and change what is imported already; a second time does nothing."""
    if any(isinstance(finder, Watcher) for finder in sys.meta_path):
        return
    for name in _CHANGES:
        if name in sys.modules:
            quietly(_change, sys.modules[name])
    sys.meta_path.insert(0, Watcher())


def load() -> None:
    """Load all that changes modules: in a zygote, so that no sandbox has to."""
    for name, _ in _CHANGES.values():
        importlib.import_module("forerun.runtime." + name)


class Watcher:
    """A finder of ``sys.meta_path`` that finds nothing itself."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        """The spec that the other finders have, with a loader that lets the module be changed."""
        if name not in _CHANGES:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                quietly(_watch, spec.loader)
                return spec
        return None


def _watch(loader: Any) -> None:
    if loader is None or isinstance(loader, type) or "exec_module" in vars(loader):
        return
    usual = loader.exec_module

    def exec_module(module: Any) -> None:
        # One loader may serve many modules (those of a zip file): this is for one of them.
        del loader.exec_module
        usual(module)
        quietly(_change, module)

    loader.exec_module = exec_module


def _change(module: Any) -> None:
    place, function = _CHANGES[module.__name__]
    getattr(importlib.import_module("forerun.runtime." + place), function)(module)


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(what it was)`` in the place of ``owner.name``, if that is there and was not replaced before."""
    usual = getattr(owner, name, None)
    if usual is None or hasattr(usual, _MARK):
        return
    watched = functools.wraps(usual)(make(usual))
    setattr(watched, _MARK, True)
    setattr(owner, name, watched)
