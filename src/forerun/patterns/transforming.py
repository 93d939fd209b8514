"""What a target is given of an event: all of it, a part, a constant, or a template that is filled in. Pure.

Rules of a template: a variable outside of quotes becomes JSON, inside of quotes text; of objects and arrays inside of
quotes, the quotes are left out. A variable whose path leads nowhere is an empty text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from forerun.errors import InvalidInput
from forerun.patterns.paths import JsonPath, parse_path

MAX_TEMPLATE_CHARS = 8192
MAX_VARIABLES = 100
# More than any target takes: a template can name a large part of an event thousands of times, and is then cut off here.
MAX_MADE_CHARS = 1024 * 1024 + 1

_VARIABLE = re.compile(r"<([A-Za-z0-9_.-]{1,256})>")
_NAME = re.compile(r"(?!aws)[A-Za-z0-9_-]{1,256}", re.IGNORECASE)
_QUOTES = re.compile(r'\\"|"|(\\.)')
_RULE_ARN = "aws.events.rule-arn"
_RULE_NAME = "aws.events.rule-name"
_INGESTED = "aws.events.event.ingestion-time"
_EVENT = "aws.events.event"
_EVENT_JSON = "aws.events.event.json"
RESERVED = frozenset({_RULE_ARN, _RULE_NAME, _INGESTED, _EVENT, _EVENT_JSON})


class About(NamedTuple):
    """What templates may say beside the event: the rule, and when the event was received (ISO 8601)."""

    rule_arn: str
    rule_name: str
    ingested: str


class Form(Protocol):
    """How an event is given to a target."""

    def make(self, event: Mapping[str, Any], encoded: bytes, about: About) -> bytes:
        """The target's input; ``encoded`` is the event as JSON."""
        ...


class Whole:
    """The event as it is."""

    def make(self, event: Mapping[str, Any], encoded: bytes, about: About) -> bytes:
        """See ``Form``."""
        del event, about
        return encoded


class Constant(NamedTuple):
    """The same JSON for every event."""

    text: bytes

    def make(self, event: Mapping[str, Any], encoded: bytes, about: About) -> bytes:
        """See ``Form``."""
        del event, encoded, about
        return self.text


class Part(NamedTuple):
    """What lies at a path; ``null`` where nothing does."""

    path: JsonPath

    def make(self, event: Mapping[str, Any], encoded: bytes, about: About) -> bytes:
        """See ``Form``."""
        del encoded, about
        return msgspec.json.encode(self.path.find(event))


class _Place(NamedTuple):
    """Where a variable stands: as a JSON value, or ``quoted`` within a text."""

    name: str
    quoted: bool


class Template(NamedTuple):
    """Fixed texts and variables in turn."""

    pieces: tuple[str | _Place, ...]
    paths: Mapping[str, JsonPath]

    def make(self, event: Mapping[str, Any], encoded: bytes, about: About) -> bytes:
        """See ``Form``. What would become longer than ``MAX_MADE_CHARS`` is cut off soon after; no target takes that."""
        out: list[str] = []
        length = 0
        for piece in self.pieces:
            if isinstance(piece, str):
                shown = piece
            elif piece.name == _EVENT_JSON and not piece.quoted:
                shown = encoded.decode()
            else:
                shown = _shown(self._value(piece.name, event, about), quoted=piece.quoted)
            out.append(shown)
            length += len(shown)
            if length > MAX_MADE_CHARS:
                break
        return "".join(out).encode()

    def _value(self, name: str, event: Mapping[str, Any], about: About) -> Any:
        if (path := self.paths.get(name)) is not None:
            return path.find(event)
        if name == _EVENT:
            return _without_detail(event, about)
        return {
            _RULE_ARN: about.rule_arn,
            _RULE_NAME: about.rule_name,
            _INGESTED: about.ingested,
            _EVENT_JSON: event,
        }[name]


def parse_constant(text: str) -> Constant:
    """A constant input; ``InvalidInput`` when it is not JSON."""
    if len(text) > MAX_TEMPLATE_CHARS:
        raise InvalidInput(f"a constant input has at most {MAX_TEMPLATE_CHARS} characters")
    if not _is_json(text):
        raise InvalidInput("the constant input is not JSON")
    return Constant(text.encode())


def parse_template(paths: Mapping[str, str], template: str) -> Template:
    """Read ``InputPathsMap`` and ``InputTemplate``. Raises ``InvalidInput``, ``UnknownVariable`` for one that is not defined."""
    if not 0 < len(template) <= MAX_TEMPLATE_CHARS:
        raise InvalidInput(f"a template has 1 to {MAX_TEMPLATE_CHARS} characters")
    if len(paths) > MAX_VARIABLES:
        raise InvalidInput(f"a template has at most {MAX_VARIABLES} variables")
    for name in paths:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"'{name[:256]}' cannot be the name of a variable")
    compiled = {name: parse_path(path) for name, path in paths.items()}
    pieces = tuple(_pieces(template))
    for piece in pieces:
        if isinstance(piece, _Place) and piece.name not in compiled and piece.name not in RESERVED:
            raise UnknownVariable(piece.name)
    _require_json(pieces)
    return Template(pieces, compiled)


class UnknownVariable(InvalidInput):
    """The template names a variable that is not defined."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the template has the variable '{name}', which is not defined")
        self.name = name


def _pieces(template: str) -> list[str | _Place]:
    pieces: list[str | _Place] = []
    position, quoted = 0, False
    for match in _VARIABLE.finditer(template):
        text = template[position : match.start()]
        quoted = _quoted_after(text, quoted)
        if text:
            pieces.append(text)
        pieces.append(_Place(match[1], quoted))
        position = match.end()
    if position < len(template):
        pieces.append(template[position:])
    return pieces


def _quoted_after(text: str, quoted: bool) -> bool:  # noqa: FBT001 the state of a scanner
    """Whether the end of ``text`` is inside of quotes when its beginning is or not."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and quoted:
            escaped = True
        elif character == '"':
            quoted = not quoted
    return quoted


def _require_json(pieces: Sequence[str | _Place]) -> None:
    """A template is JSON, or lines that are texts."""
    tried = "".join(
        piece if isinstance(piece, str) else ("" if piece.quoted else "0") for piece in pieces
    )
    if _is_json(tried):
        return
    lines = [line.strip() for line in tried.splitlines() if line.strip()]
    if not lines or not all(line.startswith('"') and _is_json(line) for line in lines):
        raise InvalidInput("the template is neither JSON nor text in quotes")


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _shown(value: Any, *, quoted: bool) -> str:
    if value is None:
        value = ""
    encoded = msgspec.json.encode(value).decode()
    if not quoted:
        return encoded
    if isinstance(value, str):
        return encoded[1:-1]
    if isinstance(value, dict | list):
        return _QUOTES.sub(lambda found: found[1] or "", encoded)
    return encoded


def _without_detail(event: Mapping[str, Any], about: About) -> dict[str, Any]:
    shown = {
        "detailType" if name == "detail-type" else name: value
        for name, value in event.items()
        if name != "detail"
    }
    return shown | {"time": about.ingested}
