"""The Node bootstrap against the Runtime API, both real."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from tests.unit.sandbox.program import Sink, make_call, running, serving

import forerun.runtime
from forerun.model import InitFailure, InitReport
from forerun.runtime.assignment import environment_for

NODE = shutil.which("node") or "node"
BOOTSTRAP = Path(forerun.runtime.__file__).parent / "nodejs" / "bootstrap.mjs"


@pytest.fixture
async def start(tmp_path):
    """Write files and start Node on a handler: gives API, init result, process."""
    async with contextlib.AsyncExitStack() as stack:

        async def starter(files, handler="index.handler", *, timeout=20, user=None, **facts):
            for name, text in files.items():
                place = tmp_path / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
            api, address = await stack.enter_async_context(serving())
            given = {
                "handler": handler,
                "runtime": "nodejs20.x",
                "region": "eu-central-1",
                "function_name": "fn",
                "function_version": "7",
                "memory_mb": 256,
                "log_group": "/aws/lambda/fn",
                "log_stream": "stream",
                "task_root": str(tmp_path),
                **facts,
            }
            given["environment"] = environment_for(given, user or {}, runtime_api=address)
            process = await stack.enter_async_context(
                running(NODE, str(BOOTSTRAP), assignment=given)
            )
            return api, await api.wait_init(timeout), process

        yield starter


async def output(process, *, until=b"\n"):
    return (await process.stdout.readuntil(until)).decode()


async def value(api, event=None, **members):
    outcome = await api.submit(make_call(event, **members))
    return outcome.error_type, json.loads(outcome.payload)


async def test_async_handler_context_and_environment(start):
    source = """
        exports.handler = async (event, c) => ({ event, name: c.functionName, version: c.functionVersion,
          memory: c.memoryLimitInMB, id: c.awsRequestId, arn: c.invokedFunctionArn, group: c.logGroupName,
          stream: c.logStreamName, client: c.clientContext, left: c.getRemainingTimeInMillis() > 0,
          mine: process.env.MINE, trace: process.env._X_AMZN_TRACE_ID, cwd: process.cwd() });
    """
    api, init, _ = await start({"index.js": source}, user={"MINE": "1"})
    assert isinstance(init, InitReport)
    error, got = await value(
        api, {"a": 1}, trace_id="Root=1", client_context='{"custom":{"k":"é"}}'
    )
    assert error is None
    assert Path(got.pop("cwd")).is_dir()
    assert got == {
        "event": {"a": 1},
        "name": "fn",
        "version": "7",
        "memory": "256",
        "id": "req-1",
        "arn": "arn:aws:lambda:eu-central-1:000000000000:function:fn",
        "group": "/aws/lambda/fn",
        "stream": "stream",
        "client": {"custom": {"k": "é"}},
        "left": True,
        "mine": "1",
        "trace": "Root=1",
    }


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"index.mjs": "export const handler = async () => 'ok';"}, "index.handler"),
        (
            {
                "index.js": "export const handler = async () => 'ok';",
                "package.json": '{"type":"module"}',
            },
            "index.handler",
        ),
        ({"index.cjs": "exports.handler = async () => 'ok';"}, "index.handler"),
        ({"src/app/index.js": "exports.api = { get: async () => 'ok' };"}, "src/app/index.api.get"),
        (
            {
                "index.js": "const ok = require('dep'); exports.handler = async () => ok;",
                "node_modules/dep/index.js": "module.exports = 'ok';",
            },
            "index.handler",
        ),
        (
            {"index.js": "exports.handler = (e, c, done) => setTimeout(done, 5, null, 'ok');"},
            "index.handler",
        ),
        ({"index.js": "exports.handler = (e, c) => c.succeed('ok');"}, "index.handler"),
        (
            {
                "index.js": "exports.handler = (e, c, done) => { c.callbackWaitsForEmptyEventLoop = false; "
                "setInterval(() => {}, 1000); done(null, 'ok'); };"
            },
            "index.handler",
        ),
    ],
)
async def test_ways_to_write_a_handler(start, files, handler):
    api, _, _ = await start(files, handler)
    for _ in range(2):
        assert await value(api) == (None, "ok")


async def test_a_callback_waits_for_the_event_loop_to_be_empty(start):
    source = """
        let ticks = 0;
        exports.handler = (event, context, done) => {
          if (event === "count") return done(null, ticks);
          setTimeout(() => { ticks += 1; }, 30);
          done(null, null);
        };
    """
    api, _, _ = await start({"index.js": source})
    assert await value(api, "run") == (None, None)
    assert await value(api, "count") == (None, 1)


async def test_a_handler_that_never_answers_answers_null(start):
    api, _, _ = await start({"index.js": "exports.handler = () => new Promise(() => {});"})
    assert await value(api) == (None, None)
    assert await value(api) == (None, None)


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        ("async () => { throw new TypeError('bad'); }", "TypeError", "bad"),
        ("() => { throw new TypeError('bad'); }", "TypeError", "bad"),
        ("(e, c, done) => done('words')", "string", "words"),
        ("async () => 1n", "Error", "Unable to stringify response body"),
        ("async () => { throw undefined; }", "undefined", "undefined"),
    ],
)
async def test_errors(start, body, error_type, message):
    api, _, _ = await start({"index.js": f"exports.handler = {body};"})
    for _ in range(2):
        kind, error = await value(api)
        assert kind == error["errorType"] == error_type
        assert error["errorMessage"] == message
        assert isinstance(error["trace"], list)


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({}, "nope.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nope'"),
        (
            {"index.js": "require('gone')"},
            "index.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find",
        ),
        ({"index.mjs": "import 'gone'"}, "index.handler", "Runtime.ImportModuleError", "Error"),
        (
            {"index.js": "1"},
            "index.handler",
            "Runtime.HandlerNotFound",
            "index.handler is undefined or not",
        ),
        (
            {"index.js": "exports.x = 1"},
            "index.x",
            "Runtime.HandlerNotFound",
            "index.x is not a function",
        ),
        (
            {"index.js": "x = = 1"},
            "index.handler",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: Unexpected",
        ),
        ({}, "index", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            {},
            "../index.x",
            "Runtime.MalformedHandlerName",
            "'../index.x' is not a valid handler name",
        ),
        ({"index.js": "throw new RangeError('at load')"}, "index.handler", "RangeError", "at load"),
    ],
)
async def test_init_errors(start, files, handler, error_type, message):
    _, failure, process = await start(files, handler)
    assert isinstance(failure, InitFailure)
    assert failure.error_type == error_type
    assert json.loads(failure.payload)["errorMessage"].startswith(message)
    assert await process.wait() == 1


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        ("setTimeout(() => { throw new RangeError('late'); }, 1)", 129, "RangeError"),
        ("Promise.reject(new RangeError('late'))", 128, "Runtime.UnhandledPromiseRejection"),
    ],
)
async def test_uncaught_errors_end_the_process(start, body, status, error_type):
    source = (
        f"exports.handler = () => new Promise(() => {{ {body}; setTimeout(() => {{}}, 9000); }});"
    )
    api, _, process = await start({"index.js": source})
    kind, error = await value(api)
    assert kind == error["errorType"] == error_type
    assert "late" in error["errorMessage"]
    assert await process.wait() == status


async def test_console_in_text_format(start):
    source = """
        console.log("at init");
        exports.handler = async () => { console.warn("x %d", 5, { a: 1 }, "two\\nlines"); throw new Error("e"); };
    """
    api, _, process = await start({"index.js": source})
    _, undefined, level, text = (await output(process)).rstrip("\n").split("\t")
    assert (undefined, level, text) == ("undefined", "INFO", "at init")
    await value(api)
    stamp, request, level, text = (await output(process)).rstrip("\n").split("\t")
    assert stamp.endswith("Z")
    assert (request, level, text) == ("req-1", "WARN", "x 5 { a: 1 } two\rlines")
    line = await output(process)
    assert "\treq-1\tERROR\tInvoke Error \t" in line
    assert json.loads(line.rpartition("\t")[2])["errorMessage"] == "e"


async def test_console_in_json_format(start):
    source = """
        exports.handler = async () => {
          console.debug("hidden"); console.log({ a: 1n }); console.error("x", new TypeError("e")); };
    """
    api, _, process = await start({"index.js": source}, log_format="JSON", log_level="INFO")
    await value(api)
    first = json.loads(await output(process))
    assert (first["level"], first["requestId"], first["message"]) == ("INFO", "req-1", {"a": "1"})
    second = json.loads(await output(process))
    assert (second["level"], second["errorType"], second["errorMessage"]) == (
        "ERROR",
        "TypeError",
        "e",
    )
    assert second["stackTrace"]


STREAM = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      if (event === "early") throw new RangeError("early");
      if (event === "http") stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
      else stream.setContentType("text/plain");
      stream.write("a");
      await new Promise((resolve) => setTimeout(resolve, 10));
      if (event === "late") throw new RangeError("late");
      if (event === "big") for (let i = 0; i < 40; i += 1) stream.write("x".repeat(50000));
      stream.end("b");
    });
"""


async def test_streaming(start):
    api, _, _ = await start({"index.js": STREAM})

    async def stream(event):
        sink = Sink()
        outcome = await api.submit(make_call(event, sink=sink))
        return outcome, sink

    outcome, sink = await stream("plain")
    assert (outcome.error, outcome.streamed) == (None, True)
    assert (sink.content_type, sink.body, len(sink.chunks)) == ("text/plain", b"ab", 2)
    outcome, sink = await stream("http")
    assert sink.content_type == "application/vnd.awslambda.http-integration-response"
    assert sink.body == b'{"statusCode":201}' + bytes(8) + b"ab"
    outcome, sink = await stream("big")
    assert len(sink.body) == 2_000_002
    outcome, sink = await stream("late")
    assert (outcome.error, outcome.error_type, sink.body) == ("Unhandled", "RangeError", b"a")
    assert json.loads(outcome.payload)["errorMessage"] == "late"
    outcome, sink = await stream("early")
    assert (outcome.error_type, outcome.streamed, sink.content_type) == ("RangeError", False, None)
    outcome = await api.submit(make_call("plain"))
    assert (outcome.payload, outcome.streamed) == (b"ab", False)
