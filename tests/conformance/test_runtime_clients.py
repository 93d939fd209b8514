"""AWS's own packages inside functions: awslambdaric as a custom runtime, Powertools, the SnapStart hooks."""

import base64
import json

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually, package

pytestmark = pytest.mark.conformance

BOOTSTRAP = """#!/bin/sh
cd "$LAMBDA_TASK_ROOT"
exec /usr/bin/python3.11 -m awslambdaric "$_HANDLER"
"""
RIC = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")


def ric(server: Server, clients, source: str, **more: object) -> str:
    files = clients.vendored(*RIC) | {"bootstrap": BOOTSTRAP.encode(), "app.py": source.encode()}
    return server.function(
        package(files, mode=0o755), runtime="provided.al2023", handler="app.handler", **more
    )


def test_stock_runtime_client(server: Server, clients):
    name = ric(
        server,
        clients,
        "import os\n"
        "count = 0\n"
        "def handler(event, context):\n"
        "    global count\n"
        "    count += 1\n"
        "    if event == 'raise':\n"
        "        raise LookupError('no such thing')\n"
        "    return [event, count, context.aws_request_id, context.invoked_function_arn,\n"
        "            context.get_remaining_time_in_millis() > 0]\n",
        MemorySize=256,
        Timeout=20,
    )
    event, count, request, arn, left = server.call(name, {"ä": "€"})
    assert (event, count, left) == ({"ä": "€"}, 1, True)
    assert len(request) == 36
    assert arn.endswith(f":function:{name}")
    assert server.call(name, 2)[:2] == [2, 2], "the same process served the second call"
    error = server.failure(name, "raise")
    assert (error["errorType"], error["errorMessage"]) == ("LookupError", "no such thing")
    assert server.call(name, 3)[:2] == [3, 4]


def test_stock_runtime_client_that_cannot_import(server: Server, clients):
    name = ric(server, clients, "import nothing_of_that_name\n", MemorySize=256, Timeout=20)
    error = server.failure(name)
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in error["errorMessage"]


def test_stock_runtime_client_that_exits(server: Server, clients):
    name = ric(
        server,
        clients,
        "import os\ndef handler(event, context):\n    return os._exit(3) if event else 'fine'\n",
        MemorySize=256,
        Timeout=20,
    )
    error = server.failure(name, 1)
    assert error["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in error["errorMessage"]
    assert server.call(name, 0) == "fine"


def test_stock_runtime_client_gets_the_trace(server: Server, clients):
    """Of a monitored execution it finds the header and, beside the caller's client context, W3C's form of it."""
    name = ric(
        server,
        clients,
        "import os\n"
        "def handler(event, context):\n"
        "    given = context.client_context\n"
        "    return [os.environ['_X_AMZN_TRACE_ID'], context.w3c(), given and given.custom]\n",
        MemorySize=256,
        Timeout=20,
        Tags={"forerun:monitoring": "on"},
    )
    given = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    header, w3c, custom = server.call(name, ClientContext=given)
    parts = dict(part.split("=", 1) for part in header.split(";"))
    execution = parts["Forerun"].split("-")[0]
    trace = parts["Root"].removeprefix("1-").replace("-", "")
    assert w3c == {
        "traceparent": f"00-{trace}-{execution}-01",
        "tracestate": f"forerun={parts['Forerun']}",
    }
    assert custom == {"k": "v"}
    header, w3c, custom = server.call(name)
    assert "Forerun=" in header
    assert (w3c, custom) == ({}, None), "what nobody gave is not there"


def test_shell_bootstrap_over_the_runtime_api(server: Server):
    """Any executable serves: here a script with nothing but the interpreter's HTTP client."""
    script = (
        "#!/usr/bin/python3.11\n"
        "import http.client, os\n"
        "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "while True:\n"
        "    api.request('GET', '/2018-06-01/runtime/invocation/next')\n"
        "    event = api.getresponse()\n"
        "    body = event.read()\n"
        "    request = event.headers['Lambda-Runtime-Aws-Request-Id']\n"
        "    api.request('POST', f'/2018-06-01/runtime/invocation/{request}/response', body[::-1])\n"
        "    api.getresponse().read()\n"
    )
    name = server.function(
        package({"bootstrap": script}, mode=0o755),
        runtime="provided.al2023",
        handler="none",
        MemorySize=256,
        Timeout=10,
    )
    assert server.call(name, 123) == 321
    assert server.call(name, 456) == 654


POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="orders")
metrics = Metrics(namespace="Shop", service="orders")
tracer = Tracer(service="orders")

@tracer.capture_method
def price(event):
    return sum(int(record.body) for record in event.records)

@logger.inject_lambda_context(log_event=True)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler
@event_source(data_class=SQSEvent)
def handler(event: SQSEvent, context: LambdaContext):
    total = price(event)
    metrics.add_metric(name="Total", unit=MetricUnit.Count, value=total)
    logger.info("priced", extra={"total": total})
    return total
"""


def test_powertools(server: Server, clients):
    files = clients.vendored(
        "aws_lambda_powertools", "jmespath", "typing_extensions", "aws_xray_sdk", "wrapt"
    )
    name = server.function(
        package(files | {"app.py": POWERTOOLS.encode()}),
        handler="app.handler",
        MemorySize=256,
        Timeout=20,
    )
    event = {"Records": [{"body": "3"}, {"body": "4"}]}
    reply = server.lambda_.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    body = reply["Payload"].read()
    assert "FunctionError" not in reply, body
    assert json.loads(body) == 7

    def lines() -> list[dict[str, object]]:
        try:
            found = server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")
        except ClientError:
            return []
        texts = [item["message"].strip() for item in found["events"]]
        return [json.loads(text) for text in texts if text.startswith("{")]

    def complete() -> list[dict[str, object]]:
        found = lines()
        return found if any("total" in line for line in found) else []

    found = eventually(complete, what="the structured lines")
    priced = next(line for line in found if line.get("message") == "priced")
    assert priced["function_name"] == name
    assert priced["cold_start"] is True
    assert priced["function_memory_size"] in (256, "256")
    assert priced["xray_trace_id"].startswith("1-")
    emf = [line for line in found if "_aws" in line]
    assert any(line.get("Total") == [7.0] for line in emf)
    assert any(line.get("ColdStart") == [1.0] for line in emf)
    assert base64.b64decode(reply["LogResult"])


SNAP = """
import random, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

steps = ["init"]
draw = random.Random()

@register_before_snapshot
def before():
    steps.append("before")

@register_after_restore
def after():
    steps.append("after")

def handler(event, context):
    return {"steps": steps, "draw": random.random(), "id": str(uuid.uuid4())}
"""


def test_snap_start_runs_the_hooks_once_each(server: Server, clients):
    lam = server.lambda_
    files = clients.vendored("snapshot_restore_py") | {"app.py": SNAP.encode()}
    name = server.function(
        package(files), handler="app.handler", SnapStart={"ApplyOn": "PublishedVersions"}
    )
    assert server.call(name)["steps"] == ["init"], "$LATEST takes no snapshot"
    version = lam.publish_version(FunctionName=name)
    assert version["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    lam.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    first = server.call(name, Qualifier="1")
    assert first["steps"] == ["init", "before", "after"]
    assert first["draw"] != server.call(name, Qualifier="1")["draw"]
