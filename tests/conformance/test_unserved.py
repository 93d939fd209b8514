"""What is not served answers an error of AWS's shape, which every client can read; never HTML."""

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("lambda", "list_code_signing_configs", {}),
        ("lambda", "list_capacity_providers", {}),
        ("s3", "list_bucket_metrics_configurations", {"Bucket": "any-bucket"}),
        ("dynamodb", "list_tables", {}),
        ("cloudformation", "list_stacks", {}),
        ("kinesis", "list_streams", {}),
        ("apigatewayv2", "get_apis", {}),
        ("iam", "list_virtual_mfa_devices", {}),
        ("logs", "describe_queries", {}),
    ],
)
def test_clients_understand_the_refusal(
    server: Server, service: str, call: str, arguments: dict[str, object]
):
    with pytest.raises(ClientError) as caught:
        getattr(server.client(service), call)(**arguments)
    response = caught.value.response
    assert 400 <= response["ResponseMetadata"]["HTTPStatusCode"] <= 501
    code = response["Error"]["Code"]
    assert code
    assert not code.isdigit(), response
    assert "<" not in code
    assert response["Error"]["Message"]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/2015-03-31/functions/a/b/c", "/%00", "//"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_unknown_paths(server: Server, method: str, path: str):
    answer = server.request(method, path)
    assert 400 <= answer.status < 500
    assert "html" not in answer.headers.get("content-type", "")
    assert answer.body[:1] in (b"{", b"<")
    assert b"<html" not in answer.body.lower()


def test_health_needs_no_key(server: Server):
    answer = server.request("GET", "/health")
    assert answer.status == 200
    assert answer.json()
