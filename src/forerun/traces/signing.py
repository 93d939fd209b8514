"""The signed part of trace information: by it an execution is known again, and nobody can claim to be one.

It is ``EXECUTION-DEPTH-WEIGHT-MAC``. The MAC covers the trace and the account as well, so that a part is worth nothing
in another trace or for another account's functions. It proves that its bearer was given it, no more.
"""

import hmac
import re
from typing import NamedTuple

MAX_WEIGHT = 1_000_000
_PART = re.compile(r"([0-9a-f]{16})-(0|[1-9][0-9]{0,2})-([1-9][0-9]{0,6})-([0-9a-f]{16})")


class Signed(NamedTuple):
    """What a signed part says of an execution."""

    execution: str
    depth: int
    weight: int


class Signer:
    """Signs and verifies with one key; a few microseconds."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, trace_id: str, signed: Signed, account: str) -> str:
        """The signed part of an execution of ``account``'s in that trace."""
        execution, depth, weight = signed
        mac = self._mac(trace_id, execution, str(depth), str(weight), account)
        return f"{execution}-{depth}-{weight}-{mac}"

    def verify(self, part: str, trace_id: str, account: str) -> Signed | None:
        """What it says; ``None`` unless it was signed here for this trace and account."""
        read = _PART.fullmatch(part)
        if read is None:
            return None
        execution, depth, weight, given = read.groups()
        if not hmac.compare_digest(given, self._mac(trace_id, execution, depth, weight, account)):
            return None
        return Signed(execution, int(depth), int(weight))

    def _mac(self, *parts: str) -> str:
        return hmac.digest(self._key, "|".join(parts).encode(), "sha256")[:8].hex()
