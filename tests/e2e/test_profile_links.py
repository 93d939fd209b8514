"""Who calls whom, learned from real executions: events with their retries and destinations, versions, and what was deleted."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

CALLS = """
import json, boto3
client = boto3.client("lambda")
def handler(event, context):
    if "name" in event:
        client.invoke(FunctionName=event["name"], InvocationType=event["how"], Payload=b"{}")
"""
FAILS = "def handler(event, context):\n    raise ValueError('as always')\n"
WORKS = "def handler(event, context):\n    return 1\n"


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that watches every execution, and tries events again at once."""
    settings = {
        "FORERUN_MONITORING_FUNCTION_PER_S": "1000",
        "FORERUN_MONITORING_TOTAL_PER_S": "1000",
        "FORERUN_EVENTS_RETRY_S": "0.1",
    }
    with running(tmp_path_factory.mktemp("links") / "data", settings=settings) as server:
        yield server


def known(server: Server, name: str) -> dict[str, Any] | None:
    """The profile, or nothing while there is none."""
    path = f"/forerun/profile?FunctionName={name}"
    answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
    assert answer.status in (200, 404), answer
    return answer.json()["Profile"] if answer.status == 200 else None


def learned(server: Server, name: str, sampled: int) -> dict[str, Any]:
    """The profile, when so many executions are in it."""

    def enough() -> dict[str, Any] | None:
        found = known(server, name)
        return found if found and found["sampled"] >= sampled else None

    return eventually(enough, what=f"{sampled} executions of {name}")


def test_an_event_that_is_tried_again_is_called_once(watching):
    a, b = watching.function(CALLS), watching.function(FAILS)
    for number in range(4):
        watching.call(a, {"name": b, "how": "Event"} if number < 3 else {})
    tried = learned(watching, b, 9)
    assert tried["errors"] == {"ValueError": 9}
    assert sum(tried["channels"].values()) == 9
    assert "none" not in tried["channels"]
    (callee,) = learned(watching, a, 4)["callees"]
    assert (callee["name"], callee["via"]) == (b, "")
    assert (callee["executions"], callee["calls"], callee["asynchronous"]) == (3, 3, 3)
    assert callee["likelihood"]["value"] == 0.75
    assert callee["versions"] == {"$LATEST": 3}


def test_versions_that_are_reached_are_told(watching):
    a, b = watching.function(CALLS), watching.function(WORKS)
    first = watching.lambda_.publish_version(FunctionName=b)["Version"]
    watching.lambda_.create_alias(FunctionName=b, Name="live", FunctionVersion=first)
    for name in (f"{b}:live", f"{b}:live", f"{b}:{first}", b):
        watching.call(a, {"name": name, "how": "RequestResponse"})
    (callee,) = learned(watching, a, 4)["callees"]
    assert callee["qualifiers"] == {"live": 2, first: 1}
    assert callee["versions"] == {first: 3, "$LATEST": 1}


def test_a_destination_is_reached_without_a_call(watching):
    a, b = watching.function(CALLS), watching.function(WORKS)
    there = watching.lambda_.get_function(FunctionName=b)["Configuration"]["FunctionArn"]
    watching.lambda_.put_function_event_invoke_config(
        FunctionName=a, DestinationConfig={"OnSuccess": {"Destination": there}}
    )
    for _ in range(2):
        watching.lambda_.invoke(FunctionName=a, InvocationType="Event", Payload=b"{}")
    learned(watching, b, 2)
    (callee,) = learned(watching, a, 2)["callees"]
    assert (callee["kind"], callee["name"], callee["via"]) == ("function", b, "")
    assert callee["channels"] == {"destination": 2}
    assert callee["likelihood"]["value"] == 1.0


def test_what_was_deleted_is_forgotten(watching):
    name = watching.function(WORKS)
    watching.call(name)
    learned(watching, name, 1)
    watching.lambda_.delete_function(FunctionName=name)
    eventually(lambda: known(watching, name) is None, what="the end of its profile")
    watching.function(WORKS, name=name)
    watching.call(name)
    assert learned(watching, name, 1)["sampled"] == 1
