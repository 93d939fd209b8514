"""Patterns against a second matcher that is written plainly, and slow."""

import fnmatch
import ipaddress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.patterns import parse_pattern

NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "x", "xy", "yx", "X", "10.0.0.1", "*"])
SCALARS = st.one_of(
    TEXTS, st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5]), st.booleans(), st.none()
)
EVENTS = st.recursive(
    st.dictionaries(NAMES, SCALARS, max_size=3),
    lambda inner: st.dictionaries(
        NAMES,
        st.one_of(SCALARS, inner, st.lists(st.one_of(SCALARS, inner), max_size=3)),
        max_size=3,
    ),
    max_leaves=12,
)
EXPRESSIONS = st.one_of(
    SCALARS,
    st.builds(lambda text: {"prefix": text}, TEXTS),
    st.builds(lambda text: {"suffix": text}, TEXTS),
    st.builds(lambda text: {"equals-ignore-case": text}, TEXTS),
    st.builds(lambda text: {"prefix": {"equals-ignore-case": text}}, TEXTS),
    st.builds(lambda text: {"wildcard": text}, st.sampled_from(["x*", "*y", "*x*", "*", "x*y"])),
    st.builds(lambda text: {"anything-but": text}, st.one_of(TEXTS, st.integers(-3, 3))),
    st.builds(lambda texts: {"anything-but": texts}, st.lists(TEXTS, min_size=1, max_size=2)),
    st.builds(lambda n: {"numeric": [">=", n]}, st.integers(-2, 2)),
    st.builds(lambda n: {"numeric": [">", n, "<", n + 2]}, st.integers(-2, 2)),
    st.just({"cidr": "10.0.0.0/8"}),
    st.just({"exists": True}),
    st.just({"exists": False}),
)
LEAVES = st.lists(EXPRESSIONS, min_size=1, max_size=3)
PATTERNS = st.recursive(
    st.dictionaries(NAMES, LEAVES, min_size=1, max_size=2),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), min_size=1, max_size=2),
    max_leaves=6,
)


def same(expected: Any, value: Any) -> bool:
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    if isinstance(expected, int | float) and isinstance(value, int | float):
        return expected == value
    return type(expected) is type(value) and bool(expected == value)


def within(value: Any, operand: list[Any]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if operand[0] == ">=":
        return bool(value >= operand[1])
    return bool(operand[1] < value < operand[3])


def inside(value: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(network)
    except ValueError:
        return False


def holds(expression: Any, value: Any) -> bool:
    """Whether one value meets one expression."""
    if not isinstance(expression, dict):
        return same(expression, value)
    [(kind, operand)] = expression.items()
    if kind == "exists":
        return bool(operand)
    if kind == "anything-but":
        texts = operand if isinstance(operand, list) else [operand]
        return not any(same(each, value) for each in texts)
    if kind == "numeric":
        return within(value, operand)
    if not isinstance(value, str):
        return False
    if isinstance(operand, dict):
        operand, value = operand["equals-ignore-case"].lower(), value.lower()
    answers: dict[str, bool] = {
        "prefix": value.startswith(operand),
        "suffix": value.endswith(operand),
        "equals-ignore-case": value.lower() == operand.lower(),
        "wildcard": fnmatch.fnmatchcase(value, operand),
        "cidr": kind == "cidr" and inside(value, operand),
    }
    return answers[kind]


def flat(event: Any, path: tuple[str, ...], places: tuple[tuple[int, int], ...]) -> list[Any]:
    """All values with their paths and, for each array on the way, which element of it they are in."""
    if isinstance(event, dict):
        return [
            found for name, value in event.items() for found in flat(value, (*path, name), places)
        ]
    if isinstance(event, list):
        return [
            found
            for number, value in enumerate(event)
            for found in flat(
                value,
                path,
                (*places, (id(event), number)) if isinstance(value, dict | list) else places,
            )
        ]
    return [(path, event, places)]


def paths(pattern: dict[str, Any], path: tuple[str, ...] = ()) -> list[Any]:
    return [
        found
        for name, value in pattern.items()
        for found in (
            paths(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]
        )
    ]


def consistent(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    theirs = dict(second)
    return all(theirs.get(array, number) == number for array, number in first)


def wanted(fields: list[Any], values: list[Any], chosen: list[Any]) -> bool:
    """Whether values can be chosen for all fields so that no array gives two of its elements."""
    if not fields:
        return True
    (path, expressions), *rest = fields
    for where, value, places in values:
        if (
            where == path
            and all(consistent(places, other) for other in chosen)
            and any(holds(each, value) for each in expressions if each != {"exists": False})
            and wanted(rest, values, [*chosen, places])
        ):
            return True
    return False


def without_absence(pattern: dict[str, Any]) -> bool:
    return all({"exists": False} not in leaf for _, leaf in paths(pattern))


@settings(max_examples=400, deadline=None)
@given(PATTERNS.filter(without_absence), EVENTS)
def test_it_is_as_a_plain_matcher_has_it(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    assert parse_pattern(pattern).matches(event) == wanted(paths(pattern), flat(event, (), ()), [])


@settings(max_examples=300, deadline=None)
@given(
    PATTERNS,
    st.dictionaries(NAMES, st.one_of(SCALARS, st.dictionaries(NAMES, SCALARS)), max_size=3),
)
def test_absence_without_arrays_is_as_a_plain_matcher_has_it(
    pattern: dict[str, Any], event: dict[str, Any]
) -> None:
    values = flat(event, (), ())

    def field_holds(path: tuple[str, ...], expressions: list[Any]) -> bool:
        found = [value for where, value, _ in values if where == path]
        if not found:
            return {"exists": False} in expressions
        return any(holds(each, found[0]) for each in expressions if each != {"exists": False})

    expected = all(field_holds(path, expressions) for path, expressions in paths(pattern))
    assert parse_pattern(pattern).matches(event) == expected
