"""boto3: versions with SnapStart are initialised once and restored ever after."""

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.servers import Server, eventually

pytestmark = pytest.mark.conformance

SNAPSHOT = {"ApplyOn": "PublishedVersions"}
SOURCE = """
import time, uuid
born = time.time_ns()
def handler(event, context):
    time.sleep(event["s"])
    return [born, str(uuid.uuid4()), context.log_stream_name]
"""


def invoke(server: Server, name: str, seconds: float = 0.0) -> tuple[list, str, str]:
    """The answer, how its sandbox was come by, and the end of the log."""
    reply = server.lambda_.invoke(
        FunctionName=name,
        Qualifier="1",
        Payload=b'{"s": %f}' % seconds,
        LogType="Tail",
    )
    assert "FunctionError" not in reply, reply["Payload"].read()
    log = base64.b64decode(reply["LogResult"]).decode()
    start = reply["ResponseMetadata"]["HTTPHeaders"]["x-forerun-start-type"]
    return json.loads(reply["Payload"].read()), start, log


def test_init_runs_once_for_all_sandboxes(server: Server) -> None:
    name = server.function(SOURCE, SnapStart=SNAPSHOT, MemorySize=256)
    server.lambda_.publish_version(FunctionName=name)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda _: invoke(server, name, 0.5), range(4)))
    assert len({born for (born, _, _), _, _ in replies}) == 1
    assert len({drawn for (_, drawn, _), _, _ in replies}) == 4
    assert len({stream for (_, _, stream), _, _ in replies}) == 4
    for _, start, log in replies:
        assert start in ("pool", "zygote")
        assert re.search(r"\tRestore Duration: [\d.]+ ms", log)
        assert "Init Duration" not in log
    _, start, log = invoke(server, name)
    assert start == "warm"
    assert "Restore Duration" not in log


def test_publishing_takes_the_snapshot(server: Server) -> None:
    name = server.function(SOURCE, SnapStart=SNAPSHOT)
    server.lambda_.publish_version(FunctionName=name)
    eventually(
        lambda: [one["state"] for one in server.sandboxes() if one.get("name") == name] == ["idle"],
        what="a template",
    )
    before = time.time_ns()
    (born, _, _), _, _ = invoke(server, name)
    assert born < before


def test_a_function_that_fails_in_init_says_so_each_time(server: Server) -> None:
    name = server.function("1 / 0\n" + SOURCE, SnapStart=SNAPSHOT)
    server.lambda_.publish_version(FunctionName=name)
    for _ in range(2):
        reply = server.lambda_.invoke(FunctionName=name, Qualifier="1")
        assert reply["FunctionError"] == "Unhandled"
        assert b"ZeroDivisionError" in reply["Payload"].read()


def test_threads_of_init_are_kept_by_running_without_a_snapshot(server: Server) -> None:
    name = server.function(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def handler(event, context): return threading.active_count()\n",
        SnapStart=SNAPSHOT,
    )
    server.lambda_.publish_version(FunctionName=name)
    assert server.call(name, Qualifier="1") == 2


def test_only_python_takes_snapshots(server: Server, refused) -> None:
    name = server.function(SOURCE)
    with refused("InvalidParameterValueException", 400) as error:
        server.lambda_.update_function_configuration(
            FunctionName=name, Runtime="nodejs20.x", SnapStart=SNAPSHOT
        )
    assert error.message == "nodejs20.x is not supported for SnapStart enabled functions."
