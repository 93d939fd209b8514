"""Sources of events in templates: what is refused before anything is changed, what things are called, how values are read."""

import datetime

import botocore.session
import pytest
from tests.unit.cli.test_deploy import write

from forerun.cli.deploying.buckets import notifications
from forerun.cli.deploying.naming import physical_name
from forerun.cli.deploying.shaping import alike, fit, same_json, tags_of, text
from forerun.cli.failures import Failure

SAM = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Other: {Type: AWS::SQS::Queue}
  F:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: x
      Handler: a.b
      Runtime: python3.11
      Events: {E: EVENT}
"""


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ("{Type: Kinesis, Properties: {Stream: s}}", "F.Events.E (Kinesis)"),
        ("{Type: HttpApi}", "F.Events.E (HttpApi)"),
        ("{}", "F.Events.E (None)"),
        ("Api", "F.Events.E is not written as Type and Properties"),
        ("{Type: SQS, Properties: {Queue: q, KmsKeyArn: k}}", "FE.KmsKeyArn (AWS::Lambda::Event"),
        ("{Type: SQS, Properties: {}}", "not valid"),
    ],
)
def test_events_of_sam_that_are_not_served(aws, forerun, tmp_path, event, named):
    result = forerun("deploy", write(tmp_path, SAM.replace("EVENT", event)))
    assert result.exit_code == 1, result.stdout + str(result.exception)
    assert named in result.stderr
    assert aws.changes == []


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        ("{Type: AWS::Serverless::SimpleTable}", "R (AWS::Serverless::SimpleTable)"),
        ("{Type: AWS::Serverless::Api, Properties: {StageName: s}}", "R (AWS::Serverless::Api)"),
        ("{Type: AWS::SQS::Queue, Properties: {KmsMasterKeyId: k}}", "R.KmsMasterKeyId"),
        (
            "{Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: {}, BucketName: b}}",
            "R.VersioningConfiguration (AWS::S3::Bucket)",
        ),
        (
            "{Type: AWS::S3::Bucket, Properties: {NotificationConfiguration: {Others: []}}}",
            "R.NotificationConfiguration.Others",
        ),
        (
            "{Type: AWS::Events::Rule, Properties: {Targets: [{Id: a, Arn: b, EcsParameters: {}}]}}",
            "R.Targets.EcsParameters",
        ),
        (
            "{Type: AWS::Events::Rule, Properties: {Targets: [{Id: a, "
            "Arn: !Sub 'arn:aws:kinesis:${AWS::Region}:${AWS::AccountId}:stream/s'}]}}",
            "R.Targets arn:aws:kinesis:us-home-1:123456789012:stream/s",
        ),
        (
            "{Type: AWS::Lambda::EventSourceMapping, Properties: {FunctionName: f, "
            "EventSourceArn: 'arn:aws:dynamodb:r:a:table/t'}}",
            "R.EventSourceArn arn:aws:dynamodb",
        ),
        (
            "{Type: AWS::Scheduler::Schedule, Properties: {Target: {Arn: 'arn:aws:ecs:r:a:x'}}}",
            "R.Target arn:aws:ecs",
        ),
        (
            "{Type: AWS::SQS::QueuePolicy, Properties: {Queues: [a]}}",
            "R (AWS::SQS::QueuePolicy) needs PolicyDocument",
        ),
        ("{Type: AWS::SNS::Subscription}", "needs Endpoint and Protocol and TopicArn"),
    ],
)
def test_sources_that_are_not_served(aws, forerun, tmp_path, resource, named):
    template = f"Resources:\n  Q: {{Type: AWS::SQS::Queue}}\n  R: {resource}\n"
    result = forerun("deploy", write(tmp_path, template))
    assert result.exit_code == 1, result.stdout + str(result.exception)
    assert named in result.stderr
    assert aws.changes == []


@pytest.mark.parametrize(
    ("kind", "properties", "name"),
    [
        ("AWS::SQS::Queue", {}, "shop-Work"),
        ("AWS::SQS::Queue", {"FifoQueue": "true"}, "shop-Work.fifo"),
        ("AWS::SQS::Queue", {"QueueName": "q"}, "q"),
        ("AWS::SNS::Topic", {"FifoTopic": True}, "shop-Work.fifo"),
        ("AWS::SNS::Topic", {"FifoTopic": "False"}, "shop-Work"),
        ("AWS::Events::Rule", {"Name": "r"}, "r"),
        ("AWS::SQS::QueuePolicy", {}, "shop-Work"),
    ],
)
def test_names(kind, properties, name):
    assert physical_name("shop", "1", "Work", kind, properties) == name


def test_long_names_are_cut_and_stay_apart():
    names = [
        physical_name("s" * 60, "1", f"Work{end}", "AWS::SQS::Queue", {"FifoQueue": True})
        for end in ("a" * 30, "a" * 31)
    ]
    assert [len(name) for name in names] == [80, 80]
    assert all(name.endswith(".fifo") for name in names)
    assert len(set(names)) == 2


def test_names_of_buckets_differ_by_account():
    names = [
        physical_name("My_Shop" * 9, account, "Inbox", "AWS::S3::Bucket", {})
        for account in ("1", "2")
    ]
    assert len(set(names)) == 2
    assert all(name.startswith("my-shop") and len(name) <= 63 for name in names)
    assert physical_name("Shop", "1", "Inbox", "AWS::S3::Bucket", {}).startswith("shop-inbox-")


def test_a_name_must_be_a_text():
    with pytest.raises(Failure, match=r"Work\.QueueName must be a text"):
        physical_name("shop", "1", "Work", "AWS::SQS::Queue", {"QueueName": ["a"]})


def shape(service, operation):
    model = botocore.session.get_session().get_service_model(service)
    return model.operation_model(operation).input_shape


def test_values_get_the_types_of_the_api():
    given = {
        "ScheduleExpression": "rate(1 minute)",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": "5"},
        "StartDate": "2030-01-02T03:04:05Z",
        "EndDate": "2031-01-02",
        "Target": {"Input": {"a": True}, "RetryPolicy": {"MaximumRetryAttempts": "3"}},
    }
    fitted = fit(shape("scheduler", "CreateSchedule"), given, "S")
    assert fitted["FlexibleTimeWindow"]["MaximumWindowInMinutes"] == 5
    assert fitted["StartDate"] == datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert fitted["EndDate"].tzinfo is not None
    assert fitted["Target"] == {"Input": '{"a":true}', "RetryPolicy": {"MaximumRetryAttempts": 3}}


@pytest.mark.parametrize(
    ("service", "operation", "given", "message"),
    [
        ("scheduler", "CreateSchedule", {"Other": 1}, "S has no Other"),
        ("scheduler", "CreateSchedule", {"StartDate": "soon"}, "S.StartDate must be a time"),
        ("scheduler", "CreateSchedule", {"Target": "t"}, "S.Target must be an object"),
        (
            "scheduler",
            "CreateSchedule",
            {"Target": {"RetryPolicy": {"MaximumRetryAttempts": True}}},
            "S.Target.RetryPolicy.MaximumRetryAttempts must be a whole number",
        ),
        ("events", "PutTargets", {"Targets": {}}, "S.Targets must be a list"),
        ("lambda", "CreateEventSourceMapping", {"Enabled": "perhaps"}, "must be true or false"),
    ],
)
def test_values_that_do_not_fit(service, operation, given, message):
    with pytest.raises(Failure, match=message):
        fit(shape(service, operation), given, "S")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 3}, '{"a": "3"}', True),
        ({"a": True, "b": {}}, '{"a": "true"}', True),
        (None, "", True),
        ([], None, True),
        ({"a": [1]}, {"a": [2]}, False),
        ("x", "y", False),
        ("{no json", "{no json", True),
    ],
)
def test_what_is_alike(one, other, same):
    assert alike(one, other) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1], "b": 2}, '{"b": 2, "a": [1]}', True),
        ({"a": [1]}, '{"a": ["1"]}', False),
        ({"a": [True]}, {"a": [1]}, False),
        (None, "", True),
        ({}, None, True),
        ("no json", "no json", True),
    ],
)
def test_what_is_the_same_document(one, other, same):
    assert same_json(one, other) is same


def test_texts_and_tags():
    assert [text(each) for each in (True, 3, None, {"a": 1}, "x")] == [
        "true",
        "3",
        "",
        '{"a":1}',
        "x",
    ]
    assert tags_of([{"Key": "a", "Value": 1}], "Q") == {"a": "1"}
    with pytest.raises(Failure, match=r"Q\.Tags must be a list"):
        tags_of({"a": 1}, "Q")


def test_notifications_of_a_bucket():
    rules = [{"Name": "prefix", "Value": "in/"}]
    given = {
        "LambdaConfigurations": [{"Function": "f", "Event": "e", "Filter": {"S3Key": {"Rules": rules}}}],
        "QueueConfigurations": [{"Queue": "q", "Event": "e"}],
        "EventBridgeConfiguration": {"EventBridgeEnabled": "false"},
    }  # fmt: skip
    assert notifications(given, "B") == {
        "LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": "f", "Events": ["e"], "Filter": {"Key": {"FilterRules": rules}}}
        ],
        "QueueConfigurations": [{"QueueArn": "q", "Events": ["e"]}],
    }
    assert notifications({"EventBridgeConfiguration": {}}, "B") == {"EventBridgeConfiguration": {}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"QueueConfigurations": [{"Queue": "q"}]}, "B.QueueConfigurations needs Event"),
        ({"QueueConfigurations": {}}, "B.QueueConfigurations must be a list of objects"),
        ({"EventBridgeConfiguration": "yes"}, "B.EventBridgeConfiguration must be an object"),
        (
            {"TopicConfigurations": [{"Topic": "t", "Event": "e", "Filter": "x"}]},
            "Filter must be an object",
        ),
    ],
)
def test_notifications_that_are_none(given, message):
    with pytest.raises(Failure, match=message):
        notifications(given, "B")
