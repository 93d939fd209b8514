import pytest

from forerun.model import OutgoingCall
from forerun.profiles.reading import only_reads


@pytest.mark.parametrize(
    ("method", "service", "operation", "reads"),
    [
        ("GET", "", "", True),
        ("HEAD", "s3", "", True),
        ("POST", "", "", False),
        ("", "", "", False),
        ("POST", "dynamodb", "GetItem", True),
        ("POST", "dynamodb", "BatchGetItem", True),
        ("POST", "dynamodb", "Query", True),
        ("POST", "dynamodb", "PutItem", False),
        ("POST", "lambda", "Invoke", False),
        ("GET", "s3", "PutObject", False),
        ("POST", "", "GetItem", False),
    ],
)
def test_what_only_reads(method, service, operation, reads):
    call = OutgoingCall(
        span_id="0" * 16, started=0.0, method=method, service=service, operation=operation
    )
    assert only_reads(call) is reads
