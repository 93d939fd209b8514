"""Queues and who may use them, with which clients: other accounts, users, the AWS CLI, the old dialect."""

import json
import subprocess
import uuid
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from tests.conformance.queue_calls import GONE, attributes, entries, receive
from tests.policies import allow
from tests.servers import FORERUN, Server, clean_environment, eventually

pytestmark = pytest.mark.conformance


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
    sqs.add_permission(
        QueueUrl=queue, Label="all", AWSAccountIds=[stranger["account"]], Actions=["*"]
    )
    assert other.receive_message(QueueUrl=url)["ResponseMetadata"]["HTTPStatusCode"] == 200
    for wish in (
        lambda: other.delete_queue(QueueUrl=url),
        lambda: other.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""}),
        lambda: other.tag_queue(QueueUrl=url, Tags={"a": "b"}),
        lambda: other.untag_queue(QueueUrl=url, TagKeys=["a"]),
        lambda: other.list_queue_tags(QueueUrl=url),
    ):
        with refused("AccessDenied", 403):
            wish()
    sqs.remove_permission(QueueUrl=queue, Label="all")
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
    policy = allow("sqs:SendMessage", attributes(sqs, queue)["QueueArn"], {"AWS": made["Arn"]})
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
