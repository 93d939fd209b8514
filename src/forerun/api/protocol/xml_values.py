"""Values of a shape out of an XML element; scalars stay text, blobs stay base64."""

from typing import Any

from forerun.api.protocol.models import Member, Shape
from forerun.api.protocol.xml_reader import Element


def read_structure(shape: Shape, element: Element) -> dict[str, Any]:
    """Values of the body's members by member name."""
    values: dict[str, Any] = {}
    for member in shape.body_members():
        if member.xml_attribute:
            text = element.attributes.get(member.wire)
            if text is not None:
                values[member.name] = text
            continue
        found = element.named(member.wire)
        if found:
            values[member.name] = (
                _several(member, found) if member.flattened else _value(member, found[0])
            )
    return values


def _several(member: Member, found: list[Element]) -> Any:
    shape = member.shape
    if shape.type == "list" and shape.element is not None:
        return [_value(shape.element, item) for item in found]
    return _entries(shape, found)


def _value(member: Member, element: Element) -> Any:
    shape = member.shape
    if shape.type == "structure":
        return read_structure(shape, element)
    if shape.type == "list":
        assert shape.element is not None
        return [_value(shape.element, item) for item in element.named(shape.element.wire)]
    if shape.type == "map":
        return _entries(shape, element.named("entry"))
    return element.text


def _entries(shape: Shape, found: list[Element]) -> dict[str, Any]:
    assert shape.key is not None
    assert shape.value is not None
    entries: dict[str, Any] = {}
    for entry in found:
        keys, values = entry.named(shape.key.wire), entry.named(shape.value.wire)
        if keys:
            entries[keys[0].text] = _value(shape.value, values[0]) if values else None
    return entries
