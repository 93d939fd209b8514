"""Paths into an event, as far as EventBridge reads JSONPath: ``$.detail.items[0].name``, ``['a name']`` and ``*``. Pure."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from forerun.errors import InvalidInput

MAX_CHARS = 256
MAX_FOUND = 10_000

_STEP = re.compile(
    r"""\.(?:(?P<name>[\w@$-]+)|(?P<any>\*))"""
    r"""|\[\s*(?:(?P<index>\d{1,9})|(?P<each>\*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\]"""
)


class _Each(NamedTuple):
    """All elements of an array, all values of an object."""


class JsonPath(NamedTuple):
    """A compiled path."""

    steps: tuple[str | int | _Each, ...]

    def find(self, event: Mapping[str, Any]) -> Any:
        """What is there; a list where the path has a ``*``, ``None`` where nothing is."""
        found: list[Any] = [event]
        for step in self.steps:
            if isinstance(step, _Each):
                found = [inner for each in found for inner in _inside(each)][:MAX_FOUND]
            else:
                found = [each[step] for each in found if _has(each, step)]
        if any(isinstance(step, _Each) for step in self.steps):
            return found
        return found[0] if found else None


def parse_path(text: str) -> JsonPath:
    """Read a path. Raises ``InvalidInput`` naming where it is not understood."""
    if len(text) > MAX_CHARS:
        raise InvalidInput(f"a path has at most {MAX_CHARS} characters")
    if not text.startswith("$"):
        raise InvalidInput(f"the path '{text}' must begin with '$'")
    steps: list[str | int | _Each] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise InvalidInput(f"the path '{text}' is not understood at position {position}")
        steps.append(_step(match))
        position = match.end()
    return JsonPath(tuple(steps))


def _step(match: re.Match[str]) -> str | int | _Each:
    if match["any"] or match["each"]:
        return _Each()
    if match["index"]:
        return int(match["index"])
    return next(match[kind] for kind in ("name", "single", "double") if match[kind] is not None)


def _has(value: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(value, list) and step < len(value)
    return isinstance(value, dict) and step in value


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
