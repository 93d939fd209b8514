"""What holds for a batch as a whole, and how one of its entries is refused."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from forerun.api.errors import describe
from forerun.api.protocol import ApiError
from forerun.errors import ForerunError
from forerun.sources.queues import MOST_BYTES, Attribute, size_of

MOST_ENTRIES = 10
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def require_batch(entries: list[Any]) -> list[Any]:
    """The entries; ``ApiError`` unless there are one to ten of them with different, acceptable ids."""
    if not entries:
        raise ApiError(
            "EmptyBatchRequest", "There should be at least one entry in the request.", 400
        )
    if len(entries) > MOST_ENTRIES:
        raise ApiError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MOST_ENTRIES}. You have sent {len(entries)}.",
            400,
        )
    seen = set()
    for entry in entries:
        if not _ID.fullmatch(entry.Id):
            raise ApiError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
                400,
            )
        if entry.Id in seen:
            raise ApiError("BatchEntryIdsNotDistinct", f"Id {entry.Id} repeated.", 400)
        seen.add(entry.Id)
    return entries


def require_together(messages: Iterable[tuple[str, Mapping[str, Attribute]]]) -> None:
    """``ApiError`` when bodies and attributes are together larger than one message may be."""
    size = sum(size_of(body, attributes) for body, attributes in messages)
    if size > MOST_BYTES:
        raise ApiError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {MOST_BYTES} bytes. You have sent {size} bytes.",
            400,
        )


def failed(entry_id: str, error: ForerunError) -> dict[str, Any]:
    """One entry of ``Failed``."""
    code, status, message = describe("sqs", error)
    return {"Id": entry_id, "SenderFault": status < 500, "Code": code, "Message": message}
