"""Calls that an execution made are in its outcome, however it ended; for both ways of making sandboxes."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.makers import make_call, make_spec, write_code

from forerun.model import Call, InitReport, Outcome
from forerun.sandbox import (
    JailSandboxes,
    JailSettings,
    ProcessSandboxes,
    ProcessSettings,
    Sandbox,
    Sandboxes,
    own_interpreter,
)

TRACE = (
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;"
    "Forerun=53995c3f42cd8ad8-1-10-0123456789abcdef"
)
HANDLER = """
import http.client, json, os, socket, sys, time

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]

def connect(times):
    for _ in range(times):
        socket.create_connection(("127.0.0.1", port)).close()
        listener.accept()[0].close()

def ask():
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/hangs/12?secret=1")
    head = listener.accept()[0].recv(65536).decode().split("\\r\\n")
    return [line for line in head if line.lower().startswith(("x-amzn", "trace", "baggage"))], connection

def wire():
    # What a function that means harm would do: write to its own host.
    for fd in range(3, 1100):
        try:
            if socket.socket(fileno=os.dup(fd)).getpeername() in ("", b""):
                return fd
        except OSError:
            continue

def frame(kind, body):
    return (len(body) + 1).to_bytes(4, "big") + bytes([kind]) + body

def handler(event, context):
    what = event["do"]
    if what == "connect":
        return connect(event["times"])
    marks, kept = ask()
    if what == "return":
        return marks
    if what == "raise":
        raise ValueError("no")
    if what == "exit":
        sys.exit(3)
    if what == "die":
        connect(300)
        os._exit(3)
    if what == "sleep":
        time.sleep(20)
    if what == "eat":
        held = []
        while True:
            held.append(bytearray(16 << 20))
    if what == "forge":
        fd = wire()
        for body in event["frames"]:
            os.write(fd, frame(22, body.encode()))
        return marks
"""


@pytest.fixture(params=[pytest.param("jail", marks=pytest.mark.root), "process"])
async def sandboxes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandboxes]:
    own = own_interpreter()
    data, interpreters = tmp_path / "data", {own.runtime: own}
    made: JailSandboxes | ProcessSandboxes
    if request.param == "jail":
        made = JailSandboxes(JailSettings(data_dir=data, interpreters=interpreters))
    else:
        made = ProcessSandboxes(ProcessSettings(data_dir=data, interpreters=interpreters))
    await made.start()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def sandbox(sandboxes: Sandboxes, tmp_path: Path) -> Sandbox:
    spec = make_spec(write_code(tmp_path / "code", HANDLER))
    one = await sandboxes.create(spec.runtime)
    report = await one.assign(spec, deadline=time.monotonic() + 10)
    assert isinstance(report, InitReport), report
    return one


def watched(payload: Any, *, seconds: float = 10.0) -> Call:
    call = make_call(payload, seconds=seconds)
    call.monitored, call.trace_id, call.tracestate, call.baggage = True, TRACE, "o=1", "user=7"
    return call


def hanging(outcome: Outcome) -> Any:
    (call,) = [call for call in outcome.calls if call.kind == "http"]
    assert (call.method, call.path, call.status, call.ended) == ("GET", "/hangs/*", 0, 0.0)
    assert call.injected
    return call


async def test_calls_carry_what_the_call_brought_and_are_in_the_outcome(sandbox: Sandbox) -> None:
    outcome = await sandbox.invoke(watched({"do": "return"}))
    call = hanging(outcome)
    assert outcome.started - 1 < call.started <= outcome.ended
    assert sorted(json.loads(outcome.payload)) == [
        f"X-Amzn-Trace-Id: {TRACE.replace('Parent=53995c3f42cd8ad8', 'Parent=' + call.span_id)}",
        "baggage: user=7",
        f"traceparent: 00-5759e988bd862e3fe1be46a994272793-{call.span_id}-01",
        "tracestate: forerun=53995c3f42cd8ad8-1-10-0123456789abcdef,o=1",
    ]
    assert 0 < outcome.cpu_ms < 5000


async def test_unmonitored_executions_have_none(sandbox: Sandbox) -> None:
    await sandbox.invoke(watched({"do": "return"}))
    outcome = await sandbox.invoke(make_call({"do": "return"}))
    assert json.loads(outcome.payload) == []
    assert (outcome.calls, outcome.calls_dropped, outcome.cpu_ms) == ([], 0, 0.0)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("raise", "ValueError"),
        ("exit", "Runtime.ExitError"),
        ("die", "Runtime.ExitError"),
        ("eat", None),
    ],
)
async def test_calls_of_an_execution_that_failed(
    sandbox: Sandbox, what: str, error: str | None
) -> None:
    outcome = await sandbox.invoke(watched({"do": what}))
    assert outcome.status == "error"
    assert error in (None, outcome.error_type)
    hanging(outcome)
    if what == "die":
        connections = [call for call in outcome.calls if call.kind == "connection"]
        assert len(connections) == 300
        assert all(call.ended for call in connections)


async def test_calls_of_an_execution_that_timed_out(sandbox: Sandbox) -> None:
    outcome = await sandbox.invoke(watched({"do": "sleep"}, seconds=0.7))
    assert outcome.status == "timeout"
    hanging(outcome)


async def test_calls_beyond_the_limit_are_counted(sandbox: Sandbox) -> None:
    outcome = await sandbox.invoke(watched({"do": "connect", "times": 1200}))
    assert (len(outcome.calls), outcome.calls_dropped) == (1000, 200)


def frames() -> Iterator[str]:
    span, now = "a" * 16, time.time()
    yield "nonsense"
    yield "[]"
    yield json.dumps(["short", now])
    yield json.dumps([span, 1.0])
    yield json.dumps([span, now, 0.0, "http", "GET", "", "", "h" * 5000])
    yield json.dumps([span, now, now + 1e6])
    yield json.dumps([span, now, 0.0, "http", "GET", "", "", "h", "/", -1])
    yield "[" * 10000
    yield json.dumps([span, now, 0.0, "http", "GET", "", "", "line\nbreak"])


async def test_forged_calls_are_left_out_and_harm_nobody(sandbox: Sandbox) -> None:
    outcome = await sandbox.invoke(watched({"do": "forge", "frames": list(frames())}))
    assert outcome.status == "success"
    hanging(outcome)
    assert len(outcome.calls) == 1
    good = json.dumps(["b" * 16, time.time()])
    outcome = await sandbox.invoke(make_call({"do": "forge", "frames": [good]}))
    assert (outcome.status, outcome.calls) == ("success", [])
    outcome = await sandbox.invoke(watched({"do": "forge", "frames": [good]}))
    assert [call.span_id for call in outcome.calls if call.kind == "http"][-1:] == ["b" * 16]
