"""Scaling policies: target tracking, and as an extension of AWS's for Lambda, scaling by forecast."""

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.control.capacity.scaling import (
    MOST,
    NAMESPACE,
    POLICIES,
    LimitReached,
    Touched,
    Wanted,
    missing,
    no_target,
    page_of_named,
    parse_resource,
)
from forerun.control.paging import Page
from forerun.errors import InvalidInput
from forerun.scheduling import Target
from forerun.storage.autoscaling import AutoscalingStore, ScalingPolicy

TRACKING = "TargetTrackingScaling"
PREDICTIVE = "PredictiveScaling"
METRIC = "LambdaProvisionedConcurrencyUtilization"
_CLOUDWATCH = {"MetricName": "ProvisionedConcurrencyUtilization", "Namespace": "AWS/Lambda"}
_STATISTICS = ("Average", "Maximum")
BUFFER_MOST_S = 3600


class Predictive(msgspec.Struct, frozen=True, kw_only=True):
    """Capacity from what is expected: ``share`` of it is to be in use, ``ahead_s`` seconds early.

    ``acts`` is false when it only forecasts. With ``raises`` the target's maximum gives way to a forecast, and is
    ``buffer`` (a share of it) above that.
    """

    share: float
    acts: bool = False
    ahead_s: float = 0.0
    raises: bool = False
    buffer: float = 0.0


class ScalingPolicies:
    """Puts, lists and deletes; ``touched`` hears of every change."""

    def __init__(self, *, store: AutoscalingStore, clock: Clock, touched: Touched) -> None:
        self._store = store
        self._clock = clock
        self._touched = touched

    async def put(
        self,
        account: str,
        resource: str,
        name: str,
        kind: str | None,
        configurations: Mapping[str, dict[str, Any] | None],
    ) -> ScalingPolicy:
        """Set a policy; ``configurations`` by PolicyType, as AWS's members have them.

        Raises ``InvalidInput`` naming the member, ``NotFound`` when the resource is not registered, ``LimitReached``.
        """
        parse_resource(resource)
        if await self._store.target(account, resource) is None:
            raise no_target(resource)
        known = {each.policy: each for each in await self._store.policies_of(account, resource)}
        old = known.get(name)
        kind = kind or (old.kind if old else "StepScaling")
        if old is not None and old.kind != kind:
            raise InvalidInput(f"The policy type of the existing policy {name} is {old.kind}")
        configuration = configurations.get(kind)
        if kind == TRACKING:
            tracking_of(configuration or {})
        elif kind == PREDICTIVE:
            predictive_of(configuration or {})
        else:
            raise InvalidInput(
                f"{kind} policies are not supported for service namespace {NAMESPACE}; PolicyType must be {TRACKING} "
                f"or {PREDICTIVE}"
            )
        if old is None and len(known) >= POLICIES:
            raise LimitReached(f"A scalable target has at most {POLICIES} scaling policies")
        policy = ScalingPolicy(
            account=account,
            resource=resource,
            policy=name,
            id=old.id if old else str(uuid.uuid4()),
            kind=kind,
            configuration=configuration or {},
            created=old.created if old else self._clock.now(),
        )
        await self._store.put_policy(policy)
        self._touched(account, resource)
        return policy

    async def find(self, account: str, resource: str, name: str) -> ScalingPolicy:
        """A policy by its name."""
        for policy in await self._store.policies_of(account, resource):
            if policy.policy == name:
                return policy
        raise missing("scaling policy", name, resource)

    async def page(
        self,
        account: str,
        token: str | None,
        limit: int | None,
        *,
        resource: str | None = None,
        names: Sequence[str] | None = None,
    ) -> Page[ScalingPolicy]:
        """Policies by resource and name."""
        return await page_of_named(
            Wanted(account, token, limit, resource, names),
            member="policyNames",
            every=self._store.policies,
            of=self._store.policies_of,
            key=lambda each: (each.resource, each.policy),
        )

    async def delete(self, account: str, resource: str, name: str) -> None:
        """Delete a policy; the capacity stays as it is."""
        if not await self._store.remove_policy(account, resource, name):
            raise missing("scaling policy", name, resource)
        self._touched(account, resource)


def tracking_of(configuration: Mapping[str, Any]) -> Target:
    """A target-tracking configuration, from AWS's members. Raises ``InvalidInput`` naming the one that is wrong."""
    predefined = configuration.get("PredefinedMetricSpecification")
    custom = configuration.get("CustomizedMetricSpecification")
    if (predefined is None) == (custom is None):
        raise InvalidInput(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be given"
        )
    if predefined is not None:
        _require_metric(predefined)
    return Target(
        share=_share(configuration.get("TargetValue")),
        out_cooldown_s=_seconds("ScaleOutCooldown", configuration.get("ScaleOutCooldown")),
        in_cooldown_s=_seconds("ScaleInCooldown", configuration.get("ScaleInCooldown")),
        no_scale_in=bool(configuration.get("DisableScaleIn")),
        by_peak=custom is not None and _statistic(custom) == "Maximum",
    )


def predictive_of(configuration: Mapping[str, Any]) -> Predictive:
    """A predictive configuration, from AWS's members. Raises ``InvalidInput`` naming the one that is wrong."""
    specifications = configuration.get("MetricSpecifications") or []
    if len(specifications) != 1:
        raise InvalidInput("MetricSpecifications must have one member")
    [specification] = specifications
    pair = specification.get("PredefinedMetricPairSpecification")
    if pair is None or set(specification) != {"TargetValue", "PredefinedMetricPairSpecification"}:
        raise InvalidInput(
            "MetricSpecifications must give a TargetValue and a PredefinedMetricPairSpecification; other metrics "
            f"are not served for {NAMESPACE}"
        )
    _require_metric(pair)
    behavior = configuration.get("MaxCapacityBreachBehavior")
    buffer = configuration.get("MaxCapacityBuffer")
    raises = behavior == "IncreaseMaxCapacity"
    if buffer is not None and not raises:
        raise InvalidInput("MaxCapacityBuffer needs MaxCapacityBreachBehavior IncreaseMaxCapacity")
    ahead_s = _seconds("SchedulingBufferTime", configuration.get("SchedulingBufferTime"))
    if ahead_s > BUFFER_MOST_S:
        raise InvalidInput(
            f"SchedulingBufferTime must be from 0 to {BUFFER_MOST_S}, not {ahead_s:g}"
        )
    return Predictive(
        share=_share(specification.get("TargetValue")),
        acts=configuration.get("Mode") == "ForecastAndScale",
        ahead_s=ahead_s,
        raises=raises,
        buffer=(buffer or 0) / 100.0,
    )


def _require_metric(specification: Mapping[str, Any]) -> None:
    kind = specification.get("PredefinedMetricType")
    if kind != METRIC:
        raise InvalidInput(f"PredefinedMetricType must be {METRIC} for {NAMESPACE}, not {kind}")
    if specification.get("ResourceLabel"):
        raise InvalidInput(f"ResourceLabel is not supported for {METRIC}")


def _statistic(custom: Mapping[str, Any]) -> str:
    statistic = custom.get("Statistic")
    named = {key: custom.get(key) for key in _CLOUDWATCH}
    if named != _CLOUDWATCH or statistic not in _STATISTICS or custom.get("Metrics"):
        raise InvalidInput(
            "CustomizedMetricSpecification must be the Average or Maximum of ProvisionedConcurrencyUtilization in "
            "AWS/Lambda: other metrics are not served"
        )
    return str(statistic)


def _share(value: object) -> float:
    share = value if isinstance(value, int | float) else math.nan
    if not 0 < share <= 1:
        raise InvalidInput(f"TargetValue must be above 0 and at most 1, not {value}")
    return float(share)


def _seconds(name: str, value: object) -> float:
    seconds = value or 0
    if not isinstance(seconds, int) or not 0 <= seconds <= MOST:
        raise InvalidInput(f"{name} must be 0 or more seconds, not {value}")
    return float(seconds)
