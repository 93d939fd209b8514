"""Connections that are opened by other means than HTTP."""

import socket

import pytest


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


WAYS = {
    "create_connection": 'socket.create_connection(("localhost", port)).close()',
    "connect by name": 'socket.socket().connect(("localhost", port))',
    "address looked up": """
            address = socket.getaddrinfo("localhost", port, socket.AF_INET)[0][4]
            socket.socket().connect(address)""",
    "gethostbyname": 'socket.socket().connect((socket.gethostbyname("localhost"), port))',
    "connect_ex": """
            address = socket.gethostbyname("localhost")
            assert socket.socket().connect_ex((address, port)) == 0""",
    "with a timeout": 'socket.create_connection(("localhost", port), 2).close()',
    "asyncio": """
            async def opened():
                _, writer = await asyncio.open_connection("localhost", port)
                writer.close()
            asyncio.run(opened())""",
    "without waiting": """
            sock = socket.socket()
            sock.setblocking(False)
            socket.getaddrinfo("localhost", port)
            try:
                sock.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass""",
}


def function(body):
    return f"""
        import asyncio, socket
        def handler(port, context):
            {body}
    """


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_is_recorded_by_the_name_it_was_asked_for(start, listener, interpreter, way):
    driver = start(function(WAYS[way]), interpreter=interpreter)
    driver.inited()
    _, (call,) = driver.monitored(listener)
    assert (call.kind, call.host, call.error) == ("connection", f"localhost:{listener}", "")
    assert (call.method, call.path, call.status, call.injected) == ("", "", 0, False)
    assert 0 < call.started <= call.ended
    driver.spans = {}
    driver.invoke(listener)
    assert driver.spans == {}


def test_an_address_that_nobody_looked_up(start, listener):
    driver = start(function('socket.create_connection(("127.0.0.1", port)).close()'))
    driver.inited()
    _, (call,) = driver.monitored(listener)
    assert call.host == f"127.0.0.1:{listener}"


REFUSED = {
    "create_connection": 'socket.create_connection(("localhost", port))',
    "connect": 'socket.socket().connect(("localhost", port))',
    "asyncio": 'asyncio.run(asyncio.open_connection("localhost", port))',
    "connect_ex": 'raise OSError(socket.socket().connect_ex(("127.0.0.1", port)), "")',
}


@pytest.mark.parametrize("way", REFUSED)
def test_refused(start, way):
    driver = start(
        f"""
        import asyncio, socket
        def handler(port, context):
            try:
                {REFUSED[way]}
            except OSError as error:
                return type(error).__name__
        """
    )
    driver.inited()
    answer, (call,) = driver.monitored(1)
    assert call.kind == "connection"
    assert call.ended >= call.started
    assert answer == "ConnectionRefusedError" or way == "asyncio"
    assert call.error == answer


def test_unix_sockets_have_their_path(start, tmp_path):
    path = str(tmp_path / "here.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        driver = start(function("socket.socket(socket.AF_UNIX).connect(port)"))
        driver.inited()
        _, (call,) = driver.monitored(path)
        assert (call.kind, call.host) == ("connection", f"unix:{path}")


def test_datagrams_are_no_connections(start):
    driver = start(function('socket.socket(type=socket.SOCK_DGRAM).connect(("127.0.0.1", port))'))
    driver.inited()
    assert driver.monitored(9) == (None, [])


def test_a_connection_becomes_the_http_call_it_was_opened_for(start, web):
    driver = start(
        """
        import http.client, socket
        def handler(port, context):
            connection = http.client.HTTPConnection("somewhere", port)
            connection.sock = socket.create_connection(("localhost", port))
            for _ in range(2):
                connection.request("GET", "/")
                connection.getresponse().read()
        """
    )
    driver.inited()
    _, calls = driver.monitored(web.port)
    assert [(call.kind, call.host) for call in calls] == [("http", f"somewhere:{web.port}")] * 2
    told = list(driver.spans.values())
    assert [(call.kind, bool(call.ended)) for call in told[0]] == [
        ("connection", False),
        ("connection", True),
        ("http", False),
        ("http", True),
    ]
    assert len({call.started for call in told[0]}) == 1
    assert len(told[1]) == 2


def test_many_connections_are_bounded_in_memory(start, listener):
    driver = start(
        """
        import socket
        from forerun.runtime import calls
        def handler(port, context):
            for _ in range(40):
                socket.create_connection(("127.0.0.1", port)).close()
            return len(calls.current.opened) <= 1024 and len(calls.current._unfinished)
        """
    )
    driver.inited()
    left, made = driver.monitored(listener)
    assert left == 0
    assert len(made) == 40
