"""What answers the operations of AWS's services: one handler each, in the modules of their resources."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from forerun.api.caller import Caller

Members = dict[str, Any]
"""Members of an answer, named as AWS names them; ``None`` is one that is left out."""

Handler = Callable[[Caller, Any], Awaitable[Members]]
"""Answers one operation: given who asks, and the request with its members as attributes (``None`` when absent)."""


def plain(value: Any) -> Any:
    """A request's structure as dictionaries and lists, without what was not given."""
    if isinstance(value, msgspec.Struct):
        return {
            name: plain(item)
            for name in value.__struct_fields__
            if (item := getattr(value, name)) is not None
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return value
