"""Numbers in the queries of requests: read and checked, or refused with the name and the limits."""

import re
from collections.abc import Mapping

from forerun.errors import InvalidInput

_WHOLE = re.compile(r"\d{1,19}\Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?\Z", re.ASCII)


def whole_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 1 to ``most``; ``default`` when there is none."""
    text = query.get(name, "")
    if not text:
        return default
    if not _WHOLE.match(text) or not 1 <= int(text) <= most:
        raise InvalidInput(f"{name} must be a number from 1 to {most}, not '{text[:100]}'")
    return int(text)


def positive_number(query: Mapping[str, str], name: str, default: float) -> float:
    """A number that is not negative; ``default`` when there is none."""
    text = query.get(name, "")
    if not text:
        return default
    if not _NUMBER.match(text):
        raise InvalidInput(f"{name} must be a positive number, not '{text[:100]}'")
    return float(text)
