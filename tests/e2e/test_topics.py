"""Topics on a real server: who caused what through them, and a server that is killed."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.policies import allow
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

PUBLISHES = """
import boto3
client = boto3.client("sns")
def handler(event, context):
    client.publish(TopicArn=event["topic"], Message="m")
"""
WORKS = "def handler(event, context):\n    return 1\n"


@pytest.fixture
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that watches every execution."""
    settings = {
        "FORERUN_MONITORING_FUNCTION_PER_S": "1000",
        "FORERUN_MONITORING_TOTAL_PER_S": "1000",
    }
    with running(tmp_path_factory.mktemp("topics") / "data", settings=settings) as server:
        yield server


def profile(server: Server, name: str) -> dict[str, Any]:
    path = f"/forerun/profile?FunctionName={name}"
    answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
    return dict(answer.json()["Profile"]) if answer.status == 200 else {}


def test_a_function_that_publishes_is_seen_to_cause_the_subscriber(watching: Server) -> None:
    sns = watching.client("sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    a, b = watching.function(PUBLISHES), watching.function(WORKS)
    watching.lambda_.add_permission(
        FunctionName=b,
        StatementId="sns",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    there = watching.lambda_.get_function(FunctionName=b)["Configuration"]["FunctionArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=there)
    for _ in range(3):
        watching.call(a, {"topic": topic})
    eventually(lambda: profile(watching, b).get("sampled", 0) >= 3, within=20)
    assert "none" not in profile(watching, b)["channels"]

    def callees() -> set[str]:
        return {each["name"] for each in profile(watching, a).get("callees", ())}

    eventually(lambda: b in callees(), within=20, what="b among the callees of a")


def test_what_was_published_survives_a_kill(tmp_path: Any) -> None:
    data, count = tmp_path / "data", 100
    with running(data) as server:
        sns, sqs = server.client("sns"), server.client("sqs")
        topic = sns.create_topic(Name="t")["TopicArn"]
        arn = f"arn:aws:sqs:{server.region}:{server.account}:q"
        policy = allow("sqs:SendMessage", arn, "sns")
        sqs.create_queue(QueueName="q", Attributes={"Policy": policy})
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        for number in range(count):
            sns.publish(TopicArn=topic, Message=str(number))
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
    with running(data) as server:
        sqs = server.client("sqs")
        url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
        found: set[str] = set()

        def all_came() -> bool:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for each in answer.get("Messages", ()):
                found.add(each["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
            return len(found) == count

        eventually(all_came, within=40)
        assert found == {str(number) for number in range(count)}
