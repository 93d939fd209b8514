"""Which operation a request means, and what is answered when it means none."""

import json

import pytest
from tests.unit.api.aws_shapes import scope_header

from forerun.api.protocol import HttpRequest, Models, NoRoute, Router, error_reply

models = Models()
router = Router(models, ("lambda", "sts", "iam", "logs", "sqs", "s3"))
LIST, GET = "ListProvisionedConcurrencyConfigs", "GetProvisionedConcurrencyConfig"
F = "/2015-03-31/functions"
PC = "/2019-09-30/functions/f/provisioned-concurrency"


def find(method, uri, *, scope="lambda", headers=(), body=b""):
    path, _, query = uri.partition("?")
    signature = [scope_header(scope)] if scope else []
    route = router.route(
        HttpRequest(method, path.encode(), query.encode(), [*signature, *headers], body)
    )
    return route.operation.model.name, route.operation.name, route.labels


@pytest.mark.parametrize(
    ("method", "uri", "operation", "labels"),
    [
        ("GET", F, "ListFunctions", {}),
        ("GET", F + "/", "ListFunctions", {}),
        ("GET", F + "/a%3Ab%2Fc", "GetFunction", {"FunctionName": "a:b/c"}),
        ("POST", F + "/f/invocations", "Invoke", {"FunctionName": "f"}),
        ("GET", PC + "?List=ALL", LIST, {"FunctionName": "f"}),
        ("GET", PC + "?Qualifier=1", GET, {"FunctionName": "f"}),
        ("GET", PC, GET, {"FunctionName": "f"}),
        ("GET", "/2018-10-31/layers?find=LayerVersion&Arn=x", "GetLayerVersionByArn", {}),
        ("GET", "/2018-10-31/layers", "ListLayers", {}),
        ("GET", "/2017-03-31/tags/arn%3Aaws%3Alambda", "ListTags", {"Resource": "arn:aws:lambda"}),
    ],
)
def test_paths_of_lambda(method, uri, operation, labels):
    assert find(method, uri) == ("lambda", operation, labels)


@pytest.mark.parametrize(
    ("method", "uri", "headers", "operation"),
    [
        ("GET", "/", (), "ListBuckets"),
        ("GET", "/b/", (), "ListObjects"),
        ("GET", "/b?list-type=2", (), "ListObjectsV2"),
        ("GET", "/b?notification", (), "GetBucketNotificationConfiguration"),
        ("GET", "/b/k/with//slashes/", (), "GetObject"),
        ("GET", "/b/k?uploadId=1", (), "ListParts"),
        ("PUT", "/b/k", (), "PutObject"),
        ("PUT", "/b/k", ((b"x-amz-copy-source", b"/a/b"),), "CopyObject"),
        ("PUT", "/b/k?partNumber=1&uploadId=2", (), "UploadPart"),
        (
            "PUT",
            "/b/k?partNumber=1&uploadId=2",
            ((b"x-amz-copy-source", b"/a/b"),),
            "UploadPartCopy",
        ),
        ("DELETE", "/b/k?uploadId=2", (), "AbortMultipartUpload"),
        ("POST", "/b?delete", (), "DeleteObjects"),
    ],
)
def test_paths_of_s3(method, uri, headers, operation):
    assert find(method, uri, scope="s3", headers=headers)[:2] == ("s3", operation)


def test_targets_and_actions():
    target = [(b"X-Amz-Target", b"Logs_20140328.GetLogEvents")]
    form = [(b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-8")]
    assert find("POST", "/", scope="logs", headers=target)[1] == "GetLogEvents"
    assert find("POST", "/", scope=None, headers=target)[0] == "logs"
    assert (
        find("POST", "/", scope="sts", headers=form, body=b"Version=1&Action=GetCallerIdentity")[1]
        == "GetCallerIdentity"
    )
    assert find("GET", "/?Action=GetUser", scope=None)[:2] == ("iam", "GetUser")
    assert (
        find("POST", "/1/queue", scope="sqs", headers=form, body=b"Action=SendMessage")[1]
        == "SendMessage"
    )
    assert (
        find(
            "GET", F + "/f?X-Amz-Credential=AK%2F20261121%2Fr%2Flambda%2Faws4_request", scope=None
        )[1]
        == "GetFunction"
    )
    # A payload that looks like a form is still a payload.
    assert find("POST", F + "/f/invocations", headers=form, body=b"Action=GetUser")[1] == "Invoke"


@pytest.mark.parametrize(
    ("method", "uri", "scope", "headers", "status", "code"),
    [
        ("GET", "/nowhere", "lambda", (), 404, b"UnknownOperationException"),
        ("PATCH", F, "lambda", (), 404, b"UnknownOperationException"),
        ("GET", "/nowhere", None, (), 404, b"UnknownOperationException"),
        ("POST", "/", "ec2", (), 404, b"UnknownOperationException"),
        (
            "POST",
            "/",
            "logs",
            ((b"x-amz-target", b"Logs_20140328.Nothing"),),
            400,
            b"UnknownOperationException",
        ),
        ("GET", "/?Action=Nothing", "iam", (), 400, b"InvalidAction"),
        ("GET", "/", "iam", (), 400, b"MissingAction"),
        ("PATCH", "/b/k", "s3", (), 405, b"MethodNotAllowed"),
        ("GET", F + "/%00/..%2f", None, (), 404, b""),
    ],
)
def test_what_is_not_served_is_answered_in_the_services_own_form(
    method, uri, scope, headers, status, code
):
    try:
        find(method, uri, scope=scope, headers=headers)
    except NoRoute as error:
        reply = error_reply(error.model, error, "r-1")
        assert reply.status == status
        assert code in reply.body or (b"x-amzn-errortype", code) in reply.headers
        assert (b"x-amzn-requestid", b"r-1") in reply.headers
        assert b"html" not in reply.body.lower()
        if error.model is None or "json" in error.model.protocol:
            assert json.loads(reply.body)["message"]
    else:
        assert not code
