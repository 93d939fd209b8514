"""Reserved concurrency of functions. Provisioned concurrency is refused: nothing is provisioned yet."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.api.lambda_.shapes import Members, function_of, unqualified
from forerun.control.concurrency import Concurrency
from forerun.control.functions import Functions
from forerun.control.rules import ProvisionedConcurrencyMissing
from forerun.errors import Unsupported

Handler = Callable[[Caller, Any], Awaitable[Members]]


def routes(concurrency: Concurrency, functions: Functions) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Concurrency(concurrency, functions)
    return {
        "PutFunctionConcurrency": resource.put,
        "GetFunctionConcurrency": resource.get,
        "DeleteFunctionConcurrency": resource.delete,
        "PutProvisionedConcurrencyConfig": resource.put_provisioned,
        "GetProvisionedConcurrencyConfig": resource.get_provisioned,
        "DeleteProvisionedConcurrencyConfig": resource.delete_provisioned,
        "ListProvisionedConcurrencyConfigs": resource.list_provisioned,
    }


class _Concurrency:
    def __init__(self, concurrency: Concurrency, functions: Functions) -> None:
        self._concurrency = concurrency
        self._functions = functions

    async def put(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        amount = await self._concurrency.reserve(
            account, name, request.ReservedConcurrentExecutions
        )
        return {"ReservedConcurrentExecutions": amount}

    async def get(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        return {"ReservedConcurrentExecutions": await self._concurrency.reserved(account, name)}

    async def delete(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        await self._concurrency.unreserve(account, name)
        return {}

    async def put_provisioned(self, _caller: Caller, _request: Any) -> Members:
        raise Unsupported("Provisioned concurrency is not served yet")

    async def get_provisioned(self, caller: Caller, request: Any) -> Members:
        await self._require(caller, request)
        raise ProvisionedConcurrencyMissing

    async def delete_provisioned(self, caller: Caller, request: Any) -> Members:
        await self._require(caller, request)
        return {}

    async def list_provisioned(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        await self._functions.get(account, name)
        return {"ProvisionedConcurrencyConfigs": []}

    async def _require(self, caller: Caller, request: Any) -> None:
        account, name, qualifier = function_of(caller, request)
        await self._functions.get(account, name, qualifier)
