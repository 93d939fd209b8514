"""Templates that ask for provisioned concurrency, and say what scales it."""

import json

import pytest
from tests.unit.cli.test_deploy import write

from forerun.cli import connection

SAM = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Count: {Type: Number, Default: 2}}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.11
      Handler: index.handler
      InlineCode: "def handler(e, c): return 1"
      FunctionName: hello
      AutoPublishAlias: live
      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: !Ref Count}
"""
SCALED = """
Parameters: {Most: {Type: Number, Default: 9}}
Resources:
  Hello:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: hello
      Runtime: python3.11
      Handler: index.handler
      Role: arn:aws:iam::123456789012:role/r
      Code: {ZipFile: "def handler(e, c): return 1"}
  One:
    Type: AWS::Lambda::Version
    Properties:
      FunctionName: !Ref Hello
  Live:
    Type: AWS::Lambda::Alias
    Properties:
      Name: live
      FunctionName: !Ref Hello
      FunctionVersion: !GetAtt One.Version
      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 2}
  Bounds:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    DependsOn: Live
    Properties:
      ServiceNamespace: lambda
      ScalableDimension: lambda:function:ProvisionedConcurrency
      ResourceId: !Sub function:${Hello}:live
      MinCapacity: 1
      MaxCapacity: !Ref Most
      ScheduledActions:
        - ScheduledActionName: morning
          Schedule: cron(0 8 * * ? *)
          Timezone: Europe/Berlin
          StartTime: 2030-01-01T00:00:00Z
          ScalableTargetAction: {MinCapacity: "3"}
  Track:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      PolicyName: track
      PolicyType: TargetTrackingScaling
      ScalingTargetId: !Ref Bounds
      TargetTrackingScalingPolicyConfiguration:
        TargetValue: "0.7"
        PredefinedMetricSpecification: {PredefinedMetricType: LambdaProvisionedConcurrencyUtilization}
"""
RESOURCE = "function:hello:live"


@pytest.fixture(autouse=True)
def _status(monkeypatch):
    served = {"runtimes": {"python3.11": "/usr/bin/python3.11"}}
    monkeypatch.setattr(connection.Connection, "get", lambda self, path, **_: served)


def deployed(forerun, tmp_path, text, *more):
    result = forerun("deploy", write(tmp_path, text), "--name", "s", "--json", *more)
    assert result.exit_code == 0, result.stderr
    return {each["logical_id"]: each["action"] for each in json.loads(result.stdout)["resources"]}


def test_the_alias_of_a_serverless_function_is_provisioned(aws, forerun, tmp_path):
    deployed(forerun, tmp_path, SAM)
    assert aws.functions["hello"]["provisioned"] == {"live": 2}
    aws.calls.clear()
    assert set(deployed(forerun, tmp_path, SAM).values()) == {"unchanged"}
    assert aws.changes == ["PublishVersion"]
    again = deployed(forerun, tmp_path, SAM, "--parameter", "Count=5")
    assert again["HelloAliaslive"] == "updated"
    assert aws.functions["hello"]["provisioned"] == {"live": 5}
    deployed(
        forerun, tmp_path, SAM[: SAM.index("      Provisioned")].replace("Parameters", "Mappings")
    )
    assert aws.functions["hello"]["provisioned"] == {}


def test_a_provisioned_version_takes_the_place_of_the_one_before(aws, forerun, tmp_path):
    text = SCALED[: SCALED.index("  Live:")]
    text += "      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 1}\n"
    deployed(forerun, tmp_path, text)
    assert aws.functions["hello"]["provisioned"] == {"1": 1}
    deployed(forerun, tmp_path, text.replace("return 1", "return 2"))
    assert aws.functions["hello"]["provisioned"] == {"2": 1}


def test_what_scales_it(aws, forerun, tmp_path):
    deployed(forerun, tmp_path, SCALED)
    entry = aws.targets[RESOURCE]
    assert (entry["target"]["MinCapacity"], entry["target"]["MaxCapacity"]) == (1, 9)
    assert (
        entry["policies"]["track"]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 0.7
    )
    assert entry["actions"]["morning"]["ScalableTargetAction"] == {"MinCapacity": 3}
    # What was scaled since is no business of the template.
    aws.functions["hello"]["provisioned"]["live"] = 7
    aws.calls.clear()
    assert set(deployed(forerun, tmp_path, SCALED).values()) == {"unchanged"}
    assert aws.changes == ["PublishVersion"]
    changed = deployed(forerun, tmp_path, SCALED.replace("0.7", "0.5"), "--parameter", "Most=4")
    assert {name for name, action in changed.items() if action == "updated"} == {"Bounds", "Track"}
    a = SCALED.index("      ScheduledActions")
    deployed(forerun, tmp_path, SCALED[:a] + SCALED[SCALED.index("  Track:") :])
    assert entry["actions"] == {}
    assert aws.functions["hello"]["provisioned"] == {"live": 7}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("MinCapacity: 1", "MinCapacity: few", "MinCapacity must be a whole number"),
        ('"0.7"', "much", "TargetValue must be a number"),
        ("2030-01-01T00:00:00Z", "soon", "StartTime must be a time"),
        ("ScalingTargetId: !Ref Bounds", "ScalingTargetId: bounds", "Track.ScalingTargetId"),
    ],
)
def test_values_that_are_none(aws, forerun, tmp_path, old, new, named):
    result = forerun("deploy", write(tmp_path, SCALED.replace(old, new)), "--name", "s")
    assert result.exit_code != 0
    assert named in result.stderr
