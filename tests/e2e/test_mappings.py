"""Queues feed functions: quickly, as many at once as are needed, in order where there is one, and nothing is lost."""

import json
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.servers import (
    FORERUN,
    ROLE,
    Server,
    clean_environment,
    eventually,
    package,
    running,
)

pytestmark = pytest.mark.slow

NOTHING = "def handler(event, context):\n    return None\n"
# Where results can be seen from outside: functions of these tests write what they saw into a queue.
TELL = """
import json, os, time
import boto3

sqs = boto3.client("sqs")

def tell(value):
    sqs.send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(value))
"""
POISON = """
def handler(event, context):
    for record in event["Records"]:
        if record["body"] == "poison":
            raise ValueError("this one cannot be processed")
"""
SLOW = "import time\n\ndef handler(event, context):\n    time.sleep(0.1)\n"
REPORTS = (
    TELL
    + """
def handler(event, context):
    bodies = [record["body"] for record in event["Records"]]
    tell(bodies)
    failed = [r["messageId"] for r in event["Records"]
              if r["body"] == "bad" and r["attributes"]["ApproximateReceiveCount"] == "1"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
"""
)
IN_ORDER = (
    TELL
    + """
def handler(event, context):
    time.sleep(0.01)
    record, = event["Records"]
    tell([record["attributes"]["MessageGroupId"], int(record["body"]), time.time()])
"""
)


class Queue:
    """A queue and what can be asked of it."""

    def __init__(self, server: Server, name: str, **attributes: str):
        self.client = server.client("sqs")
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = found["Attributes"]["QueueArn"]

    def send(self, *bodies: str, group: str = "") -> None:
        """Send them in batches of ten, in order."""
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(place), "MessageBody": body}
                | (
                    {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{start + place}"}
                    if group
                    else {}
                )
                for place, body in enumerate(bodies[start : start + 10])
            ]
            sent = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert len(sent["Successful"]) == len(entries), sent

    def left(self) -> int:
        """Messages that are there, visible or not."""
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return sum(
            int(found["Attributes"][f"ApproximateNumberOfMessages{which}"])
            for which in ("", "NotVisible", "Delayed")
        )

    def empty(self) -> bool:
        return self.left() == 0

    def take(self) -> list[str]:
        """All bodies that can be received now; they are deleted."""
        bodies = []
        while found := self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in found:
                bodies.append(message["Body"])
                self.client.delete_message(
                    QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"]
                )
        return bodies


def map_to(server: Server, queue: Queue, function: str, **more):
    """Let a queue feed a function; returns how to ask for the mapping."""
    made = server.lambda_.create_event_source_mapping(
        FunctionName=function, EventSourceArn=queue.arn, **({"BatchSize": 1} | more)
    )
    get = lambda: server.lambda_.get_event_source_mapping(UUID=made["UUID"])  # noqa: E731
    eventually(lambda: get()["State"] in ("Enabled", "Disabled"), what="the mapping's state")
    return get


def ended(server: Server, function: str) -> Counter[str]:
    """How many runs of a function ended how, of those that are on record."""
    return Counter(each["status"] for each in server.invocations(function, 1000))


def row_of(server: Server, queue: Queue) -> dict:
    rows = server.platform("/forerun/sources")["Sources"]
    [row] = [each for each in rows if each["Source"] == queue.arn and each["Kind"] == "mapping"]
    return row


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("mapped") / "data") as server:
        yield server


def test_a_message_reaches_the_first_line_of_a_warm_function_within_100_ms(server):
    queue = Queue(server, "prompt")
    name = server.function(NOTHING)
    server.call(name)
    get = map_to(server, queue, name)
    queue.send(*(str(number) for number in range(1000)))
    eventually(queue.empty, within=20, what="an empty queue")
    records = eventually(
        lambda: (found := server.invocations(name, 1000)) and len(found) >= 1000 and found,
        what="a record of each",
    )
    late_ms = sorted(
        (each["timings"]["started"] - each["timings"]["dequeued"]) * 1000
        for each in records
        if each["timings"]["dequeued"]
    )
    assert len(late_ms) >= 999
    assert late_ms[int(len(late_ms) * 0.99)] < 100
    assert {each["source"] for each in records if each["timings"]["dequeued"]} == {queue.arn}
    assert get()["LastProcessingResult"] == "OK"


def test_a_burst_raises_concurrency_drains_and_comes_to_rest(server):
    queue = Queue(server, "burst")
    name = server.function(SLOW, MemorySize=128)
    server.call(name)
    map_to(server, queue, name, ScalingConfig={"MaximumConcurrency": 12})
    at_rest = row_of(server, queue)
    seen = []

    def drained() -> bool:
        row = row_of(server, queue)
        seen.append(row)
        return queue.empty() and row["Running"] == 0

    queue.send(*(str(number) for number in range(500)))
    eventually(drained, within=50, what="500 messages processed")
    assert max(row["Running"] for row in seen) > at_rest["AtOnce"]
    assert max(row["Running"] for row in seen) <= 12
    assert max(row["InFlight"] for row in seen) <= 12
    # A long poll that finds nothing is what brings it to rest.
    eventually(lambda: row_of(server, queue)["AtOnce"] == at_rest["AtOnce"], within=25, what="rest")
    eventually(lambda: ended(server, name).total() >= 501, what="a record of each run")
    assert ended(server, name) == {"success": 501}


def test_a_poison_message_is_put_aside_and_succeeds_after_the_code_is_fixed(server):
    dead = Queue(server, "poison-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    queue = Queue(server, "poison", RedrivePolicy=redrive, VisibilityTimeout="1")
    name = server.function(POISON, Timeout=1)
    get = map_to(server, queue, name)
    queue.send("good", "poison", *(["fine"] * 10))
    eventually(lambda: dead.left() == 1, within=20, what="the poison message among the dead")
    assert queue.empty(), "the others were processed"
    eventually(lambda: ended(server, name).total() == 13, what="a record of each run")
    assert ended(server, name)["error"] == 2
    assert get()["LastProcessingResult"] == "PROBLEM: Function call failed"
    fixed = POISON.replace("raise ValueError", "print")
    server.lambda_.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": fixed})
    )
    letters = server.platform("/forerun/dead-letters?Reason=MaxReceiveCount")["DeadLetters"]
    letters = [each for each in letters if each["Shelf"] == dead.arn]
    assert len(letters) == 1
    path, body = "/forerun/redrive-dead-letters", json.dumps({"Ids": [letters[0]["Id"]]}).encode()
    headers = server.signed("POST", path, body, service="forerun")
    answer = server.request("POST", path, body, headers)
    assert answer.status == 200, answer
    eventually(lambda: ended(server, name)["success"] == 12, what="the message processed")
    assert get()["LastProcessingResult"] == "OK"
    assert queue.empty()
    assert dead.empty()


def test_only_the_messages_that_failed_come_again(server):
    told = Queue(server, "partial-told")
    queue = Queue(server, "partial", VisibilityTimeout="1")
    name = server.function(REPORTS, Timeout=1, Environment={"Variables": {"TOLD": told.url}})
    get = map_to(
        server,
        queue,
        name,
        BatchSize=10,
        Enabled=False,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    queue.send("a", "bad", "b")
    server.lambda_.update_event_source_mapping(UUID=get()["UUID"], Enabled=True)
    eventually(queue.empty, within=20, what="everything processed")
    batches = [json.loads(body) for body in told.take()]
    assert sorted(batches, key=len) == [["bad"], ["a", "bad", "b"]]


def test_groups_keep_their_order_side_by_side(server):
    told = Queue(server, "ordered-told")
    queue = Queue(server, "ordered.fifo", FifoQueue="true")
    name = server.function(IN_ORDER, Environment={"Variables": {"TOLD": told.url}})
    map_to(server, queue, name)
    groups = [f"g{number}" for number in range(4)]
    senders = [
        threading.Thread(
            target=queue.send, args=[str(number) for number in range(25)], kwargs={"group": group}
        )
        for group in groups
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    eventually(queue.empty, within=40, what="all groups processed")
    seen = sorted((json.loads(body) for body in told.take()), key=lambda each: each[2])
    for group in groups:
        assert [number for which, number, _ in seen if which == group] == list(range(25))
    assert len({which for which, _, _ in seen[:20]}) > 1, "groups do not wait for each other"


def test_a_filter_lets_through_what_it_wants_and_the_rest_is_gone(server):
    told = Queue(server, "filtered-told")
    queue = Queue(server, "filtered")
    source = (
        TELL + 'def handler(event, context):\n    tell([r["body"] for r in event["Records"]])\n'
    )
    name = server.function(source, Environment={"Variables": {"TOLD": told.url}})
    pattern = json.dumps({"body": {"kind": ["order"], "total": [{"numeric": [">=", 100]}]}})
    map_to(server, queue, name, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    wanted = json.dumps({"kind": "order", "total": 250})
    queue.send(json.dumps({"kind": "order", "total": 5}), wanted, "no json", "{}")
    eventually(queue.empty, what="an empty queue")
    eventually(lambda: told.left() == 1, what="one message wanted")
    assert json.loads(told.take()[0]) == [wanted]


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


def test_disabled_and_deleted_it_takes_nothing(server):
    queue = Queue(server, "stopped")
    name = server.function(NOTHING)
    get = map_to(server, queue, name)
    queue.send("a")
    eventually(queue.empty, what="the first message processed")
    server.lambda_.update_event_source_mapping(UUID=get()["UUID"], Enabled=False)
    eventually(lambda: get()["State"] == "Disabled", what="Disabled")
    queue.send("b")
    server.lambda_.update_event_source_mapping(UUID=get()["UUID"], Enabled=True)
    eventually(queue.empty, what="the second message processed")
    server.lambda_.delete_function(FunctionName=name)
    eventually(lambda: get()["State"] == "Disabled", what="Disabled with its function")
    assert "does not exist any more" in get()["StateTransitionReason"]
    queue.send("c")
    assert queue.take() == ["c"]


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


def test_a_function_that_feeds_its_own_queue_is_stopped(server):
    queue = Queue(server, "loop")
    source = (
        TELL + "def handler(event, context):\n"
        "    for record in event['Records']:\n"
        "        tell(int(record['body']) + 1)\n"
    )
    name = server.function(source, Environment={"Variables": {"TOLD": queue.url}})
    map_to(server, queue, name)
    queue.send("0")

    def letters() -> list:
        found = server.platform("/forerun/dead-letters")["DeadLetters"]
        return [each for each in found if each["Reason"] == "RecursionDetected"]

    [letter] = eventually(letters, within=30, what="a dead letter")
    assert name in json.dumps(letter)
    eventually(queue.empty, what="an empty queue")
    eventually(lambda: ended(server, name)["success"] >= 16, what="a record of each run")
    assert ended(server, name) == {"success": 16, "error": 1}


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
