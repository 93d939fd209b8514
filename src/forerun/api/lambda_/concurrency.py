"""Reserved concurrency of functions."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import unqualified
from forerun.control.concurrency import Concurrency


def routes(concurrency: Concurrency) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Concurrency(concurrency)
    return {
        "PutFunctionConcurrency": resource.put,
        "GetFunctionConcurrency": resource.get,
        "DeleteFunctionConcurrency": resource.delete,
    }


class _Concurrency:
    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency

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
