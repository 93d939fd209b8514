"""What is taken of spans that others made: how long, how many, and which times. Pure."""

import math

from forerun.model import SpanStatus

MAX_NAME = 256
MAX_KEY = 256
MAX_VALUE = 4096
MAX_ATTRIBUTES = 128
OWN = "forerun."
"""Attributes that only the platform gives."""

_EARLIEST = 946_684_800.0
_LATEST = 4_102_444_800.0
_CLIENT, _SERVER, _TOO_MANY = 400, 500, 429


def bounded(text: str) -> str:
    """As much of a value as is kept."""
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def plausible(seconds: float) -> bool:
    """Whether epoch seconds are of this century: anything else is another unit, or a broken clock."""
    return math.isfinite(seconds) and _EARLIEST <= seconds <= _LATEST


def status_of_http(code: object) -> SpanStatus:
    """What an HTTP status says of how a span ended; no status says it went well."""
    if not isinstance(code, int) or code < _CLIENT:
        return SpanStatus.OK
    if code == _TOO_MANY:
        return SpanStatus.THROTTLE
    return SpanStatus.ERROR if code < _SERVER else SpanStatus.FAULT
