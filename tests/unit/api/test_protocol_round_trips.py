"""botocore writes, we read; we write, botocore reads: nothing is lost on the way, for every operation of Lambda."""

from datetime import datetime

import msgspec
import pytest
from tests.unit.api.aws_shapes import Sampler, read_reply, scope_header, service_model, wire_request

from forerun.api.protocol import Models, Parser, Router, Serializer

OPERATIONS = {
    "lambda": sorted(service_model("lambda").operation_names),
    "sts": ["GetCallerIdentity", "AssumeRole", "GetSessionToken"],
    "iam": [
        "CreateRole",
        "GetRole",
        "PutRolePolicy",
        "ListRolePolicies",
        "UpdateAssumeRolePolicy",
        "CreateAccessKey",
    ],
    "logs": [
        "FilterLogEvents",
        "GetLogEvents",
        "DescribeLogGroups",
        "DescribeLogStreams",
        "PutLogEvents",
        "TagResource",
    ],
    "events": ["PutRule", "PutTargets", "PutEvents", "ListRules"],
    "sqs": [
        "CreateQueue",
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "GetQueueAttributes",
        "TagQueue",
    ],
    "sns": ["Publish", "Subscribe", "GetTopicAttributes", "PublishBatch"],
    "cloudformation": ["CreateStack", "DescribeStacks", "CreateChangeSet", "DescribeStackEvents"],
    "scheduler": ["CreateSchedule", "GetSchedule", "ListSchedules"],
    "stepfunctions": ["StartExecution", "DescribeExecution"],
    "apigatewayv2": ["CreateApi", "CreateRoute", "GetIntegrations", "TagResource"],
    "dynamodb": ["PutItem", "UpdateItem", "GetItem"],
    "s3": [
        "PutObject",
        "GetObject",
        "HeadObject",
        "ListObjectsV2",
        "ListBuckets",
        "DeleteObjects",
        "CreateBucket",
        "CopyObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "ListParts",
        "PutBucketNotificationConfiguration",
        "GetBucketNotificationConfiguration",
        "PutBucketAcl",
        "PutObjectTagging",
        "AbortMultipartUpload",
    ],
}
CASES = [(service, name, None) for service, names in OPERATIONS.items() for name in names]
CASES += [("sqs", name, "query") for name in OPERATIONS["sqs"]]
models = Models()
router = Router(models, tuple(OPERATIONS))
parser = Parser()
serializer = Serializer()


def plain(value):
    """Built-in values; what is empty counts as absent, for most protocols cannot tell the two apart."""
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        kept = {key: plain(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [], b"")}
    if isinstance(value, list):
        return [item for item in map(plain, value) if item not in ({}, [])]
    return value.timestamp() if isinstance(value, datetime) else value


def without(values, *names):
    return {key: value for key, value in values.items() if key not in names}


@pytest.mark.parametrize(("service", "name", "protocol"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_a_request_written_by_botocore_is_read(service, name, protocol, seed):
    model = query_model() if protocol == "query" else service_model(service)
    shape = model.operation_model(name).input_shape
    sent = Sampler(f"{name}{seed}").value(shape) if shape else {}
    request = wire_request(model, name, sent, headers=[scope_header(model.signing_name)])
    route = router.route(request)
    assert (route.operation.model.name, route.operation.name) == (service, name)
    got = plain(parser.parse(route, request))
    # The client's HTTP library adds the length by itself; Expires is text in AWS's model, a time in botocore's.
    assert without(got, "ContentLength", "Expires") == without(
        plain(sent), "ContentLength", "Expires"
    )


@pytest.mark.parametrize(("service", "name", "protocol"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_a_reply_is_read_by_botocore(service, name, protocol, seed):
    model = query_model() if protocol == "query" else service_model(service)
    operation = models.load(service, protocol).operations[name]
    shape = model.operation_model(name).output_shape
    sent = Sampler(f"{name}{seed}").value(shape) if shape else {}
    sent.pop("EventStream", None)
    sent.pop("ResponseStreamContentType", None)
    reply = serializer.reply(operation, sent, "request-1")
    assert (b"x-amzn-requestid", b"request-1") in reply.headers
    got = without(
        read_reply(model, name, reply),
        "ResponseMetadata",
        "EventStream",
        "ResponseStreamContentType",
    )
    got.update({key: value.read() for key, value in got.items() if hasattr(value, "read")})
    for member in operation.output.members.values() if operation.output else ():
        if member.location == "statusCode" and member.name not in sent:
            assert got.pop(member.name) == operation.status
    # Absent in the answer, the content type of a blob is the protocol's.
    missing = {"ContentType"} - sent.keys()
    assert without(plain(got), *missing) == plain(sent)


def query_model():
    """SQS as clients knew it before it spoke JSON: the wire names are those of the served dialect."""
    from botocore.model import ServiceModel

    return ServiceModel(models.load("sqs", "query").document, "sqs")
