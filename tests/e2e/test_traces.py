"""Executions that cause each other are one trace, kept and shown, without a line of tracing code in any function."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
from tests.servers import FORERUN, Server, clean_environment, eventually, package

pytestmark = pytest.mark.slow

# Calls the next one and is called back; the last one may fail.
RELAY = """
import json, os, urllib.request
import boto3

def handler(event, context):
    print("at", event["left"])
    if not event["left"]:
        if event.get("fail"):
            raise RuntimeError("as asked")
        return "end"
    reply = boto3.client("lambda").invoke(
        FunctionName=event["next"],
        InvocationType=event.get("how", "RequestResponse"),
        Payload=json.dumps(event | {"left": event["left"] - 1, "next": event["self"], "self": event["next"]}),
    )
    return reply["StatusCode"]
"""
PLAIN = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server.start(tmp_path_factory.mktemp("traces") / "data")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pair(server):
    """Two functions that call each other."""
    return server.function(RELAY, Timeout=20), server.function(RELAY, Timeout=20)


def traces(server, **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return server.platform(f"/forerun/traces?{text}")["Traces"]


def trace_of(server, request_id, executions):
    """The trace of a request, once so many executions of it are kept."""

    def found():
        path = f"/forerun/trace?TraceId={request_id}"
        answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        tree = answer.json()
        return tree if tree["executions"] >= executions else None

    return eventually(found, what=f"{executions} executions of {request_id}")


def invoke(server, name, payload, **more):
    reply = server.lambda_.invoke(FunctionName=name, Payload=json.dumps(payload), **more)
    return reply["ResponseMetadata"]["RequestId"]


def shape(nodes):
    """Executions and calls, without what else there is."""
    return [
        (node["kind"], node["name"], shape(node["children"]))
        for node in nodes
        if node["kind"] in ("server", "client")
    ]


def command(server, *arguments, tmp_path):
    return subprocess.run(
        [str(FORERUN), *arguments, "--data", str(server.data)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=clean_environment(tmp_path),
    )


def test_a_chain_that_comes_back_is_one_trace(server, pair):
    a, b = pair
    request = invoke(server, a, {"left": 2, "next": b, "self": a})
    tree = trace_of(server, request, 3)
    asked = "lambda.Invoke"
    assert shape(tree["roots"]) == [
        (
            "server",
            a,
            [("client", asked, [("server", b, [("client", asked, [("server", a, [])])])])],
        )
    ]
    assert tree["functions"] == sorted(pair)
    [root] = tree["roots"]
    assert root["attributes"]["faas.invocation_id"] == request
    nodes = [root]
    for node in nodes:
        nodes += node["children"]
        for child in node["children"]:
            assert node["started"] <= child["started"] <= child["ended"] <= node["ended"]
    assert [node["attributes"]["forerun.depth"] for node in nodes if node["kind"] == "server"] == [
        0,
        1,
        2,
    ]
    for name in (tree["trace_id"], f"1-{tree['trace_id'][:8]}-{tree['trace_id'][8:]}"):
        assert trace_of(server, name, 3) == tree


def test_an_event_is_part_of_the_trace_that_sent_it(server, pair):
    a, b = pair
    request = invoke(server, a, {"left": 1, "next": b, "self": a, "how": "Event"})
    tree = trace_of(server, request, 2)
    assert shape(tree["roots"]) == [
        ("server", a, [("client", "lambda.Invoke", [("server", b, [])])])
    ]
    event = tree["roots"][0]["children"][-1]["children"][0]
    assert event["attributes"]["forerun.invocation_type"] == "Event"


def test_lists_find_what_is_asked_for(server):
    a, b = server.function(RELAY, Timeout=20), server.function(RELAY, Timeout=20)
    good = invoke(server, a, {"left": 1, "next": b, "self": a})
    bad = invoke(server, a, {"left": 1, "next": b, "self": a, "fail": True})
    first, second = (trace_of(server, request, 2)["trace_id"] for request in (good, bad))

    def ids(**query):
        return [each["trace_id"] for each in traces(server, **query)]

    assert ids(FunctionName=a) == ids(FunctionName=b) == [second, first]
    assert ids(FunctionName=b, Errors="true") == [second]
    assert ids(FunctionName=a, Errors="true") == []
    assert ids(FunctionName=b, MaxItems=1) == [second]
    assert ids(FunctionName=b, MinDurationMs=60_000) == []
    assert ids(FunctionName=b, Since=int(time.time()) + 60) == []
    [failed] = traces(server, FunctionName=b, Errors="true")
    assert (failed["root"], failed["functions"], failed["errors"]) == (a, sorted([a, b]), 1)
    assert (failed["status"], failed["executions"]) == ("fault", 2)


def test_other_accounts_see_nothing(server, pair, tmp_path):
    a, b = pair
    tree = trace_of(server, invoke(server, a, {"left": 1, "next": b, "self": a}), 2)
    made = command(
        server, "account", "create", "other", "--id", "222222222222", "--json", tmp_path=tmp_path
    )
    other = json.loads(made.stdout)
    keys = (other["access_key_id"], other["secret_access_key"])

    def get(path):
        headers = server.signed("GET", path, service="forerun", keys=keys)
        return server.request("GET", path, headers=headers)

    eventually(lambda: get("/forerun/traces").status == 200, what="the new account's key")
    assert get("/forerun/traces").json() == {"Traces": []}
    assert get(f"/forerun/trace?TraceId={tree['trace_id']}").status == 404
    request = tree["roots"][0]["attributes"]["faas.invocation_id"]
    assert get(f"/forerun/trace?TraceId={request}").status == 404


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/forerun/trace", 400, "TraceId"),
        ("/forerun/trace?TraceId=xyz", 400, "trace id"),
        ("/forerun/trace?TraceId=" + "0" * 32, 404, "no longer kept"),
        ("/forerun/trace?TraceId=00000000-0000-0000-0000-000000000000", 404, "request"),
        ("/forerun/traces?Since=yesterday", 400, "Since"),
        ("/forerun/traces?MaxItems=0.5", 400, "MaxItems"),
        ("/forerun/traces?MaxItems=501", 400, "MaxItems"),
        ("/forerun/traces?Errors=maybe", 400, "Errors"),
        ("/forerun/traces?Marker=nonsense", 400, "marker"),
        ("/forerun/traces?FunctionName=a.b", 400, "unction"),
    ],
    ids=lambda value: str(value).rpartition("/")[2][:40],
)
def test_bad_questions_get_clear_answers(server, path, status, says):
    answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
    assert answer.status == status, answer
    assert says in answer.json()["message"]


def test_who_may_not_is_refused(server):
    assert server.request("GET", "/forerun/traces").status == 403


def test_the_command_line_shows_a_waterfall_with_logs_in_place(server, pair, tmp_path):
    a, b = pair
    request = invoke(server, a, {"left": 2, "next": b, "self": a, "fail": True})
    tree = trace_of(server, request, 3)
    eventually(
        lambda: len(server.invocations(a)) and "REPORT" in str(server.client("logs").filter_log_events(
            logGroupName=f"/aws/lambda/{a}", filterPattern=f'"{request}"')["events"]),
        what="the log",
    )  # fmt: skip
    shown = command(server, "trace", request, "--logs", tmp_path=tmp_path)
    assert shown.returncode == 0, shown.stderr
    headline, *lines = shown.stdout.splitlines()
    assert tree["trace_id"] in headline
    assert "3 executions" in headline
    wanted = [f"{a} ", "at 2", "lambda.Invoke", f"{b} ", "at 1", "lambda.Invoke", f"{a} ", "at 0"]
    found = iter(lines)
    assert all(any(text in line for line in found) for text in wanted), shown.stdout
    assert "RuntimeError" in shown.stdout
    assert "█" in shown.stdout
    as_json = json.loads(
        command(server, "trace", request, "--json", "--logs", tmp_path=tmp_path).stdout
    )
    assert as_json["roots"][0]["logs"][0] == "at 2"
    listed = command(server, "traces", b, "--errors", "--json", tmp_path=tmp_path)
    assert tree["trace_id"] not in [each["trace_id"] for each in json.loads(listed.stdout)]
    listed = command(server, "traces", a, "--errors", tmp_path=tmp_path)
    assert tree["trace_id"] in listed.stdout
    nothing = command(server, "traces", a, "--slower-than", "900000", tmp_path=tmp_path)
    assert nothing.returncode == 0
    assert "No such trace" in nothing.stderr
    unknown = command(server, "trace", "0" * 32, tmp_path=tmp_path)
    assert unknown.returncode == 1
    assert "no longer kept" in unknown.stderr


def test_kill_9_loses_at_most_the_last_second(tmp_path):
    server = Server.start(tmp_path / "data", settings={"FORERUN_MONITORING_FUNCTION_PER_S": "1000"})
    try:
        name = server.function(PLAIN)
        done: list[tuple[float, str]] = []
        stop = threading.Event()

        def calls():
            while not stop.is_set():
                request = invoke(server, name, {})
                done.append((time.monotonic(), request))
                stop.wait(0.02)

        caller = threading.Thread(target=calls)
        caller.start()
        eventually(lambda: done and done[-1][0] - done[0][0] > 2.5, what="calls for some seconds")
        stop.set()
        caller.join(10)
        killed = time.monotonic()
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
    finally:
        server.stop()
    again = Server.start(tmp_path / "data")
    try:
        kept = set()
        marker = ""
        while True:
            page = again.platform(f"/forerun/traces?FunctionName={name}&MaxItems=500{marker}")
            kept |= {each["trace_id"] for each in page["Traces"]}
            if "NextMarker" not in page:
                break
            marker = f"&Marker={page['NextMarker']}"
        old = [request for at, request in done if at < killed - 1.0]
        assert len(old) > 20
        assert len(kept) >= len(old)
        again.call(name)
    finally:
        again.stop()


def test_a_stop_loses_nothing(tmp_path):
    server = Server.start(tmp_path / "data")
    try:
        name = server.function(PLAIN)
        request = invoke(server, name, {})
    finally:
        assert server.stop() == 0
    again = Server.start(tmp_path / "data")
    try:
        assert trace_of(again, request, 1)["functions"] == [name]
    finally:
        again.stop()


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_the_file_may_be_lost(tmp_path, harm):
    server = Server.start(tmp_path / "data")
    try:
        name = server.function(PLAIN)
        server.call(name)
    finally:
        server.stop()
    file = server.data / "traces.db"
    assert file.exists()
    if harm == "deleted":
        for each in server.data.glob("traces.db*"):
            each.unlink()
    else:
        file.write_bytes(b"nothing that a database would say " * 500)
    again = Server.start(tmp_path / "data")
    try:
        assert traces(again) == []
        trace_of(again, invoke(again, name, {}), 1)
        assert (again.data / "traces.db.unreadable").exists() == (harm == "damaged")
    finally:
        again.stop()


def test_a_function_that_returns_large_things_has_small_traces(server):
    """What is said and answered is nobody's business: sizes are kept, contents are not."""
    secret = "very-secret-" * 50
    name = server.function(package({"lambda_function.py": PLAIN}))
    tree = trace_of(server, invoke(server, name, {"secret": secret}), 1)
    assert "very-secret" not in json.dumps(tree)
    assert tree["roots"][0]["attributes"]["http.response.body.size"] > len(secret)
