"""Watching must never be noticed by the function, whatever that does to what is watched."""

import pytest
from tests.unit.runtime.driver import TRACE

from forerun.runtime import wire

FETCH = """
    import urllib.request
    def fetch(url):
        return urllib.request.urlopen(url).read().decode()
"""
BREAKAGES = {
    "the wire is gone": "calls.pack = None",
    "no random numbers": "calls.os.urandom = None",
    "no clock": "calls._now = None",
    "no encoder": "calls.dumps = None",
    "no carrier": "calls.current.carrier = None",
    "no execution": "calls.Execution.request = None",
    "no paths": "describing.masked_path = None",
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_whatever_breaks_in_watching_the_call_succeeds(start, web, what):
    driver = start(
        FETCH
        + f"""
    from forerun.runtime import calls, describing
    def handler(url, context):
        urandom = calls.os.urandom
        try:
            {BREAKAGES[what]}
            return fetch(url)
        finally:
            calls.os.urandom = urandom
            calls._now = calls.time.time
        """
    )
    driver.inited()
    driver.send(wire.pack_headed(wire.INVOKE, head(), f'"http://localhost:{web.port}/"'.encode()))
    result, payload = wire.split_headed(driver.receive(wire.RESULT))
    assert "error" not in result, payload
    assert payload == b'"0123456789"'


def head():
    return {
        "request_id": "req-1",
        "invoked_arn": "arn",
        "deadline_ms": 2**41,
        "monitored": True,
        "trace_id": TRACE,
    }


def test_functions_that_replace_methods_of_the_client_go_on(start, web):
    driver = start(
        FETCH
        + """
    import http.client
    seen = []
    usual = http.client.HTTPConnection.request
    def request(self, method, url, body=None, headers={}, **options):
        seen.append(url)
        headers = dict(headers, Mine="1")
        return usual(self, method, url, body, headers, **options)
    http.client.HTTPConnection.request = request
    def handler(url, context):
        return [fetch(url), seen]
        """
    )
    driver.inited()
    answer, (call,) = driver.monitored(f"http://localhost:{web.port}/")
    assert answer == ["0123456789", ["/"]]
    assert call.status == 200
    assert web.seen[0][2]["mine"] == ["1"]
    assert web.carried[0]


def test_a_recorded_answer_makes_no_call(start):
    driver = start(
        FETCH
        + """
    import http.client, io
    class Recorded:
        def __init__(self, *_, **__): self.sock = None
        def set_debuglevel(self, level): pass
        def request(self, *_, **__): pass
        def close(self): pass
        def getresponse(self):
            class Made:
                def makefile(self, *_): return io.BytesIO(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ntape")
            response = http.client.HTTPResponse(Made())
            response.begin()
            return response
    http.client.HTTPConnection = Recorded
    def handler(url, context):
        return fetch(url)
        """
    )
    driver.inited()
    assert driver.monitored("http://nowhere.invalid/") == ("tape", [])


def test_own_modules_with_names_of_watched_ones(start, tmp_path):
    package = tmp_path / "aiohttp"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "connector.py").write_text("WORDS = 'mine'")
    driver = start(
        """
        import aiohttp.connector
        def handler(event, context):
            return aiohttp.connector.WORDS
        """
    )
    driver.inited()
    assert driver.monitored() == ("mine", [])


def test_modules_know_where_they_come_from(start, interpreter):
    driver = start(
        """
        import http.client, inspect, importlib
        def handler(event, context):
            importlib.reload(http.client)
            loader = http.client.__spec__.loader
            return [
                type(loader).__name__,
                "def getresponse" in inspect.getsource(http.client),
                inspect.signature(http.client.HTTPConnection.send).parameters.keys() >= {"data"},
                http.client.HTTPConnection.endheaders.__name__,
            ]
        """,
        interpreter=interpreter,
    )
    driver.inited()
    answer, _ = driver.monitored()
    assert answer == ["SourceFileLoader", True, True, "endheaders"]


def test_a_reloaded_client_is_watched_once(start, web):
    driver = start(
        FETCH
        + """
    import http.client, importlib, socket
    def handler(url, context):
        importlib.reload(http.client)
        return fetch(url)
        """
    )
    driver.inited()
    _, calls = driver.monitored(f"http://localhost:{web.port}/")
    assert len(calls) == 1
    assert len(web.carried[0]["traceparent"]) == 1


def test_a_forked_child_marks_its_calls_and_tells_nobody(start, web):
    driver = start(
        FETCH
        + """
    import os
    def handler(url, context):
        pid = os.fork()
        if pid == 0:
            try:
                fetch(url)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return fetch(url)
        """
    )
    driver.inited()
    answer, calls = driver.monitored(f"http://localhost:{web.port}/")
    assert answer == "0123456789"
    assert len(calls) == 1
    assert len(web.carried) == 2
    assert web.carried[0]["traceparent"] != web.carried[1]["traceparent"]


def test_calls_that_go_on_after_the_execution_are_under_way_and_not_told_again(start, web):
    driver = start(
        FETCH
        + """
    import threading
    threads = []
    def handler(event, context):
        if event:
            threads.append(threading.Thread(target=fetch, args=(event,)))
            threads[0].start()
            while not context_has_call():
                pass
        else:
            threads[0].join(10)
            return threads[0].is_alive()
    def context_has_call():
        from forerun.runtime import calls
        return any(not call.unsent_head for call in list(calls.current._unfinished.values()))
        """
    )
    driver.inited()
    _, (call,) = driver.monitored(f"http://localhost:{web.port}/slow")
    assert (call.ended, call.status) == (0.0, 0)
    web.release.set()
    assert driver.monitored(None) == (False, [])


def test_the_end_of_the_process_leaves_what_was_told(start, web):
    driver = start(
        FETCH
        + """
    import os
    def handler(url, context):
        fetch(url)
        os._exit(3)
        """
    )
    driver.inited()
    with pytest.raises(wire.WireClosed):
        driver.monitored(f"http://localhost:{web.port}/")
    ((_, ended),) = driver.spans.values()
    assert ended.status == 200


def test_exit_and_errors_carry_the_cpu_time(start):
    driver = start(
        """
        import sys, time
        def handler(event, context):
            while time.process_time() < 0.2: pass
            if event == "exit": sys.exit(2)
            if event == "raise": raise ValueError
        """
    )
    driver.inited()
    for event in (b'"return"', b'"raise"', b'"exit"'):
        result, _ = driver.invoke_raw(event, monitored=True, trace_id=TRACE)
        assert 0 <= result["cpu_ms"] < 1000


def test_cpu_time_is_only_told_of_monitored_executions(start):
    driver = start("def handler(event, context):\n    for _ in range(200000): pass\n")
    driver.inited()
    assert "cpu_ms" not in driver.invoke_raw(b"1")[0]
    assert driver.invoke_raw(b"1", monitored=True)[0]["cpu_ms"] > 0.5


def test_a_platform_s_context_is_no_client_context(start):
    driver = start(
        """
        def handler(event, context):
            return [context.w3c(), context.client_context is None]
        """
    )
    driver.inited()
    trace = '{"w3c": {"traceparent": "00-1"}}'
    assert driver.monitored(client_context=trace)[0] == [{"traceparent": "00-1"}, True]
    both = '{"w3c": {"traceparent": "00-1"}, "custom": {}}'
    assert driver.monitored(client_context=both)[0] == [{"traceparent": "00-1"}, False]
