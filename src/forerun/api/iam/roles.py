"""Roles: their trust policy, description, longest session and tags."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.api.iam.shapes import identity_of, page, printed_document, printed_tags, tags_of
from forerun.control.principals import Principals
from forerun.storage.identity import Entity


class RoleRoutes:
    """Answers the operations on roles."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def routes(self) -> dict[str, Callable[[Caller, Any], Awaitable[dict[str, Any]]]]:
        """Operation name to handler."""
        return {
            "CreateRole": self.create,
            "GetRole": self.get,
            "ListRoles": self.list,
            "UpdateRole": self.update,
            "UpdateRoleDescription": self.update_description,
            "UpdateAssumeRolePolicy": self.update_trust,
            "DeleteRole": self.delete,
            "TagRole": self.tag,
            "UntagRole": self.untag,
            "ListRoleTags": self.tags,
        }

    async def create(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreateRole."""
        role = await self._principals.create(
            caller.account,
            "role",
            request.RoleName,
            path=request.Path,
            document=request.AssumeRolePolicyDocument,
            description=request.Description or "",
            max_session_s=request.MaxSessionDuration,
            tags=tags_of(request.Tags),
        )
        return {"Role": printed_role(role)}

    async def get(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetRole."""
        role = self._principals.get(caller.account, "role", request.RoleName)
        return {"Role": printed_role(role) | {"RoleLastUsed": {}}}

    async def list(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListRoles."""
        roles = self._principals.list(caller.account, "role", prefix=request.PathPrefix or "/")
        printed = [printed_role(role) | {"Tags": None} for role in roles]
        return page("Roles", printed, [role.name for role in roles], request)

    async def update(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UpdateRole."""
        await self._principals.update(
            caller.account,
            "role",
            request.RoleName,
            description=request.Description,
            max_session_s=request.MaxSessionDuration,
        )
        return {}

    async def update_description(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UpdateRoleDescription."""
        await self._principals.update(
            caller.account, "role", request.RoleName, description=request.Description
        )
        return await self.get(caller, request)

    async def update_trust(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UpdateAssumeRolePolicy."""
        await self._principals.update(
            caller.account, "role", request.RoleName, document=request.PolicyDocument
        )
        return {}

    async def delete(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteRole."""
        await self._principals.delete(caller.account, "role", request.RoleName)
        return {}

    async def tag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """TagRole."""
        await self._principals.tag(
            caller.account, "role", request.RoleName, add=tags_of(request.Tags)
        )
        return {}

    async def untag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UntagRole."""
        await self._principals.tag(
            caller.account, "role", request.RoleName, remove=tuple(request.TagKeys)
        )
        return {}

    async def tags(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListRoleTags."""
        role = self._principals.get(caller.account, "role", request.RoleName)
        return page("Tags", printed_tags(role.tags) or [], sorted(role.tags), request)


def printed_role(role: Entity) -> dict[str, Any]:
    """A role as AWS prints it."""
    return identity_of(role, "Role") | {
        "AssumeRolePolicyDocument": printed_document(role.document),
        "Description": role.description or None,
        "MaxSessionDuration": role.max_session_s,
    }
