"""Whom a call is to: functions by their names however they are written, AWS's services, and addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.profiles.events import ACCOUNT, OTHER, PLATFORM, call, invoke

from forerun.profiles.naming import Callee, callee_of

ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:B"
THEIRS = f"arn:aws:lambda:us-east-1:{OTHER}:function:B"


def named(one):
    return callee_of(one, ACCOUNT, {PLATFORM})


@pytest.mark.parametrize(
    ("asked", "name", "qualifier"),
    [
        ("B", "B", ""),
        ("B:live", "B", "live"),
        ("B%3A7", "B", "7"),
        ("%24LATEST", None, None),
        (f"{ACCOUNT}:function:B", "B", ""),
        (ARN, "B", ""),
        (f"{ARN}:live", "B", "live"),
        (ARN.replace(":", "%3A"), "B", ""),
        (THEIRS, f"{OTHER}:function:B", ""),
    ],
)
def test_functions_are_named_alike_however_they_are_asked_for(asked, name, qualifier):
    found = named(invoke(asked))
    if name is None:
        assert found[:2] == ("service", "aws:lambda")
    else:
        assert found == Callee("function", name, "", qualifier, "Invoke")


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/B/invocations",
        "/2015-03-31/functions/B/invocations/",
        "/2014-11-13/functions/B/invoke-async/",
        "/2021-11-15/functions/B/response-streaming-invocations",
    ],
)
def test_every_way_to_invoke_is_known(path):
    assert named(invoke("B", path=path))[:2] == ("function", "B")


def test_lambda_elsewhere_is_a_service():
    elsewhere = invoke("B")
    elsewhere.host = "lambda.us-east-1.amazonaws.com:443"
    found = named(elsewhere)
    assert (found.kind, found.name, found.operation) == ("service", "aws:lambda", "Invoke")


@pytest.mark.parametrize(
    ("made", "name", "operation"),
    [
        (call("db.local:5432", path="/items/*"), "db.local:5432", "GET /items/*"),
        (call("s3:443", service="s3", operation="PutObject"), "aws:s3", "PutObject"),
        (call("s3:443", service="s3"), "aws:s3", "GET /x"),
        (
            call(PLATFORM, service="lambda", path="/2015-03-31/functions"),
            "aws:lambda",
            "GET /2015-03-31/functions",
        ),
        (call(PLATFORM, path="/lambda-url/abc/x"), "function-url", "GET /lambda-url/abc/x"),
        (call(PLATFORM, path="/health"), "forerun", "GET /health"),
        (call("", method="", path="", kind="connection"), "unknown", ""),
    ],
    ids=["address", "operation", "no operation", "lambda", "url", "platform", "nothing known"],
)
def test_services_are_named_by_what_is_known(made, name, operation):
    assert named(made) == Callee("service", name, "", "", operation)


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300), st.booleans())
def test_whatever_a_function_says_has_a_name_of_bounded_length(host, path, service, home):
    found = named(call(PLATFORM if home else host, path=path, service=service, operation=path))
    assert found.kind in ("function", "service")
    assert found.name
    assert len(found.name) <= 210
    assert len(found.operation) <= 200
