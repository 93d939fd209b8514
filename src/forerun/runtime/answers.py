"""Events from JSON and results to JSON, with the dialect of AWS's Python runtimes.

That dialect is wider than ``json``'s: ``Decimal`` is a number with its digits kept, a named tuple is an object, ``bytes``
inside a result are UTF-8 text, and from Python 3.12 on non-ASCII characters are not escaped. NaN and infinities pass in
both directions. A result that is ``bytes`` as a whole is passed on as it is.
"""

from __future__ import annotations

import json
import os
import re
from json import loads

from forerun.runtime.faults import MARSHAL, UNMARSHAL, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JSON_TYPE = "application/json"
BYTES_TYPE = "application/unknown"

_SCALARS = frozenset((str, int, float, bool, type(None)))
_CONTAINERS = (dict, list, tuple)


def read_event(payload: bytes) -> Any:
    """The event; ``Fault`` Runtime.UnmarshalError when it is no JSON."""
    try:
        return loads(payload)
    except (ValueError, RecursionError) as error:
        raise Fault(UNMARSHAL, "Unable to unmarshal input: %s" % error) from None


class Marshaller:
    """Encodes results; ``ascii_only`` is the dialect of runtimes before python3.12."""

    def __init__(self, *, ascii_only: bool) -> None:
        # Decimals leave the encoder as marked strings and are turned into bare numbers afterwards: the encoder in C
        # has no other way to emit a number by its digits. The mark is random so that no user's text can carry it, and
        # made for the first of them: most functions return none.
        self._mark = ""
        self._decimals = False
        self._encode = json.JSONEncoder(ensure_ascii=ascii_only, default=self._other).encode

    def result(self, value: Any) -> tuple[bytes, str]:
        """The payload and its content type; ``Fault`` Runtime.MarshalError when it cannot be encoded."""
        if isinstance(value, bytes):
            return value, BYTES_TYPE
        try:
            return self.encode(value), JSON_TYPE
        except Exception as error:  # noqa: BLE001  objects of the user's may raise anything
            raise Fault(MARSHAL, "Unable to marshal response: %s" % error) from None

    def encode(self, value: Any) -> bytes:
        """JSON of ``value``; raises as ``json`` does."""
        if isinstance(value, _CONTAINERS) and _has_odd(value):
            value = _plain(value)
        self._decimals = False
        text = self._encode(value)
        if self._decimals:
            text = re.sub('"' + self._mark + '([^"]*)"', r"\1", text)
        return text.encode()

    def _other(self, value: Any) -> Any:
        if isinstance(value, (bytes, bytearray)):
            return value.decode("utf-8")
        # A Decimal can only be here when its module is loaded; naming it would load it for everyone.
        if type(value).__name__ == "Decimal" and type(value).__module__ in ("decimal", "_decimal"):
            if value.is_nan():
                return float("nan")
            self._decimals = True
            if not self._mark:
                self._mark = os.urandom(12).hex()
            return self._mark + str(value)
        raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def _has_odd(value: Any, depth: int = 0) -> bool:
    """Whether a container holds what the C encoder would render unlike AWS: named tuples, keys of bytes.

    Cycles and nesting beyond 64 levels are left to the encoder.
    """
    if depth > 64:
        return False
    if isinstance(value, dict):
        for key in value:
            if type(key) is bytes:
                return True
        items: Any = value.values()
    else:
        if hasattr(value, "_asdict"):
            return True
        items = value
    for item in items:
        if type(item) in _SCALARS:
            continue
        if isinstance(item, _CONTAINERS) and _has_odd(item, depth + 1):
            return True
    return False


def _plain(value: Any, seen: tuple[int, ...] = ()) -> Any:
    if not isinstance(value, _CONTAINERS):
        return value
    if id(value) in seen:
        raise ValueError("Circular reference detected")
    seen = (*seen, id(value))
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {
            (key.decode("utf-8") if isinstance(key, bytes) else key): _plain(item, seen)
            for key, item in value.items()
        }
    return [_plain(item, seen) for item in value]
