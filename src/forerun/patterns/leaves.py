"""What a pattern says of one field: the list of values and match expressions at its end, compiled to a test. Pure.

A test is asked of one JSON value that is neither array nor object; a field that is an array is asked element by element.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from forerun.errors import InvalidInput
from forerun.patterns.hints import Hint, begun_by, ended_by, equal_but_for_case, equal_to

Test = Callable[[Any], bool]

MAX_STARS = 100
_LEAST, _MOST = -5.0e9, 5.0e9
_WILD = re.compile(r"(\\[*\\])|\\|\*+|[^*\\]+")
_OPERATORS = ("=", "<", "<=", ">", ">=")


class InvalidPattern(InvalidInput):
    """The event pattern is not valid."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Event pattern is not valid. Reason: {reason}")
        self.reason = reason


class Leaf(msgspec.Struct, frozen=True):
    """The test of a field's values. ``absent``: it may also be missing; ``only_absent``: it must.

    A value for which it holds has one of ``hints``; ``None`` where that cannot be said. ``stars`` counts wildcards.
    """

    test: Test
    absent: bool = False
    only_absent: bool = False
    hints: frozenset[Hint] | None = None
    stars: int = 0


def compile_leaf(values: Sequence[Any]) -> Leaf:
    """``[value or match expression, ...]``, any of which may hold. Raises ``InvalidPattern``."""
    if not values:
        raise InvalidPattern("Empty arrays are not allowed")
    plain: list[Any] = []
    tests: list[Test] = []
    hints: set[Hint | None] = set()
    absent, stars = False, 0
    for value in values:
        if isinstance(value, Mapping):
            kind, operand = _expression(value)
            if kind == "exists" and operand is False:
                absent = True
                continue
            stars += _count_stars(kind, operand)
            tests.append(_MATCHERS[kind](operand))
            hints.add(_hint(kind, operand))
        elif isinstance(value, list | tuple):
            raise InvalidPattern("Match value must be String, number, true, false, or null")
        else:
            plain.append(value)
            hints.add(equal_to(value))
    if plain:
        tests.insert(0, _one_of(plain))
    known = None if absent else frozenset(each for each in hints if each is not None)
    if known is not None and len(known) < len(hints):
        known = None
    return Leaf(_any(tests), absent, absent and not tests, known, stars)


def _any(tests: list[Test]) -> Test:
    if not tests:
        return lambda _value: False
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def _one_of(values: Sequence[Any]) -> Test:
    """Strings by their text, numbers by value, and ``true`` is not 1."""
    literals = {value for value in values if value is None or isinstance(value, bool)}
    others = frozenset(
        value for value in values if value is not None and value.__class__ is not bool
    )
    if not literals:
        if all(isinstance(value, str) for value in others):
            return others.__contains__
        return lambda value: value.__class__ is not bool and value in others
    wanted = {id(value) for value in literals}
    return lambda value: (
        id(value) in wanted if value is None or value.__class__ is bool else value in others
    )


def _expression(value: Mapping[str, Any]) -> tuple[str, Any]:
    if not value:
        raise InvalidPattern("Match expression name not found")
    if len(value) > 1:
        raise InvalidPattern("Only one key allowed in match expression")
    [(kind, operand)] = value.items()
    if kind not in _MATCHERS:
        raise InvalidPattern(f"Unrecognized match type {kind[:100]}")
    return kind, operand


def _text(kind: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise InvalidPattern(f"{kind} match pattern must be a string")
    return operand


def _ignoring_case(kind: str, operand: Any) -> str | None:
    """The text of ``{"equals-ignore-case": text}``, in lower case; ``None`` when the operand is no object."""
    if not isinstance(operand, Mapping):
        return None
    if set(operand) != {"equals-ignore-case"}:
        raise InvalidPattern(f"Unsupported {kind} pattern: {', '.join(map(str, operand))[:100]}")
    return _text("equals-ignore-case", operand["equals-ignore-case"]).lower()


def _exactly(operand: Any) -> Test:
    text = _text("exact", operand)
    return lambda value: bool(value == text)


def _prefix(operand: Any) -> Test:
    if (lowered := _ignoring_case("prefix", operand)) is not None:
        return lambda value: value.__class__ is str and value.lower().startswith(lowered)
    text = _text("prefix", operand)
    return lambda value: value.__class__ is str and value.startswith(text)


def _suffix(operand: Any) -> Test:
    if (lowered := _ignoring_case("suffix", operand)) is not None:
        return lambda value: value.__class__ is str and value.lower().endswith(lowered)
    text = _text("suffix", operand)
    return lambda value: value.__class__ is str and value.endswith(text)


def _equals_ignore_case(operand: Any) -> Test:
    lowered = _text("equals-ignore-case", operand).lower()
    return lambda value: value.__class__ is str and value.lower() == lowered


def _exists(operand: Any) -> Test:
    if operand is not True:
        raise InvalidPattern("exists match pattern must be either true or false.")
    return lambda _value: True


# Numbers


def _number(value: Any, operator: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        name = "equals" if operator == "=" else operator
        raise InvalidPattern(f"Value of {name} must be numeric")
    if not _LEAST <= value <= _MOST:
        raise InvalidPattern(f"Value must be between {_LEAST:.1e} and {_MOST:.1e}, inclusive")
    return value


def _numeric(operand: Any) -> Test:
    if not isinstance(operand, list | tuple):
        raise InvalidPattern("Value of numeric must be an array.")
    if not operand or not isinstance(operand[0], str):
        raise InvalidPattern(f"Invalid member in numeric match: {str(operand[:1])[:100]}")
    operator = operand[0]
    if operator not in _OPERATORS:
        raise InvalidPattern(f"Unrecognized numeric range operator: {operator[:100]}")
    if len(operand) == 1:
        raise InvalidPattern(
            f"Value of {'equals' if operator == '=' else operator} must be numeric"
        )
    bound = _number(operand[1], operator)
    if len(operand) == 2:
        return _compared(operator, bound)
    if operator not in (">", ">="):
        raise InvalidPattern("Too many elements in numeric expression")
    return _between(operator, bound, operand[2:])


def _compared(operator: str, bound: float) -> Test:
    low, high = _LEAST, _MOST
    if operator == "=":
        return lambda value: value.__class__ is not bool and bool(value == bound)
    if operator == "<":
        return lambda value: value.__class__ in _NUMBERS and low <= value < bound
    if operator == "<=":
        return lambda value: value.__class__ in _NUMBERS and low <= value <= bound
    if operator == ">":
        return lambda value: value.__class__ in _NUMBERS and bound < value <= high
    return lambda value: value.__class__ in _NUMBERS and bound <= value <= high


def _between(operator: str, bottom: float, rest: Sequence[Any]) -> Test:
    second = rest[0]
    if second not in ("<", "<="):
        raise InvalidPattern(f"Bad numeric range operator: {str(second)[:100]}")
    if len(rest) == 1:
        raise InvalidPattern(f"Value of {second} must be numeric")
    top = _number(rest[1], second)
    if len(rest) > 2:
        raise InvalidPattern("Too many terms in numeric range expression")
    if not bottom < top:
        raise InvalidPattern("Bottom must be less than top")
    above, below = _compared(operator, bottom), _compared(second, top)
    return lambda value: above(value) and below(value)


_NUMBERS: frozenset[Any] = frozenset({int, float})


# Addresses


def _cidr(operand: Any) -> Test:
    text = _text("cidr", operand)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidPattern(f"Malformed CIDR: {text[:100]}") from None
    version, mask, wanted = network.version, int(network.netmask), int(network.network_address)

    def within(value: Any) -> bool:
        if value.__class__ is not str or len(value) > 45:
            return False
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return address.version == version and int(address) & mask == wanted

    return within


# Wildcards


def _wildcard(operand: Any) -> Test:
    """``*`` is any characters, ``\\*`` a star; each fixed piece is looked for once, so that nothing is tried twice."""
    first, *rest = _pieces(_text("wildcard", operand))
    if not rest:
        return lambda value: bool(value == first)
    *middle, last = rest
    least = len(first) + len(last)

    def fits(value: Any) -> bool:
        if value.__class__ is not str or len(value) < least:
            return False
        if not value.startswith(first) or not value.endswith(last):
            return False
        position, end = len(first), len(value) - len(last)
        for piece in middle:
            position = value.find(piece, position, end)
            if position < 0:
                return False
            position += len(piece)
        return True

    return fits


def _pieces(text: str) -> list[str]:
    """The fixed texts between the stars."""
    pieces = [""]
    for found in _WILD.finditer(text):
        piece = found[0]
        if piece[0] == "*":
            if len(piece) > 1:
                raise InvalidPattern(f"Consecutive wildcard characters at pos {found.start()}")
            pieces.append("")
        elif piece == "\\":
            raise InvalidPattern(f"Invalid escape character at pos {found.start()}")
        else:
            pieces[-1] += piece[1:] if found[1] else piece
    return pieces


def _count_stars(kind: str, operand: Any) -> int:
    if kind == "anything-but" and isinstance(operand, Mapping):
        operand = operand.get("wildcard")
    elif kind != "wildcard":
        return 0
    texts = operand if isinstance(operand, list | tuple) else [operand]
    return sum(text.count("*") for text in texts if isinstance(text, str))


# Anything but


def _anything_but(operand: Any) -> Test:
    if isinstance(operand, Mapping):
        return _nothing_like(operand)
    if isinstance(operand, bool) or not isinstance(operand, list | tuple | str | int | float):
        raise InvalidPattern(
            "Value of anything-but must be an array or single string/number value."
        )
    values = operand if isinstance(operand, list | tuple) else [operand]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidPattern("Inside anything but list, start|null|boolean is not supported.")
    if len({isinstance(value, str) for value in values}) != 1:
        raise InvalidPattern(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )
    if not isinstance(values[0], str):
        for value in values:
            _number(value, "=")
    found = _one_of(values)
    return lambda value: not found(value)


def _nothing_like(operand: Mapping[str, Any]) -> Test:
    if len(operand) != 1:
        raise InvalidPattern("Only one key allowed in match expression")
    [(kind, inner)] = operand.items()
    if kind not in _NEGATABLE:
        raise InvalidPattern(f"Unsupported anything-but pattern: {kind[:100]}")
    texts = inner if isinstance(inner, list | tuple) else [inner]
    if not texts:
        raise InvalidPattern("Empty arrays are not allowed")
    for text in texts:
        if not isinstance(text, str):
            raise InvalidPattern(f"Inside anything-but/{kind} only strings are supported.")
        if not text and kind in ("prefix", "suffix"):
            raise InvalidPattern("Null prefix/suffix not allowed")
    found = _any([_MATCHERS[kind](text) for text in texts])
    return lambda value: not found(value)


# What can be looked up


def _hint(kind: str, operand: Any) -> Hint | None:
    """What a value must be like for a match expression that was compiled."""
    if kind == "exactly" or (kind == "numeric" and operand[0] == "="):
        return equal_to(operand if kind == "exactly" else operand[1])
    if kind == "equals-ignore-case":
        return equal_but_for_case(operand.lower())
    if kind == "wildcard":
        return _hint_of_pieces(_pieces(operand))
    if kind not in ("prefix", "suffix"):
        return None
    make = begun_by if kind == "prefix" else ended_by
    if isinstance(operand, str):
        return make(operand)
    return make(operand["equals-ignore-case"].lower(), folded=True)


def _hint_of_pieces(pieces: Sequence[str]) -> Hint | None:
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return equal_to(first)
    if not first and not last:
        return None
    return begun_by(first) if len(first) >= len(last) else ended_by(last)


_NEGATABLE = ("prefix", "suffix", "equals-ignore-case", "wildcard")
_MATCHERS: Mapping[str, Callable[[Any], Test]] = {
    "exactly": _exactly,
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "exists": _exists,
    "numeric": _numeric,
    "cidr": _cidr,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
}
MATCH_TYPES = frozenset(_MATCHERS)
