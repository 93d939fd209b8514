"""What a sandbox says its init has imported, as far as that can be. Pure.

The user's code shares its process with what measures, and can write to the wire: names are names and times fit into the
init that was seen from here, or they are left out. Whatever is said, nothing of the user's is imported by it elsewhere
(``forerun.prediction.imports``).
"""

import re

from forerun.model import Import
from forerun.runtime.imports import LAYER, MAX_IMPORTS, MAX_NAME, PACKAGE, SDK, STANDARD

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_ORIGINS = frozenset((STANDARD, SDK, LAYER, PACKAGE))
_FIELDS = 3
_MAX_MS = 1e7


def read_imports(told: object) -> list[Import]:
    """The entries of an INITED frame that make sense, each name once, at most ``MAX_IMPORTS``."""
    if not isinstance(told, list):
        return []
    found: dict[str, Import] = {}
    for entry in told[:MAX_IMPORTS]:
        if (one := _read(entry)) is not None:
            found.setdefault(one.name, one)
    return list(found.values())


def _read(entry: object) -> Import | None:
    if not isinstance(entry, list) or len(entry) != _FIELDS:
        return None
    name, origin, ms = entry
    if not (isinstance(name, str) and len(name) <= MAX_NAME and _NAME.fullmatch(name)):
        return None
    if not isinstance(origin, str) or origin not in _ORIGINS:
        return None
    if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not 0 <= ms <= _MAX_MS:
        return None
    return Import(name, origin, float(ms))


def believable(imports: list[Import], init_ms: float) -> list[Import]:
    """Those of an init that took ``init_ms`` by our own clock: none longer, and what the runtime brings not together."""
    kept, left = [], init_ms
    for one in imports:
        if one.ms > init_ms:
            continue
        if one.origin in (STANDARD, SDK):
            if one.ms > left:
                continue
            left -= one.ms
        kept.append(one)
    return kept
