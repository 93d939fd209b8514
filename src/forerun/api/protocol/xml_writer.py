"""Answers as XML, for the query and rest-xml protocols.

``None`` members are left out; characters XML cannot hold become U+FFFD. A member that the model does not know is a mistake of the
handler and raises ``KeyError``.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape as _escape

from forerun.api.protocol.models import Member, Shape
from forerun.api.protocol.timestamps import write_time

_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Most texts need nothing of it.
_SPECIAL = re.compile('[&<>"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]')
_EXTRA = {"\r": "&#xD;", '"': "&quot;"}


def text(value: str) -> str:
    """Escaped for an element or a quoted attribute."""
    if _SPECIAL.search(value) is None:
        return value
    return _escape(_ILLEGAL.sub("\ufffd", value), _EXTRA)


def write_members(
    shape: Shape, values: Mapping[str, Any], members: Iterable[Member] | None = None
) -> str:
    """The elements of a structure's members (all, if none are named), without the structure's own element."""
    if members is None:
        unknown = values.keys() - shape.members.keys()
        if unknown:
            raise KeyError(unknown.pop())
        members = shape.members.values()
    parts = []
    for member in members:
        value = values.get(member.name)
        if value is not None and not member.xml_attribute:
            parts.append(_member(member, value))
    return "".join(parts)


def _member(member: Member, value: Any) -> str:
    shape = member.shape
    if member.flattened and shape.type == "list" and shape.element is not None:
        name = shape.element.location_name or member.wire
        return "".join(write(name, shape.element, item) for item in value if item is not None)
    if member.flattened and shape.type == "map":
        return "".join(
            f"<{member.wire}>{entry}</{member.wire}>" for entry in _entries(shape, value)
        )
    return write(member.wire, member, value)


def write(name: str, member: Member, value: Any) -> str:
    """One element called ``name`` with the value inside."""
    shape = member.shape
    if shape.type == "structure":
        return f"<{name}{_attributes(member, value)}>{write_members(shape, value)}</{name}>"
    if shape.type == "list":
        element = shape.element
        assert element is not None
        inner = "".join(write(element.wire, element, item) for item in value if item is not None)
        return f"<{name}>{inner}</{name}>"
    if shape.type == "map":
        inner = "".join(f"<entry>{entry}</entry>" for entry in _entries(shape, value))
        return f"<{name}>{inner}</{name}>"
    return f"<{name}>{text(scalar(member, value, 'iso8601'))}</{name}>"


def _entries(shape: Shape, values: Mapping[str, Any]) -> Iterable[str]:
    assert shape.key is not None
    assert shape.value is not None
    for key, value in values.items():
        if value is not None:
            yield write(shape.key.wire, shape.key, key) + write(
                shape.value.wire, shape.value, value
            )


def _attributes(member: Member, values: Mapping[str, Any]) -> str:
    found = ""
    if member.xml_namespace:
        prefix = member.xml_namespace.get("prefix")
        found = f' xmlns{":" + prefix if prefix else ""}="{text(member.xml_namespace["uri"])}"'
    for inner in member.shape.members.values():
        if inner.xml_attribute and values.get(inner.name) is not None:
            found += f' {inner.wire}="{text(str(values[inner.name]))}"'
    return found


def scalar(member: Member, value: Any, time_style: str) -> str:
    """One value as text: XML, a header, or a trailer. ``time_style`` counts where the model names no other."""
    kind = member.shape.type
    if kind == "timestamp":
        written = write_time(value, member.timestamp_format or time_style)
        return f"{written:.3f}".rstrip("0").rstrip(".") if isinstance(written, float) else written
    if kind == "blob":
        return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()
    if kind == "boolean":
        return "true" if value else "false"
    return str(value)
