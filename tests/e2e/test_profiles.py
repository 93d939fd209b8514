"""Profiles of functions that hold no tracing code, learned from real calls through the real server.

A asks S, a process of its own that knows nothing of the platform but how to call B, and only copies what headers it was
given. So A never calls B, and yet B runs because of A.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.servers import FORERUN, Server, eventually, running

pytestmark = pytest.mark.slow

EVERY_CALL = {
    "FORERUN_MONITORING_FUNCTION_PER_S": "1000",
    "FORERUN_MONITORING_TOTAL_PER_S": "1000",
}
A = """
import json, os, urllib.request
def handler(event, context):
    if event["path"]:
        with urllib.request.urlopen(os.environ["SERVICE"] + event["path"]) as answer:
            return json.load(answer)
"""
B = """
def handler(event, context):
    return {"statusCode": 200, "body": "b"}
"""
# Says what it was sent, after it has called B with the same headers, or without them.
S = """
import http.server, json, os, sys, urllib.request
import boto3
TRACING = ("x-amzn-trace-id", "traceparent", "tracestate", "baggage")
client = boto3.client("lambda")
passed = {}
client.meta.events.register("before-send", lambda request, **_: request.headers.update(passed))

class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, headers, how, *_ = self.path.split("/")
        given = {name: self.headers[name] for name in TRACING if name in self.headers}
        passed.clear()
        if headers == "copy":
            passed.update(given)
        if how == "url":
            asked = urllib.request.Request(os.environ["B_URL"], headers=passed)
            urllib.request.urlopen(asked).read()
        if how == "invoke":
            client.invoke(FunctionName=os.environ["B"])["Payload"].read()
        body = json.dumps(given).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

service = http.server.HTTPServer(("127.0.0.1", 0), Service)
print(service.server_address[1], flush=True)
service.serve_forever()
"""


class Scene:
    """A, B and S, with names of their own, on a server."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server = server
        self.b = server.function(B)
        url = server.lambda_.create_function_url_config(FunctionName=self.b, AuthType="NONE")
        server.lambda_.add_permission(
            FunctionName=self.b,
            StatementId="open",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
        environment = server.environment(home, B=self.b, B_URL=url["FunctionUrl"])
        self.process = subprocess.Popen(
            [sys.executable, "-c", S], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.s = f"127.0.0.1:{self.process.stdout.readline().strip()}"
        self.a = server.function(A, Environment={"Variables": {"SERVICE": f"http://{self.s}"}})

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)

    def call(self, path: str, times: int, of: int) -> list[Any]:
        """Call A ``of`` times, of which it takes the branch to S as often as said; what S was sent, or nothing."""
        return [
            self.server.call(self.a, {"path": path if number < times else ""})
            for number in range(of)
        ]

    def profile(self, sampled: int) -> dict[str, Any]:
        """A's profile, once so many executions are counted in it."""
        return profile_of(self.server, self.a, sampled)


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that watches every execution, and whose functions reach this machine."""
    data = tmp_path_factory.mktemp("profiles") / "data"
    with running(data, mode="process", settings=EVERY_CALL) as server:
        yield server


@pytest.fixture
def scene(watching: Server, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(watching, tmp_path)
    yield made
    made.close()


def asked(server: Server, path: str) -> Any:
    """The answer, or nothing while nothing is known."""
    answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
    assert answer.status in (200, 404), answer
    return answer.json() if answer.status == 200 else None


def profile_of(server: Server, name: str, sampled: int) -> dict[str, Any]:
    path = f"/forerun/profile?FunctionName={name}"

    def counted() -> dict[str, Any] | None:
        found = asked(server, path)
        return found["Profile"] if found and found["Profile"]["sampled"] >= sampled else None

    profile = eventually(counted, what=f"{sampled} executions of {name} in its profile")
    assert profile["sampled"] == sampled
    return dict(profile)


def callees(profile: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    """Likelihood by kind, name and via."""
    return {
        (each["kind"], each["name"], each["via"]): each["likelihood"]["value"]
        for each in profile["callees"]
    }


@pytest.mark.parametrize("how", ["url", "invoke"])
def test_an_outside_service_that_passes_headers_on_links_caller_and_callee(scene, how):
    sent = scene.call(f"/copy/{how}/x", 60, of=100)
    assert all("Forerun=" in given["x-amzn-trace-id"] for given in sent[:60])
    profile = scene.profile(100)
    assert profile["executions"] == 100
    assert callees(profile) == {
        ("service", scene.s, ""): 0.6,
        ("function", scene.b, scene.s): 0.6,
    }
    (service, function) = sorted(profile["callees"], key=lambda each: each["kind"], reverse=True)
    assert service["channels"] == {"call": 60}
    assert service["operations"] == {f"GET /copy/{how}/x": 60}
    assert function["channels"] == {"header": 60}
    assert function["delay_ms"]["p50"] >= service["delay_ms"]["p50"] > 0
    low, high = (service["likelihood"][side] for side in ("low", "high"))
    assert 0.5 < low < 0.6 < high < 0.7
    graph = asked(scene.server, f"/forerun/reach?FunctionName={scene.a}")
    reached = {node["id"]: node["likelihood"] for node in graph["nodes"]}
    assert reached[f"function:{scene.b}"] == pytest.approx(0.6)


def test_without_the_headers_there_is_no_link(scene):
    scene.call("/strip/url/x", 60, of=100)
    profile = scene.profile(100)
    assert callees(profile) == {("service", scene.s, ""): 0.6}
    reached = profile_of(scene.server, scene.b, 60)
    assert reached["channels"] == {"none": 60}


def test_what_is_forged_changes_nothing(scene):
    """Whoever claims to be called by an execution that he does not know the signature of is not believed."""
    sent = scene.call("/copy/none/x", 5, of=5)
    root, _, signed = sent[0]["x-amzn-trace-id"].rpartition("-")
    forged = f"{root}-{'0' * len(signed)}"
    scene.server.request(
        "POST",
        f"/2015-03-31/functions/{scene.b}/invocations",
        b"{}",
        scene.server.signed("POST", f"/2015-03-31/functions/{scene.b}/invocations", b"{}")
        | {"X-Amzn-Trace-Id": forged},
    )
    assert profile_of(scene.server, scene.b, 1)["channels"] == {"none": 1}
    assert callees(scene.profile(5)) == {("service", scene.s, ""): 1.0}


def test_two_identical_runs_give_the_same_profile(watching, tmp_path):
    shapes = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        scene = Scene(watching, tmp_path / str(number))
        try:
            scene.call("/copy/url/x", 12, of=20)
            profile = scene.profile(20)
            text = json.dumps(shape(profile), sort_keys=True)
            for name, word in ((scene.a, "A"), (scene.b, "B"), (scene.s, "S")):
                text = text.replace(name, word)
            shapes.append(json.loads(text))
        finally:
            scene.close()
    assert shapes[0] == shapes[1]


def shape(profile: dict[str, Any]) -> dict[str, Any]:
    """What of a profile does not depend on how long things took."""
    return {
        "executions": profile["executions"],
        "channels": profile["channels"],
        "errors": profile["errors"],
        "callees": [
            {
                name: each[name]
                for name in ("kind", "name", "via", "channels", "operations", "executions")
            }
            | {"calls": each["calls"], "likelihood": each["likelihood"], "errors": each["errors"]}
            for each in profile["callees"]
        ],
        "relations": [(each["first"], each["second"]) for each in profile["relations"]],
    }


@pytest.mark.parametrize(
    "setting",
    ["FORERUN_MONITORING_MIN_CALLS_PER_HOUR=100000", "FORERUN_MONITORING_ENABLED=false"],
    ids=["rarer than the threshold", "turned off"],
)
def test_what_is_not_watched_adds_no_header(tmp_path, setting):
    name, _, value = setting.partition("=")
    with running(tmp_path / "data", mode="process", settings={name: value}) as server:
        scene = Scene(server, tmp_path)
        try:
            assert scene.call("/copy/url/x", 10, of=10) == [{}] * 10
            assert asked(server, f"/forerun/profile?FunctionName={scene.a}") is None
        finally:
            scene.close()


CALLS_BACK = """
import json, boto3
client = boto3.client("lambda")
def handler(event, context):
    if event["left"]:
        rest = {"left": event["left"] - 1, "names": event["names"][::-1]}
        client.invoke(FunctionName=event["names"][0], Payload=json.dumps(rest))["Payload"].read()
"""


def test_a_loop_is_told_as_a_cycle(watching):
    a, b = watching.function(CALLS_BACK, Timeout=30), watching.function(CALLS_BACK, Timeout=30)
    watching.call(a, {"left": 3, "names": [b, a]})
    profile_of(watching, a, 2)
    profile_of(watching, b, 2)
    expected = sorted([f"function:{a}", f"function:{b}"])
    (cycle,) = asked(watching, f"/forerun/reach?FunctionName={a}")["cycles"]
    assert sorted(cycle) == expected
    graph = asked(watching, "/forerun/map")
    assert expected in [sorted(each) for each in graph["cycles"]]
    shown = subprocess.run(
        [str(FORERUN), "profile", a, "--graph", "--data", str(watching.data)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "cycle" in shown.stdout


def test_functions_that_run_together_are_counted_together(watching):
    name = watching.function("import time\ndef handler(e, c):\n    time.sleep(0.3)\n")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: watching.call(name), range(8)))
    path = f"/forerun/activity?FunctionName={name}"
    counted = eventually(
        lambda: found if (found := asked(watching, path))["total"] == 8 else None, what="8 calls"
    )
    assert sum(counted["calls"]) == 8
    assert 2 <= max(counted["concurrency"]) <= 4
    assert max(each for each in counted["p50"] if each) >= 300
    assert sum(counted["starts"].values()) == 8
    assert profile_of(watching, name, 8)["invocations"] == 8


def test_a_killed_server_loses_at_most_the_last_second(tmp_path):
    data = tmp_path / "data"
    with running(data, settings=EVERY_CALL) as server:
        name = server.function("def handler(e, c):\n    return 1\n")
        for _ in range(10):
            server.call(name)
        profile_of(server, name, 10)
        path = f"/forerun/activity?FunctionName={name}"
        eventually(lambda: asked(server, path)["total"] == 10, what="10 calls")
        server.process.kill()
    with running(data, settings=EVERY_CALL) as server:
        assert profile_of(server, name, 10)["invocations"] == 10
        server.call(name)
        assert profile_of(server, name, 11)["sampled"] == 11
        eventually(lambda: asked(server, path)["total"] == 11, what="11 calls")
