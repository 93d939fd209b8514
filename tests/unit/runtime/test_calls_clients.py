"""Calls by clients that do not stand on ``http.client``: httpx, blocking and not, and aiohttp."""

from pathlib import Path

import msgspec
import pytest
from tests.unit.runtime.driver import TRACE_ID
from tests.unit.runtime.web import carried_by, certificate, served

pytest.importorskip("httpx")
pytest.importorskip("aiohttp")

LIBRARIES = [str(Path(msgspec.__file__).parents[1])]
# Each offers fetch(session, method, url, body) and run(function of a session).
CLIENTS = {
    "httpx": """
        import httpx, ssl
        def fetch(client, method, url, body=None):
            response = client.request(method, url, content=body)
            return [response.status_code, response.text]
        def handler(event, context):
            options = {"verify": ssl.create_default_context(cafile=event["trust"])} if event.get("trust") else {}
            with httpx.Client(timeout=0.5, follow_redirects=True, **options) as client:
                return [attempt(client, *call) for call in event["calls"]]
        def attempt(client, *call):
            try:
                return fetch(client, *call)
            except Exception as error:
                return type(error).__name__
    """,
    "httpx async": """
        import asyncio, httpx, ssl
        async def attempt(client, method, url, body=None):
            try:
                response = await client.request(method, url, content=body)
                return [response.status_code, response.text]
            except Exception as error:
                return type(error).__name__
        async def work(event):
            options = {"verify": ssl.create_default_context(cafile=event["trust"])} if event.get("trust") else {}
            async with httpx.AsyncClient(timeout=0.5, follow_redirects=True, **options) as client:
                return [await attempt(client, *call) for call in event["calls"]]
        def handler(event, context):
            return asyncio.run(work(event))
    """,
    "aiohttp": """
        import aiohttp, asyncio, ssl
        async def attempt(session, method, url, body=None):
            try:
                async with session.request(method, url, data=body and body.encode()) as response:
                    return [response.status, await response.text()]
            except Exception as error:
                return type(error).__name__
        async def work(event):
            options = {"ssl": ssl.create_default_context(cafile=event["trust"])} if event.get("trust") else {}
            connector = aiohttp.TCPConnector(**options)
            timeout = aiohttp.ClientTimeout(total=0.5)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                return [await attempt(session, *call) for call in event["calls"]]
        def handler(event, context):
            return asyncio.run(work(event))
    """,
}


@pytest.fixture
def library(start):
    def starter(source):
        driver = start(source, library_paths=LIBRARIES)
        report = driver.inited()
        assert "error" not in report, report
        return driver

    return starter


@pytest.fixture(params=CLIENTS)
def client(request, library):
    return library(CLIENTS[request.param])


def test_calls_are_seen_and_marked(client, web):
    url = f"http://localhost:{web.port}/things/5?x=1"
    event = {"calls": [("GET", url), ("POST", url, "hello"), ("GET", url), ("HEAD", url)]}
    answers, calls = client.monitored(event)
    assert answers == [[200, "0123456789"]] * 3 + [[200, ""]]
    assert web.carried == [carried_by(call) for call in calls]
    assert [(call.kind, call.method, call.status, call.sent_bytes) for call in calls] == [
        ("http", "GET", 200, 0),
        ("http", "POST", 200, 5),
        ("http", "GET", 200, 0),
        ("http", "HEAD", 200, 0),
    ]
    assert [call.received_bytes for call in calls[:3]] == [10] * 3
    assert {(call.host, call.path) for call in calls} == {(f"localhost:{web.port}", "/things/*")}
    assert calls[0].fingerprint == calls[2].fingerprint != calls[1].fingerprint
    assert all(call.started <= call.ended for call in calls)


def test_unmonitored_nothing_is_added_or_told(client, web):
    event = {"calls": [("GET", f"http://localhost:{web.port}/")]}
    client.monitored(event)
    client.spans = {}
    assert client.invoke(event)[0] is None
    assert client.spans == {}
    assert web.carried[1] == {}


def test_redirects_are_calls_of_their_own(client, web):
    event = {"calls": [("GET", f"http://localhost:{web.port}/hop")]}
    answers, calls = client.monitored(event)
    assert answers == [[200, "0123456789"]]
    assert [(call.path, call.status) for call in calls] == [("/hop", 302), ("/echo", 200)]
    assert web.carried == [carried_by(call) for call in calls]


def test_chunked_responses(client, web):
    event = {"calls": [("GET", f"http://localhost:{web.port}/chunked")]}
    answers, (call,) = client.monitored(event)
    assert answers == [[200, "one two three"]]
    assert call.received_bytes == 13


@pytest.mark.parametrize(
    ("path", "errors", "status"),
    [
        pytest.param("/hangup", {"RemoteProtocolError", "ServerDisconnectedError"}, 0, id="hangup"),
        pytest.param("/slow", {"ReadTimeout", "CancelledError", "TimeoutError"}, 0, id="slow"),
        pytest.param(
            "/stalled", {"ReadTimeout", "CancelledError", "TimeoutError"}, 200, id="stalled"
        ),
        pytest.param("/cut", {"RemoteProtocolError", "ClientPayloadError"}, 200, id="cut"),
    ],
)
def test_errors_are_recorded_and_reach_the_function(client, web, path, errors, status):
    event = {"calls": [("GET", f"http://localhost:{web.port}{path}")]}
    (answer,), calls = client.monitored(event)
    assert isinstance(answer, str)
    assert calls[-1].error in errors
    assert {(call.kind, call.status) for call in calls} == {("http", status)}
    assert all(call.ended for call in calls)


def test_refused_connections_are_failed_calls(client):
    (answer,), (call,) = client.monitored({"calls": [("GET", "http://localhost:1/x")]})
    assert answer in ("ConnectError", "ClientConnectorError")
    assert (call.kind, call.host, call.path) == ("http", "localhost:1", "/x")
    assert call.error in ("ConnectError", "ClientConnectorError")


def test_tls(client, tmp_path):
    context, trust = certificate(tmp_path)
    with served(context) as web:
        event = {"trust": trust, "calls": [("GET", f"https://localhost:{web.port}/")] * 2}
        answers, calls = client.monitored(event)
        assert answers == [[200, "0123456789"]] * 2
        assert [call.kind for call in calls] == ["http", "http"]
        assert web.carried == [carried_by(call) for call in calls]


def test_a_response_that_is_left_half_read(library, web):
    driver = library(
        """
        import httpx
        def handler(url, context):
            with httpx.stream("GET", url) as response:
                for part in response.iter_raw(4):
                    break
            return response.status_code
        """
    )
    _, (call,) = driver.monitored(f"http://localhost:{web.port}/chunked")
    assert (call.status, call.error) == (200, "")
    assert call.ended >= call.started


def test_a_request_that_is_sent_again_is_another_call(library, web):
    driver = library(
        """
        import httpcore
        def handler(url, context):
            request = httpcore.Request("GET", url, headers={"Host": "localhost", "tracestate": "mine=1"})
            with httpcore.ConnectionPool() as pool:
                for _ in range(2):
                    response = pool.handle_request(request)
                    response.read()
                    response.close()
            return [name.decode() for name, _ in request.headers]
        """
    )
    names, calls = driver.monitored(f"http://localhost:{web.port}/")
    assert names == ["Host", "tracestate"]
    assert web.carried == [carried_by(call) for call in calls]
    assert len(calls) == 2


def test_a_middleware_that_sends_again(library, web):
    web.failures = 1
    driver = library(
        """
        import aiohttp, asyncio
        async def again(request, send):
            response = await send(request)
            return await send(request) if response.status == 503 else response
        async def work(url):
            async with aiohttp.ClientSession(middlewares=(again,)) as session:
                async with session.get(url) as response:
                    return response.status
        def handler(url, context):
            return asyncio.run(work(url))
        """
    )
    answer, calls = driver.monitored(f"http://localhost:{web.port}/flaky")
    assert answer == 200
    assert [call.status for call in calls] == [503, 200]
    assert web.carried == [carried_by(call) for call in calls]


def test_calls_at_the_same_time(library, web):
    driver = library(
        """
        import aiohttp, asyncio, httpx
        async def work(url):
            async with aiohttp.ClientSession() as session, httpx.AsyncClient() as client:
                async def one():
                    async with session.get(url) as response:
                        await response.read()
                async def two():
                    await client.get(url)
                await asyncio.gather(*(f() for f in (one, two) * 8))
        def handler(url, context):
            asyncio.run(work(url))
        """
    )
    _, calls = driver.monitored(f"http://localhost:{web.port}/")
    assert [(call.kind, call.status) for call in calls] == [("http", 200)] * 16
    marks = sorted(carried["traceparent"][0] for carried in web.carried)
    assert marks == sorted(f"00-{TRACE_ID}-{call.span_id}-01" for call in calls)
