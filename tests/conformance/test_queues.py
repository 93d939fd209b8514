"""Queues as boto3 uses them: messages, batches, groups, dead letters, waiting."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.conformance.queue_calls import GONE, attributes, receive
from tests.servers import eventually

pytestmark = pytest.mark.conformance


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


def test_queues_are_among_the_sources(server, sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    rows = server.platform("/forerun/sources")["Sources"]
    arn = attributes(sqs, queue)["QueueArn"]
    [row] = [each for each in rows if each["Source"] == arn]
    assert (row["Kind"], row["Waiting"], row["Sent"]) == ("queue", 1, 1)
