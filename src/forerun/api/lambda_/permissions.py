"""Resource policies of functions: add and remove permissions, show the policy."""

from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import function_of
from forerun.control.permissions import Permission, Permissions, document


def routes(permissions: Permissions) -> dict[str, Handler]:
    """Handlers by operation."""

    async def add(caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        permission = Permission(
            statement_id=request.StatementId,
            action=request.Action,
            principal=request.Principal,
            source_arn=request.SourceArn,
            source_account=request.SourceAccount,
            event_source_token=request.EventSourceToken,
            organization=request.PrincipalOrgID,
            url_auth_type=request.FunctionUrlAuthType,
            via_url=request.InvokedViaFunctionUrl,
        )
        statement = await permissions.add(
            account, name, qualifier, permission, revision=request.RevisionId
        )
        return {"Statement": msgspec.json.encode(statement).decode()}

    async def remove(caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        await permissions.remove(
            account, name, qualifier, request.StatementId, revision=request.RevisionId
        )
        return {}

    async def get(caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        policy = await permissions.get(account, name, qualifier)
        return {"Policy": document(policy), "RevisionId": policy.revision}

    return {"AddPermission": add, "RemovePermission": remove, "GetPolicy": get}
