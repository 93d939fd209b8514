"""Event source mappings: create, get, update, delete, list."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members, plain
from forerun.api.lambda_.shapes import function_of, listing
from forerun.control.mappings import MappingChange, Mappings, Shown, Target
from forerun.model import function_arn

_CONFIG = (
    "BatchSize",
    "FilterCriteria",
    "KMSKeyArn",
    "MetricsConfig",
    "LoggingConfig",
    "ScalingConfig",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "StartingPosition",
    "StartingPositionTimestamp",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "SelfManagedEventSource",
    "FunctionResponseTypes",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "ProvisionedPollerConfig",
)


def routes(mappings: Mappings) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Mappings(mappings)
    return {
        "CreateEventSourceMapping": resource.create,
        "GetEventSourceMapping": resource.get,
        "UpdateEventSourceMapping": resource.update,
        "DeleteEventSourceMapping": resource.delete,
        "ListEventSourceMappings": resource.page,
    }


class _Mappings:
    def __init__(self, mappings: Mappings) -> None:
        self._mappings = mappings

    async def create(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        mapping = await self._mappings.create(
            account,
            Target(name, qualifier),
            request.EventSourceArn,
            _change(request),
            request.Tags,
        )
        return _shown(caller, self._mappings.shown(mapping, "Creating"))

    async def get(self, caller: Caller, request: Any) -> Members:
        return _shown(caller, await self._mappings.show(caller.account, request.UUID))

    async def update(self, caller: Caller, request: Any) -> Members:
        target = None
        if request.FunctionName:
            _, name, qualifier = function_of(caller, request)
            target = Target(name, qualifier)
        mapping = await self._mappings.update(
            caller.account, request.UUID, target, _change(request)
        )
        return _shown(caller, self._mappings.shown(mapping, "Updating"))

    async def delete(self, caller: Caller, request: Any) -> Members:
        mapping = await self._mappings.delete(caller.account, request.UUID)
        return _shown(caller, self._mappings.shown(mapping, "Deleting"))

    async def page(self, caller: Caller, request: Any) -> Members:
        name = function_of(caller, request).name if request.FunctionName else None
        page = await self._mappings.page(
            caller.account,
            request.Marker,
            request.MaxItems,
            name=name,
            source=request.EventSourceArn,
        )
        return listing(
            "EventSourceMappings",
            page,
            lambda mapping: _shown(caller, self._mappings.shown(mapping)),
        )


def _change(request: Any) -> MappingChange:
    given = {member: plain(getattr(request, member, None)) for member in _CONFIG}
    return MappingChange(
        enabled=request.Enabled,
        config={member: value for member, value in given.items() if value is not None},
    )


def _shown(caller: Caller, shown: Shown) -> Members:
    mapping = shown.mapping
    arn = function_arn(caller.region, mapping.account, mapping.name, mapping.qualifier or None)
    return mapping.config | {
        "UUID": mapping.id,
        "EventSourceArn": mapping.source or None,
        "FunctionArn": arn,
        "LastModified": mapping.last_modified,
        "LastProcessingResult": shown.result,
        "State": shown.state,
        "StateTransitionReason": mapping.reason,
        "EventSourceMappingArn": f"arn:aws:lambda:{caller.region}:{mapping.account}:event-source-mapping:{mapping.id}",
    }
