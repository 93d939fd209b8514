"""Application Auto Scaling, for the provisioned concurrency of functions: targets, policies, schedules, activities."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members, plain
from forerun.control.authorization import Authorizer
from forerun.control.capacity.autoscaling import Autoscaling
from forerun.control.capacity.scalable_targets import TargetChange
from forerun.control.capacity.scaling import (
    DIMENSION,
    NAMESPACE,
    parse_resource,
    require_lambda,
)
from forerun.control.capacity.scaling_policies import PREDICTIVE, TRACKING
from forerun.control.capacity.scheduled_actions import ActionChange
from forerun.errors import InvalidInput
from forerun.model import function_arn
from forerun.storage.autoscaling import (
    ScalableTarget,
    ScalingActivity,
    ScalingPolicy,
    ScheduledAction,
)

_MEMBERS = {
    TRACKING: "TargetTrackingScalingPolicyConfiguration",
    PREDICTIVE: "PredictiveScalingPolicyConfiguration",
    "StepScaling": "StepScalingPolicyConfiguration",
}
_WHERE: Members = {"ServiceNamespace": NAMESPACE, "ScalableDimension": DIMENSION}
DAY_S = 86_400
MOST_DAYS = 30


class AutoscalingRoutes:
    """Answers the operations of ``application-autoscaling``.

    Who sets what scales a function must be allowed to provision it, too.
    """

    def __init__(self, service: Autoscaling, authorizer: Authorizer) -> None:
        self._service = service
        self._authorizer = authorizer

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "RegisterScalableTarget": self.register,
            "DescribeScalableTargets": self.targets,
            "DeregisterScalableTarget": self.deregister,
            "PutScalingPolicy": self.put_policy,
            "DescribeScalingPolicies": self.policies,
            "DeleteScalingPolicy": self.delete_policy,
            "PutScheduledAction": self.put_action,
            "DescribeScheduledActions": self.actions,
            "DeleteScheduledAction": self.delete_action,
            "DescribeScalingActivities": self.activities,
            "GetPredictiveScalingForecast": self.forecast,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
        }

    async def register(self, caller: Caller, request: Any) -> Members:
        """RegisterScalableTarget."""
        resource = self._resource(caller, request)
        suspended = request.SuspendedState
        change = TargetChange(
            low=request.MinCapacity,
            high=request.MaxCapacity,
            out_suspended=suspended.DynamicScalingOutSuspended if suspended else None,
            in_suspended=suspended.DynamicScalingInSuspended if suspended else None,
            schedule_suspended=suspended.ScheduledScalingSuspended if suspended else None,
        )
        target = await self._service.targets.register(
            caller.account, resource, change, dict(request.Tags or {})
        )
        return {"ScalableTargetARN": _target_arn(caller, target)}

    async def targets(self, caller: Caller, request: Any) -> Members:
        """DescribeScalableTargets."""
        require_lambda(request.ServiceNamespace, request.ScalableDimension, optional=True)
        page = await self._service.targets.page(
            caller.account, request.NextToken, request.MaxResults, request.ResourceIds
        )
        shown = [_shown_target(caller, target) for target in page.items]
        return {"ScalableTargets": shown, "NextToken": page.marker}

    async def deregister(self, caller: Caller, request: Any) -> Members:
        """DeregisterScalableTarget."""
        resource = self._resource(caller, request)
        await self._service.targets.deregister(caller.account, resource)
        return {}

    async def put_policy(self, caller: Caller, request: Any) -> Members:
        """PutScalingPolicy. It makes no CloudWatch alarms: there is no CloudWatch."""
        resource = self._resource(caller, request)
        given = {kind: plain(getattr(request, member)) for kind, member in _MEMBERS.items()}
        policy = await self._service.policies.put(
            caller.account, resource, request.PolicyName, request.PolicyType, given
        )
        return {"PolicyARN": _policy_arn(caller, policy), "Alarms": []}

    async def policies(self, caller: Caller, request: Any) -> Members:
        """DescribeScalingPolicies."""
        require_lambda(request.ServiceNamespace, request.ScalableDimension, optional=True)
        page = await self._service.policies.page(
            caller.account,
            request.NextToken,
            request.MaxResults,
            resource=request.ResourceId,
            names=request.PolicyNames,
        )
        shown = [_shown_policy(caller, policy) for policy in page.items]
        return {"ScalingPolicies": shown, "NextToken": page.marker}

    async def delete_policy(self, caller: Caller, request: Any) -> Members:
        """DeleteScalingPolicy."""
        resource = self._resource(caller, request)
        await self._service.policies.delete(caller.account, resource, request.PolicyName)
        return {}

    async def put_action(self, caller: Caller, request: Any) -> Members:
        """PutScheduledAction."""
        resource = self._resource(caller, request)
        bounds = request.ScalableTargetAction
        change = ActionChange(
            schedule=request.Schedule,
            zone=request.Timezone,
            since=request.StartTime,
            until=request.EndTime,
            low=bounds.MinCapacity if bounds else None,
            high=bounds.MaxCapacity if bounds else None,
        )
        await self._service.actions.put(
            caller.account, resource, request.ScheduledActionName, change
        )
        return {}

    async def actions(self, caller: Caller, request: Any) -> Members:
        """DescribeScheduledActions."""
        require_lambda(request.ServiceNamespace, request.ScalableDimension, optional=True)
        page = await self._service.actions.page(
            caller.account,
            request.NextToken,
            request.MaxResults,
            resource=request.ResourceId,
            names=request.ScheduledActionNames,
        )
        shown = [_shown_action(caller, action) for action in page.items]
        return {"ScheduledActions": shown, "NextToken": page.marker}

    async def delete_action(self, caller: Caller, request: Any) -> Members:
        """DeleteScheduledAction."""
        resource = self._resource(caller, request)
        await self._service.actions.delete(caller.account, resource, request.ScheduledActionName)
        return {}

    async def activities(self, caller: Caller, request: Any) -> Members:
        """DescribeScalingActivities."""
        require_lambda(request.ServiceNamespace, request.ScalableDimension, optional=True)
        page = await self._service.activities(
            caller.account,
            request.NextToken,
            request.MaxResults,
            resource=request.ResourceId,
            not_scaled=bool(request.IncludeNotScaledActivities),
        )
        return {
            "ScalingActivities": [_shown_activity(each) for each in page.items],
            "NextToken": page.marker,
        }

    async def forecast(self, caller: Caller, request: Any) -> Members:
        """GetPredictiveScalingForecast: every five minutes of up to a day, every hour of a longer time."""
        resource = self._resource(caller, request)
        since, until = request.StartTime, request.EndTime
        if not 0 <= since < until <= since + MOST_DAYS * DAY_S:
            raise InvalidInput(f"EndTime must be later than StartTime, at most {MOST_DAYS} days")
        target = await self._service.targets.find(caller.account, resource)
        policy = await self._service.policies.find(caller.account, resource, request.PolicyName)
        if policy.kind != PREDICTIVE:
            raise InvalidInput(f"The policy {policy.policy} is none of type {PREDICTIVE}")
        step_s = 300 if until - since <= DAY_S else 3600
        moments = [float(at) for at in range(int(since), int(until), step_s)]
        found = self._service.scaler.forecast(target, policy, moments, step_s)
        return {
            "LoadForecast": [
                {
                    "Timestamps": moments,
                    "Values": [float(count) for count, _ in found],
                    "MetricSpecification": specification,
                }
                for specification in _specifications(policy)
            ],
            "CapacityForecast": {
                "Timestamps": moments,
                "Values": [float(capacity) for _, capacity in found],
            },
            "UpdateTime": self._service.now(),
        }

    async def tag(self, caller: Caller, request: Any) -> Members:
        """TagResource."""
        await self._service.targets.tag(caller.account, request.ResourceARN, dict(request.Tags))
        return {}

    async def untag(self, caller: Caller, request: Any) -> Members:
        """UntagResource."""
        await self._service.targets.untag(caller.account, request.ResourceARN, request.TagKeys)
        return {}

    async def tags(self, caller: Caller, request: Any) -> Members:
        """ListTagsForResource."""
        target = await self._service.targets.tagged(caller.account, request.ResourceARN)
        return {"Tags": target.tags}

    def _resource(self, caller: Caller, request: Any) -> str:
        """The resource that a request is about, as one that the caller may provision."""
        require_lambda(request.ServiceNamespace, request.ScalableDimension)
        name, qualifier = parse_resource(request.ResourceId)
        arn = function_arn(caller.region, caller.account, name, qualifier)
        self._authorizer.require(caller, "lambda:PutProvisionedConcurrencyConfig", arn)
        return str(request.ResourceId)


def _specifications(policy: ScalingPolicy) -> list[object]:
    found = policy.configuration.get("MetricSpecifications")
    return found if isinstance(found, list) else []


def _target_arn(caller: Caller, target: ScalableTarget) -> str:
    return f"arn:aws:application-autoscaling:{caller.region}:{target.account}:scalable-target/{target.id}"


def _policy_arn(caller: Caller, policy: ScalingPolicy) -> str:
    return (
        f"arn:aws:autoscaling:{caller.region}:{policy.account}:scalingPolicy:{policy.id}:"
        f"resource/{NAMESPACE}/{policy.resource}:policyName/{policy.policy}"
    )


def _action_arn(caller: Caller, action: ScheduledAction) -> str:
    return (
        f"arn:aws:autoscaling:{caller.region}:{action.account}:scheduledAction:{action.id}:"
        f"resource/{NAMESPACE}/{action.resource}:scheduledActionName/{action.action}"
    )


def _shown_target(caller: Caller, target: ScalableTarget) -> Members:
    role = (
        f"arn:aws:iam::{target.account}:role/aws-service-role/lambda.application-autoscaling.amazonaws.com/"
        "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency"
    )
    return {
        **_WHERE,
        "ResourceId": target.resource,
        "MinCapacity": target.low,
        "MaxCapacity": target.high,
        "RoleARN": role,
        "CreationTime": target.created,
        "SuspendedState": {
            "DynamicScalingInSuspended": target.in_suspended,
            "DynamicScalingOutSuspended": target.out_suspended,
            "ScheduledScalingSuspended": target.schedule_suspended,
        },
        "ScalableTargetARN": _target_arn(caller, target),
    }


def _shown_policy(caller: Caller, policy: ScalingPolicy) -> Members:
    return {
        **_WHERE,
        "PolicyARN": _policy_arn(caller, policy),
        "PolicyName": policy.policy,
        "ResourceId": policy.resource,
        "PolicyType": policy.kind,
        _MEMBERS[policy.kind]: policy.configuration,
        "Alarms": [],
        "CreationTime": policy.created,
    }


def _shown_action(caller: Caller, action: ScheduledAction) -> Members:
    return {
        **_WHERE,
        "ScheduledActionName": action.action,
        "ScheduledActionARN": _action_arn(caller, action),
        "Schedule": action.schedule,
        "Timezone": action.zone,
        "ResourceId": action.resource,
        "StartTime": action.since,
        "EndTime": action.until,
        "ScalableTargetAction": {"MinCapacity": action.low, "MaxCapacity": action.high},
        "CreationTime": action.created,
    }


def _shown_activity(activity: ScalingActivity) -> Members:
    reasons = None
    if activity.obstacle:
        reason: Members = {"Code": activity.obstacle, "CurrentCapacity": activity.capacity}
        at_most = activity.obstacle == "AlreadyAtMaxCapacity"
        reason["MaxCapacity" if at_most else "MinCapacity"] = (
            activity.high if at_most else activity.low
        )
        reasons = [reason]
    return {
        **_WHERE,
        "ActivityId": activity.id,
        "ResourceId": activity.resource,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": activity.begun,
        "EndTime": activity.ended,
        "StatusCode": activity.status,
        "StatusMessage": activity.message or None,
        "NotScaledReasons": reasons,
    }
