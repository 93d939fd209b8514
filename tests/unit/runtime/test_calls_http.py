"""Calls by ``http.client``, as a host sees them and as a server gets them."""

import msgspec
import pytest
from tests.unit.runtime.driver import SIGNED, TRACE_ID
from tests.unit.runtime.web import carried_by, certificate, served

URLLIB = """
    import urllib.request
    def handler(event, context):
        with urllib.request.urlopen(event["url"], data=event.get("data", "").encode() or None) as response:
            return response.read().decode()
"""
CLIENT = """
    import http.client
    def handler(event, context):
        connection = http.client.HTTPConnection(event["host"], event["port"], timeout=5)
        answers = []
        for method, path, body in event["requests"]:
            connection.request(method, path, body and body.encode())
            answers.append(connection.getresponse().read().decode())
        return answers
"""


def test_a_call_is_seen_and_marked(start, web, interpreter):
    driver = start(URLLIB, interpreter=interpreter)
    driver.inited()
    url = f"http://localhost:{web.port}/orders/17?page=2"
    answer, (call,) = driver.monitored({"url": url, "data": "hello"})
    assert answer == "0123456789"
    assert web.carried == [carried_by(call)]
    assert web.seen[0][3] == b"hello"
    assert 0 < call.started <= call.ended
    assert call.fingerprint
    assert 0 < call.rtt_ms < 1000
    call.started = call.ended = call.fingerprint = call.rtt_ms = 0
    assert msgspec.to_builtins(call)[1:] == [
        *(0, 0, "http", "POST", "", "", f"localhost:{web.port}", "/orders/*"),
        *(200, "", 5, 10, 0, True, 0),
    ]


def test_a_call_is_told_of_when_it_begins_and_when_it_ends(start, web):
    driver = start(URLLIB)
    driver.inited()
    driver.monitored({"url": f"http://localhost:{web.port}/"})
    ((begun, ended),) = driver.spans.values()
    assert (begun.ended, begun.status, begun.host) == (0.0, 0, f"localhost:{web.port}")
    assert ended.ended >= ended.started == begun.started


def test_unmonitored_nothing_is_added_or_told(start, web, interpreter):
    driver = start(URLLIB, interpreter=interpreter)
    driver.inited()
    event = {"url": f"http://localhost:{web.port}/"}
    assert driver.invoke(event)[0] is None
    driver.monitored(event)
    driver.spans = {}
    assert driver.invoke(event, trace_id="Root=1-2;Sampled=0")[0] is None
    assert driver.spans == {}
    assert [set(carried) for carried in web.carried] == [
        set(),
        {"x-amzn-trace-id", "traceparent", "tracestate"},
        set(),
    ]


def test_what_came_in_goes_on(start, web):
    driver = start(URLLIB)
    driver.inited()
    driver.monitored(
        {"url": f"http://localhost:{web.port}/"}, tracestate="other=1", baggage="user=7"
    )
    assert web.carried[0]["tracestate"] == [f"forerun={SIGNED},other=1"]
    assert web.carried[0]["baggage"] == ["user=7"]


def test_keep_alive_calls_differ_and_equal_ones_have_one_fingerprint(start, web, interpreter):
    driver = start(CLIENT, interpreter=interpreter)
    driver.inited()
    requests = [
        ("GET", "/a", None),
        ("GET", "/a", None),
        ("GET", "/a?x=1", None),
        ("POST", "/a", "one"),
        ("POST", "/a", "one"),
        ("POST", "/a", "two"),
    ]
    event = {"host": "localhost", "port": web.port, "requests": requests}
    _, calls = driver.monitored(event)
    assert len({call.span_id for call in calls}) == 6
    assert [call.kind for call in calls] == ["http"] * 6
    prints = [call.fingerprint for call in calls]
    assert prints[0] == prints[1]
    assert prints[3] == prints[4]
    assert len(set(prints)) == 4
    _, again = driver.monitored(event)
    assert again[0].fingerprint != prints[0]
    assert [call["x-amzn-trace-id"] for call in web.carried] == [
        carried_by(call)["x-amzn-trace-id"] for call in [*calls, *again]
    ]


def test_redirects_are_calls_of_their_own(start, web):
    driver = start(URLLIB)
    driver.inited()
    answer, calls = driver.monitored({"url": f"http://localhost:{web.port}/hop"})
    assert answer == "0123456789"
    assert [(call.path, call.status) for call in calls] == [("/hop", 302), ("/echo", 200)]
    assert web.carried == [carried_by(call) for call in calls]


def test_chunks_in_both_directions(start, web, interpreter):
    driver = start(
        """
        import http.client
        def handler(event, context):
            connection = http.client.HTTPConnection("localhost", event)
            connection.request("POST", "/chunked", iter([b"abc", b"defg"]))
            response = connection.getresponse()
            return [response.read(3).decode(), response.read().decode()]
        """,
        interpreter=interpreter,
    )
    driver.inited()
    answer, (call,) = driver.monitored(web.port)
    assert answer == ["one", " two three"]
    assert web.seen[0][3] == b"abcdefg"
    assert (call.sent_bytes, call.received_bytes, call.status) == (7, 13, 200)


ERRORS = {
    "refused": ("http://localhost:1/x", "ConnectionRefusedError", 0),
    "hangup": ("http://localhost:{port}/hangup", "RemoteDisconnected", 0),
    "slow": ("http://localhost:{port}/slow", "TimeoutError", 0),
    "stalled": ("http://localhost:{port}/stalled", "TimeoutError", 200),
    "cut": ("http://localhost:{port}/cut", "IncompleteRead", 200),
    "unknown": ("http://no-such-host.invalid/", "gaierror", 0),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_are_recorded_and_reach_the_function(start, web, what):
    url, error, status = ERRORS[what]
    driver = start(
        """
        import urllib.request
        def handler(url, context):
            try:
                return urllib.request.urlopen(url, timeout=0.3).read()
            except Exception as error:
                return type(getattr(error, "reason", error)).__name__
        """
    )
    driver.inited()
    answer, (call,) = driver.monitored(url.format(port=web.port))
    assert answer == error
    assert (call.kind, call.error, call.status) == ("http", error, status)
    assert call.ended >= call.started


@pytest.mark.parametrize(
    ("handling", "received"),
    [
        pytest.param("return opened.status", 0, id="never read"),
        pytest.param("opened.close()", 0, id="closed"),
        pytest.param("opened.read(4)", 4, id="partly read"),
        pytest.param("return [line.decode() for line in opened]", 10, id="lines"),
        pytest.param("opened.readinto(bytearray(20))", 10, id="readinto"),
        pytest.param("opened.read1(3); opened.read()", 10, id="read1"),
    ],
)
def test_a_call_ends_with_its_response_however_that_is_read(start, web, handling, received):
    driver = start(
        f"""
        import urllib.request
        kept = []
        def handler(url, context):
            opened = urllib.request.urlopen(url)
            kept.append(opened)
            {handling}
        """
    )
    driver.inited()
    _, (call,) = driver.monitored(f"http://localhost:{web.port}/")
    assert (call.status, call.received_bytes, call.error) == (200, received, "")
    assert 0 < call.started <= call.ended


@pytest.mark.parametrize("path", ["/status/204", "/status/304"])
def test_a_response_without_a_body_ends_with_its_head(start, web, path):
    driver = start(CLIENT)
    driver.inited()
    event = {"host": "localhost", "port": web.port, "requests": [("GET", path, None)]}
    _, (call,) = driver.monitored(event)
    assert (call.status, call.received_bytes) == (int(path[-3:]), 0)
    event["requests"] = [("HEAD", "/", None)]
    _, (call,) = driver.monitored(event)
    assert (call.method, call.status, call.received_bytes) == ("HEAD", 200, 0)


def test_calls_in_threads(start, web):
    driver = start(
        """
        import threading, urllib.request
        def handler(url, context):
            threads = [threading.Thread(target=lambda: urllib.request.urlopen(url).read()) for _ in range(16)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """
    )
    driver.inited()
    _, calls = driver.monitored(f"http://localhost:{web.port}/")
    assert len(calls) == 16
    assert {call.status for call in calls} == {200}
    marks = sorted(carried["traceparent"][0] for carried in web.carried)
    assert marks == sorted(f"00-{TRACE_ID}-{call.span_id}-01" for call in calls)


def test_a_request_that_is_put_together_by_hand(start, web, interpreter):
    driver = start(
        """
        import http.client
        def handler(port, context):
            connection = http.client.HTTPConnection("localhost", port)
            connection.connect()
            connection.putrequest("PUT", "/by-hand")
            connection.putheader("Content-Length", "6")
            connection.putheader("X-Amzn-Trace-Id", "Root=1-stale")
            connection.endheaders(b"abc")
            connection.send(b"def")
            return connection.getresponse().read().decode()
        """,
        interpreter=interpreter,
    )
    driver.inited()
    _, (call,) = driver.monitored(web.port)
    assert web.carried == [carried_by(call)]
    assert web.seen[0][3] == b"abcdef"
    assert (call.kind, call.method, call.sent_bytes, call.status) == ("http", "PUT", 6, 200)


def test_an_instrumented_function_keeps_its_trace(start, web):
    driver = start(
        """
        import urllib.request
        def handler(url, context):
            own = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "own=1"}
            urllib.request.urlopen(urllib.request.Request(url, headers=own)).read()
        """
    )
    driver.inited()
    _, (call,) = driver.monitored(f"http://localhost:{web.port}/", baggage="in=1")
    carried = web.carried[0]
    assert carried == {
        "x-amzn-trace-id": carried_by(call)["x-amzn-trace-id"],
        "traceparent": ["00-" + "1" * 32 + "-" + "2" * 16 + "-01"],
        "tracestate": [f"forerun={SIGNED},own=1"],
    }
    assert call.injected


def test_nothing_is_said_to_a_proxy(start, web):
    driver = start(
        """
        import http.client
        def handler(port, context):
            connection = http.client.HTTPSConnection("localhost", port)
            connection.set_tunnel("shop.invalid", 443)
            try:
                connection.request("GET", "/")
            except OSError as error:
                return str(error)
        """
    )
    driver.inited()
    answer, (call,) = driver.monitored(web.port)
    assert "403" in answer
    ((method, path, headers, _),) = web.seen
    assert (method, path) == ("CONNECT", "shop.invalid:443")
    assert not {"x-amzn-trace-id", "traceparent"} & {name.lower() for name in headers}
    assert (call.kind, call.host, call.error) == ("http", "shop.invalid:443", "OSError")


def test_a_plain_proxy_passes_it_on(start, web):
    driver = start(URLLIB, user={"http_proxy": f"http://localhost:{web.port}"})
    driver.inited()
    _, (call,) = driver.monitored({"url": "http://shop.invalid/a/1?b=2"})
    assert (call.host, call.path, call.status) == ("shop.invalid:80", "/a/*", 200)
    assert web.carried == [carried_by(call)]


def test_tls(start, tmp_path, interpreter):
    context, trust = certificate(tmp_path)
    with served(context) as web:
        driver = start(URLLIB, interpreter=interpreter, user={"SSL_CERT_FILE": trust})
        driver.inited()
        answer, calls = driver.monitored({"url": f"https://localhost:{web.port}/", "data": "x"})
        assert answer == "0123456789"
        assert [(call.kind, call.host) for call in calls] == [("http", f"localhost:{web.port}")]
        assert web.carried == [carried_by(calls[0])]
