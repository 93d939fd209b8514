"""Criteria as users write them, read into the tree of nodes that can be evaluated.

Each node is a JSON object, known by one key: ``event``, ``count``, ``rate``, ``sum``, ``quantile``, ``all``, ``any``,
``not``, ``sequence``, ``absent``. What is wrong is refused with the path of the place.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forerun.errors import InvalidInput
from forerun.metaevents.criteria import (
    Absent,
    Bounds,
    Criteria,
    Every,
    InOrder,
    Leaf,
    Measured,
    Node,
    Not,
)
from forerun.metaevents.expressions import compile_expression
from forerun.metaevents.facts import KINDS, fields_of

MOST_NODES = 32
DEEPEST = 6
SHORTEST_S, LONGEST_S = 0.1, 30 * 86_400.0
MOST_STEPS = 8

_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}\Z")
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d)\Z")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BOUNDS = ("at_least", "more_than", "at_most", "less_than")


def parse_criteria(given: object, path: str = "When") -> Criteria:
    """Read and check criteria; ``InvalidInput`` names the place and what it may be."""
    reader = _Reader()
    return Criteria(reader.node(given, path, 1))


def parse_span(given: object, path: str) -> float:
    """Seconds from a number of them, or from a text as ``5s``, ``1.5 m``, ``2h``, ``1d``."""
    seconds: float | None = None
    if isinstance(given, str) and (match := _SPAN.match(given.strip())):
        seconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(given, int | float) and not isinstance(given, bool):
        seconds = float(given)
    if seconds is None or not SHORTEST_S <= seconds <= LONGEST_S:
        raise InvalidInput(
            f"{path} must be a time from {SHORTEST_S:g} s to 30 days, as a number of seconds or a text as '90s', '5m', "
            f"'2h', '1d', not {_shown(given)}"
        )
    return seconds


class _Reader:
    """Reads nodes and numbers them."""

    def __init__(self) -> None:
        self._count = 0
        self._readers: dict[str, Callable[[Mapping[str, Any], str, int], Node]] = {
            "event": lambda given, path, _depth: self.leaf(given, path),
            "count": self._measured,
            "rate": self._measured,
            "sum": self._measured,
            "quantile": self._measured,
            "all": self._every,
            "any": self._every,
            "not": self._not,
            "sequence": self._sequence,
            "absent": self._absent,
        }

    def node(self, given: object, path: str, depth: int) -> Node:
        node = _object(given, path)
        if depth > DEEPEST:
            raise InvalidInput(f"{path} is nested deeper than {DEEPEST}")
        known = [key for key in node if key in self._readers]
        if len(known) != 1:
            raise InvalidInput(
                f"{path} must have exactly one of {', '.join(self._readers)}, not {', '.join(known) or 'none of them'}"
            )
        return self._readers[known[0]](node, path, depth)

    def leaf(self, given: object, path: str) -> Leaf:
        leaf = _object(given, path)
        _only(leaf, path, {"event", "function", "where"})
        number = self._number(path)
        event, function, where = leaf.get("event"), leaf.get("function", ""), leaf.get("where")
        if not isinstance(event, str) or event not in KINDS:
            raise InvalidInput(
                f"{path}.event must be one of {', '.join(KINDS)}, not {_shown(event)}"
            )
        if function != "" and (not isinstance(function, str) or not _NAME.match(function)):
            raise InvalidInput(
                f"{path}.function must be the name of a function, not {_shown(function)}"
            )
        if function and event == "host.changed":
            raise InvalidInput(f"{path}.function: {event} is about no function")
        expression = None if where is None else compile_expression(where, event, f"{path}.where")
        return Leaf(number=number, path=path, event=event, function=function, where=expression)

    def _measured(self, given: Mapping[str, Any], path: str, depth: int) -> Node:
        del depth
        measure = next(key for key in ("count", "rate", "sum", "quantile") if key in given)
        valued = measure in ("sum", "quantile")
        own = {"field"} | ({"p"} if measure == "quantile" else set()) if valued else set()
        _only(given, path, {measure, "over", *_BOUNDS, *own})
        number = self._number(path)
        leaf = self.leaf(given[measure], f"{path}.{measure}")
        p = given.get("p", 1.0)
        if not (_is_number(p) and 0 < p <= 1) or (measure == "quantile" and "p" not in given):
            raise InvalidInput(f"{path}.p must be a number above 0 and up to 1, not {_shown(p)}")
        return Measured(
            number=number,
            path=path,
            measure=measure,
            of=leaf,
            over=parse_span(given.get("over"), f"{path}.over"),
            bounds=_bounds(given, path),
            field=_field(given.get("field"), leaf.event, f"{path}.field") if valued else "",
            p=float(p),
        )

    def _every(self, given: Mapping[str, Any], path: str, depth: int) -> Node:
        word = "all" if "all" in given else "any"
        _only(given, path, {word})
        number = self._number(path)
        parts = tuple(
            self.node(each, f"{path}.{word}[{place}]", depth + 1)
            for place, each in enumerate(_list(given[word], f"{path}.{word}", 1, MOST_NODES))
        )
        if word == "all":
            _check_together(parts, path)
        return Every(number=number, path=path, word=word, parts=parts)

    def _not(self, given: Mapping[str, Any], path: str, depth: int) -> Node:
        _only(given, path, {"not"})
        number = self._number(path)
        part = self.node(given["not"], f"{path}.not", depth + 1)
        if isinstance(part, Leaf | InOrder):
            raise InvalidInput(
                f"{path}.not: an event holds for a moment only, so its opposite nearly always would; use absent, or count"
            )
        return Not(number=number, path=path, part=part)

    def _sequence(self, given: Mapping[str, Any], path: str, depth: int) -> Node:
        del depth
        _only(given, path, {"sequence", "within"})
        number = self._number(path)
        steps = _list(given["sequence"], f"{path}.sequence", 2, MOST_STEPS)
        return InOrder(
            number=number,
            path=path,
            steps=tuple(
                self.leaf(each, f"{path}.sequence[{place}]") for place, each in enumerate(steps)
            ),
            within=parse_span(given.get("within"), f"{path}.within"),
        )

    def _absent(self, given: Mapping[str, Any], path: str, depth: int) -> Node:
        del depth
        _only(given, path, {"absent", "within"})
        number = self._number(path)
        leaf = self.leaf(given["absent"], f"{path}.absent")
        return Absent(
            number=number,
            path=path,
            of=leaf,
            within=parse_span(given.get("within"), f"{path}.within"),
        )

    def _number(self, path: str) -> int:
        self._count += 1
        if self._count > MOST_NODES:
            raise InvalidInput(f"{path}: criteria have at most {MOST_NODES} parts")
        return self._count - 1


def _check_together(parts: Sequence[Node], path: str) -> None:
    """Two events of different kinds never happen in the same moment."""
    kinds = {(part.event, part.function) for part in parts if isinstance(part, Leaf)}
    if len({kind for kind, _ in kinds}) > 1 or len({name for _, name in kinds if name}) > 1:
        raise InvalidInput(
            f"{path}.all: different events never happen in the same moment; use sequence, or count over a time"
        )


def _bounds(given: Mapping[str, Any], path: str) -> Bounds:
    found = {name: given[name] for name in _BOUNDS if name in given}
    for name, value in found.items():
        if not _is_number(value) or not -1e15 <= value <= 1e15:
            raise InvalidInput(f"{path}.{name} must be a number, not {_shown(value)}")
    lower = len(found.keys() & {"at_least", "more_than"})
    if not found or lower > 1 or len(found) - lower > 1:
        raise InvalidInput(
            f"{path} must have one of {', '.join(_BOUNDS)}, or one lower and one upper bound"
        )
    return Bounds(**{name: float(value) for name, value in found.items()})


def _field(given: object, event: str, path: str) -> str:
    numbers = [
        name
        for name, each in fields_of(event).items()
        if each.type in (int, float) and name != "at"
    ]
    if given not in numbers:
        raise InvalidInput(
            f"{path} must be a number of {event}: {', '.join(numbers) or 'it has none'}; not {_shown(given)}"
        )
    return str(given)


def _object(given: object, path: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{path} must be a JSON object, not {_shown(given)}")
    return given


def _list(given: object, path: str, least: int, most: int) -> Sequence[Any]:
    if not isinstance(given, list) or not least <= len(given) <= most:
        raise InvalidInput(f"{path} must be a list of {least} to {most} parts")
    return given


def _only(given: Mapping[str, Any], path: str, known: set[str]) -> None:
    if unknown := [key for key in given if key not in known]:
        raise InvalidInput(
            f"{path} has no {_shown(unknown[0])}; it may have {', '.join(sorted(known))}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
