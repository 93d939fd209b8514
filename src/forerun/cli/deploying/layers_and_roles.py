"""Layers and execution roles, each brought to the wanted state and left alone where it is there already."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from forerun.cli.deploying.bundling import Package
from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured


def ensure_layer(client: Any, name: str, package: Package, wanted: Mapping[str, Any]) -> Ensured:
    """Publish a layer version, unless the newest one has the same content and runtimes."""
    newest = client.list_layer_versions(LayerName=name, MaxItems=1).get("LayerVersions", [])
    if newest:
        answer = client.get_layer_version(LayerName=name, VersionNumber=newest[0]["Version"])
        same = all((answer.get(key) or None) == (value or None) for key, value in wanted.items())
        if same and answer["Content"].get("CodeSha256") == package.sha256:
            return Ensured(UNCHANGED, answer)
    answer = client.publish_layer_version(
        LayerName=name, Content={"ZipFile": package.content}, **wanted
    )
    return Ensured(CREATED, answer)


class RoleWriter:
    """Brings roles to the wanted state through a botocore ``iam`` client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def ensure_role(self, name: str, wanted: Mapping[str, Any]) -> Ensured:
        """``wanted``: the properties of ``AWS::IAM::Role``."""
        trust = wanted["AssumeRolePolicyDocument"]
        action = UNCHANGED
        try:
            role = self._client.get_role(RoleName=name)["Role"]
            if _document(role.get("AssumeRolePolicyDocument")) != trust:
                self._client.update_assume_role_policy(
                    RoleName=name, PolicyDocument=json.dumps(trust)
                )
                action = UPDATED
        except self._client.exceptions.NoSuchEntityException:
            given = {
                key: wanted[key]
                for key in ("Description", "MaxSessionDuration", "Path", "Tags")
                if wanted.get(key)
            }
            role = self._client.create_role(
                RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), **given
            )["Role"]
            action = CREATED
        inline = {item["PolicyName"]: item["PolicyDocument"] for item in wanted.get("Policies", [])}
        changes = self._inline(name, inline) + self._attached(
            name, wanted.get("ManagedPolicyArns", [])
        )
        return Ensured(UPDATED if changes and action == UNCHANGED else action, role)

    def _inline(self, role: str, wanted: Mapping[str, Any]) -> int:
        changes = 0
        present = self._client.list_role_policies(RoleName=role).get("PolicyNames", [])
        for name, document in wanted.items():
            if name in present:
                answer = self._client.get_role_policy(RoleName=role, PolicyName=name)
                if _document(answer["PolicyDocument"]) == document:
                    continue
            self._client.put_role_policy(
                RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document)
            )
            changes += 1
        for name in set(present) - set(wanted):
            self._client.delete_role_policy(RoleName=role, PolicyName=name)
            changes += 1
        return changes

    def _attached(self, role: str, wanted: list[str]) -> int:
        answer = self._client.list_attached_role_policies(RoleName=role)
        present = {item["PolicyArn"] for item in answer.get("AttachedPolicies", [])}
        for arn in sorted(set(wanted) - present):
            self._client.attach_role_policy(RoleName=role, PolicyArn=arn)
        for arn in sorted(present - set(wanted)):
            self._client.detach_role_policy(RoleName=role, PolicyArn=arn)
        return len(present ^ set(wanted))


def _document(document: Any) -> Any:
    """A policy as botocore gives it: decoded, or URL-encoded JSON."""
    return json.loads(unquote(document)) if isinstance(document, str) else document
