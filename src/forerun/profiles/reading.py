"""Whether a call only asks, so that what others answered before still holds."""

import re

from forerun.model import OutgoingCall

_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# AWS's services read by POST, too, and say so in the name of the operation.
_OPERATIONS = re.compile(
    r"(Get|BatchGet|TransactGet|List|Describe|Query|Scan|Search|Select|Head|Lookup)"
)


def only_reads(call: OutgoingCall) -> bool:
    """By its method, or by the name of its operation; a call of a function may do anything."""
    if call.service and call.operation:
        return _OPERATIONS.match(call.operation) is not None
    return call.method in _METHODS
