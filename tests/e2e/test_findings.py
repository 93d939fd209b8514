"""Findings about functions that really ran: what is wrong with them is found from what the platform saw."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.servers import FORERUN, Server, eventually, running

pytestmark = pytest.mark.slow

TIMES = 25
ITEM = "import time\ndef handler(event, context):\n    time.sleep(0.01)\n    return event\n"
# The same item twice, then one call for each item.
CALLER = """
import json, boto3
client = boto3.client("lambda")
def ask(name, item):
    client.invoke(FunctionName=name, Payload=json.dumps({"item": item}))["Payload"].read()
def handler(event, context):
    ask(event["item"], 0)
    ask(event["item"], 0)
    for item in range(1, 8):
        ask(event["item"], item)
"""
# Calls another, which calls back, until the count is at its end.
BACK = """
import json, boto3
client = boto3.client("lambda")
def handler(event, context):
    if event["left"]:
        next_ = {"left": event["left"] - 1, "names": event["names"][::-1]}
        client.invoke(FunctionName=event["names"][0], Payload=json.dumps(next_))["Payload"].read()
"""


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that watches every execution."""
    settings = {
        "FORERUN_MONITORING_FUNCTION_PER_S": "1000",
        "FORERUN_MONITORING_TOTAL_PER_S": "1000",
    }
    with running(tmp_path_factory.mktemp("findings") / "data", settings=settings) as server:
        yield server


def found(server: Server, name: str, kind: str) -> list[dict[str, object]]:
    path = f"/forerun/findings?FunctionName={name}"
    answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
    if answer.status == 404:
        return []
    return [each for each in server.platform(path)["Findings"] if each["kind"] == kind]


def test_loops_and_repetitions_are_found(watching):
    item, caller = watching.function(ITEM), watching.function(CALLER, Timeout=30)
    for _ in range(TIMES):
        watching.call(caller, {"item": item})
    (loop,) = eventually(lambda: found(watching, caller, "call-loop"), what="the loop")
    assert loop["callees"] == [f"function:{item}"]
    assert loop["sampled"] >= 20
    # Seven items and the first one, which is asked for twice.
    assert 8 <= loop["evidence"][2]["value"] <= 9
    assert loop["gain"]["amount"] > 50
    (again,) = found(watching, caller, "repeated-calls")
    assert again["evidence"][1]["value"] == pytest.approx(100)
    assert again["gain"]["amount"] > 9
    assert not found(watching, item, "call-loop")
    shown = subprocess.run(
        [str(FORERUN), "findings", caller],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=watching.environment(watching.data.parent),
    ).stdout
    assert f"{caller} calls {item} " in shown
    assert "[call-loop, candidate]" in shown or "[call-loop, likely]" in shown


def test_functions_that_call_each_other_are_reported_as_a_cycle(watching):
    one, two = watching.function(BACK, Timeout=20), watching.function(BACK, Timeout=20)
    watching.call(one, {"left": 4, "names": [two, one]})
    (cycle,) = eventually(lambda: found(watching, one, "cycle"), what="the cycle")
    assert cycle["title"] == f"{one} calls {two} calls {one}: a cycle"
    (turned,) = eventually(lambda: found(watching, two, "cycle"), what="the same from the other")
    assert turned["title"] == f"{two} calls {one} calls {two}: a cycle"


def test_nothing_is_said_of_what_nobody_watched(watching):
    path = "/forerun/findings?FunctionName=nobody"
    answer = watching.request("GET", path, headers=watching.signed("GET", path, service="forerun"))
    assert answer.status == 404
    path = "/forerun/findings?Kind=magic"
    answer = watching.request("GET", path, headers=watching.signed("GET", path, service="forerun"))
    assert answer.status == 400
    assert b"Kind must be one of" in answer.body
