"""Measures what a function's init imports: which modules, how long each takes, and where they come from.

While it measures, the interpreter's own search for a module that is not loaded yet goes through here, a microsecond for
each; afterwards nothing is left. What the user brings counts by its package: ``numpy``, with all that it imports. Of
what the runtime brings (standard library, AWS SDK) that counts which the user's code asked for, by its full name, since
a zygote has to import just that to save the time: ``xml.dom.minidom``, but not what ``xml.dom.minidom`` imports itself.
"""

from __future__ import annotations

import _frozen_importlib
import os
import sys
import time
import traceback
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MAX_IMPORTS = 64
MAX_NAME = 100
LEAST_MS = 0.1
STANDARD, SDK, LAYER, PACKAGE = "standard", "sdk", "layer", "package"
_BUILT_IN = ("built-in", "frozen")
# Where others install packages below the folder of the standard library.
_FOREIGN = ("/site-packages/", "/dist-packages/")
# Frames of this name are the interpreter's own to it: users do not see them when an import fails.
_FRAMES = "<frozen importlib._bootstrap>"
_now = time.perf_counter
# All searches for modules go through one function of it, whoever asks.
_SEARCH = "_find_and_load"
_importlib = vars(_frozen_importlib)


class Measure:
    """Measures the imports of one thread from ``begin`` to ``end``; ``imports`` tells of them.

    The arguments are an assignment's: where the package is, all that is the user's, and what the runtime brings.
    """

    def __init__(
        self, task_root: str, code_paths: Iterable[str], library_paths: Iterable[str]
    ) -> None:
        standard = os.path.dirname(traceback.__file__)  # noqa: PTH120  pathlib would be loaded for this alone
        self._places = (
            (_folder(task_root), PACKAGE),
            *((_folder(path), SDK) for path in library_paths),
            (_folder(standard), STANDARD),
            *((_folder(path), LAYER) for path in code_paths),
        )
        self._usual: Callable[[str, Any], Any] | None = None
        self._thread = 0
        self._under_way: dict[str, int] = {}
        # What the runtime brings, with its seconds; an import takes the place of those that it caused.
        self._found: list[tuple[str, str, float]] = []
        self._strangers = 0
        self._packages: dict[tuple[str, str], float] = {}

    def begin(self) -> None:
        """Measure from now on."""
        self._thread = get_ident()
        self._usual = usual = _importlib[_SEARCH]
        search = self._make_search(usual)
        search.__code__ = search.__code__.replace(co_filename=_FRAMES)
        _importlib[_SEARCH] = search

    def end(self) -> None:
        """Leave the interpreter as it was; a second time does nothing."""
        if self._usual is not None:
            _importlib[_SEARCH] = self._usual
            self._usual = None

    def imports(self) -> list[tuple[str, str, float]]:
        """Name, origin and milliseconds of what took longest, at most ``MAX_IMPORTS``, longest first."""
        seconds = dict(self._packages)
        for name, origin, took in self._found:
            seconds[name, origin] = seconds.get((name, origin), 0.0) + took
        told = [
            (name, origin, round(took * 1000, 3))
            for (name, origin), took in seconds.items()
            if took * 1000 >= LEAST_MS and len(name) <= MAX_NAME
        ]
        return sorted(told, key=lambda each: (-each[2], each[0]))[:MAX_IMPORTS]

    def _make_search(self, usual: Callable[[str, Any], Any]) -> Any:
        found, under_way = self._found, self._under_way

        def search(name: str, import_: Any) -> Any:
            if get_ident() != self._thread:
                return usual(name, import_)
            top = name.partition(".")[0]
            under_way[top] = under_way.get(top, 0) + 1
            caused, strangers, began = len(found), self._strangers, _now()
            try:
                module = usual(name, import_)
            finally:
                under_way[top] -= 1
            took = _now() - began
            origin = self._origin(name)
            if origin in (LAYER, PACKAGE):
                self._strangers += 1
                if not under_way[top]:
                    key = top, origin
                    self._packages[key] = self._packages.get(key, 0.0) + took
            elif origin and strangers == self._strangers:
                found[caused:] = [(name, origin, took)]
            return module

        return search

    def _origin(self, name: str) -> str:
        """Where a module that was just loaded comes from; empty for what is in no file."""
        spec = getattr(sys.modules.get(name), "__spec__", None)
        origin = getattr(spec, "origin", None)
        if not isinstance(origin, str):
            return ""
        if origin in _BUILT_IN:
            return STANDARD
        for place, kind in self._places:
            if origin.startswith(place):
                strange = kind == STANDARD and any(folder in origin for folder in _FOREIGN)
                return PACKAGE if strange else kind
        return PACKAGE


def _folder(path: str) -> str:
    return path.rstrip("/") + "/"
