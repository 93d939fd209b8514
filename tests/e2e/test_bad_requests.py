"""Requests made to harm or to deceive, on plain sockets: each is refused or cut off, and others are served meanwhile."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.servers import Server, running

pytestmark = pytest.mark.slow

ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits one second for what is missing."""
    settings = {
        "FORERUN_SERVER_HEADER_TIMEOUT_S": "1",
        "FORERUN_SERVER_BODY_TIMEOUT_S": "1",
        "FORERUN_SERVER_MAX_CONNECTIONS": "300",
    }
    with running(tmp_path_factory.mktemp("impatient") / "data", settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def echo(impatient: Server) -> str:
    return impatient.function(ECHO)


@contextmanager
def connection(server: Server, first: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=10) as sock:
        sock.sendall(first)
        yield sock


def rest(sock: socket.socket) -> bytes:
    """Everything until the server closes; fails after the socket's time-out."""
    seen = b""
    try:
        while piece := sock.recv(65536):
            seen += piece
    except ConnectionResetError:
        pass
    return seen


@pytest.mark.parametrize(
    "start",
    [b"", b"PO", b"POST /x HTTP/1.1\r\nHos", b"GET / HTTP/1.1\r\nHost: a\r\n"],
    ids=["nothing", "method", "header", "no-end"],
)
def test_half_a_head_is_cut_off(impatient: Server, echo: str, start: bytes):
    with connection(impatient, start) as sock:
        assert impatient.call(echo, 1) == 1
        answer = rest(sock)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))


def test_half_a_body_is_cut_off(impatient: Server, echo: str):
    path = f"/2015-03-31/functions/{echo}/invocations"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    with connection(impatient, head + b'{"a"') as sock:
        assert impatient.call(echo, 2) == 2
        answer = rest(sock)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_client_that_leaves_in_the_middle(impatient: Server, echo: str):
    path = f"/2015-03-31/functions/{echo}/invocations"
    body = b'{"a": 1}'
    signed = impatient.signed("POST", path, body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
    for cut in (len(head) // 2, len(head), len(head) + 3, len(head) + len(body)):
        with connection(impatient, (head + body)[:cut]):
            pass
    assert impatient.call(echo, 3) == 3


def test_one_byte_at_a_time_has_an_end(impatient: Server):
    """A head that trickles in is cut off although each byte came in time."""
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-Slow: " + b"a" * 1000
    with connection(impatient) as sock:
        sock.settimeout(0.05)
        began = time.monotonic()
        for byte in head:
            try:
                sock.send(bytes([byte]))
                if not sock.recv(100):
                    break
            except TimeoutError:
                assert time.monotonic() - began < 8
                continue
            except OSError:
                break
            break
        else:
            pytest.fail("the whole head was taken")
    assert time.monotonic() - began < 8


def test_many_silent_connections(impatient: Server, echo: str):
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connection(impatient))
        assert impatient.call(echo, 4) == 4


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n",
    ],
    ids=[
        "tls",
        "version",
        "no-path",
        "negative",
        "two-lengths",
        "length-and-chunks",
        "chunk-size",
        "header-name",
        "huge-header",
        "huge-body",
    ],
)
def test_malformed_heads(impatient: Server, echo: str, head: bytes):
    with connection(impatient) as sock:
        try:
            sock.sendall(head)
        except OSError:
            answer = b""
        else:
            answer = rest(sock)
    assert answer == b"" or answer.split(b" ")[1][:1] == b"4", answer[:200]
    assert b"<html" not in answer.lower()
    assert impatient.call(echo, 5) == 5


def test_expect_continue(impatient: Server, echo: str):
    path, body = f"/2015-03-31/functions/{echo}/invocations", b'"waited"'
    signed = impatient.signed("POST", path, body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with connection(impatient, head.encode()) as sock:
        assert sock.recv(65536).startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        assert rest(sock).endswith(body)


# Signatures

PATH = "/2015-03-31/functions"


def code_of(server: Server, headers: dict[str, str], body: bytes = b"", path: str = PATH) -> str:
    """Send it; the code of the refusal, which must be of AWS's shape."""
    method = "POST" if body else "GET"
    answer = server.request(method, path, body, headers)
    assert answer.status in (400, 403), answer
    assert "json" in answer.headers["content-type"]
    message = json.loads(answer.body)
    assert message.get("message") or message.get("Message")
    assert server.secret_key.encode() not in answer.body
    return answer.headers["x-amzn-errortype"].partition(":")[0]


def test_signed_well(server: Server):
    assert server.request("GET", PATH, headers=server.signed("GET", PATH)).status == 200


def test_no_signature(server: Server):
    assert code_of(server, {}) == "MissingAuthenticationTokenException"


def test_wrong_secret(server: Server):
    headers = server.signed("GET", PATH, keys=(server.access_key, "x" * 40))
    assert code_of(server, headers) in ("InvalidSignatureException", "SignatureDoesNotMatch")


def test_unknown_key(server: Server):
    headers = server.signed("GET", PATH, keys=("AKIAXXXXXXXXXXXXXXXX", "x" * 40))
    assert code_of(server, headers) in ("UnrecognizedClientException", "InvalidClientTokenId")


def test_commands_of_the_platform_are_short(server: Server):
    path, body = "/forerun/test-metaevent", b" " * (1024 * 1024 + 1)
    headers = server.signed("POST", path, body, service="forerun")
    assert server.request("POST", path, body, headers).status == 413


def test_unknown_region(server: Server):
    headers = server.signed("GET", PATH, region="us-moon-1")
    assert code_of(server, headers) in ("InvalidSignatureException", "SignatureDoesNotMatch")


@pytest.mark.parametrize("skew_s", [-3600, -310, 310, 3600])
def test_outside_the_clock_window(server: Server, skew_s: float):
    """A request that was recorded cannot be sent again later; nor can one be signed ahead."""
    headers = server.signed("GET", PATH, skew_s=skew_s)
    assert code_of(server, headers) in ("InvalidSignatureException", "SignatureDoesNotMatch")


@pytest.mark.parametrize("skew_s", [-280, 280])
def test_inside_the_clock_window(server: Server, skew_s: float):
    assert (
        server.request("GET", PATH, headers=server.signed("GET", PATH, skew_s=skew_s)).status == 200
    )


def test_signature_of_another_body(server: Server):
    name = server.function(ECHO)
    path = f"{PATH}/{name}/invocations"
    headers = server.signed("POST", path, b'{"a": 1}')
    assert code_of(server, headers, b'{"a": 2}', path) in (
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    )


def test_signature_of_another_path(server: Server):
    headers = server.signed("GET", PATH)
    assert code_of(server, headers, path=PATH + "?MaxItems=1") in (
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    )


@pytest.mark.parametrize(
    "value",
    ["", "Bearer abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c"],
)
def test_malformed_authorization(server: Server, value: str):
    assert code_of(server, {"Authorization": value}).endswith(("Exception", "Signature"))
