"""Says what is wrong with a request, in AWS's words.

Runs only after the compiled types have refused a request: it walks the value beside its shape and collects every violation.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from forerun.api.protocol.messages import ApiError
from forerun.api.protocol.models import Member, ServiceModel, Shape
from forerun.api.protocol.patterns import to_python
from forerun.api.protocol.timestamps import read_time

_CODES_BY_SERVICE = {
    "logs": "InvalidParameterException",
    "s3": "InvalidArgument",
    "sqs": "InvalidParameterValue",
    "sns": "InvalidParameter",
    "xray": "InvalidRequestException",
    "apigateway": "BadRequestException",
    "apigatewayv2": "BadRequestException",
}
_CODES_BY_PROTOCOL = {"query": "ValidationError"}
_MALFORMED_CODES = {"query": "MalformedInput", "rest-xml": "MalformedXML"}
_MAX_SHOWN = 1024
_JSON_KINDS = {str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE"}
_NUMBERS: dict[str, tuple[type[float], ...]] = {
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}
_WANTED = {
    "string": "String",
    "integer": "Integer",
    "long": "Long",
    "float": "Float",
    "double": "Double",
    "boolean": "Boolean",
    "blob": "Blob",
    "timestamp": "Timestamp",
}


def malformed(model: ServiceModel, message: str) -> ApiError:
    """The error for a body that cannot be read at all, or holds a value of the wrong kind."""
    return ApiError(_MALFORMED_CODES.get(model.protocol, "SerializationException"), message, 400)


class Diagnosis:
    """Collects violations of one request.

    ``wire_names``: structures are keyed by their names on the wire (JSON), else by member names. ``as_text``: numbers and
    booleans may be text, as in paths, forms and XML.
    """

    def __init__(self, model: ServiceModel, *, wire_names: bool) -> None:
        self._model = model
        self._wire_names = wire_names
        self._violations: list[str] = []
        self._special: ApiError | None = None

    def error(self, reason: str) -> ApiError:
        """The error to answer; ``reason`` is used when nothing was found here."""
        if self._special is not None:
            return self._special
        found = self._violations
        if not found:
            return malformed(self._model, reason)
        plural = "error" if len(found) == 1 else "errors"
        code = _CODES_BY_SERVICE.get(self._model.name) or _CODES_BY_PROTOCOL.get(
            self._model.protocol, "ValidationException"
        )
        return ApiError(code, f"{len(found)} validation {plural} detected: {'; '.join(found)}", 400)

    def structure(
        self,
        shape: Shape,
        value: object,
        path: str,
        *,
        as_text: bool,
        members: list[Member] | None = None,
    ) -> None:
        """Check the ``members`` (all, if not given) of a structure; raises ``ApiError`` for a value of the wrong kind."""
        if not isinstance(value, Mapping):
            raise malformed(self._model, _unexpected(value))
        for member in shape.members.values() if members is None else members:
            item = value.get(member.wire if self._wire_names and not as_text else member.name)
            here = f"{path}.{_lower(member.name)}" if path else _lower(member.name)
            if item is not None:
                self.value(member.shape, item, here, as_text=as_text)
            elif member.name in shape.required:
                self._say("null", here, "Member must not be null")

    def value(self, shape: Shape, value: object, path: str, *, as_text: bool) -> None:
        """Check one value of any shape."""
        if shape.document:
            return
        if shape.type == "structure":
            self.structure(shape, value, path, as_text=as_text)
        elif shape.type == "list":
            self._list(shape, value, path, as_text=as_text)
        elif shape.type == "map":
            self._map(shape, value, path, as_text=as_text)
        else:
            self._scalar(shape, value, path, as_text=as_text)

    def _list(self, shape: Shape, value: object, path: str, *, as_text: bool) -> None:
        if not isinstance(value, list) or shape.element is None:
            raise malformed(self._model, _unexpected(value))
        for rule in _broken_lengths(shape, len(value)):
            self._say(_shown(shape, value), path, rule)
        element = shape.element.shape
        if element.type in {"structure", "list", "map"}:
            for number, item in enumerate(value, 1):
                self._present(element, item, f"{path}.{number}.member", as_text=as_text)
        elif any(self._broken(element, item, as_text=as_text) for item in value):
            rules = ", ".join(_all_rules(element))
            self._say(_shown(shape, value), path, f"Member must satisfy constraint: [{rules}]")

    def _map(self, shape: Shape, value: object, path: str, *, as_text: bool) -> None:
        if not isinstance(value, Mapping) or shape.key is None or shape.value is None:
            raise malformed(self._model, _unexpected(value))
        for rule in _broken_lengths(shape, len(value)):
            self._say(_shown(shape, value), path, rule)
        if any(self._broken(shape.key.shape, key, as_text=as_text) for key in value):
            rules = ", ".join(_all_rules(shape.key.shape))
            self._say(_shown(shape, value), path, f"Map keys must satisfy constraint: [{rules}]")
        inner = shape.value.shape
        if inner.type in {"structure", "list", "map"}:
            for key, item in value.items():
                self._present(inner, item, f"{path}.{key}.member", as_text=as_text)
        elif any(self._broken(inner, item, as_text=as_text) for item in value.values()):
            rules = ", ".join(_all_rules(inner))
            self._say(_shown(shape, value), path, f"Map value must satisfy constraint: [{rules}]")

    def _present(self, shape: Shape, value: object, path: str, *, as_text: bool) -> None:
        if value is None:
            self._say("null", path, "Member must not be null")
        else:
            self.value(shape, value, path, as_text=as_text)

    def _scalar(self, shape: Shape, value: object, path: str, *, as_text: bool) -> None:
        for rule in self._broken(shape, value, as_text=as_text):
            if self._model.name == "lambda" and shape.name == "Runtime":
                sentence = f"Value {value} at '{path}' failed to satisfy constraint: {rule} or be a valid ARN"
                self._special = ApiError("InvalidParameterValueException", sentence, 400)
            else:
                self._say(_shown(shape, value), path, rule)

    def _broken(self, shape: Shape, value: object, *, as_text: bool) -> list[str]:
        """The rules that ``value`` breaks; raises ``ApiError`` when it is not of the shape's kind."""
        if value is None:
            return ["Member must not be null"]
        kept = _from_text(shape, value) if as_text else value
        if shape.type == "string" and isinstance(kept, str):
            return _broken_text(shape, kept)
        if shape.type == "blob" and isinstance(kept, str | bytes):
            return _broken_lengths(shape, self._blob_length(kept))
        if isinstance(kept, _NUMBERS.get(shape.type, ())) and not isinstance(kept, bool):
            return _broken_range(shape, kept)
        if _is_other(shape, kept):
            return []
        raise malformed(self._model, _cannot_convert(shape, kept))

    def _blob_length(self, value: str | bytes) -> int:
        if isinstance(value, bytes):
            return len(value)
        try:
            return len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError) as error:
            raise malformed(self._model, f"Value is not valid base64: {error}") from error

    def _say(self, shown: str, path: str, rule: str) -> None:
        value = f"Value {shown}" if shown else "Value"
        self._violations.append(f"{value} at '{path}' failed to satisfy constraint: {rule}")


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _shown(shape: Shape, value: object) -> str:
    if shape.traits.get("sensitive") or any(
        part is not None and part.shape.traits.get("sensitive")
        for part in (shape.element, shape.value)
    ):
        return ""
    if isinstance(value, list):
        value = f"[{', '.join(map(str, value))}]"
    elif isinstance(value, Mapping):
        value = f"{{{', '.join(f'{key}={item}' for key, item in value.items())}}}"
    return f"'{str(value)[:_MAX_SHOWN]}'"


def _unexpected(value: object) -> str:
    if isinstance(value, Mapping):
        return "Start of structure or map found where not expected."
    if isinstance(value, list):
        return "Start of list found where not expected"
    return "Unexpected value where a structure, map or list was expected"


def _cannot_convert(shape: Shape, value: object) -> str:
    if isinstance(value, Mapping | list):
        return _unexpected(value)
    kind = "FALSE_VALUE" if value is False else _JSON_KINDS.get(type(value), "VALUE")
    return f"{kind} can not be converted to {'an' if shape.type == 'integer' else 'a'} {_WANTED[shape.type]}"


def _from_text(shape: Shape, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        if shape.type in {"integer", "long"}:
            return int(value)
        if shape.type in {"float", "double"}:
            return float(value)
    except ValueError:
        return value
    if shape.type == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    return value


def _is_other(shape: Shape, value: object) -> bool:
    return (shape.type == "boolean" and isinstance(value, bool)) or (
        shape.type == "timestamp" and _is_time(value)
    )


def _is_time(value: object) -> bool:
    try:
        read_time(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _all_rules(shape: Shape) -> list[str]:
    traits = shape.traits
    if traits.get("enum"):
        return [f"Member must satisfy enum value set: [{', '.join(traits['enum'])}]"]
    rules = []
    sized = shape.type in {"string", "blob", "list", "map"}
    what = "length" if sized else "value"
    if traits.get("max") is not None:
        rules.append(f"Member must have {what} less than or equal to {traits['max']}")
    if traits.get("min") is not None:
        rules.append(f"Member must have {what} greater than or equal to {traits['min']}")
    if "pattern" in traits:
        rules.append(f"Member must satisfy regular expression pattern: {traits['pattern']}")
    return rules or ["Member must not be null"]


def _broken_text(shape: Shape, value: str) -> list[str]:
    traits = shape.traits
    if traits.get("enum"):
        return [] if value in traits["enum"] else _all_rules(shape)
    rules = _broken_lengths(shape, len(value))
    pattern = to_python(traits["pattern"]) if "pattern" in traits else None
    if pattern and not re.search(pattern, value):
        rules.insert(0, f"Member must satisfy regular expression pattern: {traits['pattern']}")
    return rules


def _broken_lengths(shape: Shape, length: int) -> list[str]:
    return _beyond(shape, length, "length")


def _broken_range(shape: Shape, value: float) -> list[str]:
    return _beyond(shape, value, "value")


def _beyond(shape: Shape, number: float, what: str) -> list[str]:
    low, high = shape.traits.get("min"), shape.traits.get("max")
    rules = []
    if high is not None and number > high:
        rules.append(f"Member must have {what} less than or equal to {high}")
    if low is not None and number < low:
        rules.append(f"Member must have {what} greater than or equal to {low}")
    return rules
