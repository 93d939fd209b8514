"""Tools that trace on AWS, unmodified: Powertools' tracer and the X-Ray SDK inside a function, ``sam traces`` outside."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

SOURCE = """
from aws_lambda_powertools import Tracer
from aws_xray_sdk.core import xray_recorder

tracer = Tracer(service="orders")

@tracer.capture_method
def price(order):
    tracer.put_annotation("order", order)
    tracer.put_metadata("cart", {"items": 2})
    with xray_recorder.in_subsegment("database") as subsegment:
        subsegment.namespace = "remote"
    return 42

@tracer.capture_lambda_handler
def handler(event, context):
    if event == "fail":
        raise ValueError("out of salt")
    return price("A7")
"""


def segment(server: Server, name: str, within: str) -> dict[str, Any] | None:
    """The segment of the function's newest trace, once a subsegment of that name is in it."""
    xray = server.client("xray")
    page = xray.get_trace_summaries(
        StartTime=0, EndTime=1 << 32, FilterExpression=f'service("{name}")'
    )
    ids = [each["Id"] for each in page["TraceSummaries"]][:1]
    for trace in xray.batch_get_traces(TraceIds=ids)["Traces"] if ids else ():
        for each in trace["Segments"]:
            if each["Document"].count(f'"{within}"'):
                return dict(json.loads(each["Document"]))
    return None


def below(document: dict[str, Any], name: str) -> dict[str, Any]:
    inner = {each["name"]: each for each in document.get("subsegments", ())}
    assert name in inner, inner.keys()
    return dict(inner[name])


@pytest.fixture
def traced(server: Server, clients: Any) -> str:
    files = clients.vendored(
        "aws_lambda_powertools", "jmespath", "typing_extensions", "aws_xray_sdk", "wrapt"
    )
    return server.function(files | {"lambda_function.py": SOURCE}, MemorySize=512, Timeout=30)


def test_what_powertools_traces_stands_below_the_execution(server: Server, traced: str) -> None:
    assert server.call(traced, "go") == 42
    execution = eventually(lambda: segment(server, traced, "database"), within=20)
    handler = below(execution, "## handler")
    assert handler["annotations"]["ColdStart"] is True
    assert handler["annotations"]["Service"] == "orders"
    method = below(handler, "## lambda_function.price")
    assert method["annotations"] == {"order": "A7"}
    assert method["metadata"]["orders"]["cart"] == {"items": 2}
    assert below(method, "database")["namespace"] == "remote"


def test_a_failure_is_traced_as_one(server: Server, traced: str) -> None:
    server.failure(traced, "fail")
    execution = eventually(lambda: segment(server, traced, "out of salt"), within=20)
    handler = below(execution, "## handler")
    assert execution["fault"] is True
    assert handler["fault"] is True
    assert handler["cause"]["exceptions"][0]["type"] == "ValueError"


def test_sam_shows_traces(server: Server, clients: Any, tmp_path: Path) -> None:
    name = server.function("def handler(event, context):\n    return 1\n")
    server.call(name)
    trace_id = eventually(
        lambda: next(
            (
                each["Id"]
                for each in server.client("xray").get_trace_summaries(
                    StartTime=0, EndTime=1 << 32, FilterExpression=f'service("{name}")'
                )["TraceSummaries"]
            ),
            None,
        )
    )
    shown = clients.run("sam", "traces", "--start-time", "10min ago", cwd=tmp_path)
    assert name in shown
    assert "New XRay Service Graph" in shown
    assert trace_id in clients.run("sam", "traces", "--trace-id", str(trace_id), cwd=tmp_path)
