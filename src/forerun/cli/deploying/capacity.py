"""Provisioned concurrency and what scales it, each brought to the wanted state and left alone where it is there already."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.failures import Failure

DIMENSION = "lambda:function:ProvisionedConcurrency"
_READY_WITHIN_S = 120.0
_POLL_S = 0.2
_CONFIGURATIONS = (
    "PredictiveScalingPolicyConfiguration",
    "StepScalingPolicyConfiguration",
    "TargetTrackingScalingPolicyConfiguration",
)


class CapacityWriter:
    """Brings capacity to the wanted state through botocore clients, which ``clients`` gives by service."""

    def __init__(
        self, clients: Callable[[str], Any], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clients = clients
        self._sleep = sleep

    def ensure_provisioned(
        self, name: str, qualifier: str, wanted: Mapping[str, Any] | None
    ) -> bool:
        """Provision as many as ``wanted`` says, none for ``None``; whether something was changed.

        What a scalable target has set is left alone. ``Failure`` with the server's reason when they do not get ready.
        """
        client = self._clients("lambda")
        at = {"FunctionName": name, "Qualifier": qualifier}
        try:
            current = client.get_provisioned_concurrency_config(**at)
            before = int(current["RequestedProvisionedConcurrentExecutions"])
        except client.exceptions.ProvisionedConcurrencyConfigNotFoundException:
            before = 0
        count = _whole(
            "ProvisionedConcurrentExecutions",
            (wanted or {}).get("ProvisionedConcurrentExecutions", 0),
        )
        if before == count or (before and self._is_scaled(name, qualifier)):
            return False
        if not count:
            client.delete_provisioned_concurrency_config(**at)
            return True
        client.put_provisioned_concurrency_config(**at, ProvisionedConcurrentExecutions=count)
        self._wait(client, at)
        return True

    def give_up_others(self, name: str, version: str) -> None:
        """Earlier versions of a function need no capacity of their own when another one has taken their place."""
        client = self._clients("lambda")
        found = client.list_provisioned_concurrency_configs(FunctionName=name)
        for config in found["ProvisionedConcurrencyConfigs"]:
            qualifier = config["FunctionArn"].rpartition(":")[2]
            if qualifier.isdigit() and qualifier != version:
                client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)

    def ensure_target(self, wanted: Mapping[str, Any]) -> Ensured:
        """``wanted``: the properties of ``AWS::ApplicationAutoScaling::ScalableTarget``; its Ref is ``answer["Ref"]``."""
        client = self._clients("application-autoscaling")
        where = {
            key: wanted.get(key) for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")
        }
        given: dict[str, Any] = {
            "MinCapacity": _whole("MinCapacity", wanted.get("MinCapacity")),
            "MaxCapacity": _whole("MaxCapacity", wanted.get("MaxCapacity")),
        }
        suspended = wanted.get("SuspendedState") or {}
        given["SuspendedState"] = {
            key: _true(suspended.get(key))
            for key in (
                "DynamicScalingInSuspended",
                "DynamicScalingOutSuspended",
                "ScheduledScalingSuspended",
            )
        }
        found = client.describe_scalable_targets(
            ServiceNamespace=where["ServiceNamespace"], ResourceIds=[where["ResourceId"]]
        )["ScalableTargets"]
        action = UPDATED if found else CREATED
        if found and all(found[0].get(key) == value for key, value in given.items()):
            action = UNCHANGED
        else:
            client.register_scalable_target(**where, **given)
        if self._ensure_actions(client, where, wanted.get("ScheduledActions") or []):
            action = UPDATED if action == UNCHANGED else action
        ref = "|".join(
            str(where[key]) for key in ("ResourceId", "ScalableDimension", "ServiceNamespace")
        )
        return Ensured(action, {"Ref": ref})

    def ensure_policy(self, label: str, wanted: Mapping[str, Any]) -> Ensured:
        """``wanted``: the properties of ``AWS::ApplicationAutoScaling::ScalingPolicy``."""
        client = self._clients("application-autoscaling")
        where = _where(label, wanted)
        name = str(wanted.get("PolicyName", label))
        given = {"PolicyType": wanted.get("PolicyType")} | {
            key: _numbers(wanted[key]) for key in _CONFIGURATIONS if key in wanted
        }
        found = client.describe_scaling_policies(
            ServiceNamespace=where["ServiceNamespace"],
            ResourceId=where["ResourceId"],
            PolicyNames=[name],
        )["ScalingPolicies"]
        if found and all(found[0].get(key) == value for key, value in given.items()):
            return Ensured(UNCHANGED, found[0])
        answer = client.put_scaling_policy(**where, PolicyName=name, **given)
        return Ensured(UPDATED if found else CREATED, answer)

    def _ensure_actions(
        self, client: Any, where: Mapping[str, Any], wanted: list[dict[str, Any]]
    ) -> bool:
        found = client.describe_scheduled_actions(
            ServiceNamespace=where["ServiceNamespace"], ResourceId=where["ResourceId"]
        )["ScheduledActions"]
        known = {each["ScheduledActionName"]: each for each in found}
        changed = False
        for action in _numbers(wanted):
            before = known.pop(action["ScheduledActionName"], {})
            if any(before.get(key) != value for key, value in action.items()):
                client.put_scheduled_action(**where, **action)
                changed = True
        for name in known:
            client.delete_scheduled_action(**where, ScheduledActionName=name)
            changed = True
        return changed

    def _is_scaled(self, name: str, qualifier: str) -> bool:
        client = self._clients("application-autoscaling")
        found = client.describe_scalable_targets(
            ServiceNamespace="lambda", ResourceIds=[f"function:{name}:{qualifier}"]
        )
        return bool(found["ScalableTargets"])

    def _wait(self, client: Any, at: Mapping[str, str]) -> None:
        whose = f"{at['FunctionName']}:{at['Qualifier']}"
        for _ in range(int(_READY_WITHIN_S / _POLL_S)):
            current = client.get_provisioned_concurrency_config(**at)
            if current["Status"] == "READY":
                return
            if current["Status"] == "FAILED":
                reason = current.get("StatusReason", "no reason was given")
                raise Failure(f"{whose} cannot be provisioned: {reason}")
            self._sleep(_POLL_S)
        raise Failure(f"{whose} is not provisioned after {_READY_WITHIN_S:.0f} s.")


def _where(label: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Which target a policy is for: named by its Ref, or by its three parts."""
    if "ScalingTargetId" in wanted:
        parts = str(wanted["ScalingTargetId"]).split("|")
        if len(parts) != 3:
            raise Failure(f"{label}.ScalingTargetId must be a Ref to a scalable target.")
        return dict(
            zip(("ResourceId", "ScalableDimension", "ServiceNamespace"), parts, strict=True)
        )
    return {key: wanted.get(key) for key in ("ResourceId", "ScalableDimension", "ServiceNamespace")}


def _whole(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Failure(f"{name} must be a whole number, not {value!r}.") from None


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


_MOMENTS = frozenset({"StartTime", "EndTime"})
_FLOATS = frozenset({"TargetValue"})
_WHOLE = frozenset(
    {
        "MaxCapacity",
        "MaxCapacityBuffer",
        "MinCapacity",
        "ScaleInCooldown",
        "ScaleOutCooldown",
        "SchedulingBufferTime",
    }
)


def _numbers(value: Any) -> Any:
    """Parameters are texts; the API wants numbers, times and truth values where it says so."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _typed(key, item) for key, item in value.items()}


def _typed(key: str, value: Any) -> Any:
    if key in _WHOLE:
        return _whole(key, value)
    if key in _FLOATS:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise Failure(f"{key} must be a number, not {value!r}.") from None
    if key in _MOMENTS:
        return _moment(key, value)
    return _true(value) if key == "DisableScaleIn" else _numbers(value)


def _moment(key: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise Failure(f"{key} must be a time as 2027-01-31T08:00:00Z, not {value!r}.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
