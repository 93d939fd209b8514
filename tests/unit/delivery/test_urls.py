"""Posting to URLs: what is sent, what an answer means, and where nothing is sent to."""

import asyncio
import contextlib

import pytest

from forerun.control.delivery.urls import UrlTarget, meaning_of, request_of
from forerun.control.outside import read_url
from forerun.errors import AccessDenied, InvalidInput, NotFound
from forerun.model import Message


def message(url="http://localhost/", payload=b'{"a":1}', **attributes):
    return Message(
        id="m",
        account="1" * 12,
        source="s",
        principal="sns.amazonaws.com",
        target=url,
        payload=payload,
        attributes=attributes,
    )


@contextlib.asynccontextmanager
async def serving(answer):
    """A server on loopback; ``answer`` makes bytes of a request, or hangs."""
    requests = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        requests.append((head, await reader.readexactly(length)))
        with contextlib.suppress(ConnectionError):
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", requests
    finally:
        server.close()


def says(data):
    async def answer(writer):
        writer.write(data)
        await writer.drain()

    return answer


async def post(target, url, **attributes):
    [answer] = await target.deliver(url, [message(url, **attributes)])
    return answer


@pytest.fixture
def target():
    return UrlTarget(timeout_s=5.0, private=True)


async def test_the_payload_is_posted_with_the_headers_that_the_message_has(target):
    async with serving(says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as (url, requests):
        attributes = {"header:X-One": "1", "header:Content-Type": "text/plain", "Subject": "no"}
        assert await post(target, f"{url}/hook/%20?a=b", **attributes) is None
    [(head, body)] = requests
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook/%20?a=b HTTP/1.1"
    assert {"x-one: 1", "content-type: text/plain", "content-length: 7"} <= set(lines)
    assert "no" not in head.decode().lower().split()
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
    ],
    ids=["204", "continue", "1.0"],
)
async def test_success_has_several_forms(target, head):
    async with serving(says(head)) as (url, _):
        assert await post(target, url) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, NotFound),
        (410, NotFound),
        (403, AccessDenied),
        (400, InvalidInput),
        (302, InvalidInput),
    ],
)
async def test_some_answers_are_for_good(target, status, error):
    head = f"HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\n\r\n".encode()
    async with serving(says(head)) as (url, requests):
        assert isinstance(await post(target, url), error)
    assert len(requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_other_answers_are_tried_again(status):
    error = meaning_of(status, "u")
    assert not isinstance(error, NotFound | AccessDenied | InvalidInput)
    assert str(status) in error.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 2",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
    ids=["nothing", "no-http", "endless-head", "half", "another-protocol"],
)
async def test_answers_that_are_none_are_tried_again(target, data):
    async with serving(says(data)) as (url, _):
        error = await post(target, url)
    assert error is not None
    assert not isinstance(error, NotFound | AccessDenied | InvalidInput)


async def test_nobody_there_is_tried_again(target):
    async with serving(says(b"")) as (url, _):
        pass
    assert "could not be reached" in (await post(target, url)).message
    assert "could not be reached" in (await post(target, "http://no-such-host.invalid/")).message


async def test_a_host_that_cannot_be_looked_up_is_for_good(target):
    assert isinstance(await post(target, f"http://{'a' * 70}.example/"), InvalidInput)
    assert isinstance(await post(target, "http://a..b/"), InvalidInput)


async def test_an_answer_that_does_not_come_ends_at_the_deadline():
    gone = asyncio.Event()

    async def drip(writer):
        while not gone.is_set():
            writer.write(b"x" if not writer.transport.is_closing() else b"")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), 0.01)

    async def hang(_writer):
        await gone.wait()

    quick = UrlTarget(timeout_s=0.2, private=True)
    async with serving(hang) as (url, _):
        assert "within 0.2 s" in (await post(quick, url)).message
    async with serving(drip) as (url, _):
        assert await post(quick, url) is not None
    gone.set()


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
async def test_nothing_is_posted_to_where_machines_are_told_of_themselves(target, host):
    assert isinstance(await post(target, f"http://{host}/latest/meta-data"), AccessDenied)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "[::1]", "localhost"])
async def test_an_operator_can_close_the_local_network(host):
    public = UrlTarget(timeout_s=5.0, private=False)
    error = await post(public, f"http://{host}:9/")
    assert isinstance(error, AccessDenied)
    assert "events.private_urls" in error.message


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "http://",
        "http:///x",
        "http://user:secret@example.org/",
        "http://example.org:99999/",
        "http://exa mple.org/",
        "http://example.org/a b",
        "http://example.org/\r\nx: y",
        "http://example.org/ü",
        "http://[::1",
    ],
)
def test_urls_that_are_none_are_refused(url):
    with pytest.raises(InvalidInput):
        request_of(read_url(url), message(url))


@pytest.mark.parametrize(
    ("name", "value"),
    [("header:a b", "x"), ("header:", "x"), ("header:x", "a\r\nb: c"), ("header:x\n", "a")],
    ids=["space", "empty", "injected", "newline"],
)
def test_headers_that_are_none_are_refused(name, value):
    with pytest.raises(InvalidInput):
        request_of(read_url("http://example.org/"), message(**{name: value}))


def test_a_message_cannot_say_how_long_or_for_whom_it_is():
    attributes = {
        "header:Host": "evil",
        "header:Content-Length": "0",
        "header:Transfer-Encoding": "chunked",
    }
    sent = request_of(read_url("https://[::1]:8443/x"), message(**attributes)).decode().lower()
    assert "host: [::1]:8443\r\n" in sent
    assert "content-length: 7\r\n" in sent
    assert "evil" not in sent
    assert "chunked" not in sent
