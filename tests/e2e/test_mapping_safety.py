"""Queues feed only functions that may take from them, and nothing is lost on the way."""

import json
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.mapped import NOTHING, TELL, Queue, map_to
from tests.servers import (
    FORERUN,
    ROLE,
    clean_environment,
    eventually,
    package,
    running,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("mapped") / "data") as server:
        yield server


def test_what_create_refuses_is_what_aws_refuses(server):
    name = server.function(NOTHING, Timeout=60)
    short = Queue(server, "too-short", VisibilityTimeout="30")
    lam = server.lambda_

    def refused(words: str, **values) -> None:
        with pytest.raises(lam.exceptions.InvalidParameterValueException, match=words):
            lam.create_event_source_mapping(**({"FunctionName": name} | values))

    refused("visibility timeout: 30 seconds", EventSourceArn=short.arn)
    refused("NonExistentQueue", EventSourceArn=short.arn + "-none")
    iam = server.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
    role = iam.create_role(RoleName="no-queues", AssumeRolePolicyDocument=json.dumps(trust))
    lam.update_function_configuration(FunctionName=name, Role=role["Role"]["Arn"], Timeout=3)
    refused("does not have permissions to call ReceiveMessage on SQS", EventSourceArn=short.arn)
    iam.attach_role_policy(
        RoleName="no-queues",
        PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole",
    )
    made = lam.create_event_source_mapping(FunctionName=name, EventSourceArn=short.arn)
    short.send("now it may")
    eventually(short.empty, what="the message processed")
    lam.delete_event_source_mapping(UUID=made["UUID"])


def test_a_queue_of_another_account_needs_its_policy(server, tmp_path):
    made = subprocess.run(
        [str(FORERUN), "account", "create", "mapper", "--json", "--data", str(server.data)],
        capture_output=True,
        check=True,
        timeout=20,
        env=clean_environment(tmp_path),
    )
    keys = json.loads(made.stdout)
    credentials = {
        "aws_access_key_id": keys["access_key_id"],
        "aws_secret_access_key": keys["secret_access_key"],
    }
    other = server.client("lambda", **credentials)
    eventually(lambda: _known(other), what="the new key")
    account = server.client("sts", **credentials).get_caller_identity()["Account"]
    other.create_function(
        FunctionName="guest",
        Runtime="python3.11",
        Handler="lambda_function.handler",
        Role=ROLE.format(account=account),
        Code={"ZipFile": package({"lambda_function.py": NOTHING})},
    )
    queue = Queue(server, "shared")
    queue.send("a")
    create = {"FunctionName": "guest", "EventSourceArn": queue.arn, "BatchSize": 1}
    with pytest.raises(ClientError, match="does not have permissions to call ReceiveMessage"):
        other.create_event_source_mapping(**create)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": account},
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
        "Resource": queue.arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": policy})
    mapping = other.create_event_source_mapping(**create)
    eventually(queue.empty, what="the message processed by the other account's function")
    with pytest.raises(server.lambda_.exceptions.ResourceNotFoundException):
        server.lambda_.get_event_source_mapping(UUID=mapping["UUID"])
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": ""})
    problem = lambda: other.get_event_source_mapping(UUID=mapping["UUID"])["LastProcessingResult"]  # noqa: E731
    queue.send("b")
    eventually(lambda: "permissions" in problem(), within=40, what="that it may no longer")


def _known(client) -> bool:
    try:
        client.list_functions()
    except ClientError:
        return False
    return True


@pytest.mark.timeout(120)
def test_nothing_is_lost_when_the_server_is_killed_amid_2000_messages(tmp_path: Path):
    """The function tells what it saw before it answers; a message may be seen twice, but none never."""
    data, total = tmp_path / "data", 2000
    source = (
        TELL + 'def handler(event, context):\n    tell([r["body"] for r in event["Records"]])\n'
    )
    bodies = [str(number) for number in range(total)]
    accepted: list[str] = []
    with running(data) as server:
        told = Queue(server, "told")
        queue = Queue(server, "jobs", VisibilityTimeout="3")
        name = server.function(source, Environment={"Variables": {"TOLD": told.url}})
        made = map_to(server, queue, name, BatchSize=5)()

        def send() -> None:
            for start in range(0, total, 10):
                try:
                    queue.send(*bodies[start : start + 10])
                except (BotoCoreError, ClientError):
                    return
                accepted.extend(bodies[start : start + 10])

        sender = threading.Thread(target=send)
        sender.start()
        eventually(lambda: len(accepted) >= total // 2, within=40, what="half of them sent")
        eventually(lambda: told.left() > 0, within=20, what="some of them processed")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
        sender.join(30)
        listen = "{}:{}".format(*server.address)
    with running(data, listen=listen) as server:
        told, queue = Queue(server, "told"), Queue(server, "jobs", VisibilityTimeout="3")
        queue.send(*(set(bodies) - set(accepted)))
        eventually(queue.empty, within=60, what="an empty queue after the restart")
        seen = {body for batch in told.take() for body in json.loads(batch)}
        assert seen == set(bodies)
        mapping = server.lambda_.get_event_source_mapping(UUID=made["UUID"])
        assert mapping["State"] == "Enabled"
