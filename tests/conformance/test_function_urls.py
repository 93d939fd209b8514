"""Function URLs over plain HTTP: buffered and streamed, open and signed."""

import base64
import json
import socket
import uuid

import pytest
from tests.servers import Answer, Server

pytestmark = pytest.mark.conformance

SHOW = (
    "import json\n"
    "def handler(event, context):\n"
    "    return {'statusCode': 201, 'headers': {'x-shade': 'teal', 'content-type': 'application/json'},\n"
    "            'cookies': ['a=1; Path=/'], 'body': json.dumps(event)}\n"
)


def make_url(server: Server, name: str, **more: object) -> str:
    """The path that the URL begins with, without a slash at its end."""
    made = server.lambda_.create_function_url_config(FunctionName=name, **more)
    if more["AuthType"] == "NONE":
        server.lambda_.add_permission(
            FunctionName=name,
            StatementId=f"open-{uuid.uuid4().hex[:6]}",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
    return path_of(server, made)


def path_of(server: Server, made: dict[str, object]) -> str:
    url = str(made["FunctionUrl"])
    assert url.startswith(server.endpoint + "/")
    assert url.endswith("/")
    return url.removeprefix(server.endpoint).rstrip("/")


def visit(
    server: Server,
    base: str,
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    **headers: str,
) -> Answer:
    return server.request(method, base + path, body, headers)


def test_request_and_response_of_a_url(server: Server):
    base = make_url(server, server.function(SHOW), AuthType="NONE")
    answer = visit(
        server, base, "POST", "/orders/7?a=1&b=2&a=3", b"text", **{"Content-Type": "text/plain"}
    )
    assert answer.status == 201
    assert answer.headers["x-shade"] == "teal"
    assert answer.headers["set-cookie"] == "a=1; Path=/"
    event = answer.json()
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/orders/7", "a=1&b=2&a=3")
    assert event["queryStringParameters"] == {"a": "1,3", "b": "2"}
    assert event["requestContext"]["http"]["method"] == "POST"
    assert (event["body"], event["isBase64Encoded"]) == ("text", False)


def test_urls_answer_under_their_host_name_too(server: Server):
    """As AWS's URLs: the id is the first label of the host, and the path is all the caller's."""
    base = make_url(server, server.function(SHOW), AuthType="NONE")
    host = f"{base.rpartition('/')[2]}.lambda-url.{server.region}.localhost"
    answer = server.request("GET", "/orders", headers={"Host": host})
    assert (answer.status, answer.json()["rawPath"]) == (201, "/orders")


def test_url_of_an_alias_follows_its_weights(server: Server):
    lam = server.lambda_
    version = "def handler(event, context):\n    return context.function_version\n"
    name = server.function(version, Publish=True)
    lam.update_function_configuration(FunctionName=name, Description="second")
    assert lam.publish_version(FunctionName=name)["Version"] == "2"
    lam.create_alias(
        FunctionName=name,
        Name="canary",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}},
    )
    made = lam.create_function_url_config(FunctionName=name, Qualifier="canary", AuthType="NONE")
    lam.add_permission(
        FunctionName=name,
        Qualifier="canary",
        StatementId="open",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    base = path_of(server, made)
    seen = {visit(server, base).body.strip(b'"') for _ in range(40)}
    assert seen == {b"1", b"2"}


def test_binary_bodies_both_ways(server: Server):
    name = server.function(
        "def handler(event, context):\n"
        "    return {'statusCode': 200, 'isBase64Encoded': True, 'body': event['body'],\n"
        "            'headers': {'content-type': 'image/png'}}\n"
    )
    base = make_url(server, name, AuthType="NONE")
    body = bytes(range(256))
    answer = visit(server, base, "PUT", "/", body, **{"Content-Type": "application/octet-stream"})
    assert (answer.status, answer.body) == (200, body)


def test_plain_results_are_json_bodies(server: Server):
    name = server.function("def handler(event, context):\n    return {'a': 1}\n")
    answer = visit(server, make_url(server, name, AuthType="NONE"))
    assert (answer.status, answer.json()) == (200, {"a": 1})


def test_errors_of_the_function_are_502(server: Server):
    name = server.function("def handler(event, context):\n    raise ValueError('secret')\n")
    answer = visit(server, make_url(server, name, AuthType="NONE"))
    assert answer.status == 502
    assert b"secret" not in answer.body
    assert answer.json()


def test_cors_preflight(server: Server):
    name = server.function("def handler(event, context):\n    return 1\n")
    cors = {"AllowOrigins": ["https://shop.test"], "AllowMethods": ["GET"], "MaxAge": 60}
    base = make_url(server, name, AuthType="NONE", Cors=cors)
    answer = visit(
        server,
        base,
        "OPTIONS",
        **{"Origin": "https://shop.test", "Access-Control-Request-Method": "GET"},
    )
    assert answer.headers["access-control-allow-origin"] == "https://shop.test"
    plain = visit(server, base, Origin="https://shop.test")
    assert plain.headers["access-control-allow-origin"] == "https://shop.test"


def test_iam_urls_want_a_signature(server: Server):
    base = make_url(server, server.function(SHOW), AuthType="AWS_IAM")
    assert visit(server, base).status == 403
    answer = server.request("GET", base + "/", headers=server.signed("GET", base + "/"))
    assert answer.status == 201
    authorizer = answer.json()["requestContext"]["authorizer"]["iam"]
    assert authorizer["accountId"] == server.account


def test_an_open_url_without_permission_is_shut(server: Server):
    name = server.function(SHOW)
    made = server.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert visit(server, path_of(server, made)).status == 403


def test_unknown_url(server: Server):
    base = make_url(server, server.function(SHOW), AuthType="NONE")
    unknown = base[:-4] + "zzzz"
    answer = visit(server, unknown)
    assert answer.status in (403, 404)
    assert "html" not in answer.headers.get("content-type", "")


def test_life_of_a_url(server: Server, refused):
    lam = server.lambda_
    name = server.function(SHOW)
    with refused("ResourceNotFoundException", 404):
        lam.get_function_url_config(FunctionName=name)
    base = make_url(server, name, AuthType="NONE")
    with refused("ResourceConflictException", 409):
        lam.create_function_url_config(FunctionName=name, AuthType="NONE")
    changed = lam.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert changed["AuthType"] == "AWS_IAM"
    assert visit(server, base).status == 403
    listed = lam.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert len(listed) == 1
    lam.delete_function_url_config(FunctionName=name)
    assert visit(server, base).status in (403, 404)


STREAM = """
export const handler = awslambda.streamifyResponse(async (event, out) => {
  out = awslambda.HttpResponseStream.from(out, { statusCode: 203, headers: { 'x-kind': 'stream' } });
  out.write('first;');
  await new Promise((go) => setTimeout(go, 700));
  out.write('second');
  out.end();
});
"""


def test_streams_arrive_as_they_are_written(server: Server):
    name = server.function(
        {"index.mjs": STREAM}, runtime="nodejs20.x", handler="index.handler", Timeout=10
    )
    base = make_url(server, name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    with socket.create_connection(server.address, timeout=20) as sock:
        sock.sendall(f"GET {base}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        seen = b""
        while b"first;" not in seen:
            piece = sock.recv(65536)
            assert piece, seen
            seen += piece
        assert b"second" not in seen, "the first part came before the second was written"
        while piece := sock.recv(65536):
            seen += piece
    head, _, _ = seen.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 203")
    assert b"x-kind: stream" in head.lower()
    assert b"second" in seen


def test_url_of_a_python_function_in_stream_mode(server: Server):
    name = server.function(SHOW)
    base = make_url(server, name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    answer = visit(server, base)
    assert answer.status in (200, 201)
    assert b"rawPath" in answer.body or base64.b64decode(json.loads(answer.body)["body"])
