"""The HTTP server's own bounds: heads, versions, bodies, and sockets that go."""

import asyncio
import contextlib
import socket

import pytest

from forerun.aio import BodyTooLarge, BodyTooSlow, HttpServer, read_body


async def echo(scope, receive, send):
    try:
        body = await read_body(receive, limit=1000, timeout_s=0.05)
        status = 200
    except BodyTooLarge:
        body, status = b"large", 413
    except BodyTooSlow:
        body, status = b"slow", 408
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def exchange():
    server = HttpServer(echo)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await server.listen(sock)
    port = sock.getsockname()[1]

    async def send(raw, *, eof=False):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        if eof:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(4096), 5)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer

    yield send
    await server.close(grace_s=1)


async def test_answers(exchange):
    assert (await exchange(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")).endswith(
        b"abc"
    )


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST / HTTP/3.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", b"400"),
        (b"POST / \nhost: x\ncontent-length: 3\n\nabc", b"400"),
        (b"GET / HTTP/0.9\r\nhost: x\r\n\r\n", b"505"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 70_000, b"431"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3000\r\n\r\n" + b"a" * 3000, b"413"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\nabc", b"408"),
    ],
)
async def test_bad_requests_get_an_answer(exchange, raw, status):
    assert (await exchange(raw)).startswith(b"HTTP/1.1 " + status)


async def test_a_forgotten_socket_is_closed():
    server = HttpServer(echo)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    listening = await server.listen(sock)
    port = sock.getsockname()[1]
    server.forget(listening)
    await listening.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.close(grace_s=1)
