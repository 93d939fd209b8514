"""Creating and updating functions and what hangs on one: versions, aliases, URLs, permissions, asynchronous settings.

Each ``ensure_...`` brings one thing to the wanted state and says what it did: created, updated or unchanged.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forerun.cli.deploying.bundling import Package
from forerun.cli.failures import Failure
from forerun.model import parse_function_ref

CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"
_ACTIVE_WITHIN_S = 120.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Ensured:
    """What was done, and the resource as the server describes it now."""

    action: str
    answer: Mapping[str, Any]


def target(reference: str, qualifier: str | None = None) -> dict[str, str]:
    """``FunctionName`` and ``Qualifier`` arguments for a name or an ARN with or without qualifier."""
    ref = parse_function_ref(reference)
    qualifier = qualifier or ref.qualifier
    return {"FunctionName": ref.name} | ({"Qualifier": qualifier} if qualifier else {})


class FunctionWriter:
    """Brings functions to the wanted state through a botocore ``lambda`` client."""

    def __init__(self, client: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep

    def ensure_function(
        self,
        name: str,
        package: Package,
        configuration: Mapping[str, Any],
        *,
        tags: Mapping[str, str],
    ) -> Ensured:
        """Create or update; returns when it can be called. ``configuration`` is as for ``CreateFunction``."""
        try:
            current = self._client.get_function(FunctionName=name)
        except self._client.exceptions.ResourceNotFoundException:
            return self._create(name, package, configuration, tags)
        self._check_kept(name, current["Configuration"], configuration)
        changed = False
        if current["Configuration"].get("CodeSha256") != package.sha256:
            arguments = {"FunctionName": name, "ZipFile": package.content}
            if "Architectures" in configuration:
                arguments["Architectures"] = configuration["Architectures"]
            self._client.update_function_code(**arguments)
            self._wait(name)
            changed = True
        if wanted := _differing(configuration, current["Configuration"]):
            self._client.update_function_configuration(FunctionName=name, **wanted)
            self._wait(name)
            changed = True
        known = current.get("Tags") or {}
        if any(known.get(key) != value for key, value in tags.items()):
            arn = current["Configuration"]["FunctionArn"]
            self._client.tag_resource(Resource=arn, Tags=dict(tags))
            changed = True
        return Ensured(UPDATED if changed else UNCHANGED, self._wait(name))

    def _create(
        self,
        name: str,
        package: Package,
        configuration: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> Ensured:
        arguments = {"FunctionName": name, "Code": {"ZipFile": package.content}, **configuration}
        if tags:
            arguments["Tags"] = dict(tags)
        self._client.create_function(**arguments)
        return Ensured(CREATED, self._wait(name))

    @staticmethod
    def _check_kept(name: str, current: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        if current.get("PackageType", "Zip") != wanted.get("PackageType", "Zip"):
            raise Failure(
                f"{name} cannot change its package type.", f"First: forerun delete {name}"
            )

    def _wait(self, name: str) -> Mapping[str, Any]:
        """Until the function is active and its last update done; ``Failure`` with the server's reason."""
        for _ in range(int(_ACTIVE_WITHIN_S / _POLL_S)):
            current: dict[str, Any] = self._client.get_function_configuration(FunctionName=name)
            state, update = current.get("State", "Active"), current.get("LastUpdateStatus")
            if state == "Failed" or update == "Failed":
                reason = current.get("StateReason") or current.get("LastUpdateStatusReason")
                raise Failure(f"{name} was not made ready: {reason or state}")
            if state in {"Active", "Inactive"} and update != "InProgress":
                return current
            self._sleep(_POLL_S)
        raise Failure(f"{name} is still {state} after {_ACTIVE_WITHIN_S:.0f} s.")

    def ensure_concurrency(self, name: str, reserved: int | None) -> None:
        """Reserve concurrency, or give the reservation back with ``None``."""
        current = self._client.get_function_concurrency(FunctionName=name)
        if current.get("ReservedConcurrentExecutions") == reserved:
            return
        if reserved is None:
            self._client.delete_function_concurrency(FunctionName=name)
        else:
            self._client.put_function_concurrency(
                FunctionName=name, ReservedConcurrentExecutions=reserved
            )

    def publish(self, name: str, description: str = "", sha256: str | None = None) -> Ensured:
        """The version of what is there now; the same one again when nothing changed."""
        arguments = {"FunctionName": name, "Description": description}
        if sha256:
            arguments["CodeSha256"] = sha256
        before = self._latest_version(name)
        answer = self._client.publish_version(**arguments)
        return Ensured(UNCHANGED if answer["Version"] == before else CREATED, answer)

    def _latest_version(self, name: str) -> str | None:
        pages = self._client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        numbers = [
            int(item["Version"])
            for page in pages
            for item in page["Versions"]
            if item["Version"] != "$LATEST"
        ]
        return str(max(numbers)) if numbers else None

    def ensure_alias(self, name: str, alias: str, wanted: Mapping[str, Any]) -> Ensured:
        """``wanted``: ``FunctionVersion``, ``Description``, ``RoutingConfig``."""
        try:
            current = self._client.get_alias(FunctionName=name, Name=alias)
        except self._client.exceptions.ResourceNotFoundException:
            return Ensured(
                CREATED, self._client.create_alias(FunctionName=name, Name=alias, **wanted)
            )
        if all((current.get(key) or None) == (value or None) for key, value in wanted.items()):
            return Ensured(UNCHANGED, current)
        return Ensured(UPDATED, self._client.update_alias(FunctionName=name, Name=alias, **wanted))

    def ensure_url(self, reference: str, wanted: Mapping[str, Any]) -> Ensured:
        """``reference``: function or alias. ``wanted``: ``AuthType``, ``Cors``, ``InvokeMode``."""
        at = target(reference, wanted.get("Qualifier"))
        wanted = {key: value for key, value in wanted.items() if key != "Qualifier"}
        try:
            current = self._client.get_function_url_config(**at)
        except self._client.exceptions.ResourceNotFoundException:
            return Ensured(CREATED, self._client.create_function_url_config(**at, **wanted))
        if all(current.get(key) == value for key, value in wanted.items()):
            return Ensured(UNCHANGED, current)
        return Ensured(UPDATED, self._client.update_function_url_config(**at, **wanted))

    def ensure_permission(self, reference: str, label: str, wanted: Mapping[str, Any]) -> Ensured:
        """A statement whose id ends in a digest of its content, so that a change adds before it removes."""
        at = target(reference)
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:10]
        statement = f"{label}-{digest}"
        present = self._statements(at)
        outdated = [s for s in present if s.rpartition("-")[0] == label and s != statement]
        if statement not in present:
            self._client.add_permission(**at, StatementId=statement, **wanted)
        for old in outdated:
            self._client.remove_permission(**at, StatementId=old)
        if statement in present and not outdated:
            return Ensured(UNCHANGED, {"Id": statement})
        return Ensured(UPDATED if outdated else CREATED, {"Id": statement})

    def _statements(self, at: Mapping[str, str]) -> list[str]:
        try:
            policy = json.loads(self._client.get_policy(**at)["Policy"])
        except self._client.exceptions.ResourceNotFoundException:
            return []
        return [str(statement.get("Sid")) for statement in policy.get("Statement", [])]

    def open_url(self, reference: str) -> None:
        """Let anybody call the URL of a function: the two statements that AWS asks for."""
        self.ensure_permission(
            reference,
            "PublicUrl",
            {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"},
        )
        self.ensure_permission(
            reference,
            "PublicUrlInvoke",
            {"Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": True},
        )

    def ensure_event_config(self, reference: str, wanted: Mapping[str, Any]) -> Ensured:
        """Retries, age and destinations of asynchronous invocations."""
        at = target(reference, wanted.get("Qualifier"))
        wanted = {key: value for key, value in wanted.items() if key != "Qualifier"}
        action = UPDATED
        try:
            current = self._client.get_function_event_invoke_config(**at)
            if all(_bare(current.get(key)) == _bare(value) for key, value in wanted.items()):
                return Ensured(UNCHANGED, current)
        except self._client.exceptions.ResourceNotFoundException:
            action = CREATED
        return Ensured(action, self._client.put_function_event_invoke_config(**at, **wanted))


def _differing(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """What ``UpdateFunctionConfiguration`` must be told."""
    fixed = {"Architectures", "PackageType", "Publish", "Code"}
    return {
        key: value
        for key, value in wanted.items()
        if key not in fixed and not _same(key, value, current.get(key))
    }


def _same(key: str, wanted: Any, current: Any) -> bool:
    if key == "Layers":
        return bool(wanted == [layer["Arn"] for layer in current or []])
    if key == "Environment":
        return bool(wanted.get("Variables", {}) == (current or {}).get("Variables", {}))
    if isinstance(wanted, dict):
        return all(_same("", value, (current or {}).get(name)) for name, value in wanted.items())
    return bool((wanted or None) == (current or None))


def _bare(value: Any) -> Any:
    """Without what is empty: the server leaves it out, templates need not."""
    if not isinstance(value, dict):
        return value
    inner = {key: _bare(item) for key, item in value.items()}
    return {key: item for key, item in inner.items() if item not in ({}, None)} or None
