"""What is published: a message with its attributes, checked as AWS checks it. Pure."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from forerun.errors import InvalidInput
from forerun.sources.topics.naming import InvalidParameter

MAX_BYTES = 262_144
_MAX_SUBJECT = 100
_ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_RESERVED = ("aws.", "amazon.")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_TYPE = re.compile(r"(String|Number|Binary)(\.[A-Za-z0-9_.-]{1,245})?")
_TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_SEQUENCE = 10**19


class InvalidValue(InvalidInput):
    """A value of the message is not acceptable (AWS's ``ParameterValueInvalid``)."""


class Attribute(msgspec.Struct, frozen=True):
    """A message attribute: ``String``, ``String.Array``, ``Number`` or ``Binary``, the value as text or as base64."""

    type: str
    value: str


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One message for a topic. ``structured``: ``message`` is JSON with a text for each protocol."""

    message: str
    subject: str = ""
    attributes: Mapping[str, Attribute] = {}
    structured: bool = False
    group: str = ""
    deduplication: str = ""

    def text_for(self, protocol: str) -> str:
        """What subscribers of a protocol get."""
        if not self.structured:
            return self.message
        texts = _texts(self.message)
        return texts.get(protocol, texts["default"])

    @property
    def size(self) -> int:
        """Bytes of the message and its attributes, as they count against the limit."""
        attributes = sum(
            len(name.encode()) + len(each.type.encode()) + len(each.value.encode())
            for name, each in self.attributes.items()
        )
        return len(self.message.encode()) + attributes


def make_attribute(name: str, kind: str | None, text: str | None, binary: str | None) -> Attribute:
    """A message attribute of what a client gave; ``binary`` is base64. Raises ``InvalidInput``."""
    if not _ATTRIBUTE_NAME.fullmatch(name) or name.lower().startswith(_RESERVED):
        raise InvalidValue(
            f"The message attribute name '{name[:256]}' is invalid. Attribute name can contain A-Z, a-z, 0-9, "
            "underscore (_), hyphen (-), and period (.) characters, starts with neither AWS. nor Amazon., and has at "
            "most 256 of them."
        )
    if not kind:
        raise InvalidValue(
            f"The message attribute '{name}' must contain non-empty message attribute type."
        )
    if not _TYPE.fullmatch(kind):
        raise InvalidValue(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    value = binary if kind.startswith("Binary") else text
    if not value:
        raise InvalidValue(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute "
            f"type '{kind}'."
        )
    if kind.startswith("Number") and not _NUMBER.fullmatch(value.strip()):
        raise InvalidValue(f"Could not cast message attribute '{name}' value to number.")
    if kind.startswith("Binary"):
        _require_base64(name, value)
    return Attribute(kind, value)


def _require_base64(name: str, value: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(f"The value of the message attribute '{name}' is not base64.") from None


def require_publication(publication: Publication) -> None:
    """``InvalidInput`` unless it may be published, to whatever topic."""
    if not publication.message:
        raise InvalidParameter("Empty message")
    if publication.size > MAX_BYTES:
        raise InvalidParameter("Message too long")
    _require_subject(publication.subject)
    if publication.structured:
        _texts(publication.message)


def _require_subject(subject: str) -> None:
    if not subject:
        return
    control = any(ord(letter) < 32 or ord(letter) == 127 for letter in subject)
    if len(subject) > _MAX_SUBJECT or control or subject[0].isspace():
        raise InvalidParameter("Subject")


def _texts(message: str) -> dict[str, str]:
    try:
        content = msgspec.json.decode(message, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidParameter("Message Structure - JSON message body failed to parse") from None
    texts = {name: text for name, text in content.items() if isinstance(text, str)}
    if "default" not in texts:
        raise InvalidParameter("Message Structure - No default entry in JSON message body")
    return texts


def require_ordering(publication: Publication, *, fifo: bool) -> None:
    """``InvalidInput`` unless group and deduplication id are what the kind of topic wants."""
    for name, value in (
        ("MessageGroupId", publication.group),
        ("MessageDeduplicationId", publication.deduplication),
    ):
        if value and not _TOKEN.fullmatch(value):
            raise InvalidParameter(
                f"{name} Reason: it can include alphanumeric and punctuation characters, up to 128 of them"
            )
    if fifo and not publication.group:
        raise InvalidParameter("The MessageGroupId parameter is required for FIFO topics")
    if not fifo and publication.deduplication:
        raise InvalidParameter(
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid "
            "for this topic type"
        )


def deduplication_of(publication: Publication, *, by_content: bool) -> str:
    """The id by which a FIFO topic knows a message again: as given, or the message's hash. ``InvalidInput`` without either."""
    if publication.deduplication:
        return publication.deduplication
    if not by_content:
        raise InvalidParameter(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )
    return hashlib.sha256(publication.message.encode()).hexdigest()


def sequence_text(number: int) -> str:
    """A number in the order of a FIFO topic, as AWS prints it: 20 digits."""
    return str(_SEQUENCE + number)


def filter_values(attributes: Mapping[str, Attribute]) -> dict[str, list[Any]]:
    """What filter policies compare, by attribute; binary values are not compared."""
    return {
        name: _compared(each)
        for name, each in attributes.items()
        if not each.type.startswith("Binary")
    }


def _compared(attribute: Attribute) -> list[Any]:
    if attribute.type.startswith("Number"):
        number = float(attribute.value)
        return [int(number) if number.is_integer() else number]
    if attribute.type == "String.Array":
        try:
            return list(msgspec.json.decode(attribute.value, type=list[Any]))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return [attribute.value]
    return [attribute.value]


def parsed_body(text: str) -> Any:
    """The message as JSON, for filter policies over bodies; ``None`` for what is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
