"""Queues as boto3, the AWS CLI and clients of the old dialect use them."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from tests.servers import FORERUN, Server, clean_environment, eventually

pytestmark = pytest.mark.conformance
GONE = "AWS.SimpleQueueService.NonExistentQueue"
MOST = 1_048_576


@pytest.fixture
def sqs(server: Server) -> Any:
    return server.client("sqs")


@pytest.fixture
def queue(sqs) -> Iterator[str]:
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def ordered(sqs) -> Iterator[str]:
    name = f"q-{uuid.uuid4().hex[:12]}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture(scope="module")
def stranger(server: Server) -> dict[str, str]:
    """The keys of another account."""
    command = [str(FORERUN), "account", "create", "stranger", "--data", str(server.data), "--json"]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=20,
        env=clean_environment(server.data.parent),
    )
    made = json.loads(done.stdout)
    keys = {
        "aws_access_key_id": made["access_key_id"],
        "aws_secret_access_key": made["secret_access_key"],
    }

    def known() -> bool:
        try:
            server.client("sts", **keys).get_caller_identity()
        except ClientError:
            return False
        return True

    eventually(known, what="the new account")
    return {"account": made["account"], **keys}


def receive(sqs, url: str, **more: Any) -> list[dict[str, Any]]:
    return sqs.receive_message(QueueUrl=url, **more).get("Messages", [])


def attributes(sqs, url: str) -> dict[str, str]:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def test_a_message_from_sending_to_deleting(sqs, server, queue):
    given = {
        "text": {"DataType": "String", "StringValue": "é"},
        "text.two": {"DataType": "String.custom", "StringValue": "2"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    sent = sqs.send_message(
        QueueUrl=queue,
        MessageBody="héllo",
        MessageAttributes=given,
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    assert len(sent["MD5OfMessageSystemAttributes"]) == 32
    [message] = receive(
        sqs, queue, MessageSystemAttributeNames=["All"], MessageAttributeNames=["text.*", "bytes"]
    )
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "héllo"
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MessageAttributes"] == {name: given[name] for name in ("text.two", "bytes")}
    assert message["MD5OfMessageAttributes"] != sent["MD5OfMessageAttributes"]
    system = message["Attributes"]
    assert (system["ApproximateReceiveCount"], system["AWSTraceHeader"]) == ("1", trace)
    assert system["SenderId"] == server.account
    assert receive(sqs, queue) == []
    counts = attributes(sqs, queue)
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"
    sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    [again] = receive(sqs, queue, AttributeNames=["ApproximateReceiveCount"])
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert "MessageAttributes" not in again
    # The first handle is of an earlier taking.
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert attributes(sqs, queue)["ApproximateNumberOfMessagesNotVisible"] == "1"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    assert attributes(sqs, queue)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_batches_tell_each_entry_apart(sqs, queue):
    done = sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "good", "MessageBody": "1"},
            {"Id": "late", "MessageBody": "2", "DelaySeconds": 900},
            {"Id": "never", "MessageBody": "3", "DelaySeconds": 901},
            {"Id": "empty", "MessageBody": ""},
            {"Id": "foreign", "MessageBody": "\x01"},
        ],
    )
    assert [each["Id"] for each in done["Successful"]] == ["good", "late"]
    assert [(each["Id"], each["Code"], each["SenderFault"]) for each in done["Failed"]] == [
        ("never", "InvalidParameterValue", True),
        ("empty", "MissingParameter", True),
        ("foreign", "InvalidMessageContents", True),
    ]
    assert attributes(sqs, queue)["ApproximateNumberOfMessagesDelayed"] == "1"
    [message] = receive(sqs, queue, MaxNumberOfMessages=10)
    handle = message["ReceiptHandle"]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "a", "ReceiptHandle": handle, "VisibilityTimeout": 60},
            {"Id": "b", "ReceiptHandle": "nonsense", "VisibilityTimeout": 60},
            {"Id": "c", "ReceiptHandle": handle, "VisibilityTimeout": 43_201},
        ],
    )
    assert [each["Id"] for each in changed["Successful"]] == ["a"]
    assert {each["Id"]: each["Code"] for each in changed["Failed"]} == {
        "b": "ReceiptHandleIsInvalid",
        "c": "InvalidParameterValue",
    }
    deleted = sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "a", "ReceiptHandle": handle},
            {"Id": "b", "ReceiptHandle": handle[:-4] + "AAA="},
        ],
    )
    assert [each["Id"] for each in deleted["Successful"]] == ["a"]
    assert [each["Id"] for each in deleted["Failed"]] == ["b"]


def entries(*ids: str, body: str = "x") -> list[dict[str, Any]]:
    return [{"Id": each, "MessageBody": body} for each in ids]


@pytest.mark.parametrize(
    ("call", "arguments", "code", "status"),
    [
        pytest.param(*case, id=f"{case[2]}-{number}")
        for number, case in enumerate(
            [
                ("send_message", {"MessageBody": ""}, "MissingParameter", 400),
                ("send_message", {"MessageBody": "\x00"}, "InvalidMessageContents", 400),
                ("send_message", {"MessageBody": "\ufffe"}, "InvalidMessageContents", 400),
                ("send_message", {"MessageBody": "x" * (MOST + 1)}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "DelaySeconds": -1}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "MessageDeduplicationId": "d"}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "MessageAttributes": {"AWS.x": {"DataType": "String", "StringValue": "x"}}}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "MessageAttributes": {"x": {"DataType": "Text", "StringValue": "x"}}}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "MessageAttributes": {"x": {"DataType": "Number", "StringValue": "x"}}}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "MessageAttributes": {"x": {"DataType": "String", "BinaryValue": b"x"}}}, "InvalidParameterValue", 400),
                ("send_message", {"MessageBody": "x", "MessageAttributes": {f"x{n}": {"DataType": "Number", "StringValue": "1"} for n in range(11)}}, "InvalidParameterValue", 400),
                ("send_message_batch", {"Entries": []}, "AWS.SimpleQueueService.EmptyBatchRequest", 400),
                ("send_message_batch", {"Entries": entries(*map(str, range(11)))}, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400),
                ("send_message_batch", {"Entries": entries("a", "a")}, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400),
                ("send_message_batch", {"Entries": entries("a b")}, "AWS.SimpleQueueService.InvalidBatchEntryId", 400),
                ("send_message_batch", {"Entries": entries("x" * 81)}, "AWS.SimpleQueueService.InvalidBatchEntryId", 400),
                ("send_message_batch", {"Entries": entries("a", "b", "c", "d", body="x" * 262_145)}, "AWS.SimpleQueueService.BatchRequestTooLong", 400),
                ("receive_message", {"MaxNumberOfMessages": 11}, "InvalidParameterValue", 400),
                ("receive_message", {"MaxNumberOfMessages": 0}, "InvalidParameterValue", 400),
                ("receive_message", {"WaitTimeSeconds": 21}, "InvalidParameterValue", 400),
                ("receive_message", {"VisibilityTimeout": 43_201}, "InvalidParameterValue", 400),
                ("receive_message", {"MessageSystemAttributeNames": ["Nothing"]}, "InvalidAttributeName", 400),
                ("get_queue_attributes", {"AttributeNames": ["Nothing"]}, "InvalidAttributeName", 400),
                ("set_queue_attributes", {"Attributes": {"Nothing": "1"}}, "InvalidAttributeName", 400),
                ("set_queue_attributes", {"Attributes": {"FifoQueue": "true"}}, "InvalidAttributeName", 400),
                ("set_queue_attributes", {"Attributes": {"ContentBasedDeduplication": "true"}}, "InvalidAttributeName", 400),
                ("set_queue_attributes", {"Attributes": {"DelaySeconds": "901"}}, "InvalidAttributeValue", 400),
                ("set_queue_attributes", {"Attributes": {"VisibilityTimeout": "x"}}, "InvalidAttributeValue", 400),
                ("set_queue_attributes", {"Attributes": {"MaximumMessageSize": str(MOST + 1)}}, "InvalidAttributeValue", 400),
                ("set_queue_attributes", {"Attributes": {"Policy": "{"}}, "InvalidAttributeValue", 400),
                ("set_queue_attributes", {"Attributes": {"RedrivePolicy": "{}"}}, "InvalidAttributeValue", 400),
                ("set_queue_attributes", {"Attributes": {"RedriveAllowPolicy": '{"redrivePermission": "x"}'}}, "InvalidAttributeValue", 400),
                ("delete_message", {"ReceiptHandle": "x"}, "ReceiptHandleIsInvalid", 400),
                ("delete_message", {"ReceiptHandle": "A" * 24}, "ReceiptHandleIsInvalid", 400),
                ("change_message_visibility", {"ReceiptHandle": "é", "VisibilityTimeout": 1}, "ReceiptHandleIsInvalid", 400),
                ("add_permission", {"Label": "a b", "AWSAccountIds": ["1" * 12], "Actions": ["*"]}, "InvalidParameterValue", 400),
                ("add_permission", {"Label": "a", "AWSAccountIds": ["1"], "Actions": ["*"]}, "InvalidParameterValue", 400),
                ("add_permission", {"Label": "a", "AWSAccountIds": ["1" * 12], "Actions": ["CreateQueue"]}, "InvalidParameterValue", 400),
                ("remove_permission", {"Label": "none"}, "InvalidParameterValue", 400),
                ("tag_queue", {"Tags": {"aws:x": "1"}}, "InvalidParameterValue", 400),
                ("tag_queue", {"Tags": {str(n): "" for n in range(51)}}, "InvalidParameterValue", 400),
            ]
        )
    ],
)  # fmt: skip
def test_bad_input(sqs, queue, refused, call, arguments, code, status):
    with refused(code, status):
        getattr(sqs, call)(QueueUrl=queue, **arguments)
    assert attributes(sqs, queue)["ApproximateNumberOfMessages"] == "0"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"QueueName": "a b"}, "InvalidParameterValue"),
        ({"QueueName": "x" * 81}, "InvalidParameterValue"),
        ({"QueueName": "x.fifo"}, "InvalidParameterValue"),
        ({"QueueName": "x", "Attributes": {"FifoQueue": "true"}}, "InvalidParameterValue"),
        ({"QueueName": "x", "Attributes": {"FifoQueue": "false"}}, "InvalidAttributeName"),
    ],
    ids=["characters", "length", "suffix", "no-suffix", "false"],
)
def test_names(sqs, refused, given, code):
    with refused(code, 400):
        sqs.create_queue(**given)


def test_the_largest_message(sqs, queue):
    body = "x" * (MOST - 6)
    given = {"n": {"DataType": "Number", "StringValue": "1"}}
    with pytest.raises(ClientError):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=given)
    sqs.send_message(QueueUrl=queue, MessageBody=body + "yyyyyy")
    [message] = receive(sqs, queue)
    assert message["Body"] == body + "yyyyyy"
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": "262144"})
    sqs.send_message(QueueUrl=queue, MessageBody="é" * 131_072)
    with pytest.raises(ClientError, match="shorter than 262144 bytes"):
        sqs.send_message(QueueUrl=queue, MessageBody="é" * 131_072 + "x")


def test_queues_are_made_once_listed_and_described(sqs, server, refused):
    prefix = f"l-{uuid.uuid4().hex[:8]}"
    first = {"DelaySeconds": "3", "KmsMasterKeyId": "alias/aws/sqs"}
    url = sqs.create_queue(QueueName=f"{prefix}-0", Attributes=first, tags={"a": "b"})["QueueUrl"]
    assert url == f"{server.endpoint}/{server.account}/{prefix}-0"
    assert sqs.create_queue(QueueName=f"{prefix}-0", Attributes=first)["QueueUrl"] == url
    assert sqs.create_queue(QueueName=f"{prefix}-0")["QueueUrl"] == url
    with refused("QueueAlreadyExists", 400):
        sqs.create_queue(QueueName=f"{prefix}-0", Attributes={"DelaySeconds": "4"})
    for number in range(1, 5):
        sqs.create_queue(QueueName=f"{prefix}-{number}")
    pages = sqs.get_paginator("list_queues").paginate(
        QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2}
    )
    found = [page.get("QueueUrls", []) for page in pages]
    assert [len(page) for page in found] == [2, 2, 1]
    assert [each.rpartition("/")[2] for page in found for each in page] == [
        f"{prefix}-{number}" for number in range(5)
    ]
    known = attributes(sqs, url)
    assert known["QueueArn"] == f"arn:aws:sqs:{server.region}:{server.account}:{prefix}-0"
    assert (known["DelaySeconds"], known["KmsMasterKeyId"]) == ("3", "alias/aws/sqs")
    assert known["KmsDataKeyReusePeriodSeconds"] == "300"
    assert abs(int(known["CreatedTimestamp"]) - time.time()) < 60
    assert "FifoQueue" not in known
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
    sqs.tag_queue(QueueUrl=url, Tags={"c": "d"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"c": "d"}
    assert sqs.get_queue_url(QueueName=f"{prefix}-0")["QueueUrl"] == url
    sqs.delete_queue(QueueUrl=url)
    for call in (
        lambda: sqs.get_queue_url(QueueName=f"{prefix}-0"),
        lambda: sqs.send_message(QueueUrl=url, MessageBody="x"),
        lambda: sqs.delete_queue(QueueUrl=url),
    ):
        with refused(GONE, 400) as error:
            call()
    assert error.headers["x-amzn-query-error"] == f"{GONE};Sender"
    # The host of a URL means nothing; what is no queue's path is no address.
    other = f"https://sqs.us-east-1.amazonaws.com/{server.account}/{prefix}-1"
    assert sqs.send_message(QueueUrl=other, MessageBody="x")["MessageId"]
    with refused("InvalidAddress", 404):
        sqs.send_message(QueueUrl=f"{server.endpoint}/queue", MessageBody="x")
    with refused("AWS.SimpleQueueService.UnsupportedOperation", 400):
        sqs.start_message_move_task(SourceArn=known["QueueArn"])


def test_purging(sqs, queue, refused):
    for _ in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody="x")
    [held] = receive(sqs, queue)
    sqs.purge_queue(QueueUrl=queue)
    counts = attributes(sqs, queue)
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "0"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=held["ReceiptHandle"])
    with refused("AWS.SimpleQueueService.PurgeQueueInProgress", 403):
        sqs.purge_queue(QueueUrl=queue)
    sqs.send_message(QueueUrl=queue, MessageBody="after")
    assert [message["Body"] for message in receive(sqs, queue)] == ["after"]


def test_dead_letters(sqs, queue, refused):
    dead = sqs.create_queue(QueueName=f"dead-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn, source = attributes(sqs, dead)["QueueArn"], attributes(sqs, queue)["QueueArn"]
    policy = {"deadLetterTargetArn": arn, "maxReceiveCount": "1"}
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": '{"redrivePermission": "denyAll"}'})  # fmt: skip
    for wrong in (policy, {**policy, "maxReceiveCount": 0}, {**policy, "deadLetterTargetArn": arn + "x"}):  # fmt: skip
        with refused("InvalidAttributeValue", 400):
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(wrong)})  # fmt: skip
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [source]}
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(policy)})
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    assert sqs.list_dead_letter_source_queues(QueueUrl=queue)["queueUrls"] == []
    sent = sqs.send_message(QueueUrl=queue, MessageBody="poison")
    [first] = receive(sqs, queue, VisibilityTimeout=0, AttributeNames=["SentTimestamp"])
    assert receive(sqs, queue) == []
    [letter] = receive(sqs, dead, AttributeNames=["All"], WaitTimeSeconds=5)
    assert letter["MessageId"] == sent["MessageId"] == first["MessageId"]
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == source
    assert letter["Attributes"]["SentTimestamp"] == first["Attributes"]["SentTimestamp"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": ""})
    assert "RedrivePolicy" not in attributes(sqs, queue)
    sqs.delete_queue(QueueUrl=dead)


def test_groups_keep_their_order(sqs, ordered, refused):
    with refused("MissingParameter", 400):
        sqs.send_message(QueueUrl=ordered, MessageBody="x")
    with refused("InvalidParameterValue", 400):
        sqs.send_message(QueueUrl=ordered, MessageBody="x", MessageGroupId="g")
    sent = [
        sqs.send_message(
            QueueUrl=ordered,
            MessageBody=f"{number}",
            MessageGroupId=f"g{number % 2}",
            MessageDeduplicationId=f"{number}",
        )
        for number in range(6)
    ]
    assert sorted(sent, key=lambda each: each["SequenceNumber"]) == sent
    again = sqs.send_message(
        QueueUrl=ordered, MessageBody="else", MessageGroupId="g0", MessageDeduplicationId="2"
    )
    assert again["MessageId"] == sent[2]["MessageId"]
    assert again["SequenceNumber"] == sent[2]["SequenceNumber"]
    first = receive(sqs, ordered, MaxNumberOfMessages=2, AttributeNames=["All"])
    assert [message["Body"] for message in first] == ["0", "2"]
    assert first[0]["Attributes"]["MessageGroupId"] == "g0"
    assert first[0]["Attributes"]["MessageDeduplicationId"] == "0"
    second = receive(sqs, ordered, MaxNumberOfMessages=10)
    assert [message["Body"] for message in second] == ["1", "3", "5"]
    assert receive(sqs, ordered) == []
    for message in first:
        sqs.delete_message(QueueUrl=ordered, ReceiptHandle=message["ReceiptHandle"])
    [last] = receive(sqs, ordered, VisibilityTimeout=0)
    assert last["Body"] == "4"
    with refused("InvalidParameterValue", 400) as error:
        sqs.delete_message(QueueUrl=ordered, ReceiptHandle=last["ReceiptHandle"])
    assert "expired" in error.message
    sqs.set_queue_attributes(QueueUrl=ordered, Attributes={"ContentBasedDeduplication": "true"})
    one, two = (
        sqs.send_message(QueueUrl=ordered, MessageBody="same", MessageGroupId=group)
        for group in ("a", "b")
    )
    assert one["MessageId"] == two["MessageId"]
    sqs.set_queue_attributes(QueueUrl=ordered, Attributes={"DeduplicationScope": "messageGroup"})
    apart = sqs.send_message(QueueUrl=ordered, MessageBody="same", MessageGroupId="b")
    assert apart["MessageId"] != one["MessageId"]


def test_waiting_clients_are_woken_and_may_leave(sqs, server, queue):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receive, sqs, queue, WaitTimeSeconds=20)
        eventually(waiting.running)
        began = time.monotonic()
        sqs.send_message(QueueUrl=queue, MessageBody="now")
        assert [message["Body"] for message in waiting.result(15)] == ["now"]
        assert time.monotonic() - began < 5
    began = time.monotonic()
    assert receive(sqs, queue, WaitTimeSeconds=1) == []
    assert time.monotonic() - began > 0.9
    # Who has hung up gets nothing of what comes later.
    short = server.client("sqs", timeout=0.3)
    with pytest.raises(Exception, match=r"[Tt]ime"):
        receive(short, queue, WaitTimeSeconds=20)
    short.close()
    sqs.send_message(QueueUrl=queue, MessageBody="later")
    assert [message["Body"] for message in receive(sqs, queue, WaitTimeSeconds=5)] == ["later"]


def test_other_accounts_need_the_queues_leave(sqs, server, queue, stranger, refused):
    keys = {name: text for name, text in stranger.items() if name != "account"}
    other = server.client("sqs", **keys)
    name = queue.rpartition("/")[2]
    with refused("AccessDenied", 403):
        other.send_message(QueueUrl=queue, MessageBody="x")
    with refused(GONE, 400):
        other.get_queue_url(QueueName=name)
    assert "QueueUrls" not in other.list_queues(QueueNamePrefix=name)
    sqs.add_permission(
        QueueUrl=queue,
        Label="guest",
        AWSAccountIds=[stranger["account"]],
        Actions=["SendMessage", "GetQueueUrl"],
    )
    policy = json.loads(attributes(sqs, queue)["Policy"])
    assert policy["Statement"][0]["Action"] == ["SQS:SendMessage", "SQS:GetQueueUrl"]
    url = other.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=server.account)["QueueUrl"]
    assert url == queue
    other.send_message(QueueUrl=url, MessageBody="hello")
    other.send_message_batch(QueueUrl=url, Entries=entries("a"))
    with refused("AccessDenied", 403):
        other.receive_message(QueueUrl=url)
    senders = {
        message["Attributes"]["SenderId"]
        for message in receive(sqs, queue, MaxNumberOfMessages=10, AttributeNames=["SenderId"])
    }
    assert senders == {stranger["account"]}
    sqs.remove_permission(QueueUrl=queue, Label="guest")
    assert "Policy" not in attributes(sqs, queue)
    with refused("AccessDenied", 403):
        other.send_message(QueueUrl=url, MessageBody="x")


def test_a_user_without_rights_may_do_what_the_queue_says(sqs, server, queue):
    iam = server.client("iam")
    user = f"user-{uuid.uuid4().hex[:8]}"
    made = iam.create_user(UserName=user)["User"]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    own = server.client(
        "sqs",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        own.send_message(QueueUrl=queue, MessageBody="x")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": made["Arn"]},
        "Action": "sqs:SendMessage",
        "Resource": attributes(sqs, queue)["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    own.send_message(QueueUrl=queue, MessageBody="x")
    [message] = receive(sqs, queue, AttributeNames=["SenderId"])
    assert message["Attributes"]["SenderId"] == made["UserId"]


def test_the_aws_cli(server, clients, queue):
    def aws(*command: str) -> Any:
        return json.loads(clients.run("aws", "--region", "us-home-1", "sqs", *command) or "null")

    assert queue in aws("list-queues")["QueueUrls"]
    sent = aws("send-message", "--queue-url", queue, "--message-body", "from the CLI")
    [message] = aws("receive-message", "--queue-url", queue, "--attribute-names", "All", "--wait-time-seconds", "1")["Messages"]  # fmt: skip
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "from the CLI")
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    aws("delete-message", "--queue-url", queue, "--receipt-handle", message["ReceiptHandle"])
    error = clients.run("aws", "sqs", "get-queue-url", "--queue-name", "none", fails=True)
    assert f"({GONE})" in error


def test_the_old_dialect(server, sqs, queue):
    path = "/" + queue.split("/", 3)[3]

    def ask(at: str, **given: str) -> tuple[int, str]:
        form = {name.replace("_", "."): value for name, value in given.items()}
        body = urlencode({**form, "Version": "2012-11-05"}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        signed = server.signed("POST", at, body, headers=headers, service="sqs")
        answer = server.request("POST", at, body, signed)
        return answer.status, answer.body.decode()

    given = {
        "MessageAttribute_1_Name": "n",
        "MessageAttribute_1_Value_DataType": "Binary",
        "MessageAttribute_1_Value_BinaryValue": "AAE=",
    }
    status, text = ask(path, Action="SendMessage", MessageBody="<old>", **given)
    assert status == 200
    assert "<SendMessageResult>" in text
    [message] = receive(sqs, queue, MessageAttributeNames=["All"], VisibilityTimeout=0)
    assert message["MessageAttributes"]["n"]["BinaryValue"] == b"\x00\x01"
    assert f"<MD5OfMessageAttributes>{message['MD5OfMessageAttributes']}</" in text
    status, text = ask(path, Action="ReceiveMessage", AttributeName_1="All")
    assert status == 200
    assert "<Body>&lt;old&gt;</Body>" in text
    assert "<Name>SentTimestamp</Name>" in text
    status, text = ask("/", Action="GetQueueAttributes", QueueUrl=queue, AttributeName_1="QueueArn")
    assert (status, text.count("<Attribute>")) == (200, 1)
    batch = {
        "SendMessageBatchRequestEntry_1_Id": "a",
        "SendMessageBatchRequestEntry_1_MessageBody": "x",
        "SendMessageBatchRequestEntry_2_Id": "b",
        "SendMessageBatchRequestEntry_2_MessageBody": "",
    }
    status, text = ask(path, Action="SendMessageBatch", **batch)
    assert status == 200
    assert "<SendMessageBatchResultEntry><Id>a</Id>" in text
    assert "<BatchResultErrorEntry><Id>b</Id>" in text
    status, text = ask("/", Action="GetQueueUrl", QueueName="none")
    assert status == 400
    assert f"<Code>{GONE}</Code>" in text
    status, text = ask("/", Action="SendMessage", MessageBody="x")
    assert status in (400, 404)
    assert "<Code>InvalidAddress</Code>" in text


def test_queues_are_among_the_sources(server, sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    rows = server.platform("/forerun/sources")["Sources"]
    arn = attributes(sqs, queue)["QueueArn"]
    [row] = [each for each in rows if each["Source"] == arn]
    assert (row["Kind"], row["Waiting"], row["Sent"]) == ("queue", 1, 1)
