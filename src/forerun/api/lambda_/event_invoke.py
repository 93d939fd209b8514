"""Event-invoke configurations: put, update, get, delete, list."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import function_of, listing, unqualified
from forerun.control.event_invoke import EventInvokeChange, EventInvokes
from forerun.model import EventInvokeConfig, function_arn


def routes(configs: EventInvokes) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Configs(configs)
    return {
        "PutFunctionEventInvokeConfig": resource.put,
        "UpdateFunctionEventInvokeConfig": resource.update,
        "GetFunctionEventInvokeConfig": resource.get,
        "DeleteFunctionEventInvokeConfig": resource.delete,
        "ListFunctionEventInvokeConfigs": resource.page,
    }


class _Configs:
    def __init__(self, configs: EventInvokes) -> None:
        self._configs = configs

    async def put(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        config = await self._configs.put(account, name, qualifier, _change(request))
        return _shown(caller, name, qualifier, config)

    async def update(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        config = await self._configs.update(account, name, qualifier, _change(request))
        return _shown(caller, name, qualifier, config)

    async def get(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        config = await self._configs.get(account, name, qualifier)
        return _shown(caller, name, qualifier, config)

    async def delete(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        await self._configs.delete(account, name, qualifier)
        return {}

    async def page(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        page = await self._configs.page(account, name, request.Marker, request.MaxItems)
        return listing("FunctionEventInvokeConfigs", page, lambda item: _shown(caller, name, *item))


def _change(request: Any) -> EventInvokeChange:
    destinations = request.DestinationConfig
    return EventInvokeChange(
        max_retries=request.MaximumRetryAttempts,
        max_age_s=request.MaximumEventAgeInSeconds,
        on_success=_destination(destinations.OnSuccess) if destinations else None,
        on_failure=_destination(destinations.OnFailure) if destinations else None,
    )


def _destination(given: Any) -> str | None:
    return None if given is None else given.Destination or ""


def _shown(caller: Caller, name: str, qualifier: str | None, config: EventInvokeConfig) -> Members:
    destinations = config.destinations
    return {
        "LastModified": config.last_modified,
        "FunctionArn": function_arn(caller.region, caller.account, name, qualifier or "$LATEST"),
        "MaximumRetryAttempts": config.max_retries,
        "MaximumEventAgeInSeconds": config.max_age_s,
        "DestinationConfig": {
            "OnSuccess": {"Destination": destinations.on_success}
            if destinations.on_success
            else {},
            "OnFailure": {"Destination": destinations.on_failure}
            if destinations.on_failure
            else {},
        },
    }
