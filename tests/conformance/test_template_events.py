"""A CloudFormation template of sources and what hangs on them, through ``forerun deploy``: policies, dead letters, destinations."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deployed import deploy
from tests.servers import Server, eventually, running

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(180)]

TEMPLATE = """
Resources:
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.11
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Timeout: 5
      DeadLetterConfig: {TargetArn: !GetAtt Dead.Arn}
      Code:
        ZipFile: |
          def handler(event, context):
              if event.get("bad"):
                  raise ValueError("bad")
              return "good"
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: {Effect: Allow, Action: sts:AssumeRole, Principal: {Service: [lambda.amazonaws.com, scheduler.amazonaws.com]}}
      Policies:
        - PolicyName: send
          PolicyDocument:
            Version: 2012-10-17
            Statement: {Effect: Allow, Action: ["sqs:SendMessage", "sns:Publish"], Resource: "*"}
  Ways:
    Type: AWS::Lambda::EventInvokeConfig
    Properties:
      FunctionName: !Ref Worker
      Qualifier: $LATEST
      MaximumRetryAttempts: 0
      DestinationConfig: {OnSuccess: {Destination: !GetAtt Done.Arn}}
  Dead: {Type: AWS::SQS::Queue}
  Done: {Type: AWS::SQS::Queue}
  Line:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true, ContentBasedDeduplication: "true"}
  Wire:
    Type: AWS::SNS::Topic
    Properties: {FifoTopic: "true", ContentBasedDeduplication: true, Tags: [{Key: a, Value: 1}]}
  OnLine:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Wire, Protocol: sqs, Endpoint: !GetAtt Line.Arn, RawMessageDelivery: true}
  LinePolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Line]
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: sns.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Line.Arn
            Condition: {ArnEquals: {aws:SourceArn: !Ref Wire}}
          - {Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: "sqs:SendMessage", Resource: !GetAtt Line.Arn}
  Files:
    Type: AWS::S3::Bucket
    DependsOn: [DonePolicy, BoardPolicy]
    Properties:
      NotificationConfiguration:
        QueueConfigurations:
          - {Queue: !GetAtt Done.Arn, Event: "s3:ObjectCreated:*"}
        TopicConfigurations:
          - {Topic: !Ref Board, Event: "s3:ObjectRemoved:*", Filter: {S3Key: {Rules: [{Name: Suffix, Value: .txt}]}}}
        EventBridgeConfiguration: {EventBridgeEnabled: true}
  FilesPolicy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Files
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - {Effect: Allow, Principal: "*", Action: "s3:GetObject", Resource: !Sub "${Files.Arn}/public/*"}
  DonePolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Done]
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: [s3.amazonaws.com, events.amazonaws.com, sns.amazonaws.com]}
            Action: sqs:SendMessage
            Resource: !GetAtt Done.Arn
  Board:
    Type: AWS::SNS::Topic
    Properties:
      Subscription: [{Protocol: sqs, Endpoint: !GetAtt Done.Arn}]
  BoardPolicy:
    Type: AWS::SNS::TopicPolicy
    Properties:
      Topics: [!Ref Board]
      PolicyDocument:
        Version: 2012-10-17
        Statement: {Effect: Allow, Principal: {Service: s3.amazonaws.com}, Action: "sns:Publish", Resource: !Ref Board}
  Seen:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [aws.s3], detail: {bucket: {name: [!Ref Files]}}}
      Targets:
        - Id: done
          Arn: !GetAtt Done.Arn
          InputTransformer: {InputPathsMap: {key: $.detail.object.key}, InputTemplate: '{"rule": <key>}'}
          RetryPolicy: {MaximumRetryAttempts: "2"}
          DeadLetterConfig: {Arn: !GetAtt Dead.Arn}
        - {Id: line, Arn: !GetAtt Line.Arn, SqsParameters: {MessageGroupId: g}}
  Clocks: {Type: AWS::Scheduler::ScheduleGroup, Properties: {Name: !Sub "${AWS::StackName}-clocks", Tags: [{Key: a, Value: b}]}}
  Clock:
    Type: AWS::Scheduler::Schedule
    Properties:
      GroupName: !Ref Clocks
      ScheduleExpression: rate(1 minutes)
      ScheduleExpressionTimezone: Europe/Berlin
      StartDate: 2080-01-01T00:00:00Z
      EndDate: 2090-01-01T00:00:00Z
      FlexibleTimeWindow: {Mode: FLEXIBLE, MaximumWindowInMinutes: "5"}
      State: DISABLED
      Target: {Arn: !GetAtt Line.Arn, RoleArn: !GetAtt Role.Arn, Input: '{"a": 1}', SqsParameters: {MessageGroupId: g}}
Outputs:
  Worker: {Value: !Ref Worker}
  Dead: {Value: !Ref Dead}
  Done: {Value: !Ref Done}
  Line: {Value: !Ref Line}
  Wire: {Value: !Ref Wire}
  Files: {Value: !Ref Files}
  Seen: {Value: !GetAtt Seen.Arn}
  Clock: {Value: !GetAtt Clock.Arn}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("template") / "data") as one:
        yield one


class Inbox:
    """What has come into a queue so far."""

    def __init__(self, server: Server, url: str) -> None:
        self._sqs, self._url = server.client("sqs"), url
        self._seen: list[str] = []

    def has(self, part: str) -> str | None:
        found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
        for message in found.get("Messages", ()):
            self._seen.append(message["Body"])
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return next((each for each in self._seen if part in each), None)

    def get(self, part: str) -> Any:
        return json.loads(eventually(lambda: self.has(part), within=20, what=part) or "")


def test_what_hangs_on_sources_works(server: Server, tmp_path: Path):
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    actions, made = deploy(server, tmp_path, "plain")
    # Topics have a policy before they get one.
    assert set(actions.values()) == {"created", "updated"}, actions
    assert [name for name, action in actions.items() if action == "updated"] == ["BoardPolicy"]
    again, _ = deploy(server, tmp_path, "plain")
    assert [name for name, action in again.items() if action != "unchanged"] == []

    done, dead, line = (Inbox(server, made[each]) for each in ("Done", "Dead", "Line"))
    for event in ({"bad": False}, {"bad": True}):
        server.lambda_.invoke(
            FunctionName=made["Worker"], InvocationType="Event", Payload=json.dumps(event)
        )
    assert done.get("responsePayload")["responsePayload"] == "good"
    assert dead.get("bad") == {"bad": True}

    server.client("sns").publish(TopicArn=made["Wire"], Message='{"n": 1}', MessageGroupId="g")
    assert line.get('"n"') == {"n": 1}

    s3 = server.client("s3")
    s3.put_object(Bucket=made["Files"], Key="public/a.txt", Body=b"x")
    created = done.get("ObjectCreated:Put")["Records"][0]
    assert created["s3"]["object"]["key"] == "public/a.txt"
    assert done.get('"rule"') == {"rule": "public/a.txt"}
    assert line.get("Object Created")["resources"] == [f"arn:aws:s3:::{made['Files']}"]
    assert server.request("GET", f"/{made['Files']}/public/a.txt").body == b"x"
    s3.delete_object(Bucket=made["Files"], Key="public/a.txt")
    notification = done.get("ObjectRemoved:Delete")
    assert notification["Subject"] == "Amazon S3 Notification"

    shown = server.client("scheduler").get_schedule(Name="plain-Clock", GroupName="plain-clocks")
    assert shown["Arn"] == made["Clock"]
    assert (shown["State"], shown["FlexibleTimeWindow"]["MaximumWindowInMinutes"]) == (
        "DISABLED",
        5,
    )


def test_what_is_taken_out_of_a_resource_goes(server: Server, tmp_path: Path):
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE)
    _, made = deploy(server, tmp_path, "less")
    rest = "\n".join(
        each
        for each in TEMPLATE.splitlines()
        if "Id: line" not in each
        and "DeadLetterConfig: {TargetArn" not in each
        and "EventBridgeConfiguration" not in each
    ).replace(", RawMessageDelivery: true", "")
    template.write_text(rest)
    actions, _ = deploy(server, tmp_path, "less")
    changed = {name for name, action in actions.items() if action != "unchanged"}
    assert changed == {"Seen", "Worker", "Files", "OnLine"}
    targets = server.client("events").list_targets_by_rule(Rule="less-Seen")["Targets"]
    assert [each["Id"] for each in targets] == ["done"]
    shown = server.lambda_.get_function_configuration(FunctionName=made["Worker"])
    assert not shown.get("DeadLetterConfig", {}).get("TargetArn")
    told = server.client("s3").get_bucket_notification_configuration(Bucket=made["Files"])
    assert "EventBridgeConfiguration" not in told
