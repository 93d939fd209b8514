"""Shapes compiled into msgspec types: the fast way to read and check a request.

The types carry the model's constraints (required, ranges, lengths, patterns, enums). Fields are named as AWS names the
members; an absent one is ``None``. What exactly is wrong with a refused value is found by
``forerun.api.protocol.validation``; here it is only refused. Types are made once per operation, on first use.
"""

import types
import typing
from typing import Annotated, Any, Literal

import msgspec

from forerun.api.protocol.models import Member, Operation, Shape
from forerun.api.protocol.patterns import to_python
from forerun.api.protocol.timestamps import Epoch, hook

_NUMBERS: dict[str, Any] = {"integer": int, "long": int, "float": float, "double": float}
# Enumerations that are not closed: how regions are called is not AWS's to say, and Prefix is as good as prefix.
_OPEN = frozenset({"BucketLocationConstraint", "FilterRuleName"})
# The wire name of fields that travel elsewhere; whatever a body says under it is overwritten.
_NOT_IN_BODY = "not in the body: "


class Compiler:
    """Compiles the shapes of one service; ``wire_names`` says whether fields are read under their JSON names."""

    def __init__(self, *, wire_names: bool) -> None:
        self._wire_names = wire_names
        self._made: dict[str, Any] = {}
        self._open: list[str] = []
        self._recursive: set[str] = set()

    def type_of(self, shape: Shape) -> Any:
        """The msgspec type of ``shape``."""
        if shape.type != "structure":
            return self._plain(shape)
        if shape.document:
            return Any
        if shape.name in self._open:
            self._recursive.add(shape.name)
            return typing.ForwardRef(_reference(shape.name))
        made = self._made.get(shape.name)
        return made if made is not None else self._structure(shape)

    def _plain(self, shape: Shape) -> Any:
        kind: Any
        if shape.type == "list" and shape.element is not None:
            kind = types.GenericAlias(list, (self.type_of(shape.element.shape),))
        elif shape.type == "map" and shape.key is not None and shape.value is not None:
            kind = types.GenericAlias(
                dict, (self.type_of(shape.key.shape), self.type_of(shape.value.shape))
            )
        else:
            return scalar_type(shape)
        return _limited(kind, shape)

    def _structure(self, shape: Shape) -> Any:
        self._open.append(shape.name)
        fields = [self.field(member, shape) for member in shape.members.values()]
        self._open.pop()
        rename = (
            {member.name: member.wire for member in shape.members.values()}
            if self._wire_names
            else None
        )
        made = _struct(shape.name, fields, rename)
        self._made[shape.name] = made
        # A shape that holds itself is named, not held, inside of itself: every class made so far learns the name.
        for name in self._recursive & self._made.keys():
            for other in self._made.values():
                setattr(other, _reference(name), self._made[name])
        return made

    def field(self, member: Member, owner: Shape) -> Any:
        """A field for ``msgspec.defstruct``: required ones without a default."""
        kind = self.type_of(member.shape)
        if member.name in owner.required:
            return (member.name, kind)
        return (member.name, typing.Union[kind, None], None)  # noqa: UP007 - a forward reference has no "|"


def _reference(name: str) -> str:
    return f"shape_{name}"


def _struct(name: str, fields: list[Any], rename: Any) -> Any:
    return msgspec.defstruct(name, fields, kw_only=True, rename=rename, module=__name__)


def _limited(kind: Any, shape: Shape) -> Any:
    low, high = shape.traits.get("min"), shape.traits.get("max")
    if low is None and high is None:
        return kind
    return Annotated[kind, msgspec.Meta(min_length=low, max_length=high)]


def scalar_type(shape: Shape) -> Any:
    """The type of a shape that holds one value."""
    if shape.type == "string":
        return _string(shape)
    if shape.type == "blob":
        return _limited(bytes, shape)
    if shape.type == "boolean":
        return bool
    if shape.type == "timestamp":
        return Epoch
    kind = _NUMBERS[shape.type]
    low, high = shape.traits.get("min"), shape.traits.get("max")
    if low is None and high is None:
        return kind
    return Annotated[kind, msgspec.Meta(ge=low, le=high)]


def _string(shape: Shape) -> Any:
    if shape.traits.get("enum") and shape.name not in _OPEN:
        return Literal[tuple(shape.traits["enum"])]
    pattern = to_python(shape.traits["pattern"]) if "pattern" in shape.traits else None
    low, high = shape.traits.get("min"), shape.traits.get("max")
    if pattern is None and low is None and high is None:
        return str
    return Annotated[str, msgspec.Meta(min_length=low, max_length=high, pattern=pattern)]


class InputPlan:
    """How to read one operation's input.

    ``request_type`` is the struct handlers get. With a JSON body, ``decoder`` reads it straight from the body and
    ``located_type`` checks what came with path, query and headers; otherwise one ``convert`` does all.
    """

    def __init__(self, operation: Operation, compiler: Compiler) -> None:
        shape = operation.input
        members = list(shape.members.values()) if shape else []
        self.shape = shape
        self.payload = shape.members[shape.payload] if shape and shape.payload else None
        self.located = [member for member in members if member.location is not None]
        self.decoder: msgspec.json.Decoder[Any] | None = None
        self.payload_decoder: msgspec.json.Decoder[Any] | None = None
        self.located_type: Any = None
        protocol = operation.model.protocol
        in_json = protocol in {"json", "rest-json"}
        if (
            in_json
            and shape
            and self.payload is None
            and (protocol == "json" or shape.body_members())
        ):
            self._split(operation, shape, compiler)
            return
        name = f"{operation.name}Request"
        fields = [compiler.field(member, shape) for member in members] if shape else []
        self.request_type = _struct(name, fields, None)
        if in_json and self.payload and self.payload.shape.type == "structure":
            self.payload_decoder = msgspec.json.Decoder(
                compiler.type_of(self.payload.shape), dec_hook=hook
            )

    def _split(self, operation: Operation, shape: Shape, compiler: Compiler) -> None:
        located = {member.name for member in self.located}
        fields: list[Any] = []
        rename: dict[str, str] = {}
        for member in shape.members.values():
            if member.name in located:
                fields.append((member.name, Any, None))
                rename[member.name] = _NOT_IN_BODY + member.name
            else:
                fields.append(compiler.field(member, shape))
                rename[member.name] = member.wire
        self.request_type = _struct(f"{operation.name}Request", fields, rename)
        self.decoder = msgspec.json.Decoder(self.request_type, dec_hook=hook)
        if self.located:
            fields = [compiler.field(member, shape) for member in self.located]
            self.located_type = _struct(f"{operation.name}Located", fields, None)
