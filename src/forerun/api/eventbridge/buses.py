"""Event buses, who may put events onto them, and the events."""

from collections.abc import Callable
from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.eventbridge.reading import (
    begin_page,
    own_bus,
    place_of,
    printed_tags,
    tags_of,
    without_empty,
)
from forerun.api.handlers import Handler, Members
from forerun.control.authorization import Authorizer
from forerun.control.paging import to_page
from forerun.control.policies import PolicyKind, parse_policy
from forerun.errors import ForerunError, InvalidInput, Unsupported
from forerun.model import Origin
from forerun.patterns import parse_pattern
from forerun.sources.buses import (
    Answer,
    Buses,
    BusName,
    BusSink,
    BusWish,
    Entry,
    Rules,
    Sender,
)
from forerun.storage.buses import EventBus

TraceOf = Callable[[Caller, str], Origin]
_ENVELOPE = ("id", "account", "source", "time", "region", "resources", "detail-type")


class BusRoutes:
    """Answers the operations on buses, permissions, events and tags. ``trace_of`` reads a trace header."""

    def __init__(
        self,
        *,
        buses: Buses,
        rules: Rules,
        sender: Sender,
        sink: BusSink,
        authorizer: Authorizer,
        trace_of: TraceOf,
    ) -> None:
        self._buses = buses
        self._rules = rules
        self._sender = sender
        self._sink = sink
        self._authorizer = authorizer
        self._trace_of = trace_of

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "PutEvents": self.put_events,
            "TestEventPattern": self.try_pattern,
            "CreateEventBus": self.create,
            "UpdateEventBus": self.update,
            "DescribeEventBus": self.describe,
            "ListEventBuses": self.list,
            "DeleteEventBus": self.delete,
            "PutPermission": self.put_permission,
            "RemovePermission": self.remove_permission,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
        }

    # Events

    async def put_events(self, caller: Caller, request: Any) -> Members:
        """PutEvents: answered when every message that the events lead to is on disk."""
        if request.EndpointId:
            raise Unsupported("EndpointId is not served: there are no global endpoints here")
        place = place_of(caller)
        buses = [place.bus(entry.EventBusName) for entry in request.Entries]
        for bus in dict.fromkeys(buses[1:]):
            if bus != buses[0]:
                await self._require_put(caller, bus)
        entries = [
            self._entry(caller, bus, entry)
            for bus, entry in zip(buses, request.Entries, strict=True)
        ]
        answers = await self._sender.put(entries)
        return {
            "FailedEntryCount": sum(1 for answer in answers if answer.code),
            "Entries": [_printed_answer(answer) for answer in answers],
        }

    async def try_pattern(self, _caller: Caller, request: Any) -> Members:
        """TestEventPattern."""
        pattern = parse_pattern(request.EventPattern)
        try:
            event = msgspec.json.decode(request.Event, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise InvalidInput(
                "Parameter Event is not valid. Reason: it is not a JSON object."
            ) from None
        for name in _ENVELOPE:
            if name not in event:
                raise InvalidInput(f"Parameter Event is not valid. Reason: {name} is missing.")
        return {"Result": pattern.matches(event)}

    async def _require_put(self, caller: Caller, bus: BusName) -> None:
        """The first bus was asked about at the front door; this asks for the others."""
        arn = self._buses.arn(*bus)
        try:
            policy = await self._sink.policy(arn)
        except ForerunError:
            policy = None
        self._authorizer.require(caller, "events:PutEvents", arn, resource_policy=policy)

    def _entry(self, caller: Caller, bus: BusName, entry: Any) -> Entry:
        origin = caller.origin
        if entry.TraceHeader and not origin.trace_id:
            traced = self._trace_of(caller, entry.TraceHeader)
            origin = msgspec.structs.replace(traced, lineage=origin.lineage)
        return Entry(
            bus=bus,
            account=caller.account,
            source=entry.Source,
            detail_type=entry.DetailType,
            detail=entry.Detail,
            resources=entry.Resources or (),
            time=entry.Time,
            origin=origin,
        )

    # Buses

    async def create(self, caller: Caller, request: Any) -> Members:
        """CreateEventBus."""
        if request.EventSourceName:
            raise Unsupported("EventSourceName is not served: there are no partners' buses here")
        tags = tags_of(request.Tags)
        bus = await self._buses.create(caller.account, request.Name, _wish(request), tags)
        return without_empty({"EventBusArn": self._arn(bus), **_settings(bus)})

    async def update(self, caller: Caller, request: Any) -> Members:
        """UpdateEventBus: what is left out stays."""
        name = place_of(caller).own_bus(request.Name)
        bus = await self._buses.update(caller.account, name, _wish(request))
        return without_empty({"Arn": self._arn(bus), "Name": bus.name, **_settings(bus)})

    async def describe(self, caller: Caller, request: Any) -> Members:
        """DescribeEventBus."""
        bus = await self._buses.find(caller.account, place_of(caller).own_bus(request.Name))
        return without_empty({**self._printed(bus), **_settings(bus)})

    async def list(self, caller: Caller, request: Any) -> Members:
        """ListEventBuses."""
        after, size = begin_page(request)
        prefix = request.NamePrefix or ""
        found = await self._buses.page(caller.account, prefix, after, size + 1)
        page = to_page(found, [(bus.name,) for bus in found], size)
        return {
            "EventBuses": [without_empty(self._printed(bus)) for bus in page.items],
            "NextToken": page.marker,
        }

    async def delete(self, caller: Caller, request: Any) -> Members:
        """DeleteEventBus."""
        await self._buses.delete(caller.account, request.Name)
        return {}

    # Permissions

    async def put_permission(self, caller: Caller, request: Any) -> Members:
        """PutPermission: a statement, or the whole policy."""
        name = own_bus(caller, request)
        if request.Policy is not None:
            if request.StatementId or request.Principal or request.Action or request.Condition:
                raise InvalidInput("Give either Policy, or StatementId, Action and Principal.")
            parse_policy(request.Policy, PolicyKind.RESOURCE)
            await self._buses.set_policy(caller.account, name, request.Policy)
            return {}
        for member in ("StatementId", "Action", "Principal"):
            if not getattr(request, member):
                raise InvalidInput(f"Parameter {member} is required.")
        statement = self._statement(caller, name, request)
        parse_policy({"Version": "2012-10-17", "Statement": [statement]}, PolicyKind.RESOURCE)
        await self._buses.allow(caller.account, name, statement)
        return {}

    async def remove_permission(self, caller: Caller, request: Any) -> Members:
        """RemovePermission."""
        name = own_bus(caller, request)
        if request.RemoveAllPermissions:
            await self._buses.set_policy(caller.account, name, "")
        elif not request.StatementId:
            raise InvalidInput("Parameter StatementId is required.")
        else:
            await self._buses.disallow(caller.account, name, request.StatementId)
        return {}

    def _statement(self, caller: Caller, name: str, request: Any) -> Members:
        principal = request.Principal
        statement: Members = {
            "Sid": request.StatementId,
            "Effect": "Allow",
            "Principal": "*" if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"},
            "Action": request.Action,
            "Resource": self._buses.arn(caller.account, name),
        }
        if request.Condition is not None:
            condition = request.Condition
            statement["Condition"] = {condition.Type: {condition.Key: condition.Value}}
        return statement

    # Tags

    async def tag(self, caller: Caller, request: Any) -> Members:
        """TagResource."""
        await self._tag(caller, request.ResourceARN, tags_of(request.Tags), ())
        return {}

    async def untag(self, caller: Caller, request: Any) -> Members:
        """UntagResource."""
        await self._tag(caller, request.ResourceARN, {}, tuple(request.TagKeys))
        return {}

    async def tags(self, caller: Caller, request: Any) -> Members:
        """ListTagsForResource."""
        found = place_of(caller).tagged(request.ResourceARN)
        if isinstance(found, BusName):
            tags = (await self._buses.find(*found)).tags
        else:
            tags = (await self._rules.find(caller.account, found.bus, found.name)).config.tags
        return {"Tags": printed_tags(tags)}

    async def _tag(
        self, caller: Caller, arn: str, add: dict[str, str], remove: tuple[str, ...]
    ) -> None:
        found = place_of(caller).tagged(arn)
        if isinstance(found, BusName):
            await self._buses.tag(found.account, found.name, add, remove)
        else:
            await self._rules.tag(caller.account, found.bus, found.name, add, remove)

    def _arn(self, bus: EventBus) -> str:
        return self._buses.arn(bus.account, bus.name)

    def _printed(self, bus: EventBus) -> Members:
        return {
            "Name": bus.name,
            "Arn": self._arn(bus),
            "Description": bus.description,
            "Policy": bus.policy,
            "CreationTime": bus.created or None,
            "LastModifiedTime": bus.modified or None,
        }


def _wish(request: Any) -> BusWish:
    if request.LogConfig is not None and request.LogConfig.Level not in (None, "OFF"):
        raise Unsupported("LogConfig is not served: buses write no logs of their own")
    dead_letter = request.DeadLetterConfig
    return BusWish(
        description=request.Description,
        key=request.KmsKeyIdentifier,
        dead_letter=(dead_letter.Arn or "") if dead_letter is not None else None,
    )


def _settings(bus: EventBus) -> Members:
    return {
        "Description": bus.description,
        "KmsKeyIdentifier": bus.key,
        "DeadLetterConfig": {"Arn": bus.dead_letter} if bus.dead_letter else None,
    }


def _printed_answer(answer: Answer) -> Members:
    if answer.code:
        return {"ErrorCode": answer.code, "ErrorMessage": answer.message}
    return {"EventId": answer.event_id}
