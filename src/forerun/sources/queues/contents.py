"""What is in a message: which bodies and attributes are acceptable, their size, their MD5 as SQS makes it. Pure."""

import hashlib
import re
import struct
from collections.abc import Mapping

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Origin
from forerun.sources.queues.faults import BadContents, MissingParameter

MOST_ATTRIBUTES = 10
TRACE_HEADER = "AWSTraceHeader"

_FOREIGN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATTRIBUTE = re.compile(
    r"(?!aws\.|amazon\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE
)
_TYPE = re.compile(r"(String|Number|Binary)(\.[^\x00-\x1f]{0,248})?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_LENGTH = struct.Struct(">I").pack


class Attribute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attribute of a message, with the names of SQS's API."""

    DataType: str
    StringValue: str | None = None
    BinaryValue: bytes | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is kept beside a body. ``md5`` is the body's, ``attributes_md5`` that of its attributes, empty for none.

    ``group`` is that of a queue without order; ``name`` is what the message is deduplicated by; ``trace`` is the
    ``AWSTraceHeader`` that came with it.
    """

    sender: str
    md5: str
    attributes: dict[str, Attribute] = {}
    attributes_md5: str = ""
    trace: str = ""
    group: str = ""
    name: str = ""
    origin: Origin = Origin()


Envelopes = msgspec.json.Decoder(Envelope)
Attributes = msgspec.json.Decoder(dict[str, Attribute])
_encode = msgspec.json.Encoder().encode


def pack(envelope: Envelope) -> str:
    """As it is stored."""
    return _encode(envelope).decode()


def check_body(body: str | None) -> str:
    """The body; ``MissingParameter`` when there is none, ``BadContents`` when it has characters that XML cannot."""
    if not body:
        raise MissingParameter("The request must contain the parameter MessageBody.")
    _check_characters(body, "message body")
    return body


def check_name(parameter: str, name: str) -> str:
    """The name of a group or for deduplication; ``InvalidInput`` unless 1 to 128 letters, digits and punctuation marks."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"Value {name[:256]} for parameter {parameter} is invalid. Reason: {parameter} can only include "
            "alphanumeric and punctuation characters. 1 to 128 in length."
        )
    return name


def check_attributes(given: Mapping[str, Attribute], *, most: int = MOST_ATTRIBUTES) -> None:
    """``InvalidInput`` unless there are at most ten with acceptable names, types and values."""
    if len(given) > most:
        raise InvalidInput(
            f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{most}]."
        )
    for name, attribute in given.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise InvalidInput(
                f"The message attribute name '{name[:256]}' is invalid. Attribute name can contain A-Z, a-z, 0-9, "
                "underscore (_), hyphen (-), and period (.) characters; it must not begin with AWS. or Amazon., begin or end with a "
                "period, have periods in succession, or be longer than 256 characters."
            )
        _check_attribute(name, attribute)


def _check_attribute(name: str, attribute: Attribute) -> None:
    found = _TYPE.fullmatch(attribute.DataType)
    if found is None:
        raise InvalidInput(
            f"The type of message attribute '{name}' is invalid. You must use only the following supported type "
            "prefixes: Binary, Number, String."
        )
    binary = found[1] == "Binary"
    value = attribute.BinaryValue if binary else attribute.StringValue
    if not value:
        raise InvalidInput(
            f"The message attribute '{name}' must contain a non-empty message attribute value for message attribute "
            f"type '{attribute.DataType}'."
        )
    if isinstance(value, str):
        _check_characters(value, f"message attribute '{name}'")
        if found[1] == "Number" and not _NUMBER.fullmatch(value):
            raise InvalidInput(
                f"Can't cast the value of message (user) attribute '{name}' to a number."
            )


def _check_characters(text: str, where: str) -> None:
    if found := _FOREIGN.search(text):
        raise BadContents(
            f"Invalid binary character '#x{ord(found[0]):X}' was found in the {where}, the set of allowed characters "
            "is #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] | [#x10000 to #x10FFFF]"
        )


def size_of(body: str, attributes: Mapping[str, Attribute]) -> int:
    """Bytes that count against the limits: body, and names, types and values of attributes."""
    size = len(body) if body.isascii() else len(body.encode())
    for name, attribute in attributes.items():
        size += len(name) + len(attribute.DataType) + len(_value(attribute))
    return size


def md5(text: str) -> str:
    """MD5 of a body, in hexadecimal digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def attributes_md5(attributes: Mapping[str, Attribute]) -> str:
    """MD5 of attributes as SQS's clients check it: lengths and contents, by name; empty for none."""
    if not attributes:
        return ""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        for part in (name.encode(), attribute.DataType.encode()):
            digest.update(_LENGTH(len(part)) + part)
        value = _value(attribute)
        digest.update((b"\x02" if _is_binary(attribute) else b"\x01") + _LENGTH(len(value)) + value)
    return digest.hexdigest()


def name_of(body: str) -> str:
    """What a message is deduplicated by in a queue that goes by content."""
    return hashlib.sha256(body.encode()).hexdigest()


def read_attributes(text: str) -> dict[str, Attribute]:
    """Attributes as JSON in SQS's shape; ``InvalidInput`` when it is none."""
    if not text:
        return {}
    try:
        return Attributes.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"MessageAttributes must be JSON in the shape of SQS: {error}") from None


def write_attributes(attributes: Mapping[str, Attribute]) -> str:
    """What ``read_attributes`` reads; empty for none."""
    return _encode(attributes).decode() if attributes else ""


def _is_binary(attribute: Attribute) -> bool:
    return attribute.DataType.startswith("Binary")


def _value(attribute: Attribute) -> bytes:
    if _is_binary(attribute):
        return attribute.BinaryValue or b""
    return (attribute.StringValue or "").encode()
