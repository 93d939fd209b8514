"""Which messages of a source a function wants: the filters of a mapping, over what a filter may look at. Pure.

Where a pattern says what the members of ``body`` (or of ``data``) shall be, text there is read as JSON; where it names
texts, the text is compared as it is. What is of the other kind than the pattern's is not wanted, as on AWS.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from forerun.errors import InvalidInput
from forerun.patterns import parse_pattern
from forerun.sources import Pulled

MOST = 10
CONTENT = ("body", "data", "value", "key")

_FIELDS = msgspec.json.Decoder(dict[str, Any])
_ANY = msgspec.json.Decoder()
Wants = Callable[[Pulled], bool]


class _Filter:
    """One pattern, and of which members it wants the inside."""

    def __init__(self, text: str) -> None:
        try:
            given = _FIELDS.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidInput(
                "Invalid filter pattern definition. (a pattern must be a JSON object)"
            ) from None
        if not given:
            raise InvalidInput("Invalid filter pattern definition. (a pattern must not be empty)")
        try:
            self._pattern = parse_pattern(text)
        except InvalidInput as error:
            raise InvalidInput(f"Invalid filter pattern definition. ({error.message})") from None
        either = given.get("$or")
        ways = [given, *(either if isinstance(either, list) else ())]
        ways = [way for way in ways if isinstance(way, dict)]
        self._inside = {name for name in CONTENT for way in ways if isinstance(way.get(name), dict)}
        self._plain = {
            name for name in CONTENT for way in ways if isinstance(way.get(name), list)
        } - self._inside

    def wants(self, fields: Mapping[str, Any], read: dict[str, Any]) -> bool:
        """``read`` are the members that were read as JSON before, to be used again."""
        changed: dict[str, Any] = {}
        for name in self._inside:
            content = fields.get(name)
            if isinstance(content, str):
                if name not in read:
                    read[name] = _read(content)
                content = read[name]
            if not isinstance(content, dict):
                return False
            changed[name] = content
        for name in self._plain:
            content = fields.get(name)
            if isinstance(content, dict | list):
                return False
            if isinstance(content, str) and isinstance(read.setdefault(name, _read(content)), dict):
                return False
        return self._pattern.matches({**fields, **changed} if changed else fields)


def _read(text: str) -> Any:
    try:
        return _ANY.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def compile_filters(criteria: Mapping[str, Any] | None) -> Wants | None:
    """Whether one of the filters (AWS's ``FilterCriteria``) wants a message; ``None`` when all are wanted.

    Raises ``InvalidInput`` for patterns that are none, and for more than ten.
    """
    patterns = [str(item.get("Pattern") or "") for item in (criteria or {}).get("Filters") or ()]
    if len(patterns) > MOST:
        raise InvalidInput(f"FilterCriteria may have at most {MOST} filters, not {len(patterns)}.")
    filters: Sequence[_Filter] = [_Filter(text) for text in patterns]
    if not filters:
        return None

    def wants(message: Pulled) -> bool:
        try:
            fields = _FIELDS.decode(message.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        read: dict[str, Any] = {}
        return any(each.wants(fields, read) for each in filters)

    return wants
