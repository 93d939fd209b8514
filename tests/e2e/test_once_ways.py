"""What succeeded under an execution id does not succeed again, though the server is killed; and all ways to a function."""

import json
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.counted import executed, invoke, make, put, runs
from tests.servers import FORERUN, Answer, Server, eventually, running

pytestmark = pytest.mark.slow

EVENTS = 30


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "counter"
    path.touch()
    return path


def on_disk(data: Path) -> dict[str, str]:
    """Identifiers that succeeded, and the request of the success."""
    with closing(sqlite3.connect(f"file:{data / 'messages.db'}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT id, request_id FROM once_ids").fetchall())


def kill_when(server: Server, seen: Callable[[], bool]) -> None:
    """At that very moment: it is halted while somebody looks."""
    deadline = time.monotonic() + 30
    while True:
        server.process.send_signal(signal.SIGSTOP)
        if seen():
            break
        server.process.send_signal(signal.SIGCONT)
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(20)


def test_events_that_succeeded_are_not_run_again_though_the_server_is_killed(
    tmp_path: Path, counter: Path
):
    """The kill comes when successes are on disk and their events not yet finished: those come again, and are answered."""
    data = tmp_path / "data"
    with running(data, mode="process") as server:
        name = make(server, counter)
        accepted = {}
        for number in range(EVENTS):
            answer = invoke(server, name, {"sleep": 1}, f"id-{number}", kind="Event")
            assert answer.status == 202
            accepted[f"id-{number}"] = answer.headers["x-amzn-requestid"]
        kill_when(server, lambda: not queued(data).isdisjoint(on_disk(data).values()))
    succeeded = on_disk(data)
    assert succeeded.items() <= accepted.items()
    with running(data, mode="process") as server:
        eventually(lambda: len(on_disk(data)) == EVENTS, within=30, what="all events")
        # An event whose success is known is finished without a run; the record says so.
        eventually(lambda: not queued(data), what="an empty queue")
        statuses = [each["status"] for each in server.invocations(name, 1000)]
    ran = counter.read_text().split()
    for identifier, request in succeeded.items():
        assert ran.count(request) == 1, identifier
    assert "duplicate" in statuses, "nothing was on its way when the server died"
    assert set(accepted.values()) == set(ran)


def queued(data: Path) -> set[str]:
    """The requests of events that are not finished."""
    with closing(sqlite3.connect(f"file:{data / 'forerun.db'}?mode=ro", uri=True)) as db:
        return {row[0] for row in db.execute("SELECT id FROM event_queue")}


def test_a_success_that_nobody_heard_of_is_answered_after_the_kill(tmp_path: Path, counter: Path):
    data = tmp_path / "data"
    with running(data, mode="process") as server, ThreadPoolExecutor(1) as pool:
        name = make(server, counter)
        call: Future[Answer] = pool.submit(invoke, server, name, {}, "unheard")
        kill_when(server, lambda: bool(on_disk(data)))
        try:
            heard = call.result(20)
        except (OSError, HTTPException):
            heard = None
    with running(data, mode="process") as server:
        again = invoke(server, name, {}, "unheard")
        assert executed(again) == "false"
        assert json.loads(again.body)["request"] == counter.read_text().strip()
        assert heard is None or heard.body == again.body
        # What was running when the server died has no known outcome, and is run again.
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(invoke, server, name, {"sleep": 5}, "cut off")
            kill_when(server, lambda: runs(counter) == 2)
            with pytest.raises((OSError, HTTPException)):
                call.result(20)
    with running(data, mode="process") as server:
        assert executed(invoke(server, name, {}, "cut off")) == "true"
    assert runs(counter) == 3


def test_a_queue_that_brings_the_same_order_twice_runs_it_once(tmp_path: Path, counter: Path):
    with running(tmp_path / "data", mode="process") as server:
        name, sqs = make(server, counter), server.client("sqs")
        put(server, name, Key="Records[0].messageAttributes.order.stringValue")
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        arn = f"arn:aws:sqs:{server.region}:{server.account}:orders"
        server.lambda_.create_event_source_mapping(
            FunctionName=name, EventSourceArn=arn, BatchSize=1
        )
        for order in ("7", "7", "8", "7"):
            attributes = {"order": {"DataType": "String", "StringValue": order}}
            sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)

        def statuses() -> list[str]:
            return sorted(each["status"] for each in server.invocations(name))

        done = ["duplicate", "duplicate", "success", "success"]
        eventually(lambda: statuses() == done, what="all four")
        assert runs(counter) == 2
        left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert left["ApproximateNumberOfMessages"] == "0"
        assert left["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_function_url_takes_ids_and_keeps_strangers_apart(tmp_path: Path, counter: Path):
    with running(tmp_path / "data", mode="process") as server:
        name = make(server, counter)
        made = server.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
        server.lambda_.add_permission(
            FunctionName=name,
            StatementId="all",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
        path = made["FunctionUrl"].removeprefix(server.endpoint)
        headers = {"X-Forerun-Execution-Id": "one"}
        first = server.request("GET", path, headers=headers)
        again = server.request("GET", path, headers=headers)
        assert (executed(first), executed(again)) == ("true", "false")
        assert first.body == again.body
        # The owner's own ids are others.
        assert executed(invoke(server, name, {}, "one")) == "true"
        assert runs(counter) == 2


def test_the_command_line_puts_shows_and_deletes(tmp_path: Path, counter: Path):
    with running(tmp_path / "data", mode="process") as server:
        name = make(server, counter)

        def forerun(*words: str, code: int = 0) -> str:
            command = [str(FORERUN), "once", *words, "--data", str(server.data)]
            ran = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=30,
                env=server.environment(tmp_path),
            )
            assert ran.returncode == code, ran
            return ran.stdout + ran.stderr

        assert "No function runs once" in forerun("list")
        where = ["--depends-on", "queue:none", "--depends-on", "s3://bucket/a/b"]
        shown: dict[str, Any] = json.loads(
            forerun("put", name, "--key", "order.id", "--expires", "60", *where, "--json")
        )
        assert (shown["Key"], shown["ExpiresSeconds"]) == ("order.id", 60)
        assert shown["DependsOn"] == [
            {"Type": "queue", "Queue": "none", "State": None},
            {"Type": "s3", "Bucket": "bucket", "Key": "a/b", "State": None},
        ]
        assert "order.id" in forerun("list")
        assert "cannot be told now" in forerun("show", name)
        assert "position 8" in forerun("put", name, "--key", "order.i]", code=1)
        assert "every call" in forerun("delete", name)
        assert f"forerun once put {name}" in forerun("show", name, code=1)
        request = str(uuid.uuid4())
        invoke(server, name, {}, request)
        invoke(server, name, {}, request)
        listed = [str(FORERUN), "invocations", name, "--data", str(server.data)]
        eventually(
            lambda: (
                "duplicate"
                in subprocess.run(
                    listed, check=False, capture_output=True, text=True, timeout=30
                ).stdout
            ),
            what="the record",
        )
