"""What answers the operations of AWS's services: one handler each, in the modules of their resources."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller

Members = dict[str, Any]
"""Members of an answer, named as AWS names them; ``None`` is one that is left out."""

Handler = Callable[[Caller, Any], Awaitable[Members]]
"""Answers one operation: given who asks, and the request with its members as attributes (``None`` when absent)."""
