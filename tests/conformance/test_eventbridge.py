"""EventBridge as boto3 and the AWS CLI speak with it."""

import datetime
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.policies import allow
from tests.servers import Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

PATTERN = {"source": ["shop"], "detail": {"state": ["paid"]}}
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture
def name() -> str:
    return f"r-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def queue(server: Server) -> Iterator[tuple[str, str]]:
    """URL and ARN of a queue that rules may send to."""
    sqs = server.client("sqs")
    made = f"q-{uuid.uuid4().hex[:8]}"
    url = sqs.create_queue(QueueName=made)["QueueUrl"]
    arn = f"arn:aws:sqs:{server.region}:{server.account}:{made}"
    policy = allow("sqs:SendMessage", arn, "events")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    yield url, arn
    sqs.delete_queue(QueueUrl=url)


def received(server: Server, url: str, count: int = 1) -> list[str]:
    """So many bodies from a queue."""
    sqs, bodies = server.client("sqs"), []

    def enough() -> bool:
        reply = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in reply.get("Messages", ()):
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) >= count

    eventually(enough, what=f"{count} messages")
    return bodies


def entry(detail: object, **more: Any) -> dict[str, Any]:
    return {"Source": "shop", "DetailType": "Order", "Detail": json.dumps(detail), **more}


def test_way_of_a_rule(server: Server, events: Any, name: str, refused: Any) -> None:
    arn = events.put_rule(
        Name=name,
        EventPattern=json.dumps(PATTERN),
        Description="d",
        Tags=[{"Key": "k", "Value": "v"}],
    )["RuleArn"]
    assert arn == f"arn:aws:events:{server.region}:{server.account}:rule/{name}"
    shown = events.describe_rule(Name=name)
    assert (shown["Name"], shown["Arn"], shown["State"]) == (name, arn, "ENABLED")
    assert json.loads(shown["EventPattern"]) == PATTERN
    assert (shown["EventBusName"], shown["CreatedBy"]) == ("default", server.account)
    assert "ScheduleExpression" not in shown
    events.disable_rule(Name=name)
    [listed] = events.list_rules(NamePrefix=name)["Rules"]
    assert (listed["State"], listed["Description"]) == ("DISABLED", "d")
    events.enable_rule(Name=name)
    assert events.describe_rule(Name=name)["State"] == "ENABLED"

    tags = events.list_tags_for_resource(ResourceARN=arn)["Tags"]
    assert tags == [{"Key": "k", "Value": "v"}]
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "x", "Value": "y"}])
    events.untag_resource(ResourceARN=arn, TagKeys=["k"])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "x", "Value": "y"}]

    function = f"arn:aws:lambda:{server.region}:{server.account}:function:f"
    target = {
        "Id": "1",
        "Arn": function,
        "InputTransformer": {"InputPathsMap": {"s": "$.detail.state"}, "InputTemplate": '"<s>"'},
        "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60},
    }
    stream = f"arn:aws:kinesis:{server.region}:{server.account}:stream/x"
    reply = events.put_targets(Rule=name, Targets=[target, {"Id": "2", "Arn": stream}])
    assert reply["FailedEntryCount"] == 1
    [failed] = reply["FailedEntries"]
    assert (failed["TargetId"], failed["ErrorCode"]) == ("2", "ValidationException")
    assert events.list_targets_by_rule(Rule=name)["Targets"] == [target]
    assert events.list_rule_names_by_target(TargetArn=function)["RuleNames"] == [name]
    with refused("ValidationException", 400) as error:
        events.delete_rule(Name=name)
    assert error.message == "Rule can't be deleted since it has targets."
    reply = events.remove_targets(Rule=name, Ids=["1", "9"])
    assert [each["TargetId"] for each in reply["FailedEntries"]] == ["9"]
    events.delete_rule(Name=name)
    with refused("ResourceNotFoundException", 400) as error:
        events.describe_rule(Name=name)
    assert error.message == f"Rule {name} does not exist on EventBus default."
    events.delete_rule(Name=name)


def test_way_of_a_bus(server: Server, events: Any, bus: str, refused: Any) -> None:
    arn = f"arn:aws:events:{server.region}:{server.account}:event-bus/{bus}"
    shown = events.describe_event_bus(Name=bus)
    assert (shown["Name"], shown["Arn"]) == (bus, arn)
    assert isinstance(shown["CreationTime"], datetime.datetime)
    assert events.describe_event_bus()["Name"] == "default"
    assert events.describe_event_bus(Name=arn)["Name"] == bus
    assert bus in [each["Name"] for each in events.list_event_buses()["EventBuses"]]
    events.update_event_bus(Name=bus, Description="new")
    assert events.describe_event_bus(Name=bus)["Description"] == "new"
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    with refused("ResourceAlreadyExistsException", 400) as error:
        events.create_event_bus(Name=bus)
    assert error.message == f"Event bus {bus} already exists."
    with refused("ResourceNotFoundException", 400) as error:
        events.describe_event_bus(Name="none")
    assert error.message == "Event bus none does not exist."
    rule = events.put_rule(Name="r", EventBusName=bus, EventPattern=json.dumps(PATTERN))
    assert rule["RuleArn"].endswith(f"rule/{bus}/r")
    with refused("ValidationException", 400):
        events.delete_event_bus(Name=bus)

    events.put_permission(
        EventBusName=bus, StatementId="s", Action="events:PutEvents", Principal="222222222222"
    )
    policy = json.loads(events.describe_event_bus(Name=bus)["Policy"])
    assert policy["Statement"] == [
        {
            "Sid": "s",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
            "Action": "events:PutEvents",
            "Resource": arn,
        }
    ]
    events.remove_permission(EventBusName=bus, StatementId="s")
    assert "Policy" not in events.describe_event_bus(Name=bus)
    with refused("ResourceNotFoundException", 400):
        events.remove_permission(EventBusName=bus, StatementId="s")
    with refused("ValidationException", 400):
        events.put_permission(EventBusName=bus, Policy="{")


def test_lists_come_in_pages(events: Any, bus: str) -> None:
    names = [f"r{number}" for number in range(5)]
    for each in names:
        events.put_rule(Name=each, EventBusName=bus, EventPattern=json.dumps(PATTERN))
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = events.list_rules(EventBusName=bus, Limit=2, **token)
        assert len(page["Rules"]) <= 2
        found += [each["Name"] for each in page["Rules"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == names


def test_events_reach_a_queue_in_the_form_that_was_asked_for(
    server: Server, events: Any, bus: str, queue: tuple[str, str]
) -> None:
    url, arn = queue
    events.put_rule(Name="r", EventBusName=bus, EventPattern=json.dumps(PATTERN))
    transformer = {
        "InputPathsMap": {"s": "$.detail.state", "n": "$.detail.n"},
        "InputTemplate": '{"state": "<s>", "n": <n>, "by": <aws.events.rule-name>}',
    }
    targets = [
        {"Id": "whole", "Arn": arn},
        {"Id": "part", "Arn": arn, "InputPath": "$.detail"},
        {"Id": "constant", "Arn": arn, "Input": '"hello"'},
        {"Id": "made", "Arn": arn, "InputTransformer": transformer},
    ]
    reply = events.put_targets(Rule="r", EventBusName=bus, Targets=targets)
    assert reply["FailedEntryCount"] == 0
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    detail = {"state": "paid", "n": 7}
    put = events.put_events(
        Entries=[
            entry(detail, EventBusName=bus, Time=moment, Resources=["x"]),
            entry({"state": "open"}, EventBusName=bus),
            entry([1], EventBusName=bus),
            {"DetailType": "Order", "Detail": "{}", "EventBusName": bus},
            entry({}, Source="aws.s3", EventBusName=bus),
        ]
    )
    assert put["FailedEntryCount"] == 3
    event_id = put["Entries"][0]["EventId"]
    assert [each.get("ErrorCode") for each in put["Entries"]] == [
        None,
        None,
        "MalformedDetail",
        "InvalidArgument",
        "NotAuthorizedForSource",
    ]
    bodies = [json.loads(body) for body in received(server, url, 4)]
    assert {
        "version": "0",
        "id": event_id,
        "detail-type": "Order",
        "source": "shop",
        "account": server.account,
        "time": "2026-01-02T03:04:05Z",
        "region": server.region,
        "resources": ["x"],
        "detail": detail,
    } in bodies
    assert detail in bodies
    assert "hello" in bodies
    assert {"state": "paid", "n": 7, "by": "r"} in bodies


def test_events_go_from_bus_to_bus(
    server: Server, events: Any, bus: str, queue: tuple[str, str]
) -> None:
    url, arn = queue
    bus_arn = f"arn:aws:events:{server.region}:{server.account}:event-bus/{bus}"
    source = f"shop-{bus}"
    policy = allow("events:PutEvents", bus_arn, "events")
    events.put_permission(EventBusName=bus, Policy=policy)
    events.put_rule(Name=bus, EventPattern=json.dumps({"source": [source]}))
    events.put_rule(Name="r", EventBusName=bus, EventPattern=json.dumps({"source": [source]}))
    try:
        events.put_targets(Rule=bus, Targets=[{"Id": "1", "Arn": bus_arn}])
        events.put_targets(Rule="r", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
        put = events.put_events(Entries=[entry({"n": 1}, Source=source)])
        [body] = received(server, url)
        assert json.loads(body)["id"] == put["Entries"][0]["EventId"]
        assert json.loads(body)["detail"] == {"n": 1}
    finally:
        events.remove_targets(Rule=bus, Ids=["1"])
        events.delete_rule(Name=bus)


def test_events_reach_a_function_that_lets_the_rule(server: Server, events: Any, bus: str) -> None:
    function = server.function(ECHO)
    arn = f"arn:aws:lambda:{server.region}:{server.account}:function:{function}"
    rule = events.put_rule(Name="r", EventBusName=bus, EventPattern=json.dumps(PATTERN))
    server.lambda_.add_permission(
        FunctionName=function,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule["RuleArn"],
    )
    events.put_targets(Rule="r", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
    root = f"1-5759e988-{uuid.uuid4().hex[:24]}"
    traced = entry({"state": "paid"}, EventBusName=bus, TraceHeader=f"Root={root};Sampled=1")
    events.put_events(Entries=[traced])
    [record] = eventually(lambda: server.invocations(function))
    assert root in record["trace_id"]
    assert record["status"] == "success"
    assert record["source"] == rule["RuleArn"]


def test_the_aws_cli_manages_rules(server: Server, clients: Any, queue: tuple[str, str]) -> None:
    url, arn = queue
    rule = f"cli-{uuid.uuid4().hex[:8]}"

    def aws(*command: str) -> Any:
        text = clients.run("aws", "events", *command, "--output", "json")
        return json.loads(text) if text.strip() else None

    made = aws("put-rule", "--name", rule, "--event-pattern", json.dumps({"source": [rule]}))
    assert made["RuleArn"].endswith(rule)
    assert (
        aws("put-targets", "--rule", rule, "--targets", f"Id=1,Arn={arn}")["FailedEntryCount"] == 0
    )
    put = aws("put-events", "--entries", json.dumps([entry({"n": 1}, Source=rule)]))
    assert put["FailedEntryCount"] == 0
    assert json.loads(received(server, url)[0])["detail"] == {"n": 1}
    assert aws("list-targets-by-rule", "--rule", rule)["Targets"] == [{"Id": "1", "Arn": arn}]
    aws("remove-targets", "--rule", rule, "--ids", "1")
    aws("put-rule", "--name", rule, "--schedule-expression", "rate(5 minutes)")
    [row] = [
        each for each in server.platform("/forerun/schedules")["Schedules"] if each["Name"] == rule
    ]
    assert (row["Kind"], len(row["Next"])) == ("rule", 5)
    assert row["Next"][1] - row["Next"][0] == 300
    aws("delete-rule", "--name", rule)
    assert aws("list-rules", "--name-prefix", rule)["Rules"] == []
