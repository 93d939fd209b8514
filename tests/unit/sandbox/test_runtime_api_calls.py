"""Reports of outgoing calls at the Runtime API."""

import asyncio
import json
import time

import pytest
from tests.unit.sandbox.connection import Program, submitted
from tests.unit.sandbox.program import make_call, serving

from forerun.model import Outcome


def calls_of(*numbers):
    """A report of finished calls."""
    now = time.time()
    return [[f"{number:016x}", now, now] for number in numbers]


CALLS = "/forerun/runtime/req-1/calls"


async def test_a_monitored_invocation_tells_the_bootstrap_and_gets_its_calls(started):
    api, program = started
    call = make_call(1, monitored=True, tracestate="forerun=x,other=y", baggage="k=v\r\nx: y")
    outcome, got = await submitted(api, program, call)
    assert got.headers["forerun-monitored"] == "true"
    assert got.headers["forerun-tracestate"] == "forerun=x,other=y"
    assert got.headers["forerun-baggage"] == "k=vx: y"
    fence = got.headers["lambda-runtime-invocation-id"]
    for body in (calls_of(1, 2), {"calls": calls_of(3), "cpu_ms": 3.5}):
        answer = await program.request(
            "POST", CALLS, json.dumps(body).encode(), Lambda_Runtime_Invocation_Id=fence
        )
        assert answer.status == 202
    last = json.dumps({"calls": calls_of(4), "cpu_ms": 4.5})
    await program.post("invocation/req-1/response", b"1", Forerun_Calls=last)
    result = await outcome
    assert [one.span_id[-1] for one in result.calls] == ["1", "2", "3", "4"]
    assert (result.calls_dropped, result.cpu_ms, result.error) == (0, 4.5, None)


async def test_calls_of_what_is_not_monitored_are_ignored(started):
    api, program = started
    outcome, got = await submitted(api, program, make_call(1, tracestate="a=b", baggage="c=d"))
    assert not any(name.startswith("forerun") for name in got.headers)
    assert (await program.request("POST", CALLS, json.dumps(calls_of(1)).encode())).status == 202
    await program.post("invocation/req-1/response", b"1", Forerun_Calls=json.dumps(calls_of(2)))
    assert (await outcome).calls == []


async def test_calls_are_taken_of_the_invocation_under_way_only(served):
    _, program = served
    body = json.dumps(calls_of(1)).encode()
    early = await program.request("POST", CALLS, body)
    assert (early.status, json.loads(early.body)["errorType"]) == (400, "InvalidRequestID")


@pytest.mark.parametrize(
    ("path", "method", "body", "fence", "status", "error_type"),
    [
        (CALLS.replace("req-1", "other"), "POST", b"[]", None, 400, "InvalidRequestID"),
        (CALLS, "POST", b"[]", "req-1-0", 400, "InvalidRequestID"),
        (CALLS, "GET", b"", None, 405, "MethodNotAllowed"),
        (CALLS, "POST", b"[[]]", None, 400, "InvalidCalls"),
        (CALLS, "POST", b"no", None, 400, "InvalidCalls"),
        (CALLS, "POST", b"[" + b" " * 1024 * 1024, None, 413, "RequestEntityTooLarge"),
        (CALLS + "/more", "POST", b"[]", None, 404, "NotFound"),
    ],
    ids=["other id", "other fence", "GET", "no call", "no JSON", "too long", "other path"],
)
async def test_strange_reports_are_refused_and_change_nothing(
    served, path, method, body, fence, status, error_type
):
    api, program = served
    outcome = asyncio.ensure_future(api.submit(make_call(1, monitored=True)))
    await program.next()
    more = {"Lambda_Runtime_Invocation_Id": fence} if fence else {}
    answer = await program.request(method, path, body, **more)
    assert (answer.status, json.loads(answer.body)["errorType"]) == (status, error_type)
    async with Program(f"{program.host}:{program.port}") as other:
        await other.post("invocation/req-1/response", b"1", Forerun_Calls="no JSON")
    result = await outcome
    assert (result.payload, result.calls, result.error) == (b"1", [], None)


async def test_calls_of_a_killed_program_are_known(started):
    api, program = started
    outcome, _ = await submitted(api, program, make_call(1, monitored=True))
    now = time.time()
    under_way = [["a" * 16, now, 0.0, "http", "GET"]]
    await program.request("POST", CALLS, json.dumps(under_way).encode())
    api.fail(Outcome(payload=b"", error="Unhandled", error_type="Runtime.ExitError", alive=False))
    result = await outcome
    assert [(one.span_id, one.ended) for one in result.calls] == [("a" * 16, 0.0)]


async def test_calls_of_a_program_that_nobody_ended_are_known(started, monkeypatch):
    monkeypatch.setattr("forerun.sandbox.runtime_api._GRACE_S", 0.1)
    api, program = started
    outcome, _ = await submitted(api, program, make_call(1, monitored=True, seconds=0.3))
    await program.request("POST", CALLS, json.dumps(calls_of(1)).encode())
    result = await outcome
    assert (result.status, len(result.calls)) == ("timeout", 1)


async def test_as_many_calls_are_kept_as_the_host_wants():
    async with serving(max_calls=2) as (api, address), Program(address) as program:
        outcome = asyncio.ensure_future(api.submit(make_call(1, monitored=True)))
        await program.next()
        await program.request("POST", CALLS, json.dumps(calls_of(1, 2)).encode())
        last = json.dumps(calls_of(3))
        await program.post("invocation/req-1/response", b"1", Forerun_Calls=last)
        result = await outcome
    assert (len(result.calls), result.calls_dropped) == (2, 1)
