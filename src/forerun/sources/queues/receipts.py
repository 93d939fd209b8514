"""Receipt handles: which taking of which message of which queue a client speaks of. Pure."""

import base64
import binascii
import struct

from forerun.sources.queues.faults import BadReceipt

_FORM = struct.Struct(">BQQ")
_VERSION = 1
_CHARACTERS = 24
_LARGEST = (1 << 63) - 1


def to_receipt(queue: int, mark: int) -> str:
    """The handle; it is no secret, since it is good for nothing without leave to use the queue."""
    return base64.urlsafe_b64encode(_FORM.pack(_VERSION, queue, mark) + b"\0").decode()


def from_receipt(queue: int, receipt: str) -> int:
    """The mark; ``BadReceipt`` when it is not one of this queue."""
    found = _read(receipt)
    if found is None or found[0] != queue:
        raise BadReceipt(
            f'The input receipt handle "{receipt[:1024]}" is not a valid receipt handle.'
        )
    return found[1]


def _read(receipt: str) -> tuple[int, int] | None:
    if len(receipt) != _CHARACTERS:
        return None
    try:
        raw = base64.b64decode(receipt, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _FORM.size + 1:
        return None
    version, queue, mark = _FORM.unpack(raw[:-1])
    if version != _VERSION or raw[-1] or queue > _LARGEST or mark > _LARGEST:
        return None
    return queue, mark
