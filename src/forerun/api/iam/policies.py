"""Managed policies: AWS's, read-only, and the account's own, with one version each."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from forerun.api.caller import Caller
from forerun.api.iam.shapes import identity_of, page, printed_document, tags_of
from forerun.control.managed_policies import managed_arns, managed_document
from forerun.control.principals import Principals
from forerun.errors import InvalidInput, NotFound
from forerun.storage.identity import Entity

_VERSION = "v1"
_LONG_AGO = 1_423_000_000.0


class PolicyRoutes:
    """Answers the operations on managed policies."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def routes(self) -> dict[str, Callable[[Caller, Any], Awaitable[dict[str, Any]]]]:
        """Operation name to handler."""
        return {
            "CreatePolicy": self.create,
            "GetPolicy": self.get,
            "GetPolicyVersion": self.get_version,
            "ListPolicyVersions": self.list_versions,
            "ListPolicies": self.list,
            "DeletePolicy": self.delete,
            "ListEntitiesForPolicy": self.entities,
        }

    async def create(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreatePolicy."""
        policy = await self._principals.create(
            caller.account,
            "policy",
            request.PolicyName,
            path=request.Path,
            document=request.PolicyDocument,
            description=request.Description or "",
            tags=tags_of(request.Tags),
        )
        return {"Policy": self._own(policy)}

    async def get(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetPolicy."""
        if managed_document(request.PolicyArn) is not None:
            return {"Policy": _aws(request.PolicyArn)}
        return {"Policy": self._own(self._found(caller, request.PolicyArn))}

    async def get_version(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetPolicyVersion."""
        return {"PolicyVersion": self._version(caller, request.PolicyArn, request.VersionId)}

    async def list_versions(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListPolicyVersions: every policy has one."""
        version = self._version(caller, request.PolicyArn, _VERSION) | {"Document": None}
        return page("Versions", [version], [_VERSION], request)

    async def list(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListPolicies."""
        found: dict[str, dict[str, Any]] = {}
        if request.Scope in (None, "All", "AWS"):
            found |= {arn: _aws(arn) for arn in managed_arns()}
        if request.Scope in (None, "All", "Local"):
            found |= {
                each.arn: self._own(each)
                for each in self._principals.list(caller.account, "policy")
            }
        prefix = request.PathPrefix or "/"
        arns = sorted(
            arn
            for arn, policy in found.items()
            if policy["Path"].startswith(prefix)
            and (policy.get("AttachmentCount", 0) or not request.OnlyAttached)
        )
        return page("Policies", [found[arn] for arn in arns], arns, request)

    async def delete(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeletePolicy."""
        policy = self._found(caller, request.PolicyArn)
        await self._principals.delete(caller.account, "policy", policy.name)
        return {}

    async def entities(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListEntitiesForPolicy."""
        arn = request.PolicyArn
        if managed_document(arn) is None:
            self._found(caller, arn)
        return {
            "PolicyRoles": list(self._attached(caller, "role", arn)),
            "PolicyUsers": list(self._attached(caller, "user", arn)),
            "PolicyGroups": [],
            "IsTruncated": False,
        }

    def _attached(
        self, caller: Caller, kind: Literal["role", "user"], arn: str
    ) -> tuple[dict[str, str], ...]:
        title = kind.title()
        return tuple(
            {f"{title}Name": each.name, f"{title}Id": each.id}
            for each in self._principals.list(caller.account, kind)
            if arn in each.attached
        )

    def _found(self, caller: Caller, arn: str) -> Entity:
        parts = arn.split(":", 5)
        if len(parts) != 6 or not parts[5].startswith("policy/"):
            raise InvalidInput(f"ARN {arn} is not valid.")
        if parts[4] == caller.account:
            policy = self._principals.get(caller.account, "policy", parts[5].rpartition("/")[2])
            if policy.arn == arn:
                return policy
        raise NotFound(f"Policy {arn} was not found.")

    def _version(self, caller: Caller, arn: str, version: str) -> dict[str, Any]:
        document, created = managed_document(arn), _LONG_AGO
        if document is None:
            policy = self._found(caller, arn)
            document, created = policy.document, policy.created
        if version != _VERSION:
            raise NotFound(f"Policy {arn} version {version} does not exist or is not attachable.")
        return {
            "Document": printed_document(document),
            "VersionId": _VERSION,
            "IsDefaultVersion": True,
            "CreateDate": created,
        }

    def _own(self, policy: Entity) -> dict[str, Any]:
        return identity_of(policy, "Policy") | {
            "DefaultVersionId": _VERSION,
            "AttachmentCount": self._principals.attachments(policy.arn),
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": True,
            "Description": policy.description or None,
            "UpdateDate": policy.created,
        }


def _aws(arn: str) -> dict[str, Any]:
    resource = arn.split(":", 5)[5].removeprefix("policy")
    path, _, name = resource.rpartition("/")
    return {
        "PolicyName": name,
        "PolicyId": "ANPA" + hashlib.sha256(arn.encode()).hexdigest()[:16].upper(),
        "Arn": arn,
        "Path": path + "/",
        "DefaultVersionId": _VERSION,
        "IsAttachable": True,
        "CreateDate": _LONG_AGO,
        "UpdateDate": _LONG_AGO,
    }
