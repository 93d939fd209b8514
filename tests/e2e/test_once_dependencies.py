"""What executions depend on, with a real server, real sources and real processes: a counter file says what ran."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.counted import CODE, executed, invoke, make, post, put, runs
from tests.servers import Server, eventually, package, running

pytestmark = pytest.mark.slow


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "counter"
    path.touch()
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(
        tmp_path / "data",
        mode="process",
        settings={"FORERUN_EVENTS_FOLDERS": str(tmp_path / "inbox")},
    ) as server:
        yield server


def test_an_object_that_did_not_change_declines_and_new_content_runs(server: Server, counter: Path):
    name, s3 = make(server, counter), server.client("s3")
    s3.create_bucket(Bucket="once-bucket")
    s3.put_object(Bucket="once-bucket", Key="data/in.csv", Body=b"1")
    where = {"Type": "s3", "Bucket": "once-bucket", "Key": "data/in.csv"}
    assert put(server, name, DependsOn=[where])["DependsOn"][0]["State"]
    declines_until(
        server,
        name,
        counter,
        lambda: s3.put_object(Bucket="once-bucket", Key="data/in.csv", Body=b"2"),
    )
    # What is not there cannot be told to be the same.
    s3.delete_object(Bucket="once-bucket", Key="data/in.csv")
    before = runs(counter)
    assert [executed(invoke(server, name)) for _ in range(2)] == ["true"] * 2
    assert runs(counter) == before + 2


def test_a_queue_with_as_many_messages_declines_and_another_message_runs(
    server: Server, counter: Path
):
    name, sqs = make(server, counter), server.client("sqs")
    url = sqs.create_queue(QueueName="once-queue")["QueueUrl"]
    put(server, name, DependsOn=[{"Type": "queue", "Queue": "once-queue"}])
    declines_until(
        server, name, counter, lambda: sqs.send_message(QueueUrl=url, MessageBody="another")
    )


def test_a_directory_that_did_not_change_declines_and_a_touched_file_runs(
    server: Server, counter: Path, tmp_path: Path
):
    name, inbox = make(server, counter), tmp_path / "inbox"
    (inbox / "deep").mkdir(parents=True)
    (inbox / "deep" / "file").write_text("1")
    where = {"Type": "directory", "Path": str(inbox)}
    # A directory that was changed a moment ago is not yet one that is known.
    eventually(lambda: put(server, name, DependsOn=[where])["DependsOn"][0]["State"], what="rest")

    def touch() -> None:
        before = state(server, name)
        (inbox / "deep" / "file").touch()
        eventually(lambda: state(server, name) not in (None, before), what="rest")

    declines_until(server, name, counter, touch)
    refused = post(
        server, "put-once", FunctionName=name, DependsOn=[{"Type": "directory", "Path": "/etc"}]
    )
    assert refused.status == 403


def test_a_resource_of_the_web_declines_by_its_etag_or_its_time(server: Server, counter: Path):
    name = make(server, counter)
    with website() as (site, url):
        site.headers = {"ETag": '"1"'}
        put(server, name, DependsOn=[{"Type": "http", "Url": url}])
        declines_until(server, name, counter, lambda: site.headers.update(ETag='"2"'))
        site.headers = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        again = lambda: site.headers.update({"Last-Modified": "Wed, 21 Oct 2015 07:28:01 GMT"})  # noqa: E731
        declines_until(server, name, counter, again)
        # What says nothing, or does not answer, is executed.
        for headers, status in (({}, 200), ({"ETag": '"2"'}, 500)):
            site.headers, site.status = headers, status
            assert [executed(invoke(server, name)) for _ in range(2)] == ["true"] * 2
        assert set(site.methods) == {"HEAD"}
    assert executed(invoke(server, name)) == "true"


def declines_until(server: Server, name: str, counter: Path, change: Callable[[], object]) -> None:
    """Nothing changed: not run; ``change``, new code or other input: run once each."""
    began = runs(counter)
    first = invoke(server, name, {"a": 1, "b": 2})
    assert (executed(first), runs(counter)) == ("true", began + 1)
    again = invoke(server, name, {"b": 2, "a": 1})
    assert (executed(again), again.body, runs(counter)) == ("false", first.body, began + 1)
    change()
    changed = invoke(server, name, {"a": 1, "b": 2})
    assert (executed(changed), runs(counter)) == ("true", began + 2)
    assert executed(invoke(server, name, {"a": 1, "b": 2})) == "false"
    assert executed(invoke(server, name, {"a": 1, "b": 3})) == "true"
    published(server, name)
    assert executed(invoke(server, name, {"a": 1, "b": 2})) == "true"
    assert executed(invoke(server, name, {"a": 1, "b": 2})) == "false"
    # A run that fails is no success to compare with.
    flag = counter.with_name(f"flag-{uuid.uuid4().hex}")
    for _ in range(2):
        assert "x-amz-function-error" in invoke(server, name, {"fail": str(flag)}).headers
    flag.touch()
    assert executed(invoke(server, name, {"fail": str(flag)})) == "true"
    assert executed(invoke(server, name, {"fail": str(flag)})) == "false"
    assert runs(counter) == began + 7
    declined = server.platform(f"/forerun/invocations?FunctionName={name}&Status=declined")
    for each in declined["Invocations"]:
        assert each["cause"].startswith("nothing that it depends on changed since ")
        assert (each["placement"], each["start_type"], each["sandbox"]) == ("not run", None, None)


def published(server: Server, name: str) -> None:
    server.lambda_.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": CODE + f"# {uuid.uuid4()}"})
    )
    waiter = server.lambda_.get_waiter("function_updated_v2")
    waiter.wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def state(server: Server, name: str) -> Any:
    [once] = server.platform(f"/forerun/once?FunctionName={name}")["Once"]
    return once["DependsOn"][0]["State"]


class Site:
    """What a web server answers, and how it was asked."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.status = 200
        self.methods: list[str] = []


@contextmanager
def website() -> Iterator[tuple[Site, str]]:
    """A web server that answers every HEAD as the site says."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            site.methods.append(self.command)
            self.send_response(site.status)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield site, f"http://127.0.0.1:{listening.server_port}/data?x=1"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
