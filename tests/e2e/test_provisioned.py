"""Provisioned concurrency with real sandboxes: there before the first call, kept whatever happens, scaled by use and by the clock."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.servers import FORERUN, Server, eventually, package, running

pytestmark = pytest.mark.slow

HANDLER = """
import os, time, uuid
me = uuid.uuid4().hex
def handler(event, context):
    time.sleep((event or {}).get("s", 0))
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], me]
"""
PROVISIONED = "provisioned-concurrency"
ON_DEMAND = "on-demand"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that measures use in seconds instead of minutes."""
    settings = {
        "FORERUN_SCALING_SAMPLE_S": "0.2",
        "FORERUN_SCALING_PERIOD_S": "1",
        "FORERUN_SCALING_OUT_PERIODS": "2",
        "FORERUN_SCALING_IN_PERIODS": "3",
        "FORERUN_HOST_MEMORY_MB": "8192",
    }
    with running(tmp_path_factory.mktemp("quick") / "data", settings=settings) as server:
        yield server


def provision(server: Server, name: str, count: int, qualifier: str = "1") -> None:
    server.lambda_.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def config(server: Server, name: str, qualifier: str = "1") -> dict[str, Any]:
    return dict(
        server.lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    )


def ready(server: Server, name: str, count: int, qualifier: str = "1") -> None:
    """Wait until so many are there."""

    def met() -> bool:
        try:
            found = config(server, name, qualifier)
        except server.lambda_.exceptions.ProvisionedConcurrencyConfigNotFoundException:
            return False
        return (found["Status"], found["AvailableProvisionedConcurrentExecutions"]) == (
            "READY",
            count,
        )

    eventually(met, within=20, what=f"{count} provisioned")


def held(server: Server, name: str) -> list[dict[str, Any]]:
    return [sandbox for sandbox in server.sandboxes() if sandbox["name"] == name]


def at_once(server: Server, name: str, count: int, seconds: float = 1.0) -> list[list[str]]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: server.call(name, {"s": seconds}), range(count)))


def test_sandboxes_are_there_before_any_call(quick: Server):
    name = quick.function(HANDLER, Publish=True, Timeout=10)
    provision(quick, name, 3)
    ready(quick, name, 3)
    assert [sandbox["calls"] for sandbox in held(quick, name)] == [0, 0, 0]
    found = at_once(quick, f"{name}:1", 4)
    assert sorted(kind for kind, _ in found) == [ON_DEMAND] + [PROVISIONED] * 3
    assert len({me for _, me in found}) == 4
    records = eventually(lambda: len(found := quick.invocations(name)) == 4 and found)
    starts = sorted((each["start_type"], each["foresight"]) for each in records)
    assert starts[:1] == [("pool", "miss")]
    assert starts[1:] == [("prewarmed", "hit")] * 3
    # They go on to serve, warm, and stay.
    assert quick.call(f"{name}:1")[0] in (PROVISIONED, ON_DEMAND)
    ready(quick, name, 3)


def test_what_was_not_used_goes_when_it_is_given_up(quick: Server):
    name = quick.function(HANDLER, Publish=True)
    provision(quick, name, 3)
    ready(quick, name, 3)
    provision(quick, name, 1)
    ready(quick, name, 1)
    eventually(lambda: len(held(quick, name)) == 1, what="two are given up")
    quick.lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    eventually(lambda: held(quick, name) == [], what="all are given up")
    assert quick.call(f"{name}:1")[0] == ON_DEMAND


@pytest.mark.root
def test_one_that_dies_is_replaced(quick: Server):
    name = quick.function(HANDLER, Publish=True)
    provision(quick, name, 2)
    ready(quick, name, 2)
    before = {sandbox["id"] for sandbox in held(quick, name)}
    killed = min(before)
    os.kill(pid_of(killed), signal.SIGKILL)

    def replaced() -> bool:
        now = {sandbox["id"] for sandbox in held(quick, name)}
        return len(now) == 2 and now & before == before - {killed}

    eventually(replaced, within=20, what=f"another in place of {killed}")
    ready(quick, name, 2)
    assert [kind for kind, _ in at_once(quick, f"{name}:1", 2)] == [PROVISIONED] * 2


def pid_of(sandbox: str) -> int:
    """The process in a sandbox's control group, which is named as the sandbox is."""
    [path, *_] = Path("/sys/fs/cgroup").rglob(f"{sandbox}/cgroup.procs")
    return int(path.read_text().split()[0])


def test_init_that_fails_is_the_reason(quick: Server):
    name = quick.function("import nowhere_to_be_found\n", Publish=True)
    provision(quick, name, 1)

    def failed() -> bool:
        return bool(config(quick, name)["Status"] == "FAILED")

    eventually(failed, within=20)
    assert "nowhere_to_be_found" in config(quick, name)["StatusReason"]


def test_memory_that_lacks_is_the_reason(quick: Server):
    name = quick.function(HANDLER, Publish=True, MemorySize=4096)
    provision(quick, name, 3)
    eventually(lambda: "are free" in config(quick, name).get("StatusReason", ""), within=20)
    found = config(quick, name)
    assert found["Status"] == "FAILED"
    assert found["AvailableProvisionedConcurrentExecutions"] < 3
    quick.lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")


def test_it_follows_its_alias(quick: Server):
    name = quick.function(HANDLER, Publish=True)
    quick.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(quick, name, 2, "live")
    ready(quick, name, 2, "live")
    quick.lambda_.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": HANDLER + "# 2\n"}), Publish=True
    )
    quick.lambda_.update_alias(FunctionName=name, Name="live", FunctionVersion="2")

    def moved() -> bool:
        return [sandbox["version"] for sandbox in held(quick, name)] == ["2", "2"]

    eventually(moved, within=20, what="version 2 in place of version 1")
    assert quick.call(f"{name}:live")[0] == PROVISIONED


def test_a_restart_provisions_again(tmp_path: Path):
    with running(tmp_path / "data") as server:
        name = server.function(HANDLER, Publish=True)
        provision(server, name, 2)
        ready(server, name, 2)
        scaling = server.client("application-autoscaling")
        register(scaling, f"function:{name}:1", 3, 5)
        ready(server, name, 3)
        server.stop(signal.SIGKILL)
    with running(tmp_path / "data") as server:
        ready(server, name, 3)
        assert [sandbox["calls"] for sandbox in held(server, name)] == [0, 0, 0]
        assert server.call(f"{name}:1")[0] == PROVISIONED


# Scaling

WHERE = {
    "ServiceNamespace": "lambda",
    "ScalableDimension": "lambda:function:ProvisionedConcurrency",
}


def register(scaling: Any, resource: str, low: int, high: int) -> None:
    scaling.register_scalable_target(
        **WHERE, ResourceId=resource, MinCapacity=low, MaxCapacity=high
    )


def causes(scaling: Any, resource: str) -> list[str]:
    found = scaling.describe_scaling_activities(ServiceNamespace="lambda", ResourceId=resource)
    return [each["Cause"] for each in found["ScalingActivities"]]


def test_use_is_followed_out_and_in(quick: Server):
    name = quick.function(HANDLER, Publish=True, Timeout=20)
    resource = f"function:{name}:1"
    scaling = quick.client("application-autoscaling")
    register(scaling, resource, 1, 4)
    scaling.put_scaling_policy(
        **WHERE,
        ResourceId=resource,
        PolicyName="half",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 0.5,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"
            },
        },
    )
    ready(quick, name, 1)
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            quick.call(f"{name}:1", {"s": 0.5})

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(load) for _ in range(2)]
        try:
            eventually(
                lambda: config(quick, name)["RequestedProvisionedConcurrentExecutions"] == 4,
                within=20,
                what="scaled out",
            )
            ready(quick, name, 4)
        finally:
            over.set()
        for call in calls:
            call.result()
    assert "above the target 0.5 of policy half" in causes(scaling, resource)[0]
    ready(quick, name, 1)
    assert "below the target 0.5 of policy half" in causes(scaling, resource)[0]

    def fulfilled() -> bool:
        found = scaling.describe_scaling_activities(ServiceNamespace="lambda", ResourceId=resource)
        return bool(found["ScalingActivities"][0]["StatusCode"] == "Successful")

    eventually(fulfilled)


def test_a_scheduled_action_fires(quick: Server):
    name = quick.function(HANDLER, Publish=True)
    resource = f"function:{name}:1"
    scaling = quick.client("application-autoscaling")
    register(scaling, resource, 0, 0)
    at = datetime.now(UTC) + timedelta(seconds=3)
    scaling.put_scheduled_action(
        **WHERE,
        ResourceId=resource,
        ScheduledActionName="soon",
        Schedule=f"at({at:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 3},
    )
    assert held(quick, name) == []
    eventually(lambda: causes(scaling, resource)[:1] == ["minimum capacity was set to 2"])
    ready(quick, name, 2)
    [target] = scaling.describe_scalable_targets(ServiceNamespace="lambda", ResourceIds=[resource])[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 3)
    assert "scheduled action name soon was triggered" in causes(scaling, resource)


def test_who_may_not_provision_may_not_scale(quick: Server):
    iam = quick.client("iam")
    iam.create_user(UserName="scaler")
    statement = {"Effect": "Allow", "Action": "application-autoscaling:*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName="scaler", PolicyName="scales", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="scaler")["AccessKey"]
    scaling = quick.client(
        "application-autoscaling",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    name = quick.function(HANDLER, Publish=True)
    assert (
        scaling.describe_scalable_targets(ServiceNamespace="lambda")["ScalableTargets"] is not None
    )
    with pytest.raises(scaling.exceptions.ClientError, match="PutProvisionedConcurrencyConfig"):
        register(scaling, f"function:{name}:1", 1, 2)
    statement["Action"] = ["application-autoscaling:*", "lambda:PutProvisionedConcurrencyConfig"]
    iam.put_user_policy(UserName="scaler", PolicyName="scales", PolicyDocument=json.dumps(document))
    register(scaling, f"function:{name}:1", 0, 2)


TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: templated
      Runtime: python3.11
      Handler: index.handler
      InlineCode: "def handler(event, context): return 1"
      AutoPublishAlias: live
      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 1}
  Bounds:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    DependsOn: HelloAliaslive
    Properties:
      ServiceNamespace: lambda
      ScalableDimension: lambda:function:ProvisionedConcurrency
      ResourceId: !Sub function:${Hello}:live
      MinCapacity: 2
      MaxCapacity: 3
      RoleARN: !Sub arn:aws:iam::${AWS::AccountId}:role/x
  Track:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      PolicyName: track
      PolicyType: TargetTrackingScaling
      ScalingTargetId: !Ref Bounds
      TargetTrackingScalingPolicyConfiguration:
        TargetValue: 0.7
        ScaleInCooldown: 600
        PredefinedMetricSpecification:
          PredefinedMetricType: LambdaProvisionedConcurrencyUtilization
"""


def test_a_template_provisions_and_scales(quick: Server, tmp_path: Path):
    (tmp_path / "template.yaml").write_text(TEMPLATE)

    def deploy() -> set[str]:
        done = subprocess.run(
            [FORERUN, "deploy", tmp_path / "template.yaml", "--json", "--data", quick.data],
            env=quick.environment(tmp_path),
            capture_output=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {each["action"] for each in json.loads(done.stdout)["resources"]}

    assert deploy() == {"created"}
    ready(quick, "templated", 2, "live")
    assert deploy() == {"unchanged"}
    assert quick.call("templated:live") == 1
