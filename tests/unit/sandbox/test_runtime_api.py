import asyncio
import base64
import json

import pytest
from tests.unit.sandbox.connection import API, Program, submitted
from tests.unit.sandbox.program import Sink, make_call

from forerun.errors import SandboxDead, SandboxError
from forerun.model import InitFailure, InitReport, Outcome
from forerun.runtime import faults


async def test_an_invocation(started):
    api, program = started
    call = make_call({"a": 1}, trace_id="Root=1-2;Sampled=1")
    outcome, got = await submitted(api, program, call)
    assert got.status == 200
    assert got.body == b'{"a": 1}'
    assert got.headers["lambda-runtime-aws-request-id"] == "req-1"
    assert got.headers["lambda-runtime-deadline-ms"] == str(call.deadline_ms)
    assert got.headers["lambda-runtime-invoked-function-arn"] == call.invoked_arn
    assert got.headers["lambda-runtime-trace-id"] == "Root=1-2;Sampled=1"
    assert "lambda-runtime-client-context" not in got.headers
    answer = await program.post("invocation/req-1/response", b'"ok"')
    assert (answer.status, json.loads(answer.body)) == (202, {"status": "OK"})
    result = await outcome
    assert (result.payload, result.error, result.status) == (b'"ok"', None, "success")
    assert 0 < result.started <= result.ended


async def test_a_call_may_come_before_the_poll_and_calls_follow_each_other(served):
    api, program = served
    for number in range(3):
        outcome = asyncio.ensure_future(api.submit(make_call(number, request_id=f"r{number}")))
        assert (await program.next()).body == str(number).encode()
        await program.post(f"invocation/r{number}/response", b"1")
        assert (await outcome).error is None


async def test_a_poll_whose_connection_broke_gets_nothing(served):
    api, program = served
    async with Program(f"{program.host}:{program.port}") as leaving:
        leaving.send("GET", API + "invocation/next")
        await api.wait_init(5)
    while api._polls:
        await asyncio.sleep(0)
    outcome = asyncio.ensure_future(api.submit(make_call(5)))
    assert (await program.next()).body == b"5"
    await program.post("invocation/req-1/response", b"6")
    assert (await outcome).payload == b"6"


async def test_an_error_keeps_its_body_and_type(started):
    api, program = started
    outcome, _ = await submitted(api, program, make_call())
    body = b'{"errorMessage":"bad","errorType":"TypeError","stackTrace":[]}'
    assert (await program.post("invocation/req-1/error", body)).status == 202
    result = await outcome
    assert (result.error, result.error_type, result.payload) == ("Unhandled", "TypeError", body)
    assert result.alive


async def test_the_type_of_an_error_can_be_written_down(started):
    api, program = started
    outcome, _ = await submitted(api, program, make_call())
    body = b'{"errorType":"half \\ud800\\n' + b"x" * 1000 + b'"}'
    await program.post("invocation/req-1/error", body)
    error_type = (await outcome).error_type
    assert error_type.encode().startswith(b"half ??xxx")
    assert len(error_type) == 256


async def test_client_context_cannot_end_its_header(started):
    api, program = started
    text = '{"custom":\n{"x": "é"}}'
    _, got = await submitted(api, program, make_call(client_context=text))
    assert json.loads(got.headers["lambda-runtime-client-context"]) == {"custom": {"x": "é"}}


async def test_stale_and_repeated_answers_are_refused(started):
    api, program = started
    outcome, got = await submitted(api, program, make_call())
    refused = await program.post("invocation/other/response", b"1")
    assert (refused.status, json.loads(refused.body)["errorType"]) == (400, "InvalidRequestID")
    fenced = await program.post(
        "invocation/req-1/response", b"1", Lambda_Runtime_Invocation_Id="old"
    )
    assert fenced.status == 400
    assert not outcome.done()
    fence = got.headers["lambda-runtime-invocation-id"]
    answer = await program.post(
        "invocation/req-1/response", b"2", Lambda_Runtime_Invocation_Id=fence
    )
    assert answer.status == 202
    assert (await outcome).payload == b"2"
    assert (await program.post("invocation/req-1/response", b"3")).status in (400, 403)


async def test_a_response_beyond_the_limit(started):
    api, program = started
    outcome, _ = await submitted(api, program, make_call())
    answer = await program.post(
        "invocation/req-1/response", b" " * (faults.MAX_RESPONSE + 1), Connection="close"
    )
    assert answer.status == 413
    assert json.loads(answer.body)["errorType"] == "RequestEntityTooLarge"
    result = await outcome
    assert result.error_type == "Function.ResponseSizeTooLarge"
    assert "6291556 bytes" in json.loads(result.payload)["errorMessage"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", API + "invocation/next", 405),
        ("GET", API + "invocation/x/response", 405),
        ("GET", API + "nothing", 404),
        ("GET", "/2020-01-01/extension/event/next", 404),
        ("POST", API + "invocation/x/response", 400),
        ("POST", API + "restore/error", 403),
    ],
)
async def test_refusals_are_json(served, method, path, status):
    _, program = served
    answer = await program.request(method, path, b"")
    assert answer.status == status
    assert set(json.loads(answer.body)) == {"errorMessage", "errorType"}


async def test_init_error(served):
    api, program = served
    body = b'{"errorMessage":"m","errorType":"Other"}'
    waiting = asyncio.ensure_future(api.wait_init(5))
    answer = await program.post(
        "init/error", body, Lambda_Runtime_Function_Error_Type="Runtime.ImportModuleError"
    )
    assert answer.status == 202
    failure = await waiting
    assert isinstance(failure, InitFailure)
    assert (failure.error_type, failure.payload) == ("Runtime.ImportModuleError", body)
    assert (await program.post("init/error", body)).status == 403


async def test_init_that_takes_too_long(served):
    api, _ = served
    failure = await api.wait_init(0.01)
    assert (failure.status, failure.error_type) == ("timeout", "Sandbox.Timedout")


async def test_a_program_that_ends_fails_what_waits(started):
    api, program = started
    outcome, _ = await submitted(api, program, make_call())
    with pytest.raises(SandboxError):
        await api.submit(make_call())
    api.fail(Outcome(payload=b"{}", error="Unhandled", error_type="Runtime.ExitError", alive=False))
    result = await outcome
    assert (result.error_type, result.alive) == ("Runtime.ExitError", False)
    assert result.started > 0
    with pytest.raises(SandboxDead):
        await api.submit(make_call())


async def test_a_program_that_ends_in_init(served):
    api, _ = served
    waiting = asyncio.ensure_future(api.wait_init(5))
    await asyncio.sleep(0)
    api.fail(Outcome(payload=b"{}", error_type="Runtime.ExitError", status="error"))
    assert (await waiting).error_type == "Runtime.ExitError"


async def test_snap_start(served):
    api, program = served
    program.send("GET", API + "restore/next")
    assert isinstance(await api.wait_init(5), InitReport)
    assert not program.reader._buffer
    restored = asyncio.ensure_future(api.restore(5))
    assert (await program.receive()).status == 200
    program.send("GET", API + "invocation/next")
    assert (await restored).restored
    outcome, _ = await submitted(api, program, make_call())
    await program.post("invocation/req-1/response", b"1")
    assert (await outcome).error is None


async def test_an_invocation_restores_a_program_that_nobody_restored(served):
    api, program = served
    program.send("GET", API + "restore/next")
    await api.wait_init(5)
    outcome = asyncio.ensure_future(api.submit(make_call(3)))
    assert (await program.receive()).status == 200
    assert (await program.next()).body == b"3"
    await program.post("invocation/req-1/response", b"4")
    assert (await outcome).payload == b"4"


async def test_an_invocation_tells_of_a_failed_restore(served):
    api, program = served
    program.send("GET", API + "restore/next")
    await api.wait_init(5)
    outcome = asyncio.ensure_future(api.submit(make_call(3)))
    await program.receive()
    await program.post("restore/error", b'{"errorType":"OSError"}')
    result = await outcome
    assert (result.error, result.error_type, result.alive) == ("Unhandled", "OSError", False)


async def test_snap_start_whose_hook_fails(served):
    api, program = served
    program.send("GET", API + "restore/next")
    await api.wait_init(5)
    restored = asyncio.ensure_future(api.restore(5))
    await program.receive()
    name = "Runtime.AfterRestoreError"
    answer = await program.post("restore/error", b"{}", Lambda_Runtime_Function_Error_Type=name)
    assert answer.status == 202
    assert (await restored).error_type == name


STREAM_HEAD = (
    f"POST {API}invocation/req-1/response HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
    "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()


async def test_streaming_passes_chunks_on_as_they_come(started):
    api, program = started
    sink = Sink()
    outcome, _ = await submitted(api, program, make_call(sink=sink))
    program.writer.write(STREAM_HEAD + b"2\r\nab\r\n")
    while sink.body != b"ab":
        await asyncio.sleep(0)
    assert not outcome.done()
    program.writer.write(b"1\r\nc\r\n0\r\n\r\n")
    assert (await program.receive()).status == 202
    result = await outcome
    assert (result.streamed, result.error, result.payload) == (True, None, b"")
    assert (sink.content_type, sink.body) == ("text/plain", b"abc")


async def test_streaming_waits_for_a_slow_client(started):
    api, program = started
    sink = Sink()
    sink.gate.clear()
    outcome, _ = await submitted(api, program, make_call(sink=sink))
    program.writer.write(STREAM_HEAD)
    block = b"x" * 65536

    async def write_all():
        for _ in range(400):
            program.writer.write(b"10000\r\n" + block + b"\r\n")
            await program.writer.drain()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write_all(), 0.3)
    sink.gate.set()
    outcome.cancel()


async def test_streaming_error_in_trailers(started):
    api, program = started
    sink = Sink()
    outcome, _ = await submitted(api, program, make_call(sink=sink))
    error = b'{"errorType":"E","errorMessage":"late"}'
    trailers = (
        b"Lambda-Runtime-Function-Error-Type: E\r\nLambda-Runtime-Function-Error-Body: "
        + base64.b64encode(error)
    )
    program.writer.write(STREAM_HEAD + b"1\r\na\r\n0\r\n" + trailers + b"\r\n\r\n")
    assert (await program.receive()).status == 202
    result = await outcome
    assert (result.error, result.error_type, result.payload) == ("Unhandled", "E", error)


async def test_streaming_without_a_sink_is_collected(started):
    api, program = started
    outcome, _ = await submitted(api, program, make_call())
    program.writer.write(STREAM_HEAD + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    result = await outcome
    assert (result.payload, result.streamed, result.content_type) == (b"ab", False, "text/plain")


async def test_a_client_that_left_does_not_fail_the_invocation(started):
    class Gone(Sink):
        async def write(self, chunk):
            raise ConnectionResetError

    api, program = started
    outcome, _ = await submitted(api, program, make_call(sink=Gone()))
    program.writer.write(STREAM_HEAD + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert (await program.receive()).status == 202
    assert (await outcome).error is None


async def test_a_call_that_nobody_takes_ends_after_its_deadline(served, monkeypatch):
    api, _ = served
    monkeypatch.setattr("forerun.sandbox.runtime_api._GRACE_S", 0.0)
    result = await api.submit(make_call(seconds=0.02))
    assert (result.status, result.alive) == ("timeout", False)
    assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"
