"""Provisioned concurrency: put, get, delete, list."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import function_of, moment, unqualified
from forerun.control.capacity.provisioned import Provisioned
from forerun.control.capacity.provisioning import Provisioning
from forerun.model import function_arn
from forerun.storage.provisioned import ProvisionedConfig


def routes(provisioned: Provisioned, provisioning: Provisioning) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Provisioned(provisioned, provisioning)
    return {
        "PutProvisionedConcurrencyConfig": resource.put,
        "GetProvisionedConcurrencyConfig": resource.get,
        "DeleteProvisionedConcurrencyConfig": resource.delete,
        "ListProvisionedConcurrencyConfigs": resource.page,
    }


class _Provisioned:
    def __init__(self, provisioned: Provisioned, provisioning: Provisioning) -> None:
        self._provisioned = provisioned
        self._provisioning = provisioning

    async def put(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        config = await self._provisioned.put(
            account, name, qualifier, request.ProvisionedConcurrentExecutions
        )
        # As on AWS the answer never says READY: what is held for it is told later.
        return {
            "RequestedProvisionedConcurrentExecutions": config.requested,
            "AvailableProvisionedConcurrentExecutions": 0,
            "AllocatedProvisionedConcurrentExecutions": 0,
            "Status": "IN_PROGRESS",
            "LastModified": moment(config.modified),
        }

    async def get(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        return await self._shown(await self._provisioned.get(account, name, qualifier))

    async def delete(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        await self._provisioned.delete(account, name, qualifier)
        return {}

    async def page(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        page = await self._provisioned.page(account, name, request.Marker, request.MaxItems)
        shown = [
            {
                "FunctionArn": function_arn(caller.region, account, name, config.qualifier),
                **await self._shown(config),
            }
            for config in page.items
        ]
        return {"ProvisionedConcurrencyConfigs": shown, "NextMarker": page.marker}

    async def _shown(self, config: ProvisionedConfig) -> Members:
        met = await self._provisioning.met(config)
        return {
            "RequestedProvisionedConcurrentExecutions": config.requested,
            "AvailableProvisionedConcurrentExecutions": met.available,
            "AllocatedProvisionedConcurrentExecutions": met.allocated,
            "Status": met.status.value,
            "StatusReason": met.reason or None,
            "LastModified": moment(config.modified),
        }
