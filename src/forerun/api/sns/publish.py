"""Publishing, one message or ten."""

import base64
import re
from typing import Any

from forerun.api.caller import Caller
from forerun.api.errors import describe
from forerun.api.handlers import Handler
from forerun.api.protocol import ApiError
from forerun.errors import ForerunError, Unsupported
from forerun.sources.topics import (
    MAX_BYTES,
    InvalidParameter,
    Publication,
    Published,
    Publisher,
    make_attribute,
    parse_topic_arn,
)

MAX_ENTRIES = 10
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class PublishRoutes:
    """Answers ``Publish`` and ``PublishBatch``."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {"Publish": self.publish, "PublishBatch": self.publish_batch}

    async def publish(self, caller: Caller, request: Any) -> dict[str, Any]:
        """Publish to a topic; phones and applications are not served."""
        if request.PhoneNumber:
            raise Unsupported("Messages to phones are not served here; publish to a topic")
        arn = request.TopicArn or request.TargetArn
        if not arn:
            raise InvalidParameter("TopicArn or TargetArn Reason: no value for required parameter")
        member = "TopicArn" if request.TopicArn else "TargetArn"
        published = await self._publisher.publish(
            parse_topic_arn(arn, caller.region, member), _publication(request), caller.origin
        )
        return _printed(published)

    async def publish_batch(self, caller: Caller, request: Any) -> dict[str, Any]:
        """PublishBatch: every entry by itself, in order; what is refused is told beside what is not."""
        entries = request.PublishBatchRequestEntries
        _require_batch(entries)
        name = parse_topic_arn(request.TopicArn, caller.region)
        successful, failed = [], []
        for entry in entries:
            try:
                published = await self._publisher.publish(name, _publication(entry), caller.origin)
            except ForerunError as error:
                code, status, message = describe("sns", error)
                if status in (403, 404):
                    # The topic itself, not the entry: all of them would be refused.
                    raise
                failed.append(
                    {
                        "Id": entry.Id,
                        "Code": code,
                        "Message": message,
                        "SenderFault": status < 500,
                    }
                )
            else:
                successful.append({"Id": entry.Id, **_printed(published)})
        return {"Successful": successful, "Failed": failed}


def _require_batch(entries: list[Any]) -> None:
    if not entries:
        raise ApiError("EmptyBatchRequest", "The batch request doesn't contain any entries.", 400)
    if len(entries) > MAX_ENTRIES:
        raise ApiError(
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible.",
            400,
        )
    ids = [entry.Id for entry in entries]
    if any(not _ID.fullmatch(each) for each in ids):
        raise ApiError(
            "InvalidBatchEntryId",
            "The Id of a batch entry in a batch request doesn't abide by the specification.",
            400,
        )
    if len(set(ids)) != len(ids):
        raise ApiError(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
            400,
        )
    if sum(len(entry.Message.encode()) for entry in entries) > MAX_BYTES:
        raise ApiError(
            "BatchRequestTooLong",
            "The length of all the messages put together is more than the limit.",
            400,
        )


def _publication(request: Any) -> Publication:
    structure = request.MessageStructure
    if structure not in (None, "", "json"):
        raise InvalidParameter("MessageStructure")
    return Publication(
        message=request.Message,
        subject=request.Subject or "",
        attributes={
            name: make_attribute(name, each.DataType, each.StringValue, _base64(each.BinaryValue))
            for name, each in (request.MessageAttributes or {}).items()
        },
        structured=structure == "json",
        group=request.MessageGroupId or "",
        deduplication=request.MessageDeduplicationId or "",
    )


def _base64(value: bytes | None) -> str | None:
    return base64.b64encode(value).decode() if value else None


def _printed(published: Published) -> dict[str, Any]:
    return {"MessageId": published.id, "SequenceNumber": published.sequence or None}
