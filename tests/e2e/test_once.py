"""Execution ids with a real server and real processes: a counter file says what ran."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.counted import executed, invoke, make, post, put, runs
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "counter"
    path.touch()
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "data", mode="process") as server:
        yield server


def test_ten_concurrent_calls_with_one_id_run_once_and_ten_without(server: Server, counter: Path):
    name = make(server, counter)
    with ThreadPoolExecutor(10) as pool:
        same = list(pool.map(lambda _: invoke(server, name, {"sleep": 0.3}, "one"), range(10)))
        assert runs(counter) == 1
        assert len({answer.body for answer in same}) == 1
        assert sorted(str(executed(answer)) for answer in same) == ["false"] * 9 + ["true"]
        others = list(pool.map(lambda _: invoke(server, name, {"sleep": 0.3}), range(10)))
    assert runs(counter) == 11
    assert [executed(answer) for answer in others] == [None] * 10
    later = invoke(server, name, {}, "one")
    assert (executed(later), later.body) == ("false", same[0].body)
    eventually(lambda: len(server.invocations(name)) == 21, what="all records")
    statuses = [each["status"] for each in server.invocations(name)]
    assert (statuses.count("duplicate"), statuses.count("success")) == (10, 11)
    page = server.platform(f"/forerun/invocations?FunctionName={name}&Status=duplicate")
    [request] = {each["cause"].split()[-1] for each in page["Invocations"]}
    assert request in counter.read_text()


def test_what_failed_is_run_again_and_what_succeeded_is_not(server: Server, counter: Path):
    name = make(server, counter)
    for _ in range(2):
        failed = invoke(server, name, {"fail": "/nonexistent"}, "x")
        assert executed(failed) == "true"
        assert "x-amz-function-error" in failed.headers
    assert executed(invoke(server, name, {}, "x")) == "true"
    assert executed(invoke(server, name, {}, "x")) == "false"
    assert runs(counter) == 3


def test_large_results_are_not_kept_and_that_is_said(server: Server, counter: Path):
    name = make(server, counter)
    first = invoke(server, name, {"bytes": 300_000}, "large")
    assert len(first.body) > 300_000
    again = invoke(server, name, {"bytes": 300_000}, "large")
    assert (executed(again), again.body) == ("false", b"null")
    assert again.headers["x-forerun-result"] == "not-kept"
    assert runs(counter) == 1


def test_a_key_of_the_event_names_it_and_without_one_there_is_no_guarantee(
    server: Server, counter: Path
):
    name = make(server, counter)
    shown = put(server, name, Key="order.id", ExpiresSeconds=60)
    assert (shown["Key"], shown["Successes"], shown["DependsOn"]) == ("order.id", 1, [])
    assert executed(invoke(server, name, {"order": {"id": 7}})) == "true"
    assert executed(invoke(server, name, {"order": {"id": 7, "more": 1}})) == "false"
    assert executed(invoke(server, name, {"order": {"id": 8}})) == "true"
    for _ in range(2):
        assert executed(invoke(server, name, {"order": {}})) is None
    assert runs(counter) == 4
    eventually(lambda: len(server.invocations(name)) == 5, what="all records")
    placements = [each["placement"] or "" for each in server.invocations(name)]
    assert sum("Key order.id is null in this event" in each for each in placements) == 2
    # The header's name counts where there is one, and nothing is left to a function of the same name.
    assert executed(invoke(server, name, {"order": {"id": 7}}, "other")) == "true"
    server.lambda_.delete_function(FunctionName=name)
    eventually(lambda: server.platform("/forerun/once")["Once"] == [], what="its end")
    make(server, counter, name=name)
    assert executed(invoke(server, name, {"order": {"id": 7}})) is None


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"Key": "order.[id"}, "Key is not a JMESPath expression: "),
        ({"Key": "a b"}, "Unexpected token: b at position 3, before 'b'"),
        ({"Key": "nosuch(a)"}, "Key calls nosuch()"),
        ({"Key": 7}, "$.Key"),
        ({"Successes": 0}, "$.Successes"),
        ({"ExpiresSeconds": 1e9}, "$.ExpiresSeconds"),
        ({"KeepResults": "no"}, "$.KeepResults"),
        ({"More": 1}, "More"),
        ({"DependsOn": {}}, "$.DependsOn"),
        ({"DependsOn": [{"Type": "ftp"}]}, "DependsOn[0].Type"),
        ({"DependsOn": [{"Type": "s3", "Bucket": "b"}]}, "DependsOn[0].Key"),
        ({"DependsOn": [{"Type": "http", "Url": "file:///etc/passwd"}]}, "http"),
        ({"DependsOn": [{"Type": "directory", "Path": "relative"}]}, "absolute"),
        ({"FunctionName": "nosuch"}, "Function not found"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(sorted(value)),
)
def test_what_cannot_be_put_is_refused_with_its_reason(shared: Server, wish: Any, said: str):
    given = {"FunctionName": "once-refused"} | wish
    answer = post(shared, "put-once", **given)
    assert 400 <= answer.status < 500
    assert said in json.dumps(answer.json()), answer


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("once") / "data", mode="process") as server:
        server.function("def handler(event, context): pass", name="once-refused")
        yield server


def test_a_header_that_is_no_id_is_refused(shared: Server):
    for named in ("", "x" * 257, "tab\there"):
        answer = invoke(shared, "once-refused", {}, named)
        assert answer.status == 400
        assert b"X-Forerun-Execution-Id" in answer.body
    assert invoke(shared, "once-refused", {}, "y" * 256).status == 200
