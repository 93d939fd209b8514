"""CloudWatch Logs: what functions print, read by the tools that read it on AWS."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler
from forerun.control.log_filter import compile_filter
from forerun.control.log_reading import MAX_EVENTS, FoundEvent, LogReader, LogSearch
from forerun.control.logs import LogService
from forerun.control.paging import from_marker, page_size, to_marker
from forerun.errors import InvalidInput, Unsupported
from forerun.model import Arn, LogLine
from forerun.storage.log_groups import LogGroup, LogStream, StreamOrder

_LATEST_MS = (1 << 62) - 1


class LogRoutes:
    """Answers the operations of ``logs``."""

    def __init__(self, service: LogService, reader: LogReader) -> None:
        self._service = service
        self._reader = reader

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "CreateLogGroup": self.create_group,
            "DeleteLogGroup": self.delete_group,
            "DescribeLogGroups": self.describe_groups,
            "PutRetentionPolicy": self.put_retention,
            "DeleteRetentionPolicy": self.delete_retention,
            "CreateLogStream": self.create_stream,
            "DeleteLogStream": self.delete_stream,
            "DescribeLogStreams": self.describe_streams,
            "PutLogEvents": self.put_events,
            "GetLogEvents": self.get_events,
            "FilterLogEvents": self.filter_events,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
            "TagLogGroup": self.tag_group,
            "UntagLogGroup": self.untag_group,
            "ListTagsLogGroup": self.group_tags,
        }

    async def create_group(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreateLogGroup."""
        if request.logGroupClass not in (None, "STANDARD"):
            raise Unsupported("Only the log group class STANDARD is served")
        await self._service.create_group(
            caller.account, request.logGroupName, dict(request.tags or {})
        )
        return {}

    async def delete_group(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteLogGroup."""
        await self._service.delete_group(caller.account, request.logGroupName)
        return {}

    async def describe_groups(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DescribeLogGroups: by prefix, or by a text the name holds."""
        prefix, holds = request.logGroupNamePrefix or "", request.logGroupNamePattern or ""
        if prefix and holds:
            raise InvalidInput(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        size = page_size(request.limit)
        after = str(from_marker(request.nextToken, ("",))[0])
        found: list[LogGroup] = []
        while len(found) <= size:
            chunk = await self._service.groups(
                caller.account, prefix=prefix, after=after, limit=size + 1
            )
            found += [group for group in chunk if holds.lower() in group.name.lower()]
            if len(chunk) <= size:
                break
            after = chunk[-1].name
        printed = [_printed_group(caller, group) for group in found[:size]]
        token = to_marker((found[size - 1].name,)) if len(found) > size else None
        return {"logGroups": printed, "nextToken": token}

    async def put_retention(self, caller: Caller, request: Any) -> dict[str, Any]:
        """PutRetentionPolicy."""
        await self._service.retain(caller.account, request.logGroupName, request.retentionInDays)
        return {}

    async def delete_retention(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteRetentionPolicy."""
        await self._service.retain(caller.account, request.logGroupName, None)
        return {}

    async def create_stream(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreateLogStream."""
        await self._service.create_stream(
            caller.account, request.logGroupName, request.logStreamName
        )
        return {}

    async def delete_stream(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteLogStream."""
        await self._service.delete_stream(
            caller.account, request.logGroupName, request.logStreamName
        )
        return {}

    async def describe_streams(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DescribeLogStreams: by name, or by the time of the last event."""
        group = _group_name(caller, request)
        by_event = request.orderBy == "LastEventTime"
        if by_event and request.logStreamNamePrefix:
            raise InvalidInput("Cannot order by LastEventTime with a logStreamNamePrefix.")
        after = None
        if request.nextToken:
            name, event_ms = from_marker(request.nextToken, ("", 0))
            after = (str(name), int(event_ms))
        size = page_size(request.limit)
        order = StreamOrder(by_event, bool(request.descending), after)
        streams = await self._service.streams(
            caller.account,
            group,
            order,
            prefix=request.logStreamNamePrefix or "",
            limit=size + 1,
        )
        token = None
        if len(streams) > size:
            last = streams[size - 1]
            token = to_marker((last.name, last.last_ms or 0))
        return {
            "logStreams": [_printed_stream(caller, group, each) for each in streams[:size]],
            "nextToken": token,
        }

    async def put_events(self, caller: Caller, request: Any) -> dict[str, Any]:
        """PutLogEvents; sequence tokens are accepted and mean nothing, as on AWS."""
        lines = [LogLine(event.timestamp, event.message) for event in request.logEvents]
        refused = await self._service.put(
            caller.account, request.logGroupName, request.logStreamName, lines
        )
        rejected = {
            "tooOldLogEventEndIndex": refused.too_old_end,
            "tooNewLogEventStartIndex": refused.too_new_start,
            "expiredLogEventEndIndex": refused.expired_end,
        }
        some = any(index is not None for index in rejected.values())
        return {
            "nextSequenceToken": "0",
            "rejectedLogEventsInfo": rejected if some else None,
        }

    async def get_events(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetLogEvents; at the end of the stream the token is the one that was given."""
        group, _ = await self._service.stream(
            caller.account, _group_name(caller, request), request.logStreamName
        )
        page = await self._reader.page(
            group.id,
            request.logStreamName,
            start_ms=request.startTime or 0,
            end_ms=_LATEST_MS if request.endTime is None else request.endTime,
            token=request.nextToken,
            from_head=bool(request.startFromHead),
            limit=_limit(request),
        )
        events = [
            {
                "timestamp": event.time_ms,
                "message": event.text,
                "ingestionTime": event.ingested_ms,
            }
            for event in page.events
        ]
        return {
            "events": events,
            "nextForwardToken": page.forward,
            "nextBackwardToken": page.backward,
        }

    async def filter_events(self, caller: Caller, request: Any) -> dict[str, Any]:
        """FilterLogEvents: always in the order of time over all streams; a page can be empty and not the last."""
        names, prefix = request.logStreamNames, request.logStreamNamePrefix or ""
        if names and prefix:
            raise InvalidInput(
                "logStreamNamePrefix and logStreamNames are mutually exclusive parameters."
            )
        if request.startFromHead is False:
            raise Unsupported("FilterLogEvents reads from the head only; leave startFromHead out")
        group = await self._service.group(caller.account, _group_name(caller, request))
        search = LogSearch(
            matches=compile_filter(request.filterPattern or ""),
            streams=frozenset(names) if names else None,
            stream_prefix=prefix,
            start_ms=request.startTime or 0,
            end_ms=_LATEST_MS if request.endTime is None else request.endTime,
        )
        page = await self._reader.search(
            group.id, search, limit=_limit(request), token=request.nextToken
        )
        return {
            "events": [_printed_event(event) for event in page.events],
            "searchedLogStreams": [],
            "nextToken": page.token,
        }

    async def tag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """TagResource."""
        name = _group_of_arn(caller, request.resourceArn)
        await self._service.tag(caller.account, name, add=dict(request.tags))
        return {}

    async def untag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UntagResource."""
        name = _group_of_arn(caller, request.resourceArn)
        await self._service.tag(caller.account, name, add={}, remove=tuple(request.tagKeys))
        return {}

    async def tags(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListTagsForResource."""
        name = _group_of_arn(caller, request.resourceArn)
        return {"tags": (await self._service.group(caller.account, name)).tags}

    async def tag_group(self, caller: Caller, request: Any) -> dict[str, Any]:
        """TagLogGroup."""
        await self._service.tag(caller.account, request.logGroupName, add=dict(request.tags))
        return {}

    async def untag_group(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UntagLogGroup."""
        await self._service.tag(
            caller.account, request.logGroupName, add={}, remove=tuple(request.tags)
        )
        return {}

    async def group_tags(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListTagsLogGroup."""
        return {"tags": (await self._service.group(caller.account, request.logGroupName)).tags}


def _limit(request: Any) -> int:
    return MAX_EVENTS if request.limit is None else max(1, min(request.limit, MAX_EVENTS))


def _group_name(caller: Caller, request: Any) -> str:
    """The group, which clients give by name or by an identifier that may be an ARN."""
    name, identifier = request.logGroupName, request.logGroupIdentifier
    if bool(name) == bool(identifier):
        raise InvalidInput("Give either logGroupName or logGroupIdentifier.")
    if name:
        return str(name)
    return _group_of_arn(caller, identifier) if identifier.startswith("arn:") else str(identifier)


def _group_of_arn(caller: Caller, text: str) -> str:
    arn = Arn.parse(text)
    if (arn.service, arn.account) != ("logs", caller.account) or not arn.resource.startswith(
        "log-group:"
    ):
        raise InvalidInput(f"'{text}' is not the ARN of a log group of this account")
    return arn.resource.removeprefix("log-group:").removesuffix(":*")


def _arn(caller: Caller, group: str) -> str:
    return f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{group}"


def _printed_group(caller: Caller, group: LogGroup) -> dict[str, Any]:
    arn = _arn(caller, group.name)
    return {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "retentionInDays": group.retention_days or None,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "storedBytes": group.stored_bytes,
        "logGroupClass": "STANDARD",
    }


def _printed_stream(caller: Caller, group: str, stream: LogStream) -> dict[str, Any]:
    return {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "firstEventTimestamp": stream.first_ms,
        "lastEventTimestamp": stream.last_ms,
        "lastIngestionTime": stream.ingested_ms,
        "uploadSequenceToken": "0",
        "arn": f"{_arn(caller, group)}:log-stream:{stream.name}",
        "storedBytes": 0,
    }


def _printed_event(event: FoundEvent) -> dict[str, Any]:
    return {
        "logStreamName": event.stream,
        "timestamp": event.time_ms,
        "message": event.text,
        "ingestionTime": event.ingested_ms,
        "eventId": event.id,
    }
