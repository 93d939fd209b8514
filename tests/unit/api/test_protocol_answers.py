"""What is answered: errors, odd values and event streams, as botocore reads them."""

import json

import botocore.parsers
import pytest
from botocore.eventstream import EventStreamBuffer
from tests.unit.api.aws_shapes import service_model

from forerun.api.protocol import (
    ApiError,
    Models,
    Serializer,
    error_reply,
    eventstream,
)

models = Models()
serializer = Serializer()


@pytest.mark.parametrize(
    ("service", "code", "status", "members"),
    [
        ("lambda", "ResourceNotFoundException", 404, {}),
        (
            "lambda",
            "TooManyRequestsException",
            429,
            {"Reason": "CallerRateLimitExceeded", "retryAfterSeconds": "7"},
        ),
        ("lambda", "SomethingElse", 418, {}),
        ("iam", "NoSuchEntity", 404, {}),
        ("logs", "ResourceNotFoundException", 400, {}),
        ("sqs", "QueueDoesNotExist", 400, {}),
        ("s3", "NoSuchKey", 404, {}),
    ],
)
def test_errors_are_read_by_botocore(service, code, status, members):
    model = service_model(service)
    reply = error_reply(
        models.load(service),
        ApiError(code, 'Not <here> & "now"', 418 if status == 418 else 400, members),
        "r-1",
    )
    headers = botocore.awsrequest.HeadersDict(
        {name.decode(): value.decode() for name, value in reply.headers}
    )
    read = botocore.parsers.create_parser(model.protocol)
    got = read.parse(
        {"status_code": reply.status, "headers": headers, "body": reply.body, "context": {}}, None
    )
    assert reply.status == status
    assert got["Error"]["Message"] == 'Not <here> & "now"'
    assert got["Error"]["Code"] == {
        "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue"
    }.get(code, code)
    assert headers["x-amzn-requestid"] == "r-1"
    if members:
        assert headers["Retry-After"] == "7"
        assert json.loads(reply.body)["Type"] == "User"
        assert json.loads(reply.body)["Reason"] == "CallerRateLimitExceeded"


def test_replies_hold_nothing_the_model_does_not_know():
    operation = models.load("lambda").operations["GetFunctionConfiguration"]
    with pytest.raises(KeyError):
        serializer.reply(operation, {"FunctionNam": "f"}, "r")
    with pytest.raises(KeyError):
        serializer.reply(operation, {"TracingConfig": {"Mod": "x"}}, "r")
    reply = serializer.reply(
        operation, {"FunctionName": "f", "VpcConfig": None, "TracingConfig": {"Mode": None}}, "r"
    )
    assert json.loads(reply.body) == {"FunctionName": "f", "TracingConfig": {}}


def test_a_header_cannot_be_made_into_two():
    operation = models.load("lambda").operations["Invoke"]
    reply = serializer.reply(operation, {"FunctionError": "a\r\nx-evil: 1"}, "r")
    assert (b"x-amz-function-error", b"a  x-evil: 1") in reply.headers
    assert (b"content-type", b"application/json") in reply.headers


def test_statuses_come_from_the_model_or_the_answer():
    operations = models.load("lambda").operations
    assert serializer.reply(operations["CreateFunction"], {}, "r").status == 201
    deleted = serializer.reply(operations["DeleteAlias"], {}, "r")
    assert (deleted.status, deleted.body) == (204, b"")
    assert serializer.reply(operations["Invoke"], {"StatusCode": 202}, "r").status == 202


def test_xml_holds_only_what_xml_can_hold():
    operation = models.load("iam").operations["GetUser"]
    user = {"UserName": "a\x00<b>&\"'\r\n", "Path": "/", "UserId": "1", "Arn": "a", "CreateDate": 0}
    body = serializer.reply(operation, {"User": user}, "r").body.decode()
    assert "<UserName>a\ufffd&lt;b&gt;&amp;&quot;'&#xD;\n</UserName>" in body
    assert "<CreateDate>1970-01-01T00:00:00Z</CreateDate>" in body


def test_event_streams_are_read_by_botocore():
    stream = (
        eventstream.payload_chunks(b"x" * (eventstream.MAX_PAYLOAD + 1))
        + eventstream.payload_chunks(b"")
        + eventstream.invoke_complete(error_code="Unhandled", error_details="{}", log_result=None)
        + eventstream.exception("ServiceException", "lost")
    )
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    first, second, complete, failed = list(buffer)
    assert len(first.payload) == eventstream.MAX_PAYLOAD
    assert second.payload == b"x"
    assert first.headers == {
        ":message-type": "event",
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
    }
    assert json.loads(complete.payload) == {"ErrorCode": "Unhandled", "ErrorDetails": "{}"}
    assert failed.headers[":exception-type"] == "ServiceException"
