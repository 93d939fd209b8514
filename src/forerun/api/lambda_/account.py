"""Account settings, and the stored behaviour of functions that has no resource of its own."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import function_of, unqualified
from forerun.control.concurrency import Behaviour, Concurrency
from forerun.control.functions import Functions
from forerun.model import function_arn
from forerun.settings import LimitSettings
from forerun.storage.functions import RuntimePolicy


def routes(
    concurrency: Concurrency, behaviour: Behaviour, functions: Functions, limits: LimitSettings
) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Account(concurrency, behaviour, functions, limits)
    return {
        "GetAccountSettings": resource.settings,
        "GetFunctionRecursionConfig": resource.recursion,
        "PutFunctionRecursionConfig": resource.set_recursion,
        "GetRuntimeManagementConfig": resource.runtime,
        "PutRuntimeManagementConfig": resource.set_runtime,
        "GetFunctionCodeSigningConfig": resource.code_signing,
    }


class _Account:
    def __init__(
        self,
        concurrency: Concurrency,
        behaviour: Behaviour,
        functions: Functions,
        limits: LimitSettings,
    ) -> None:
        self._concurrency = concurrency
        self._behaviour = behaviour
        self._functions = functions
        self._limits = limits

    async def settings(self, caller: Caller, _request: Any) -> Members:
        account = await self._concurrency.account(caller.account)
        return {
            "AccountLimit": {
                "TotalCodeSize": self._limits.code_storage_bytes,
                "CodeSizeUnzipped": self._limits.code_unzipped_bytes,
                "CodeSizeZipped": self._limits.code_zipped_bytes,
                "ConcurrentExecutions": account.concurrency,
                "UnreservedConcurrentExecutions": account.unreserved,
            },
            "AccountUsage": {
                "TotalCodeSize": account.usage.code_bytes,
                "FunctionCount": account.usage.functions,
            },
        }

    async def recursion(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        return {"RecursiveLoop": await self._behaviour.recursion(account, name)}

    async def set_recursion(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        recursion = await self._behaviour.set_recursion(account, name, request.RecursiveLoop)
        return {"RecursiveLoop": recursion}

    async def runtime(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        policy, version = await self._behaviour.runtime_policy(account, name, qualifier)
        return _runtime(caller, name, version, policy)

    async def set_runtime(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        policy = RuntimePolicy(
            update_on=request.UpdateRuntimeOn, runtime_arn=request.RuntimeVersionArn
        )
        version = await self._behaviour.set_runtime_policy(account, name, qualifier, policy)
        return _runtime(caller, name, version, policy)

    async def code_signing(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        await self._functions.get(account, name)
        return {"CodeSigningConfigArn": "", "FunctionName": name}


def _runtime(caller: Caller, name: str, version: str, policy: RuntimePolicy) -> Members:
    return {
        "UpdateRuntimeOn": policy.update_on,
        "FunctionArn": function_arn(caller.region, caller.account, name, version),
        "RuntimeVersionArn": policy.runtime_arn,
    }
