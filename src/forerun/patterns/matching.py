"""Patterns compiled to closures: whether an event is one that somebody wants. Pure.

The rules are EventBridge's. Fields of an array match when an element does; fields of objects in an array have to match in
one and the same of them. A field that is to be absent has to be absent from the element that the others match in, and
from all elements where nothing else is asked of them. An empty array has no values, so its field is absent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from forerun.patterns.hints import Hint
from forerun.patterns.leaves import Leaf
from forerun.patterns.reading import MAX_CHARS, Branch, Path, read_branches

Event = Mapping[str, Any]
Check = Callable[[Event], bool]


class Pattern:
    """A compiled pattern. ``required`` has fields whose values must be like one of these, for an index."""

    __slots__ = ("_branches", "_common", "required")

    def __init__(self, branches: Sequence[Branch], common: Branch) -> None:
        self._common = _all_of(_tree(common)) if common or len(branches) == 1 else _anything
        # A single branch is what is common.
        self._branches = [_all_of(_tree(each)) for each in branches] if len(branches) > 1 else []
        self.required: dict[Path, frozenset[Hint]] = {
            path: leaf.hints for path, leaf in common.items() if leaf.hints is not None
        }

    def matches(self, event: Event) -> bool:
        """Whether the event, JSON as Python has it, is wanted."""
        if not self._common(event):
            return False
        if not self._branches:
            return True
        return any(branch(event) for branch in self._branches)


def parse_pattern(
    source: str | bytes | Mapping[str, Any], *, most_chars: int = MAX_CHARS
) -> Pattern:
    """Read and compile a pattern. Raises ``InvalidPattern``, an ``InvalidInput``, in EventBridge's words.

    The cost of a match is bounded by the sizes of pattern and event: at most ``most_chars`` characters, 100 levels,
    100 wildcard characters, 1,000 combinations by ``$or`` and 10,000 fields in all of them.
    """
    branches, common = read_branches(source, most_chars=most_chars)
    return Pattern(branches, common)


class _Node(msgspec.Struct):
    """What is asked of one field: of its values, and of the objects in it."""

    leaf: Leaf | None = None
    fields: dict[str, "_Node"] = {}

    @property
    def may_be_absent(self) -> bool:
        return (self.leaf is None or self.leaf.absent) and all(
            node.may_be_absent for node in self.fields.values()
        )

    @property
    def only_absent(self) -> bool:
        return (self.leaf is None or self.leaf.only_absent) and all(
            node.only_absent for node in self.fields.values()
        )


_MISSING: Any = type("_Missing", (), {})()


def _anything(_event: Event) -> bool:
    return True


def _tree(branch: Branch) -> dict[str, _Node]:
    top = _Node()
    for path, leaf in branch.items():
        node = top
        for name in path:
            node = node.fields.setdefault(name, _Node())
        node.leaf = leaf
    return top.fields


def _all_of(fields: Mapping[str, _Node]) -> Check:
    checks = [check for name, node in fields.items() for check in _checks(name, node)]
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda event: first(event) and second(event)

    def check_all(event: Event) -> bool:
        for check in checks:  # noqa: SIM110 a generator costs as much as the checks
            if not check(event):
                return False
        return True

    return check_all


def _checks(name: str, node: _Node) -> Iterator[Check]:
    if node.leaf is not None:
        yield _values(name, node.leaf)
    if node.fields:
        yield _objects(name, node)


def _values(name: str, leaf: Leaf) -> Check:
    test, absent = leaf.test, leaf.absent

    def check(event: Event) -> bool:
        value = event.get(name, _MISSING)
        if value.__class__ is str:
            return test(value)
        if value is _MISSING or value.__class__ is dict:
            return absent
        if value.__class__ is not list:
            return test(value)
        none = True
        for each in _scalars(value):
            if test(each):
                return True
            none = False
        return none and absent

    return check


def _objects(name: str, node: _Node) -> Check:
    inner = _all_of(node.fields)
    may_be_absent = all(each.may_be_absent for each in node.fields.values())
    only_absent = all(each.only_absent for each in node.fields.values())
    names = frozenset(node.fields)

    def check(event: Event) -> bool:
        value = event.get(name, _MISSING)
        if value.__class__ is dict:
            return inner(value)
        if value.__class__ is not list:
            return may_be_absent
        if not may_be_absent:
            return any(inner(each) for each in _dicts(value))
        every = True
        for each in _dicts(value):
            if not inner(each):
                every = False
            elif not only_absent and not names.isdisjoint(each):
                return True
        return every

    return check


def _flat(values: list[Any]) -> Iterator[Any]:
    """The elements of an array and of the arrays in it, however deep."""
    waiting = [iter(values)]
    while waiting:
        for each in waiting[-1]:
            if each.__class__ is list:
                waiting.append(iter(each))
                break
            yield each
        else:
            waiting.pop()


def _scalars(values: list[Any]) -> Iterator[Any]:
    return (each for each in _flat(values) if each.__class__ is not dict)


def _dicts(values: list[Any]) -> Iterator[dict[str, Any]]:
    return (each for each in _flat(values) if each.__class__ is dict)
