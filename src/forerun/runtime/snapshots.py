"""SnapStart: hooks around a snapshot of an initialised sandbox, and what must differ between its copies.

Functions register their hooks through the package ``snapshot_restore_py``. Where the function does not bring it, this
module offers itself under that name.

The seed of ``hash()`` cannot be changed in a running interpreter: copies share it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from _thread import _count as count_threads

from forerun.runtime import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_NAME = "snapshot_restore_py"


def offer_registry() -> None:
    """Make ``import snapshot_restore_py`` work: the function's own package, or else a registry of ours."""
    if _NAME in sys.modules or importlib.util.find_spec(_NAME) is not None:
        return
    before: list[Hook] = []
    after: list[Hook] = []

    def register_before_snapshot(
        func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Call ``func`` before a snapshot is taken, last registered first."""
        before.append((func, args, kwargs))
        return func

    def register_after_restore(
        func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Call ``func`` in each copy before its first invocation."""
        after.append((func, args, kwargs))
        return func

    module = types.ModuleType(_NAME, "Hooks around a snapshot of this function's sandbox.")
    vars(module).update(
        register_before_snapshot=register_before_snapshot,
        register_after_restore=register_after_restore,
        get_before_snapshot=lambda: before,
        get_after_restore=lambda: after,
    )
    sys.modules[_NAME] = module


def run_before_snapshot() -> None:
    """Run the hooks for before a snapshot in reverse order, each once; whatever they raise comes through."""
    hooks = _hooks("get_before_snapshot")
    while hooks:
        func, args, kwargs = hooks.pop()
        func(*args, **kwargs)


def refuse_threads() -> None:
    """Raise when threads of Python's run: a copy would have the calling thread only, and locks that nobody opens.

    Threads that a library starts below Python (a linear algebra library's) are that library's to start again.
    """
    running = count_threads()
    if running:
        raise faults.Fault(faults.NO_SNAPSHOT, "%d threads run after init." % running)


def run_after_restore() -> None:
    """Run the hooks for after a restore in order; whatever they raise comes through."""
    for func, args, kwargs in list(_hooks("get_after_restore")):
        func(*args, **kwargs)


def _hooks(getter: str) -> list[Hook]:
    module = sys.modules.get(_NAME)
    return [] if module is None else getattr(module, getter)()


def refresh_randomness() -> None:
    """Reseed the generators that are loaded: copies of one process must not draw the same numbers."""
    refresh_numbers()
    loaded: Any = sys.modules.get("ssl")
    if loaded is not None:
        loaded.RAND_add(os.urandom(32), 0.0)


def refresh_numbers() -> None:
    """`refresh_randomness` after an ordinary fork: OpenSSL sees that its process id is another and reseeds by itself."""
    loaded: Any = sys.modules.get("random")
    if loaded is not None:
        loaded.seed()
    loaded = sys.modules.get("numpy.random")
    if loaded is not None:
        loaded.seed()
    loaded = sys.modules.get("tempfile")
    if loaded is not None:
        # Its names are drawn from a generator that is renewed by process id only, and ids repeat between sandboxes.
        loaded._name_sequence = None  # noqa: SLF001
