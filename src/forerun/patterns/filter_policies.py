"""Filter policies of subscriptions: which messages of a topic somebody wants, by their attributes or their body. Pure.

What a policy says of one field is compiled as for event patterns. Names are joined by *and*, values by *or*; ``$or``
joins alternatives. A field that holds an array fits when one of its elements does.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from forerun.errors import InvalidInput
from forerun.patterns.leaves import InvalidPattern, Leaf, compile_leaf

MAX_BYTES = 256 * 1024
MAX_NAMES = 5
MAX_COMBINATIONS = 150
OR = "$or"


class FilterScope(StrEnum):
    """What of a message a policy looks at."""

    ATTRIBUTES = "MessageAttributes"
    BODY = "MessageBody"


class InvalidFilterPolicy(InvalidInput):
    """The filter policy is not valid."""


class _Alternatives(NamedTuple):
    """One of them must fit."""

    nodes: tuple["_Node", ...]


class _Node(NamedTuple):
    """All of these must fit: fields at this place, by name, and alternatives."""

    fields: tuple[tuple[str, "Leaf | _Node"], ...]
    choices: tuple[_Alternatives, ...]


class FilterPolicy:
    """A compiled policy; a few microseconds for a question about few attributes."""

    def __init__(self, scope: FilterScope, node: _Node) -> None:
        self.scope = scope
        self._node = node

    def wants(self, attributes: Mapping[str, Sequence[Any]], body: Any) -> bool:
        """Whether a message fits.

        ``attributes`` are its attributes' values, by name: one for text and numbers, any number for an array. ``body``
        is the message as parsed JSON, asked only in that scope; what is no object never fits.
        """
        if self.scope is FilterScope.ATTRIBUTES:
            return _fits(self._node, attributes)
        return isinstance(body, Mapping) and _fits(self._node, body)


def compile_filter_policy(text: str, scope: FilterScope) -> FilterPolicy:
    """Read a policy. Raises ``InvalidFilterPolicy`` with AWS's words for what is wrong, or for one of too many combinations."""
    if len(text.encode()) > MAX_BYTES:
        raise InvalidFilterPolicy("Filter policy is too long")
    try:
        policy = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidFilterPolicy(f"failed to parse JSON. {error}") from None
    if not isinstance(policy, dict):
        raise InvalidFilterPolicy("failed to parse JSON. Filter policy must be an object")
    if len(policy) > MAX_NAMES:
        raise InvalidFilterPolicy(f"Filter policy can not have more than {MAX_NAMES} keys")
    try:
        node, combinations = _compile(policy, scope, 1)
    except InvalidPattern as error:
        raise InvalidFilterPolicy(error.reason) from None
    if combinations > MAX_COMBINATIONS:
        raise _too_complex()
    return FilterPolicy(scope, node)


def _too_complex() -> InvalidFilterPolicy:
    return InvalidFilterPolicy("Filter policy is too complex")


def _compile(policy: Mapping[str, Any], scope: FilterScope, depth: int) -> tuple[_Node, int]:
    """The node, and how many combinations of values it has."""
    if depth > MAX_COMBINATIONS:
        raise _too_complex()
    fields: list[tuple[str, Leaf | _Node]] = []
    choices: list[_Alternatives] = []
    combinations = 1
    for name, value in policy.items():
        if name == OR and _alternatives(value):
            compiled = [_compile(each, scope, depth + 1) for each in value]
            choices.append(_Alternatives(tuple(node for node, _ in compiled)))
            combinations *= sum(count for _, count in compiled)
            continue
        field, count = _compile_field(name, value, scope, depth)
        fields.append((name, field))
        combinations *= count
    return _Node(tuple(fields), tuple(choices)), combinations


def _alternatives(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) > 1 and all(isinstance(each, dict) for each in value)
    )


def _compile_field(
    name: str, value: object, scope: FilterScope, depth: int
) -> tuple[Leaf | _Node, int]:
    if isinstance(value, list):
        if not value:
            raise InvalidFilterPolicy("Empty arrays are not allowed")
        nested = depth if scope is FilterScope.BODY else 1
        return compile_leaf(value), len(value) * nested
    if not isinstance(value, dict):
        raise InvalidFilterPolicy(f'"{name[:256]}" must be an object or an array')
    if scope is FilterScope.ATTRIBUTES:
        raise InvalidFilterPolicy(
            "Filter policy scope MessageAttributes does not support nested filter policy"
        )
    if not value:
        raise InvalidFilterPolicy("Empty objects are not allowed")
    return _compile(value, scope, depth + 1)


def _fits(node: _Node, value: Mapping[str, Any]) -> bool:
    for name, field in node.fields:
        if not _field_fits(field, value.get(name, _MISSING)):
            return False
    return all(any(_fits(each, value) for each in choice.nodes) for choice in node.choices)


def _field_fits(field: Leaf | _Node, value: Any) -> bool:
    if isinstance(field, _Node):
        if isinstance(value, Mapping):
            return _fits(field, value)
        inner = [each for each in _elements(value) if isinstance(each, Mapping)]
        # Where nothing is, policies that ask for absent fields fit.
        return any(_fits(field, each) for each in inner) if inner else _fits(field, {})
    values = [each for each in _elements(value) if not isinstance(each, Mapping)]
    if not values:
        return field.absent
    return any(map(field.test, values))


def _elements(value: Any) -> Iterator[Any]:
    """The value itself, or the elements of an array and of arrays in it; nothing where nothing is."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting.extend(reversed(each))
        elif each is not _MISSING:
            yield each


_MISSING = object()
