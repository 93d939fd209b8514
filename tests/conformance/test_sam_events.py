"""A SAM template with every kind of event that is served, through ``forerun deploy``: each one really runs the function."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.deployed import deploy
from tests.servers import Server, eventually, running

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

SOURCE = """
import json, os
import boto3

sqs = boto3.client("sqs")

def source(event):
    if "Records" in event:
        record = event["Records"][0]
        return record.get("eventSource") or record["EventSource"]
    return event.get("source") or event["by"]

def handler(event, context):
    told = {"source": source(event), "event": event, "version": context.function_version}
    sqs.send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(told))
"""
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Batch: {Type: Number, Default: 2}
  Moment: {Type: String, Default: "2090-01-01T00:00:00"}
Resources:
  Listener:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: python3.11
      Timeout: 20
      MemorySize: 256
      Environment: {Variables: {TOLD: !Ref Told}}
      Policies:
        - SQSSendMessagePolicy: {QueueName: !GetAtt Told.QueueName}
      Events:
        Work:
          Type: SQS
          Properties: {Queue: !GetAtt Work.Arn, BatchSize: !Ref Batch, FunctionResponseTypes: [ReportBatchItemFailures]}
        Tick:
          Type: Schedule
          Properties: {Schedule: rate(1 minute), Input: '{"by": "rule"}'}
        Clock:
          Type: ScheduleV2
          Properties:
            ScheduleExpression: !Sub at(${Moment})
            FlexibleTimeWindow: {Mode: "OFF"}
            Name: !Sub ${AWS::StackName}-clock
            Input: '{"by": "schedule"}'
        Paid:
          Type: EventBridgeRule
          Properties:
            EventBusName: !Ref Bus
            Pattern: {source: [shop], detail: {state: [paid], amount: [{numeric: [">", 5]}]}}
            RetryPolicy: {MaximumRetryAttempts: 1}
        News:
          Type: SNS
          Properties: {Topic: !Ref News, FilterPolicy: {kind: [urgent]}}
        Queued:
          Type: SNS
          Properties: {Topic: !Ref News, SqsSubscription: {QueueUrl: !Ref Relay, QueueArn: !GetAtt Relay.Arn, BatchSize: 1}}
        Upload:
          Type: S3
          Properties:
            Bucket: !Ref Inbox
            Events: s3:ObjectCreated:*
            Filter: {S3Key: {Rules: [{Name: prefix, Value: in/}]}}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
      Tags: [{Key: for, Value: work}]
  Dead: {Type: AWS::SQS::Queue}
  Told: {Type: AWS::SQS::Queue}
  Relay: {Type: AWS::SQS::Queue}
  News: {Type: AWS::SNS::Topic, Properties: {DisplayName: News}}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: !Sub "${AWS::StackName}-bus"}}
  Inbox: {Type: AWS::S3::Bucket}
Outputs:
  Work: {Value: !Ref Work}
  Dead: {Value: !GetAtt Dead.Arn}
  Told: {Value: !Ref Told}
  Relay: {Value: !Ref Relay}
  News: {Value: !Ref News}
  Bus: {Value: !Ref Bus}
  BusArn: {Value: !GetAtt Bus.Arn}
  Inbox: {Value: !Ref Inbox}
  Function: {Value: !Ref Listener}
  Rule: {Value: !Ref ListenerPaid}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("sam") / "data") as one:
        yield one


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(SOURCE)
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    return tmp_path


class Told:
    """What the function was told, read from the queue that it writes into."""

    def __init__(self, server: Server, url: str) -> None:
        self._sqs, self._url = server.client("sqs"), url
        self._seen: list[dict[str, Any]] = []

    def by(self, source: str) -> list[dict[str, Any]]:
        """The events of a source so far."""
        return [each["event"] for each in self.all(source)]

    def all(self, source: str) -> list[dict[str, Any]]:
        """The same with the version of the function that took them."""
        found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
        for message in found.get("Messages", ()):
            self._seen.append(json.loads(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [each for each in self._seen if each["source"] == source]

    def one(self, source: str, *, within: float = 15) -> dict[str, Any]:
        return eventually(lambda: self.by(source), within=within, what=source)[0]


@pytest.mark.timeout(120)
def test_every_event_runs_the_function(server: Server, project: Path):
    moment = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%S")
    actions, made = deploy(server, project, "all", "--parameter", f"Moment={moment}")
    assert set(actions.values()) == {"created"}, actions
    told = Told(server, made["Told"])

    server.client("sqs").send_message(QueueUrl=made["Work"], MessageBody="dig")
    first = told.one("aws:sqs")["Records"][0]
    assert first["body"] == "dig"
    assert first["eventSourceARN"].endswith(":all-Work")

    entry = {"Source": "shop", "DetailType": "sale", "EventBusName": made["Bus"]}
    for amount in (3, 7):
        detail = json.dumps({"state": "paid", "amount": amount})
        server.client("events").put_events(Entries=[{**entry, "Detail": detail}])
    assert told.one("shop")["detail"] == {"state": "paid", "amount": 7}

    sns = server.client("sns")
    for kind in ("dull", "urgent"):
        attributes = {"kind": {"DataType": "String", "StringValue": kind}}
        sns.publish(TopicArn=made["News"], Message=kind, MessageAttributes=attributes)
    assert told.one("aws:sns")["Records"][0]["Sns"]["Message"] == "urgent"
    relayed = eventually(
        lambda: [each for each in told.by("aws:sqs") if "all-Relay" in str(each)], what="relay"
    )
    assert json.loads(relayed[0]["Records"][0]["body"])["TopicArn"] == made["News"]

    s3 = server.client("s3")
    for key in ("out/no.txt", "in/yes.txt"):
        s3.put_object(Bucket=made["Inbox"], Key=key, Body=b"content")
    assert told.one("aws:s3")["Records"][0]["s3"]["object"]["key"] == "in/yes.txt"

    assert told.one("schedule", within=30) == {"by": "schedule"}
    assert [len(told.by(each)) for each in ("shop", "aws:sns", "aws:s3")] == [1, 1, 1]
    assert made["Rule"] == f"{made['Bus']}|all-ListenerPaid"


@pytest.mark.timeout(180)
def test_deploying_again_changes_only_what_differs(server: Server, project: Path):
    _, made = deploy(server, project, "again")
    actions, same = deploy(server, project, "again")
    assert {name: action for name, action in actions.items() if action != "unchanged"} == {}
    assert same == made

    template = project / "template.yaml"
    changed = (
        TEMPLATE.replace("VisibilityTimeout: 60", "DelaySeconds: 1")
        .replace("[urgent]", "[dull]")
        .replace("[paid]", "[sent]")
        .replace("DisplayName: News", "DisplayName: Old news")
        .replace("rate(1 minute)", "rate(2 minutes)")
        .replace("at(${Moment})", "rate(9 days)")
        .replace("Value: in/", "Value: into/")
        .replace("maxReceiveCount: 3", "maxReceiveCount: 4")
    )
    template.write_text(changed)
    actions, _ = deploy(server, project, "again", "--parameter", "Batch=1")
    assert {name for name, action in actions.items() if action == "updated"} == {
        "Work",
        "News",
        "Inbox",
        "ListenerWork",
        "ListenerTick",
        "ListenerClock",
        "ListenerPaid",
        "ListenerNews",
    }
    sqs = server.client("sqs")
    found = sqs.get_queue_attributes(QueueUrl=made["Work"], AttributeNames=["All"])["Attributes"]
    assert (found["VisibilityTimeout"], found["DelaySeconds"]) == ("30", "1")
    assert json.loads(found["RedrivePolicy"])["maxReceiveCount"] in (4, "4")
    mappings = server.lambda_.list_event_source_mappings(FunctionName=made["Function"])
    sizes = {
        each["EventSourceArn"].rpartition(":")[2]: each["BatchSize"]
        for each in mappings["EventSourceMappings"]
    }
    assert sizes == {"again-Work": 1, "again-Relay": 1}
    schedule = server.client("scheduler").get_schedule(Name="again-clock")
    assert schedule["ScheduleExpression"] == "rate(9 days)"
    tags = sqs.list_queue_tags(QueueUrl=made["Work"])["Tags"]
    assert tags == {"for": "work"}

    assert "BatchSize: !Ref Batch, " in changed
    template.write_text(changed.replace("BatchSize: !Ref Batch, ", "Enabled: false, "))
    actions, _ = deploy(server, project, "again")
    assert actions["ListenerWork"] == "updated"
    mappings = server.lambda_.list_event_source_mappings(FunctionName=made["Function"])
    [work] = [
        each
        for each in mappings["EventSourceMappings"]
        if each["EventSourceArn"].endswith("again-Work")
    ]
    assert (work["State"], work["BatchSize"]) == ("Disabled", 10)


@pytest.mark.timeout(180)
def test_events_move_to_an_alias(server: Server, project: Path):
    """What was told to ``$LATEST`` is told to the alias from then on; nothing is told twice."""
    deploy(server, project, "moved")
    with_alias = TEMPLATE.replace("Timeout: 20", "AutoPublishAlias: live").replace(
        "RetryPolicy: {MaximumRetryAttempts: 1}", "DeadLetterConfig: {Type: SQS}"
    )
    (project / "template.yaml").write_text(with_alias)
    actions, made = deploy(server, project, "moved")
    assert actions["ListenerAliaslive"] == actions["ListenerPaidQueue"] == "created"
    assert actions["ListenerWork"] == actions["ListenerPaid"] == "updated"
    again, _ = deploy(server, project, "moved")
    assert [name for name, action in again.items() if action != "unchanged"] == []
    mappings = server.lambda_.list_event_source_mappings(FunctionName=made["Function"])
    assert [each["FunctionArn"].endswith(":live") for each in mappings["EventSourceMappings"]] == [
        True,
        True,
    ]

    told = Told(server, made["Told"])
    server.client("sqs").send_message(QueueUrl=made["Work"], MessageBody="dig")
    detail = json.dumps({"state": "paid", "amount": 7})
    entry = {"Source": "shop", "DetailType": "d", "Detail": detail, "EventBusName": made["Bus"]}
    server.client("events").put_events(Entries=[entry])
    urgent = {"kind": {"DataType": "String", "StringValue": "urgent"}}
    server.client("sns").publish(TopicArn=made["News"], Message="m", MessageAttributes=urgent)
    server.client("s3").put_object(Bucket=made["Inbox"], Key="in/a", Body=b"x")
    for source in ("aws:sqs", "shop", "aws:sns", "aws:s3"):
        told.one(source)
    taken = [each for source in ("shop", "aws:sns", "aws:s3") for each in told.all(source)]
    assert [each["version"] for each in taken] == ["1"] * 3
