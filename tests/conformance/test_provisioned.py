"""Provisioned concurrency and Application Auto Scaling as AWS's own clients ask for them."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.servers import ROLE, Server, eventually, package

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

CODE = "def handler(event, context):\n    return event\n"
DIMENSION = "lambda:function:ProvisionedConcurrency"
WHERE = {"ServiceNamespace": "lambda", "ScalableDimension": DIMENSION}
METRIC = "LambdaProvisionedConcurrencyUtilization"
TRACKING = {
    "TargetValue": 0.7,
    "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
    "ScaleInCooldown": 60,
}


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    name = server.function(CODE, Publish=True)
    yield name
    server.lambda_.delete_function(FunctionName=name)


@pytest.fixture
def scaling(server: Server) -> Any:
    return server.client("application-autoscaling")


@pytest.fixture
def resource(scaling: Any, name: str) -> Iterator[str]:
    """A registered resource."""
    resource = f"function:{name}:1"
    scaling.register_scalable_target(**WHERE, ResourceId=resource, MinCapacity=0, MaxCapacity=5)
    yield resource
    if scaling.describe_scalable_targets(ServiceNamespace="lambda", ResourceIds=[resource])[
        "ScalableTargets"
    ]:
        scaling.deregister_scalable_target(**WHERE, ResourceId=resource)


def test_provisioned_concurrency_by_the_aws_cli(server: Server, clients, tmp_path: Path):
    name = f"pc-{uuid.uuid4().hex[:8]}"
    (tmp_path / "code.zip").write_bytes(package({"lambda_function.py": CODE}))

    def aws(command: str, *more: str) -> Any:
        text = clients.run("aws", "lambda", command, "--function-name", name, *more)
        return json.loads(text) if text.strip() else None

    aws(
        "create-function", "--runtime", "python3.11", "--handler", "lambda_function.handler",
        "--role", ROLE.format(account=server.account),
        "--zip-file", f"fileb://{tmp_path}/code.zip", "--publish",
    )  # fmt: skip
    aws("create-alias", "--name", "live", "--function-version", "1")
    put = aws(
        "put-provisioned-concurrency-config", "--qualifier", "live",
        "--provisioned-concurrent-executions", "1",
    )  # fmt: skip
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 1)

    def ready() -> bool:
        found = aws("get-provisioned-concurrency-config", "--qualifier", "live")
        return found["Status"] == "READY" and found["AvailableProvisionedConcurrentExecutions"] == 1

    eventually(ready, within=20)
    [listed] = aws("list-provisioned-concurrency-configs")["ProvisionedConcurrencyConfigs"]
    assert listed["FunctionArn"].endswith(f":function:{name}:live")
    error = clients.run(
        "aws", "lambda", "put-provisioned-concurrency-config", "--function-name", name,
        "--qualifier", "$LATEST", "--provisioned-concurrent-executions", "1", fails=True,
    )  # fmt: skip
    assert "InvalidParameterValueException" in error
    aws("delete-provisioned-concurrency-config", "--qualifier", "live")
    error = clients.run(
        "aws", "lambda", "get-provisioned-concurrency-config", "--function-name", name,
        "--qualifier", "live", fails=True,
    )  # fmt: skip
    assert "ProvisionedConcurrencyConfigNotFoundException" in error
    aws("delete-function")


def test_auto_scaling_by_the_aws_cli(server: Server, clients, name: str):
    resource = f"function:{name}:1"
    whose = (
        "--service-namespace", "lambda", "--resource-id", resource,
        "--scalable-dimension", DIMENSION,
    )  # fmt: skip

    def aws(command: str, *more: str) -> Any:
        text = clients.run("aws", "application-autoscaling", command, *more)
        return json.loads(text) if text.strip() else None

    aws("register-scalable-target", *whose, "--min-capacity", "1", "--max-capacity", "4")
    policy = aws(
        "put-scaling-policy", *whose, "--policy-name", "track",
        "--policy-type", "TargetTrackingScaling",
        "--target-tracking-scaling-policy-configuration", json.dumps(TRACKING),
    )  # fmt: skip
    assert policy["PolicyARN"].endswith(f":resource/lambda/{resource}:policyName/track")
    aws(
        "put-scheduled-action", *whose, "--scheduled-action-name", "morning",
        "--schedule", "cron(0 8 ? * MON-FRI *)", "--timezone", "Europe/Berlin",
        "--scalable-target-action", "MinCapacity=2,MaxCapacity=6",
    )  # fmt: skip
    [target] = aws(
        "describe-scalable-targets", "--service-namespace", "lambda", "--resource-ids", resource
    )["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    [shown] = aws("describe-scaling-policies", *whose)["ScalingPolicies"]
    assert shown["TargetTrackingScalingPolicyConfiguration"] == TRACKING
    [action] = aws("describe-scheduled-actions", *whose)["ScheduledActions"]
    assert (action["Schedule"], action["Timezone"]) == ("cron(0 8 ? * MON-FRI *)", "Europe/Berlin")

    def scaled() -> bool:
        found = aws("describe-scaling-activities", *whose)["ScalingActivities"]
        return bool(found) and found[0]["StatusCode"] == "Successful"

    eventually(scaled, within=20)
    [activity] = aws("describe-scaling-activities", *whose)["ScalingActivities"]
    assert activity["Description"] == "Setting provisioned concurrency to 1."
    assert activity["Cause"] == "minimum capacity was set to 1"
    aws("delete-scheduled-action", *whose, "--scheduled-action-name", "morning")
    aws("delete-scaling-policy", *whose, "--policy-name", "track")
    aws("deregister-scalable-target", *whose)
    error = clients.run(
        "aws", "application-autoscaling", "deregister-scalable-target", *whose, fails=True
    )
    assert "ObjectNotFoundException" in error


def test_targets_and_their_tags(server: Server, scaling: Any, resource: str, refused):
    arn = scaling.register_scalable_target(
        **WHERE,
        ResourceId=resource,
        SuspendedState={"ScheduledScalingSuspended": True},
        Tags={"team": "blue"},
    )["ScalableTargetARN"]
    prefix = f"arn:aws:application-autoscaling:{server.region}:{server.account}:scalable-target/"
    assert arn.startswith(prefix)
    [target] = scaling.describe_scalable_targets(
        ServiceNamespace="lambda", ResourceIds=[resource], ScalableDimension=DIMENSION
    )["ScalableTargets"]
    assert target["ScalableTargetARN"] == arn
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 5)
    assert target["SuspendedState"] == {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": True,
    }
    assert "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency" in target["RoleARN"]
    assert abs((target["CreationTime"] - datetime.now(UTC)).total_seconds()) < 60
    scaling.tag_resource(ResourceARN=arn, Tags={"stage": "test"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"stage": "test"}
    with refused("ResourceNotFoundException", 400):
        scaling.list_tags_for_resource(ResourceARN=prefix + "none")
    with refused("TooManyTagsException", 400):
        scaling.tag_resource(ResourceARN=arn, Tags={str(n): "" for n in range(50)})


def test_policies(scaling: Any, resource: str, refused):
    def put(name: str, kind: str, **configuration: Any) -> Any:
        return scaling.put_scaling_policy(
            **WHERE, ResourceId=resource, PolicyName=name, PolicyType=kind, **configuration
        )

    made = put("track", "TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=TRACKING)
    assert made["Alarms"] == []
    forecast = {
        "MetricSpecifications": [
            {
                "TargetValue": 0.5,
                "PredefinedMetricPairSpecification": {"PredefinedMetricType": METRIC},
            }
        ],
        "Mode": "ForecastOnly",
        "SchedulingBufferTime": 60,
    }
    put("foresee", "PredictiveScaling", PredictiveScalingPolicyConfiguration=forecast)
    pages = scaling.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="lambda", ResourceId=resource, PaginationConfig={"PageSize": 1}
    )
    shown = {each["PolicyName"]: each for page in pages for each in page["ScalingPolicies"]}
    assert set(shown) == {"track", "foresee"}
    assert shown["track"]["PolicyARN"] == made["PolicyARN"]
    assert shown["track"]["TargetTrackingScalingPolicyConfiguration"] == TRACKING
    assert shown["foresee"]["PredictiveScalingPolicyConfiguration"] == forecast
    now = datetime.now(UTC)
    found = scaling.get_predictive_scaling_forecast(
        **WHERE,
        ResourceId=resource,
        PolicyName="foresee",
        StartTime=now,
        EndTime=now + timedelta(hours=1),
    )
    assert len(found["CapacityForecast"]["Values"]) == 12
    assert len(found["LoadForecast"][0]["Timestamps"]) == 12
    with refused("ValidationException", 400) as error:
        put(
            "step", "StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
            },
        )  # fmt: skip
    assert "StepScaling" in error.message
    with refused("ValidationException", 400):
        put("track", "PredictiveScaling", PredictiveScalingPolicyConfiguration=forecast)
    with refused("ValidationException", 400) as error:
        wrong = TRACKING | {"TargetValue": 70}
        put("x", "TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=wrong)
    assert "TargetValue" in error.message
    scaling.delete_scaling_policy(**WHERE, ResourceId=resource, PolicyName="foresee")
    with refused("ObjectNotFoundException", 400):
        scaling.delete_scaling_policy(**WHERE, ResourceId=resource, PolicyName="foresee")
    with refused("ObjectNotFoundException", 400):
        scaling.get_predictive_scaling_forecast(
            **WHERE, ResourceId=resource, PolicyName="foresee",
            StartTime=now, EndTime=now + timedelta(hours=1),
        )  # fmt: skip


def test_scheduled_actions(scaling: Any, resource: str, refused):
    def put(name: str, **more: Any) -> None:
        scaling.put_scheduled_action(**WHERE, ResourceId=resource, ScheduledActionName=name, **more)

    begin = datetime(2030, 1, 1, tzinfo=UTC)
    put(
        "a", Schedule="rate(1 day)", StartTime=begin, EndTime=begin + timedelta(days=9),
        ScalableTargetAction={"MinCapacity": 1},
    )  # fmt: skip
    put("a", ScalableTargetAction={"MaxCapacity": 3})
    [shown] = scaling.describe_scheduled_actions(
        ServiceNamespace="lambda", ResourceId=resource, ScheduledActionNames=["a"]
    )["ScheduledActions"]
    assert shown["Schedule"] == "rate(1 day)"
    assert (shown["StartTime"], shown["EndTime"]) == (begin, begin + timedelta(days=9))
    assert shown["ScalableTargetAction"] == {"MinCapacity": 1, "MaxCapacity": 3}
    assert f"resource/lambda/{resource}:scheduledActionName/a" in shown["ScheduledActionARN"]
    for wrong in (
        {"Schedule": "rate(1 fortnight)", "ScalableTargetAction": {"MinCapacity": 1}},
        {"Schedule": "cron(0 8 * * * *)", "ScalableTargetAction": {"MinCapacity": 1}},
        {"Schedule": "at(tomorrow)", "ScalableTargetAction": {"MinCapacity": 1}},
        {"Schedule": "rate(1 day)"},
        {"ScalableTargetAction": {"MinCapacity": 1}},
    ):
        with refused("ValidationException", 400):
            put("b", **wrong)
    scaling.delete_scheduled_action(**WHERE, ResourceId=resource, ScheduledActionName="a")
    with refused("ObjectNotFoundException", 400):
        scaling.delete_scheduled_action(**WHERE, ResourceId=resource, ScheduledActionName="a")


def test_what_is_not_lambdas_is_refused(scaling: Any, name: str, refused):
    with refused("ValidationException", 400) as error:
        scaling.register_scalable_target(
            ServiceNamespace="ecs", ScalableDimension="ecs:service:DesiredCount",
            ResourceId="service/a/b", MinCapacity=1, MaxCapacity=2,
        )  # fmt: skip
    assert "Unsupported service namespace" in error.message
    with refused("ValidationException", 400):
        scaling.describe_scalable_targets(ServiceNamespace="dynamodb")
    for resource in (f"function:{name}", f"function:{name}:$LATEST", f"function:{name}:none"):
        with refused("ValidationException", 400):
            scaling.register_scalable_target(
                **WHERE, ResourceId=resource, MinCapacity=1, MaxCapacity=2
            )
    with refused("InvalidNextTokenException", 400):
        scaling.describe_scalable_targets(ServiceNamespace="lambda", NextToken="nonsense")
    with refused("ObjectNotFoundException", 400):
        scaling.put_scaling_policy(
            **WHERE, ResourceId=f"function:{name}:1", PolicyName="p",
            PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=TRACKING,
        )  # fmt: skip
