"""boto3: what functions print, asked through CloudWatch Logs."""

import time
import uuid

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually

pytestmark = pytest.mark.conformance

TALK = (
    "def handler(event, context):\n"
    "    for n in range(event['lines']):\n"
    "        print(f'line {n} of', event['tag'])\n"
)


def test_lines_of_a_function(server: Server):
    logs = server.client("logs")
    name = server.function(TALK)
    group = f"/aws/lambda/{name}"
    server.call(name, {"lines": 3, "tag": "alpha"})
    server.call(name, {"lines": 2, "tag": "beta"})

    def messages(**more: object) -> list[str]:
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **more)
            return [event["message"].rstrip("\n") for page in pages for event in page["events"]]
        except ClientError:
            return []

    wanted = ["line 0 of beta", "line 1 of beta"]
    eventually(lambda: messages(filterPattern="beta") == wanted, what="lines of the second call")
    assert messages(filterPattern='"line 1" -beta') == ["line 1 of alpha"]
    assert sum("REPORT RequestId" in line for line in messages()) == 2
    paged = messages(PaginationConfig={"PageSize": 2})
    assert paged == messages()
    assert messages(startTime=4102444800000) == []

    groups = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [item["logGroupName"] for item in groups] == [group]
    streams = logs.describe_log_streams(
        logGroupName=group, orderBy="LastEventTime", descending=True
    )["logStreams"]
    assert streams
    page = logs.get_log_events(
        logGroupName=group, logStreamName=streams[0]["logStreamName"], startFromHead=True
    )
    assert page["events"]
    end = logs.get_log_events(
        logGroupName=group,
        logStreamName=streams[0]["logStreamName"],
        nextToken=page["nextForwardToken"],
        startFromHead=True,
    )
    assert end["events"] == []
    assert end["nextForwardToken"] == page["nextForwardToken"]

    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    shown = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert shown["retentionInDays"] == 7
    logs.delete_log_group(logGroupName=group)
    assert not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]


def test_errors_are_logged_with_their_traceback(server: Server):
    name = server.function("def handler(event, context):\n    raise KeyError('price')\n")
    server.failure(name)
    logs = server.client("logs")

    def found() -> list[str]:
        try:
            page = logs.filter_log_events(
                logGroupName=f"/aws/lambda/{name}", filterPattern='"[ERROR]"'
            )
        except ClientError:
            return []
        return [event["message"] for event in page["events"]]

    (message,) = eventually(found, what="the error in the log")
    assert message.startswith("[ERROR] KeyError: 'price'")
    assert "lambda_function.py" in message


def test_groups_of_users(server: Server, refused):
    logs = server.client("logs")
    group = f"/users/{uuid.uuid4().hex}"
    with refused("ResourceNotFoundException", 400):
        logs.filter_log_events(logGroupName=group)
    logs.create_log_group(logGroupName=group)
    with refused("ResourceAlreadyExistsException", 400):
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    logs.put_log_events(
        logGroupName=group,
        logStreamName="s",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "now"}],
    )

    def messages() -> list[str]:
        page = logs.get_log_events(logGroupName=group, logStreamName="s")
        return [event["message"] for event in page["events"]]

    assert eventually(messages) == ["now"]
    logs.delete_log_group(logGroupName=group)
    with refused("ResourceNotFoundException", 400):
        logs.get_log_events(logGroupName=group, logStreamName="s")


def test_json_format(server: Server):
    name = server.function(
        "import logging\n"
        "def handler(event, context):\n"
        "    logging.getLogger().warning('careful %s', event)\n"
        "    logging.getLogger().info('hidden')\n",
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"},
    )
    server.call(name, 3)
    logs = server.client("logs")

    def found() -> list[str]:
        try:
            page = logs.filter_log_events(
                logGroupName=f"/aws/lambda/{name}", filterPattern='{ $.level = "WARN*" }'
            )
        except ClientError:
            return []
        return [event["message"] for event in page["events"]]

    (line,) = eventually(found, what="the JSON line")
    assert '"careful 3"' in line
