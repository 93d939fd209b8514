"""Function URLs: requests become payload format 2.0, results become HTTP responses."""

import base64
import json

import pytest

from forerun.api.caller import Caller
from forerun.api.url_events import (
    BadHandlerResponse,
    HttpRequest,
    buffered_response,
    cors_headers,
    request_event,
)


def event(**changes):
    request = HttpRequest(
        method="POST",
        path="/a%20b",
        query="x=1&x=2&y=",
        headers=[(b"host", b"h"), (b"cookie", b"a=1; b=2"), (b"accept", b"p"), (b"accept", b"q")],
        body=b"",
        source_ip="127.0.0.1",
        protocol="HTTP/1.1",
    )._replace(**{name: value for name, value in changes.items() if name != "caller"})
    return json.loads(
        request_event(
            request,
            url_id="u1",
            domain="u1.lambda-url.test",
            request_id="r",
            now=1.5,
            caller=changes.get("caller"),
        )
    )


def test_event_has_the_members_of_format_2():
    made = event()
    assert made["version"] == "2.0"
    assert made["rawPath"] == "/a%20b"
    assert made["rawQueryString"] == "x=1&x=2&y="
    assert made["queryStringParameters"] == {"x": "1,2", "y": ""}
    assert made["headers"]["accept"] == "p,q"
    assert made["cookies"] == ["a=1", "b=2"]
    assert made["requestContext"]["http"]["method"] == "POST"
    assert made["requestContext"]["timeEpoch"] == 1500
    assert made["requestContext"]["accountId"] == "anonymous"
    assert "body" not in made


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        (b"application/json", b"{}", False),
        (b"text/plain; charset=utf-8", "ä".encode(), False),
        (b"application/problem+json", b"{}", False),
        (b"application/octet-stream", b"abc", True),
        (b"text/plain", b"\xff", True),
    ],
)
def test_body_is_text_or_base64(content_type, body, encoded):
    made = event(headers=[(b"content-type", content_type)], body=body)
    assert made["isBase64Encoded"] is encoded
    assert (base64.b64decode(made["body"]) if encoded else made["body"].encode()) == body


def test_signed_callers_are_named():
    caller = Caller(
        account="1" * 12, region="r", principal_arn="arn:x", access_key_id="AK", request_id="r"
    )
    assert event(caller=caller)["requestContext"]["authorizer"]["iam"]["userArn"] == "arn:x"


def test_plain_results_are_json_bodies():
    assert buffered_response(b'{"a":1}').body == b'{"a":1}'
    assert buffered_response(b'"text"').body == b'"text"'
    for unreadable in (b"[" * 100_000, b'{"statusCode": "\xff"}'):
        assert buffered_response(unreadable).body == unreadable


def test_whole_responses():
    made = buffered_response(
        json.dumps(
            {
                "statusCode": 201,
                "headers": {"X-A": "b", "Content-Length": "9"},
                "cookies": ["c=1"],
                "body": base64.b64encode(b"\x00\x01").decode(),
                "isBase64Encoded": True,
            }
        ).encode()
    )
    assert made.status == 201
    assert made.body == b"\x00\x01"
    assert (b"x-a", b"b") in made.headers
    assert (b"set-cookie", b"c=1") in made.headers
    assert not [name for name, _ in made.headers if name == b"content-length"]


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "x"},
        {"statusCode": 99},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
        {"statusCode": 200, "body": "%%", "isBase64Encoded": True},
    ],
)
def test_results_of_a_wrong_kind_are_refused(result):
    with pytest.raises(BadHandlerResponse):
        buffered_response(json.dumps(result).encode())


def test_cors_answers_only_allowed_origins():
    cors = {"AllowOrigins": ["https://a"], "AllowMethods": ["GET"], "MaxAge": 5}
    assert cors_headers(cors, "https://b", preflight=True) == []
    assert cors_headers(None, "https://a", preflight=True) == []
    made = dict(cors_headers(cors, "https://a", preflight=True))
    assert made[b"access-control-allow-methods"] == b"GET"
    assert made[b"access-control-max-age"] == b"5"
