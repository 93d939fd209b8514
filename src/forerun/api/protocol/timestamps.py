"""Points in time as AWS writes them; inside the platform they are epoch seconds (``float``).

Reading takes any of the forms (number, ISO 8601, HTTP date), because clients mix them; writing is exact.
"""

import math
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any


class _AnyFloat(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, float)


class Epoch(metaclass=_AnyFloat):
    """Marks a field as a time for the decoder; the values are plain floats."""


def read_time(value: object) -> float:
    """Epoch seconds of a number or text; ``ValueError`` when it is no time."""
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a timestamp")
    return float(value)


def _from_text(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return read_time(number)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def write_time(value: Any, style: str) -> str | float:
    """``value`` (epoch seconds or aware ``datetime``) as ``unixTimestamp``, ``iso8601`` or ``rfc822``."""
    seconds = value.timestamp() if isinstance(value, datetime) else value
    if style == "unixTimestamp":
        return float(seconds)
    if style == "rfc822":
        return formatdate(seconds, usegmt=True)
    moment = datetime.fromtimestamp(seconds, UTC)
    unit = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=unit).replace("+00:00", "Z")


def hook(kind: type, value: Any) -> Any:
    """For msgspec: the only type of our own among the fields is ``Epoch``."""
    if kind is Epoch:
        return read_time(value)
    raise NotImplementedError(kind)
