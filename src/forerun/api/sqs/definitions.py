"""Queues: made, described, changed, listed, removed."""

from collections.abc import Sequence
from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.protocol import ApiError
from forerun.api.sqs.naming import queue_of, to_url
from forerun.control.paging import from_marker, to_marker
from forerun.control.policies import PolicyKind, parse_policy
from forerun.errors import AccessDenied, ForerunError, InvalidInput
from forerun.sources.queues import (
    OBSERVED,
    SETTABLE,
    BadAttributeName,
    BadAttributeValue,
    Queue,
    Queues,
    Traffic,
    shown,
)

PAGE = 1000
_KNOWN = frozenset({"All", *OBSERVED, *SETTABLE})
_COUNTED = frozenset(OBSERVED[:3])


class QueueRoutes:
    """Answers the operations of ``sqs`` that are about queues."""

    def __init__(self, queues: Queues, traffic: Traffic, base_url: str) -> None:
        self._queues = queues
        self._traffic = traffic
        self._base_url = base_url

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "CreateQueue": self.create,
            "DeleteQueue": self.delete,
            "GetQueueUrl": self.url,
            "ListQueues": self.list,
            "ListDeadLetterSourceQueues": self.list_sources,
            "GetQueueAttributes": self.attributes,
            "SetQueueAttributes": self.set_attributes,
            "PurgeQueue": self.purge,
            "TagQueue": self.tag,
            "UntagQueue": self.untag,
            "ListQueueTags": self.tags,
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "StartMessageMoveTask": self.refuse_moves,
            "CancelMessageMoveTask": self.refuse_moves,
            "ListMessageMoveTasks": self.refuse_moves,
        }

    async def create(self, caller: Caller, request: Any) -> Members:
        """CreateQueue; the queue that is there, when it has the same attributes."""
        attributes = dict(request.Attributes or {})
        _check_policy(attributes)
        queue = await self._queues.create(
            caller.account, request.QueueName, attributes, dict(request.tags or {})
        )
        return {"QueueUrl": to_url(self._base_url, queue)}

    async def delete(self, caller: Caller, request: Any) -> Members:
        """DeleteQueue."""
        await self._queues.delete(self._own(caller, request.QueueUrl))
        return {}

    async def url(self, caller: Caller, request: Any) -> Members:
        """GetQueueUrl, of another account too, whose queue allows it."""
        owner = request.QueueOwnerAWSAccountId or caller.account
        return {"QueueUrl": to_url(self._base_url, self._queues.find(owner, request.QueueName))}

    async def list(self, caller: Caller, request: Any) -> Members:
        """ListQueues: a thousand at most, and a token only for those who said how many they want."""
        size = _page_size(request.MaxResults)
        found = self._queues.page(
            caller.account,
            prefix=request.QueueNamePrefix or "",
            after=str(from_marker(request.NextToken, ("",))[0]),
            most=size + 1,
        )
        return self._page(found, size, asked=request.MaxResults is not None, member="QueueUrls")

    async def list_sources(self, _caller: Caller, request: Any) -> Members:
        """ListDeadLetterSourceQueues."""
        queue = queue_of(self._queues, request.QueueUrl)
        size = _page_size(request.MaxResults)
        after = str(from_marker(request.NextToken, ("",))[0])
        found = [each for each in self._queues.sources_of(queue) if each.record.name > after]
        asked = request.MaxResults is not None
        page = self._page(found[: size + 1], size, asked=asked, member="queueUrls")
        return {"queueUrls": [], **page}

    def _page(self, found: Sequence[Queue], size: int, *, asked: bool, member: str) -> Members:
        page: Members = {}
        if found:
            page[member] = [to_url(self._base_url, each) for each in found[:size]]
        if asked and len(found) > size:
            page["NextToken"] = to_marker((found[size - 1].record.name,))
        return page

    async def attributes(self, _caller: Caller, request: Any) -> Members:
        """GetQueueAttributes: those that were asked for."""
        queue = queue_of(self._queues, request.QueueUrl)
        names = set(request.AttributeNames or ())
        if unknown := sorted(names - _KNOWN):
            raise BadAttributeName(f"Unknown Attribute {unknown[0][:256]}.")
        if not names:
            return {}
        if "All" in names:
            names = set(_KNOWN)
        known = {
            **shown(queue.record.attributes),
            "QueueArn": queue.arn,
            "CreatedTimestamp": str(int(queue.record.created_at)),
            "LastModifiedTimestamp": str(int(queue.record.modified_at)),
        }
        if names & _COUNTED:
            backlog = await self._traffic.backlog(queue)
            counts = (backlog.visible, backlog.hidden, backlog.delayed)
            known |= dict(zip(OBSERVED, map(str, counts), strict=False))
        return {"Attributes": {name: value for name, value in known.items() if name in names}}

    async def set_attributes(self, caller: Caller, request: Any) -> Members:
        """SetQueueAttributes."""
        attributes = dict(request.Attributes)
        _check_policy(attributes)
        queue = self._own(caller, request.QueueUrl)
        await self._queues.set_attributes(queue, attributes)
        return {}

    async def purge(self, _caller: Caller, request: Any) -> Members:
        """PurgeQueue."""
        await self._queues.purge(queue_of(self._queues, request.QueueUrl))
        return {}

    async def tag(self, caller: Caller, request: Any) -> Members:
        """TagQueue."""
        await self._queues.tag(self._own(caller, request.QueueUrl), add=dict(request.Tags))
        return {}

    async def untag(self, caller: Caller, request: Any) -> Members:
        """UntagQueue."""
        queue = self._own(caller, request.QueueUrl)
        await self._queues.tag(queue, add={}, remove=tuple(request.TagKeys))
        return {}

    async def tags(self, caller: Caller, request: Any) -> Members:
        """ListQueueTags."""
        tags = self._own(caller, request.QueueUrl).record.tags
        return {"Tags": dict(tags)} if tags else {}

    async def add_permission(self, caller: Caller, request: Any) -> Members:
        """AddPermission: a statement in the queue's policy; for its owner only."""
        queue = self._own(caller, request.QueueUrl)
        await self._queues.add_permission(
            queue, request.Label, request.AWSAccountIds, request.Actions
        )
        return {}

    async def remove_permission(self, caller: Caller, request: Any) -> Members:
        """RemovePermission."""
        await self._queues.remove_permission(self._own(caller, request.QueueUrl), request.Label)
        return {}

    async def refuse_moves(self, _caller: Caller, _request: Any) -> Members:
        """What moves messages out of dead-letter queues on AWS."""
        raise ApiError(
            "UnsupportedOperation",
            "Message move tasks are not served here; redrive dead letters with forerun dead-letters redrive",
            400,
        )

    def _own(self, caller: Caller, url: str) -> Queue:
        """A queue of the caller's: what its policy gives to other accounts ends at what it is and who may use it."""
        queue = queue_of(self._queues, url)
        if queue.record.account != caller.account:
            raise AccessDenied(
                "Only the account that owns a queue may change, tag or delete it, whatever its policy says"
            )
        return queue


def _page_size(asked: int | None) -> int:
    if asked is None:
        return PAGE
    if not 1 <= asked <= PAGE:
        raise InvalidInput(
            f"Value {asked} for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and {PAGE}."
        )
    return asked


def _check_policy(attributes: dict[str, str]) -> None:
    if attributes.get("Policy", "").strip():
        try:
            parse_policy(attributes["Policy"], PolicyKind.RESOURCE)
        except ForerunError as error:
            raise BadAttributeValue(
                f"Invalid value for the parameter Policy. Reason: {error.message}"
            ) from None
