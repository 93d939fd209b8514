"""Users and their access keys, and what the console of an account asks first."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.api.iam.shapes import identity_of, page, printed_tags, tags_of
from forerun.control.identity import Identities
from forerun.control.principals import Principals
from forerun.errors import InvalidInput
from forerun.storage.identity import AccessKey


class UserRoutes:
    """Answers the operations on users and keys. Without a user name, they mean the caller."""

    def __init__(self, identities: Identities, principals: Principals) -> None:
        self._identities = identities
        self._principals = principals

    def routes(self) -> dict[str, Callable[[Caller, Any], Awaitable[dict[str, Any]]]]:
        """Operation name to handler."""
        return {
            "CreateUser": self.create,
            "GetUser": self.get,
            "ListUsers": self.list,
            "DeleteUser": self.delete,
            "TagUser": self.tag,
            "UntagUser": self.untag,
            "ListUserTags": self.tags,
            "CreateAccessKey": self.create_key,
            "ListAccessKeys": self.list_keys,
            "UpdateAccessKey": self.update_key,
            "DeleteAccessKey": self.delete_key,
            "ListAccountAliases": self.aliases,
            "GetAccountSummary": self.summary,
        }

    async def create(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreateUser."""
        user = await self._principals.create(
            caller.account, "user", request.UserName, path=request.Path, tags=tags_of(request.Tags)
        )
        return {"User": identity_of(user, "User")}

    async def get(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetUser."""
        name = request.UserName or _own_name(caller)
        if name:
            user = self._principals.get(caller.account, "user", name)
            return {"User": identity_of(user, "User")}
        created = next(
            account.created
            for account in self._identities.accounts()
            if account.id == caller.account
        )
        root = {"Path": "/", "UserName": "root", "UserId": caller.account}
        arn = f"arn:aws:iam::{caller.account}:root"
        return {"User": {**root, "Arn": arn, "CreateDate": created}}

    async def list(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListUsers."""
        users = self._principals.list(caller.account, "user", prefix=request.PathPrefix or "/")
        printed = [identity_of(user, "User") | {"Tags": None} for user in users]
        return page("Users", printed, [user.name for user in users], request)

    async def delete(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteUser."""
        await self._principals.delete(caller.account, "user", request.UserName)
        return {}

    async def tag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """TagUser."""
        await self._principals.tag(
            caller.account, "user", request.UserName, add=tags_of(request.Tags)
        )
        return {}

    async def untag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UntagUser."""
        await self._principals.tag(
            caller.account, "user", request.UserName, remove=tuple(request.TagKeys)
        )
        return {}

    async def tags(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListUserTags."""
        user = self._principals.get(caller.account, "user", request.UserName)
        return page("Tags", printed_tags(user.tags) or [], sorted(user.tags), request)

    async def create_key(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreateAccessKey: the only time the secret is shown."""
        user = request.UserName or _own_name(caller)
        key = await self._identities.create_key(caller.account, user)
        return {"AccessKey": _printed_key(key) | {"SecretAccessKey": key.secret}}

    async def list_keys(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListAccessKeys."""
        user = request.UserName or _own_name(caller)
        keys = sorted(self._identities.keys(caller.account, user), key=lambda key: key.id)
        printed = [_printed_key(key) for key in keys]
        return page("AccessKeyMetadata", printed, [key.id for key in keys], request)

    async def update_key(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UpdateAccessKey."""
        if request.Status not in ("Active", "Inactive"):
            raise InvalidInput(f"Status must be Active or Inactive, not {request.Status}")
        await self._identities.activate_key(
            caller.account,
            request.AccessKeyId,
            active=request.Status == "Active",
            user=request.UserName or _own_name(caller),
        )
        return {}

    async def delete_key(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteAccessKey."""
        await self._identities.delete_key(
            caller.account, request.AccessKeyId, user=request.UserName or _own_name(caller)
        )
        return {}

    async def aliases(self, _caller: Caller, _request: Any) -> dict[str, Any]:
        """ListAccountAliases: accounts have none here."""
        return {"AccountAliases": [], "IsTruncated": False}

    async def summary(self, caller: Caller, _request: Any) -> dict[str, Any]:
        """GetAccountSummary."""
        listed = self._principals.list
        return {
            "SummaryMap": {
                "Users": len(listed(caller.account, "user")),
                "Roles": len(listed(caller.account, "role")),
                "Policies": len(listed(caller.account, "policy")),
                "UsersQuota": 5000,
                "RolesQuota": 1000,
                "PoliciesQuota": 1500,
                "AccessKeysPerUserQuota": 2,
            }
        }


def _own_name(caller: Caller) -> str:
    """The calling user's name; empty for the root. A role's session has none: ``InvalidInput``."""
    resource = caller.principal_arn.split(":", 5)[5]
    if resource == "root":
        return ""
    kind, _, rest = resource.partition("/")
    if kind != "user":
        raise InvalidInput("Must specify userName when calling with non-User credentials")
    return rest.rpartition("/")[2]


def _printed_key(key: AccessKey) -> dict[str, Any]:
    return {
        "UserName": key.user or "root",
        "AccessKeyId": key.id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": key.created,
    }
