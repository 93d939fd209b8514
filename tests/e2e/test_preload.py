"""B is loaded while A runs, because A is likely to call it: before anybody asks for it, and not for longer than that."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.callers import (
    CALLS,
    LOAD_S,
    MONITORED,
    SETTINGS,
    SLOW,
    TRAINING,
    caller,
    plan,
    record_of,
    renewed,
    sampled,
    sandboxes_of,
    start_s,
    train,
    watching,
)
from tests.servers import FORERUN, Server, clean_environment, eventually, package, running

pytestmark = [pytest.mark.slow, pytest.mark.root]

# How long A runs before it calls B, and may run on.
AFTER_S = 1.5


FAN_OUT = """
import concurrent.futures, time
import boto3
client = boto3.client("lambda")
def handler(event, context):
    time.sleep(event["after"])
    given = {"FunctionName": "fan-b", "Payload": b'{"fan-b": {"after": 0.2}}'}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(client.invoke, **given) for _ in range(4)]
    return [call.result()["StatusCode"] for call in calls]
"""


# Another account, and the function of its that is called from here.
ABROAD = "222222222222"
FOREIGN = f"arn:aws:lambda:us-home-1:{ABROAD}:function:foreign"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preload")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """A calls B in 90 % of its runs, and RARE calls SELDOM in 20 %; FAN calls FAN-B four times at once; OUT calls abroad."""
    data = folder / "data"
    with running(data, settings=TRAINING) as server:
        for name in ("a", "rare"):
            caller(server, name, slow=False)
        for name in ("b", "seldom", "fan-b"):
            caller(server, name)
        train(server, {("a", "b"): 36, ("a",): 4})
        train(server, {("rare", "seldom"): 6, ("rare",): 24})
        server.function(FAN_OUT, name="fan", Timeout=20, MemorySize=256, Tags=MONITORED)
        for _ in range(22):
            server.call("fan", {"after": 0.05})
        eventually(lambda: sampled(server, "fan") == 22)
        settle_abroad(server, folder)
        caller(server, "out", slow=False)
        train(server, {("out", FOREIGN): 22})
    with running(data, settings=SETTINGS) as server:
        yield server


def settle_abroad(server: Server, folder: Path) -> None:
    """Make the other account, and its function, which may be called from here; its keys are kept in the folder."""
    command = [
        FORERUN,
        "account",
        "create",
        "abroad",
        "--id",
        ABROAD,
        "--json",
        "--data",
        server.data,
    ]
    made = subprocess.run(
        command, capture_output=True, check=True, timeout=30, env=clean_environment(folder)
    )
    (folder / "abroad.json").write_bytes(made.stdout)
    keys = keys_abroad(folder)

    def known() -> bool:
        headers = server.signed("GET", "/forerun/sandboxes", service="forerun", keys=keys)
        return server.request("GET", "/forerun/sandboxes", headers=headers).status == 200

    eventually(known, what="the other account's key")
    client = server.client("lambda", aws_access_key_id=keys[0], aws_secret_access_key=keys[1])
    client.create_function(
        FunctionName="foreign",
        Runtime="python3.11",
        Handler="lambda_function.handler",
        Role=f"arn:aws:iam::{ABROAD}:role/test",
        Code={"ZipFile": package({"lambda_function.py": SLOW + CALLS})},
        Tags=MONITORED,
    )
    client.add_permission(
        FunctionName="foreign",
        StatementId="from-here",
        Action="lambda:InvokeFunction",
        Principal=server.account,
    )


def keys_abroad(folder: Path) -> tuple[str, str]:
    made = json.loads((folder / "abroad.json").read_text())
    return made["access_key_id"], made["secret_access_key"]


def invoke(server: Server, name: str, event: dict[str, Any]) -> tuple[str, Any]:
    """The request id, and what it answers."""
    reply = server.lambda_.invoke(FunctionName=name, Payload=json.dumps(event))
    body = json.load(reply["Payload"])
    assert "FunctionError" not in reply, body
    return reply["ResponseMetadata"]["RequestId"], body


def alone(name: str, *, for_s: float) -> dict[str, Any]:
    """The event of a run that calls nobody."""
    return {name: {"after": for_s}}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def begin(
    pool: ThreadPoolExecutor, server: Server, name: str, event: dict[str, Any]
) -> Future[Any]:
    return pool.submit(invoke, server, name, event)


def test_the_callee_is_loaded_before_it_is_called(server):
    renewed(server, "b")
    # Nothing is known of B but that A calls it: this is what it costs without foresight.
    began = time.time()
    invoke(server, "b", {})
    cold = record_of(server, "b", after=began)
    assert cold["start_type"] != "preloaded"
    assert start_s(cold) > LOAD_S

    renewed(server, "b")
    began = time.time()
    with watching(server, "b") as seen:
        request, answer = invoke(server, "a", plan(["a", "b"], after=AFTER_S))
    record = record_of(server, "b", after=began)
    assert seen.first["b"] < record["timings"]["received"] - 0.1, (
        "its code was there before the call"
    )
    assert (record["start_type"], record["foresight"], record["cause"]) == (
        "preloaded",
        "hit",
        request,
    )
    assert record["init_ms"] is None
    assert start_s(record) < start_s(cold) / 4
    assert answer["spent"][0] < LOAD_S / 2
    (used,) = sandboxes_of(server, "b")
    assert used["calls"] == 1


def test_nothing_was_run_ahead(server):
    renewed(server, "b")
    calls = len(server.invocations("b"))
    with watching(server, "b") as seen:
        invoke(server, "a", alone("a", for_s=AFTER_S))
    assert "b" in seen.first
    assert len(server.invocations("b")) == calls


def test_what_is_not_used_goes_when_its_time_is_over(server, pool):
    renewed(server, "b")
    running_a = begin(pool, server, "a", alone("a", for_s=25.0))
    eventually(lambda: sandboxes_of(server, "b"), what="B is loaded")
    # Usually it is called after 0.1 s, and is waited for 2.5 s longer; on a busy machine both are more.
    eventually(lambda: not sandboxes_of(server, "b"), within=22.0, what="B is given up")
    assert not running_a.done()
    running_a.result(40)


def test_what_is_not_used_goes_when_the_caller_ends(server):
    renewed(server, "b")
    with watching(server, "b") as seen:
        invoke(server, "a", alone("a", for_s=AFTER_S))
    assert "b" in seen.first
    # Sandboxes that served a call stay for minutes.
    eventually(lambda: not sandboxes_of(server, "b"), within=40.0, what="B is given up")


def test_a_new_version_takes_the_place_of_what_was_loaded(server, pool):
    renewed(server, "b")
    began = time.time()
    running_a = begin(pool, server, "a", plan(["a", "b"], after=2.2))
    (old,) = eventually(lambda: sandboxes_of(server, "b"), what="B is loaded")
    new = package({"lambda_function.py": "def handler(event, context):\n    return 'new'\n"})
    server.lambda_.update_function_code(FunctionName="b", ZipFile=new)
    eventually(
        lambda: old["id"] not in {each["id"] for each in sandboxes_of(server, "b")},
        what="the old code is given up",
    )
    request, _ = running_a.result(20)
    record = record_of(server, "b", after=began)
    assert record["sandbox"] != old["id"]
    assert (record["start_type"], record["cause"]) == ("preloaded", request)


def test_what_is_unlikely_is_not_loaded(server):
    renewed(server, "seldom")
    with watching(server, "seldom") as seen:
        invoke(server, "rare", alone("rare", for_s=AFTER_S))
    assert seen.first == {}


def test_as_many_are_loaded_as_are_called_at_once(server):
    renewed(server, "fan-b")
    began = time.time()
    with watching(server, "fan-b") as seen:
        server.call("fan", {"after": AFTER_S})
    assert seen.most["fan-b"] == 4
    records = eventually(lambda: found if len(found := since(server, "fan-b", began)) == 4 else [])
    assert [each["start_type"] for each in records] == ["preloaded"] * 4


def test_nothing_is_loaded_for_another_account(server, folder):
    keys = keys_abroad(folder)

    def loaded() -> list[Any]:
        headers = server.signed("GET", "/forerun/sandboxes", service="forerun", keys=keys)
        found = server.request("GET", "/forerun/sandboxes", headers=headers).json()["Sandboxes"]
        return [each for each in found if each["name"]]

    began = time.time()
    (callee,) = server.platform("/forerun/profile?FunctionName=out")["Profile"]["callees"]
    assert callee["likelihood"]["value"] == 1.0
    with ThreadPoolExecutor(1) as pool:
        run = begin(pool, server, "out", plan(["out", FOREIGN], after=AFTER_S))
        while not run.done():
            # It is loaded when it is called, not before.
            if not (found := loaded()):
                last = time.time()
        run.result()
    assert len(found) == 1
    assert found[0]["calls"] == 1
    record = record_of(server, "out", after=began)
    assert last > record["timings"]["started"] + AFTER_S - 0.2


def since(server: Server, name: str, began: float) -> list[dict[str, Any]]:
    return [each for each in server.invocations(name) if each["timings"]["received"] >= began]
