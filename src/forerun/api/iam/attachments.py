"""Inline and attached policies: the same operations for roles and for users."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from forerun.api.caller import Caller
from forerun.api.iam.shapes import page, printed_document
from forerun.control.principals import Principals

Kind = Literal["role", "user"]


def attachment_routes(
    principals: Principals, kind: Kind
) -> dict[str, Callable[[Caller, Any], Awaitable[dict[str, Any]]]]:
    """``PutRolePolicy`` ... ``ListAttachedRolePolicies``, or the same for users."""
    routes = AttachmentRoutes(principals, kind)
    title = kind.title()
    return {
        f"Put{title}Policy": routes.put,
        f"Get{title}Policy": routes.get,
        f"List{title}Policies": routes.list,
        f"Delete{title}Policy": routes.delete,
        f"Attach{title}Policy": routes.attach,
        f"Detach{title}Policy": routes.detach,
        f"ListAttached{title}Policies": routes.list_attached,
    }


class AttachmentRoutes:
    """Answers the operations on policies of one kind of principal."""

    def __init__(self, principals: Principals, kind: Kind) -> None:
        self._principals = principals
        self._kind: Kind = kind
        self._member = f"{kind.title()}Name"

    def _name(self, request: Any) -> str:
        return str(getattr(request, self._member))

    async def put(self, caller: Caller, request: Any) -> dict[str, Any]:
        """PutRolePolicy, PutUserPolicy."""
        await self._principals.put_inline(
            caller.account,
            self._kind,
            self._name(request),
            request.PolicyName,
            request.PolicyDocument,
        )
        return {}

    async def get(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetRolePolicy, GetUserPolicy."""
        name = self._name(request)
        document = self._principals.inline(caller.account, self._kind, name, request.PolicyName)
        return {
            self._member: name,
            "PolicyName": request.PolicyName,
            "PolicyDocument": printed_document(document),
        }

    async def list(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListRolePolicies, ListUserPolicies."""
        entity = self._principals.get(caller.account, self._kind, self._name(request))
        names = sorted(entity.inline)
        return page("PolicyNames", names, names, request)

    async def delete(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteRolePolicy, DeleteUserPolicy."""
        await self._principals.delete_inline(
            caller.account, self._kind, self._name(request), request.PolicyName
        )
        return {}

    async def attach(self, caller: Caller, request: Any) -> dict[str, Any]:
        """AttachRolePolicy, AttachUserPolicy."""
        await self._principals.attach(
            caller.account, self._kind, self._name(request), request.PolicyArn
        )
        return {}

    async def detach(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DetachRolePolicy, DetachUserPolicy."""
        await self._principals.detach(
            caller.account, self._kind, self._name(request), request.PolicyArn
        )
        return {}

    async def list_attached(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListAttachedRolePolicies, ListAttachedUserPolicies."""
        entity = self._principals.get(caller.account, self._kind, self._name(request))
        arns = sorted(entity.attached)
        printed = [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in arns]
        return page("AttachedPolicies", printed, arns, request)
