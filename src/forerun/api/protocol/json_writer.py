"""Answers as JSON: AWS members in, text out; compiled per shape on first use.

``None`` members are left out, blobs become base64, times take the form the model asks for. A member that the model does
not know is a mistake of the handler and raises ``KeyError``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from forerun.api.protocol.models import Member, Shape
from forerun.api.protocol.timestamps import write_time

Convert = Callable[[Any], Any]

_ENCODE = msgspec.json.Encoder().encode


class JsonWriter:
    """Converts values of one service's shapes; keeps what it compiled."""

    def __init__(self) -> None:
        self._structures: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {}

    def encode(self, shape: Shape, members: list[Member], values: Mapping[str, Any]) -> bytes:
        """The JSON object of those ``members`` of ``shape`` that have a value."""
        if len(members) == len(shape.members):
            return _ENCODE(self.structure(shape)(values))
        kept = {member.name: values[member.name] for member in members if member.name in values}
        return _ENCODE(self.structure(shape)(kept))

    def structure(self, shape: Shape) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """The converter of a structure."""
        found = self._structures.get(shape.name)
        if found is None:
            table: dict[str, tuple[str, Convert | None]] = {}

            def convert(values: Mapping[str, Any]) -> dict[str, Any]:
                result = {}
                for name, value in values.items():
                    wire, inner = table[name]
                    if value is not None:
                        result[wire] = value if inner is None else inner(value)
                return result

            found = self._structures[shape.name] = (
                convert  # before its members: a shape may hold itself
            )
            table.update(
                {
                    name: (member.wire, self._converter(member))
                    for name, member in shape.members.items()
                }
            )
        return found

    def _converter(self, member: Member) -> Convert | None:
        shape = member.shape
        if shape.type == "structure":
            return None if shape.document else self.structure(shape)
        if shape.type == "list" and shape.element is not None:
            item = self._converter(shape.element)
            return (
                None
                if item is None
                else lambda values: [None if one is None else item(one) for one in values]
            )
        if shape.type == "map" and shape.value is not None:
            inner = self._converter(shape.value)
            if inner is None:
                return None
            return lambda values: {
                key: inner(one) for key, one in values.items() if one is not None
            }
        if shape.type == "timestamp":
            style = member.timestamp_format or "unixTimestamp"
            return lambda value: write_time(value, style)
        return None
