"""What a queue refuses, with AWS's codes, and what it just takes."""

import pytest
from botocore.exceptions import ClientError
from tests.conformance.queue_calls import MOST, attributes, entries, receive

pytestmark = pytest.mark.conformance


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
