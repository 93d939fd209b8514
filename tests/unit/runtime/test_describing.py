"""What calls are called in profiles."""

import pytest

from forerun.runtime.describing import masked_path, operation_of, signing_name

SIGNED = "AWS4-HMAC-SHA256 Credential=AKIA/20150830/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=ab"


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("/", "/"),
        ("", "/"),
        ("/users/42/orders?page=3", "/users/*/orders"),
        ("/v2/users", "/v2/users"),
        ("/order-12.json", "/order-*.json"),
        ("/o/3f0c9b1e-9d1c-4a73-9f6e-1a2b3c4d5e6f/x", "/o/*/x"),
        ("/blob/0123456789abcdef0123", "/blob/*"),
        ("/deadbeefdeadbeef", "/deadbeefdeadbeef"),
        ("/ulid/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ulid/*"),
        ("/a-rather-long-word-without-digits", "/a-rather-long-word-without-digits"),
        ("/2020-05-31/distribution/123", "/2020-05-31/distribution/*"),
        (
            "/2015-03-31/functions/fn-123/invocations?Qualifier=1",
            "/2015-03-31/functions/fn-123/invocations",
        ),
        ("/2015-03-31/functionality/1", "/2015-03-31/functionality/*"),
        ("/" + "x" * 5000, "/" + "x" * 255),
    ],
)
def test_paths_have_no_ids(path, masked):
    assert masked_path(path) == masked


@pytest.mark.parametrize(
    ("authorization", "target", "service"),
    [
        pytest.param(SIGNED.format("lambda"), "/", "lambda", id="header"),
        pytest.param(
            "AWS4-ECDSA-P256-SHA256 Credential=AKIA/20150830/s3/aws4_request, SignedHeaders=a",
            "/",
            "s3",
            id="all regions",
        ),
        pytest.param(
            "",
            "/k?X-Amz-Credential=AKIA%2F20150830%2Fus-east-1%2Fs3%2Faws4_request&x=1",
            "s3",
            id="query",
        ),
        pytest.param("Bearer abc", "/", "", id="other scheme"),
        pytest.param("AWS4-HMAC-SHA256 nonsense", "/", "", id="nonsense"),
        pytest.param("", "/", "", id="none"),
    ],
)
def test_service_is_the_name_it_is_signed_for(authorization, target, service):
    assert signing_name(authorization, target) == service


@pytest.mark.parametrize(
    ("request_line", "named", "operation"),
    [
        pytest.param(
            ("dynamodb", "POST", "/"), "DynamoDB_20120810.PutItem", "PutItem", id="target"
        ),
        pytest.param(
            ("sqs", "GET", "/?Action=SendMessage&Version=1"), "", "SendMessage", id="query"
        ),
        pytest.param(
            ("lambda", "POST", "/2015-03-31/functions/f/invocations"), "", "Invoke", id="invoke"
        ),
        pytest.param(("lambda", "GET", "/2015-03-31/functions/f"), "", "", id="other"),
        pytest.param(
            ("lambda", "POST", "/2021-11-15/functions/f/response-streaming-invocations"),
            "",
            "InvokeWithResponseStream",
            id="streaming",
        ),
        pytest.param(
            ("cw", "POST", "/service/Granite/operation/PutMetricData"),
            "",
            "PutMetricData",
            id="rpc",
        ),
        pytest.param(("", "POST", "/?Action=Steal"), "X.Y", "", id="not AWS"),
    ],
)
def test_operation(request_line, named, operation):
    assert operation_of(*request_line, named) == operation
