"""The query protocol's flat parameters (``Tags.member.1.Key=...``) read back into nested values."""

from collections.abc import Iterable
from typing import Any

from forerun.api.protocol.models import Member, Shape

MAX_DIGITS = 9
MAX_PARAMETERS = 20_000
MAX_DEPTH = 32


class BadForm(ValueError):
    """Too many parameters, or names nested too deeply."""


class _Node:
    __slots__ = ("children", "text")

    def __init__(self) -> None:
        self.text: str | None = None
        self.children: dict[str, _Node] = {}


def read_form(shape: Shape, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Values of ``shape``'s members by member name; scalars stay text. Raises ``BadForm``."""
    root = _Node()
    for count, (name, value) in enumerate(pairs):
        parts = name.split(".")
        if count >= MAX_PARAMETERS or len(parts) > MAX_DEPTH:
            raise BadForm("The request has too many parameters")
        node = root
        for part in parts:
            node = node.children.setdefault(part, _Node())
        node.text = value
    return _structure(shape, root)


def _structure(shape: Shape, node: _Node) -> dict[str, Any]:
    values = {}
    for member in shape.members.values():
        child = node.children.get(_form_name(member))
        if child is not None:
            values[member.name] = _value(member, child)
    return values


def _form_name(member: Member) -> str:
    element = member.shape.element
    if member.flattened and element is not None and element.location_name:
        return element.location_name
    return member.wire


def _value(member: Member, node: _Node) -> Any:
    shape = member.shape
    if shape.type == "structure":
        return _structure(shape, node)
    if shape.type == "list":
        assert shape.element is not None
        holder = node if member.flattened else node.children.get(shape.element.wire)
        return [_value(shape.element, item) for item in _numbered(holder)]
    if shape.type == "map":
        assert shape.key is not None
        assert shape.value is not None
        holder = node if member.flattened else node.children.get("entry")
        entries = {}
        for entry in _numbered(holder):
            key = entry.children.get(shape.key.wire)
            value = entry.children.get(shape.value.wire)
            if key is not None and key.text is not None:
                entries[key.text] = None if value is None else _value(shape.value, value)
        return entries
    return node.text


def _numbered(node: _Node | None) -> list[_Node]:
    if node is None:
        return []
    found = [
        (int(key), child)
        for key, child in node.children.items()
        if key.isascii() and key.isdigit() and len(key) <= MAX_DIGITS
    ]
    return [child for _, child in sorted(found, key=lambda pair: pair[0])]
