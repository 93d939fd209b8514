import json
from pathlib import Path

import pytest
from tests.fakes.aws import arn

from forerun.cli import connection

ORDERS = Path(__file__).parents[3] / "examples/orders"


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context): return 1")
    return folder


@pytest.fixture(autouse=True)
def _status(monkeypatch):
    served = {"runtimes": {"python3.11": "/usr/bin/python3.11", "nodejs20.x": "/usr/bin/node"}}
    monkeypatch.setattr(connection.Connection, "get", lambda self, path, **_: served)


def write(tmp_path, text):
    path = tmp_path / "template.yaml"
    path.write_text(text)
    return str(path)


def test_folder_is_created_with_what_its_files_say(aws, forerun, code):
    result = forerun(
        "deploy", str(code), "--json", "--env", "A=b=c", "--memory", "256", "--egress", "open"
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["resources"][0]["action"] == "created"
    function = aws.functions["hello"]
    configuration = function["configuration"]
    assert (configuration["Runtime"], configuration["Handler"]) == ("python3.11", "app.handler")
    assert configuration["Environment"] == {"Variables": {"A": "b=c"}}
    assert configuration["MemorySize"] == 256
    assert function["tags"] == {"forerun:egress": "open"}


def test_deploying_again_changes_nothing_and_keeps_what_is_not_said(aws, forerun, code):
    forerun("deploy", str(code), "--memory", "256", "--handler", "app.handler")
    aws.calls.clear()
    assert "unchanged" in forerun("deploy", str(code)).stdout
    assert aws.changes == []
    (code / "app.py").write_text("def handler(event, context): return 2")
    assert "updated" in forerun("deploy", str(code)).stdout
    assert aws.changes == ["UpdateFunctionCode"]
    assert forerun("deploy", str(code), "--timeout", "9").exit_code == 0
    assert aws.changes == ["UpdateFunctionCode", "UpdateFunctionConfiguration"]
    assert aws.functions["hello"]["configuration"]["MemorySize"] == 256


def test_url_and_version(aws, forerun, code):
    result = forerun("deploy", str(code), "--url", "--publish")
    assert "http://hello.lambda-url" in result.stdout
    function = aws.functions["hello"]
    assert [item["Action"] for item in function["policy"][None].values()] == [
        "lambda:InvokeFunctionUrl",
        "lambda:InvokeFunction",
    ]
    aws.calls.clear()
    forerun("deploy", str(code), "--url", "--publish")
    assert aws.changes == ["PublishVersion"]
    assert len(function["versions"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "A"], "K=V"),
        (["--parameter", "A=b"], "Only templates"),
        (["--egress", "some"], "none"),
    ],
)
def test_misuse_exits_with_2(aws, forerun, code, arguments, message):
    result = forerun("deploy", str(code), *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert aws.changes == []


def test_missing_path_exits_with_1(aws, forerun):
    result = forerun("deploy", "/nowhere")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_the_orders_example_is_deployed_once_and_then_left_alone(aws, forerun):
    arguments = ["deploy", str(ORDERS / "template.yaml"), "--name", "shop", "--json"]
    result = forerun(*arguments, "--parameter", "PythonRuntime=python3.12")
    assert result.exit_code == 0, result.stderr
    assert set(aws.functions) == {"orders", "pricing", "stock", "confirm"}
    orders = aws.functions["orders"]["configuration"]
    assert orders["Runtime"] == "python3.12"
    assert orders["Environment"]["Variables"] == {
        "PRICING_FUNCTION": "pricing",
        "CONFIRM_FUNCTION": "confirm",
        "STOCK_URL": "http://stock.lambda-url.us-home-1.localhost:9700/",
    }
    assert orders["Role"].endswith(":role/shop-OrdersRole")
    policies = aws.roles["shop-OrdersRole"]["inline"].values()
    assert {json.loads(item)["Statement"][0]["Resource"] for item in policies} == {
        arn("pricing*"),
        arn("confirm*"),
    }
    assert orders["Layers"][0]["Arn"].endswith(":layer:shop-data:1")
    assert aws.functions["confirm"]["events"]["$LATEST"]["MaximumRetryAttempts"] == 2
    assert len(aws.functions["stock"]["policy"][None]) == 2
    outputs = json.loads(result.stdout)["outputs"]
    assert outputs == {"OrdersUrl": "http://orders.lambda-url.us-home-1.localhost:9700/"}
    aws.calls.clear()
    again = forerun(*arguments, "--parameter", "PythonRuntime=python3.12")
    assert again.exit_code == 0, again.stderr
    done = json.loads(again.stdout)["resources"]
    assert [item for item in done if item["action"] != "unchanged"] == []
    assert aws.changes == []


PLAIN = """
Parameters: {Stage: {Type: String, AllowedValues: [dev, prod]}, Memory: {Type: Number, Default: 128}}
Conditions: {Prod: !Equals [!Ref Stage, prod]}
Resources:
  Live:
    Type: AWS::Lambda::Alias
    Properties: {Name: live, FunctionName: !Ref Hello, FunctionVersion: !GetAtt One.Version}
  One: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Hello}}
  Hello:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.11
      Handler: index.handler
      Role: !GetAtt Role.Arn
      MemorySize: !Ref Memory
      ReservedConcurrentExecutions: !If [Prod, "7", !Ref AWS::NoValue]
      Environment: {Variables: {STAGE: !Ref Stage, DEBUG: true, N: 3}}
      Code: {ZipFile: "def handler(e, c): return 1"}
  Allowed:
    Type: AWS::Lambda::Permission
    Condition: Prod
    Properties: {FunctionName: !Ref Live, Action: lambda:InvokeFunction, Principal: events.amazonaws.com}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: {Effect: Allow, Action: sts:AssumeRole, Principal: {Service: lambda.amazonaws.com}}
Outputs: {Arn: {Value: !Ref Live}}
"""


def test_plain_template_in_order_with_conditions(aws, forerun, tmp_path):
    template = write(tmp_path, PLAIN)
    result = forerun("deploy", template, "--name", "s", "--parameter", "Stage=prod", "--json")
    assert result.exit_code == 0, result.stderr
    function = aws.functions["s-Hello"]
    assert function["configuration"]["Environment"]["Variables"] == {
        "STAGE": "prod",
        "DEBUG": "true",
        "N": "3",
    }
    assert function["reserved"] == 7
    assert function["aliases"]["live"]["FunctionVersion"] == "1"
    assert list(function["policy"]) == ["live"]
    assert json.loads(result.stdout)["outputs"] == {"Arn": arn("s-Hello", "live")}
    trust = json.loads(aws.roles["s-Role"]["role"]["AssumeRolePolicyDocument"])
    assert trust["Version"] == "2012-10-17"
    forerun("deploy", template, "--name", "s", "--parameter", "Stage=dev")
    assert function["reserved"] is None


def test_a_changed_permission_replaces_its_statement(aws, forerun, tmp_path):
    arguments = ["--name", "s", "--parameter", "Stage=prod"]
    forerun("deploy", write(tmp_path, PLAIN), *arguments)
    aws.calls.clear()
    forerun(
        "deploy", write(tmp_path, PLAIN.replace("events.amazonaws", "s3.amazonaws")), *arguments
    )
    assert [call for call in aws.changes if "Permission" in call] == [
        "AddPermission",
        "RemovePermission",
    ]
    (statement,) = aws.functions["s-Hello"]["policy"]["live"].values()
    assert statement["Principal"] == "s3.amazonaws.com"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Resources: {T: {Type: AWS::DynamoDB::Table}}", "served yet, nothing was changed: T (AWS"),
        (
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n"
            "    Properties: {InlineCode: x, Handler: a.b, Runtime: python3.11, "
            "Events: {Get: {Type: Api, Properties: {Path: /, Method: get}}}}",
            "F.Events.Get (Api)",
        ),
        (
            "Resources: {F: {Type: AWS::Lambda::Function, Properties: {Code: {ZipFile: x}, RecursiveLoop: Allow}}}",
            "F.RecursiveLoop",
        ),
        ("Rules: {}\nResources: {Q: {Type: AWS::IAM::Role}}", "section Rules"),
        (
            "Resources: {F: {Type: AWS::Lambda::Function, Properties: {PackageType: Image}}}",
            "container image",
        ),
        (
            "Resources: {F: {Type: AWS::Lambda::Function, Properties: {Code: {S3Bucket: b, S3Key: k}}}}",
            "packages in S3",
        ),
        (
            "Resources: {F: {Type: AWS::Lambda::Function, Properties: {Code: absent, Role: r}}}",
            "absent does not exist",
        ),
        ("Resources: {A: {Type: AWS::IAM::Role, DependsOn: B}}", "refers to B"),
        (
            "Resources: {A: {Type: AWS::IAM::Role, DependsOn: B}, B: {Type: AWS::IAM::Role, DependsOn: A}}",
            "in a circle",
        ),
        (
            "Parameters: {P: {Type: String}}\nResources: {A: {Type: AWS::IAM::Role}}",
            "--parameter P=VALUE",
        ),
        ("Transform: Other\nResources: {A: {Type: AWS::IAM::Role}}", "Transform 'Other'"),
        ("Resources: [", "cannot be read"),
        ("Resources: 3", "no Resources"),
        (
            "Transform: AWS::Serverless-2016-10-31\nResources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: 3}}}",
            "not valid",
        ),
    ],
)
def test_what_is_not_served_is_named_and_nothing_is_changed(aws, forerun, tmp_path, text, named):
    result = forerun("deploy", write(tmp_path, text))
    assert result.exit_code == 1, result.stdout + str(result.exception)
    assert named in result.stderr
    assert aws.changes == []
