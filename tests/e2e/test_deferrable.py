"""Events that may wait, on a real server: not while its memory is in use, in any case before their latest start."""

import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.servers import FORERUN, Server, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HEADER = "X-Forerun-Latest-Start-S"
# A busy function takes more than the half of the memory that must be free; one deferrable event runs at a time.
SETTINGS = {"FORERUN_HOST_MEMORY_MB": "1024", "FORERUN_EVENTS_AT_ONCE": "4"}
SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(event['s'])\n"
QUICK = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("deferring") / "data", settings=SETTINGS) as server:
        server.function(SLEEPER, name="busy", MemorySize=640, Timeout=60)
        server.function(QUICK, name="report", MemorySize=128)
        yield server


def submit(server: Server, seconds: object, name: str = "report", **more: object) -> dict:
    """Accept an event that may wait; a hook adds the header, as any user of boto3 can."""
    client = server.client("lambda", timeout=31)

    def defer(params: dict, **_: object) -> None:
        params["headers"][HEADER] = str(seconds)

    client.meta.events.register("before-call.lambda.Invoke", defer, unique_id="defer")
    try:
        given = {"InvocationType": "Event", "Payload": b"{}"} | more
        return client.invoke(FunctionName=name, **given)["ResponseMetadata"]
    finally:
        client.meta.events.unregister("before-call.lambda.Invoke", unique_id="defer")


def record_of(server: Server, request_id: str) -> dict:
    path = f"/forerun/invocations?RequestId={request_id}"
    [record] = eventually(lambda: server.platform(path)["Invocations"], within=30, what=request_id)
    return record


def waiting(server: Server) -> int:
    return server.platform("/forerun/status")["deferrable"]["waiting"]


def none_waits(server: Server) -> None:
    """What other tests left has run."""
    eventually(lambda: waiting(server) == 0, within=40, what="an idle machine")


def test_it_waits_while_memory_is_in_use_and_starts_when_it_is_free(server: Server):
    none_waits(server)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(server.lambda_.invoke, FunctionName="busy", Payload=b'{"s": 6}')
        server.await_busy(busy)
        answers = [submit(server, seconds) for seconds in (900, 300, 600)]
        assert [answer["HTTPStatusCode"] for answer in answers] == [202] * 3
        assert {answer["HTTPHeaders"]["x-forerun-deferred"] for answer in answers} == {"true"}
        held = server.platform("/forerun/status")["deferrable"]
        assert (held["waiting"], held["running"]) == (3, 0)
        eventually(
            lambda: (
                "memory is booked" in server.platform("/forerun/status")["deferrable"]["held_by"]
            )
        )
        # An ordinary event does not stand behind them.
        plain = server.lambda_.invoke(FunctionName="report", InvocationType="Event", Payload=b"{}")
        assert "x-forerun-deferred" not in plain["ResponseMetadata"]["HTTPHeaders"]
        first = record_of(server, plain["ResponseMetadata"]["RequestId"])
        assert not busy.done()
        busy_id = busy.result()["ResponseMetadata"]["RequestId"]
    ended = record_of(server, busy_id)["timings"]["ended"]
    records = [record_of(server, answer["RequestId"]) for answer in answers]
    starts = [record["timings"]["started"] for record in records]
    assert first["timings"]["started"] < ended < min(starts)
    assert max(starts) < ended + 10
    assert starts[1] < starts[2] < starts[0], "the earliest latest start goes first"
    for record in records:
        waited = record["timings"]["started"] - record["timings"]["received"]
        assert record["deferred_s"] == pytest.approx(waited, abs=1.0)
        assert f"deferred {record['deferred_s']:.1f} s" in record["placement"]
    assert (first["deferred_s"], "deferred" in first["placement"]) == (0.0, False)
    assert waiting(server) == 0


def test_it_starts_before_its_latest_start_though_memory_stays_in_use(server: Server):
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(server.lambda_.invoke, FunctionName="busy", Payload=b'{"s": 12}')
        server.await_busy(busy)
        record = record_of(server, submit(server, 8)["RequestId"])
        assert not busy.done()
        busy.result()
    waited = record["timings"]["started"] - record["timings"]["received"]
    assert 5.9 < waited < 8.0
    assert record["deferred_s"] == pytest.approx(waited, abs=1.0)


def test_a_tag_defers_all_events_of_a_function_and_a_header_wins(server: Server):
    none_waits(server)
    server.function(QUICK, name="tagged", Tags={"forerun:deferrable": "600"})
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(server.lambda_.invoke, FunctionName="busy", Payload=b'{"s": 4}')
        server.await_busy(busy)
        tagged = server.lambda_.invoke(FunctionName="tagged", InvocationType="Event", Payload=b"{}")
        assert tagged["ResponseMetadata"]["HTTPHeaders"]["x-forerun-deferred"] == "true"
        at_once = submit(server, 0, "tagged")
        assert "x-forerun-deferred" not in at_once["HTTPHeaders"]
        assert record_of(server, at_once["RequestId"])["deferred_s"] == 0
        assert not busy.done()
        assert waiting(server) == 1
        busy.result()
    assert record_of(server, tagged["ResponseMetadata"]["RequestId"])["deferred_s"] > 0


@pytest.mark.parametrize("value", ["21601", "-1", "nan", "soon", "1e3", "", "9" * 400])
def test_a_bad_latest_start_is_refused_with_field_and_limit(server: Server, value: str):
    before = waiting(server)
    with pytest.raises(ClientError, match=r"X-Forerun-Latest-Start-S .* from 0 to 21600") as caught:
        submit(server, value)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert waiting(server) <= before


def test_it_may_not_wait_longer_than_the_event_may_live_nor_be_waited_for(server: Server):
    name = server.function(QUICK)
    server.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    with pytest.raises(ClientError, match="from 0 to 60 "):
        submit(server, 61, name)
    assert submit(server, 60, name)["HTTPStatusCode"] == 202
    with pytest.raises(ClientError, match="InvocationType Event"):
        submit(server, 10, name, InvocationType="RequestResponse")
    with pytest.raises(ClientError, match="forerun:deferrable must be a number of seconds"):
        server.lambda_.tag_resource(
            Resource=server.lambda_.get_function(FunctionName=name)["Configuration"]["FunctionArn"],
            Tags={"forerun:deferrable": "21601"},
        )


def test_what_waits_survives_the_death_of_the_server(tmp_path: Path):
    data = tmp_path / "data"
    server = Server.start(data, settings=SETTINGS)
    try:
        server.function(SLEEPER, name="busy", MemorySize=640, Timeout=60)
        server.function(QUICK, name="report")
        with ThreadPoolExecutor(1) as pool:
            busy = pool.submit(server.lambda_.invoke, FunctionName="busy", Payload=b'{"s": 50}')
            server.await_busy(busy)
            accepted = [submit(server, 600 + number)["RequestId"] for number in range(5)]
            assert waiting(server) == 5
            server.stop(signal.SIGKILL)
            assert busy.exception() is not None
        server = Server.start(data, settings=SETTINGS)
        records = [record_of(server, request_id) for request_id in accepted]
        assert [record["status"] for record in records] == ["success"] * 5
        assert all(record["deferred_s"] > 0 for record in records)
        eventually(lambda: waiting(server) == 0)
    finally:
        server.stop(signal.SIGKILL)


def test_the_command_line_says_until_when(server: Server, tmp_path: Path):
    def invoke(*options: str) -> subprocess.CompletedProcess[str]:
        command = [FORERUN, "invoke", "report", "--latest-start", "300", *options]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env=server.environment(tmp_path),
        )

    assert "accepted and deferred, request" in invoke("--event").stderr
    assert json.loads(invoke("--event", "--json").stdout)["Deferred"] is True
    refused = invoke()
    assert (refused.returncode, "--event" in refused.stderr) == (2, True)
