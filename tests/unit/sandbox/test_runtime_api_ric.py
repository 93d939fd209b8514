"""AWS's own Python runtime client against the Runtime API; and the same functions through ours must answer alike."""

import json
import sys
import textwrap
from pathlib import Path

import pytest
from tests.unit.runtime.driver import Driver
from tests.unit.sandbox.program import make_call, running, serving

from forerun.model import InitFailure, InitReport
from forerun.runtime.assignment import environment_for

pytestmark = pytest.mark.conformance

# The venv of real AWS clients; it has the same Python.
STOCK = str(Path(__file__).parents[3] / ".venv-clients" / "bin" / "python")
RUNTIME = f"python3.{sys.version_info.minor}"
APP = """
    import collections, decimal, enum, math
    from collections import namedtuple

    Point = namedtuple("Point", "x y")
    class Colour(enum.IntEnum):
        RED = 1

    def nested():
        raise LookupError("deep")

    RESULTS = {
        "number": 1.5, "none": None, "text": "é\\u2028\\"", "tuple": (1, 2), "point": {"p": [Point(1, 2)]},
        "decimal": {"d": decimal.Decimal("1.10"), "e": decimal.Decimal("1E+2")}, "keys": {1: 2, None: 3, True: 4},
        "bytes": b"\\x00raw", "inner bytes": {"b": b"text"}, "enum": Colour.RED, "nan": math.inf,
        "decimal nan": decimal.Decimal("NaN"), "byte keys": {b"k": 1}, "set": {1}, "object": object,
        "bad bytes": [b"\\xff"], "tuple keys": {(1, 2): 3}, "ordered": collections.OrderedDict(b=1, a=2),
    }

    def handler(event, context):
        if event == "raise":
            nested()
        if event == "custom":
            class Odd(Exception):
                def __str__(self): return "odd é"
            raise Odd()
        if event == "context":
            return [context.client_context.client.app_title, context.w3c(), context.client_context.custom,
                    context.memory_limit_in_mb, context.function_name, context.log_group_name]
        return RESULTS[event]
"""
EVENTS = [
    "raise",
    "custom",
    "unknown key",
    "number",
    "none",
    "text",
    "tuple",
    "point",
    "decimal",
    "keys",
    "bytes",
    "inner bytes",
    "enum",
    "nan",
    "decimal nan",
    "byte keys",
    "set",
    "object",
    "bad bytes",
    "tuple keys",
    "ordered",
]
BROKEN = {
    "import nope": "app.handler",
    "x = = 1": "app.handler",
    "": "app.handler",
    "pass": "other.handler",
    "x = 1": "app",
    "y = 1": "sys.exit",
    "raise KeyError('at import')": "app.handler",
    "import json\njson.loads('{')": "app.handler",
}


def facts(folder, handler):
    return {
        "handler": handler,
        "runtime": RUNTIME,
        "region": "eu-central-1",
        "function_name": "fn",
        "function_version": "7",
        "memory_mb": 256,
        "log_group": "/aws/lambda/fn",
        "log_stream": "stream",
        "task_root": str(folder),
    }


def stock(folder, handler, address, **more):
    environment = environment_for(facts(folder, handler) | more, {}, runtime_api=address)
    del environment["LD_LIBRARY_PATH"], environment["PYTHONPATH"]
    command = [STOCK, "-B", "-m", "awslambdaric", handler]
    return running(*command, env=environment, cwd=folder)


def own(folder, handler):
    return Driver(folder, handler, runtime=RUNTIME)


async def test_answers_are_alike(tmp_path):
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    client_context = json.dumps(
        {"custom": {"a": "b"}, "client": {"app_title": "t"}, "w3c": {"traceparent": "x"}}
    )
    async with serving() as (api, address), stock(tmp_path, "app.handler", address):
        assert isinstance(await api.wait_init(20), InitReport)
        with own(tmp_path, "app.handler") as driver:
            driver.inited()
            for event in [*EVENTS, "context"]:
                theirs = await api.submit(make_call(event, client_context=client_context))
                head, payload = driver.invoke_raw(
                    json.dumps(event).encode(), client_context=client_context
                )
                assert payload == theirs.payload, event
                assert head.get("error") == theirs.error_type, event
                assert (
                    head.get("content_type", "application/json") == theirs.content_type
                    or theirs.error
                )
            theirs = await api.submit(make_call(payload=b"{bad"))
            head, payload = driver.invoke_raw(b"{bad")
            assert head["error"] == theirs.error_type == "Runtime.UnmarshalError"


@pytest.mark.parametrize(("source", "handler"), BROKEN.items())
async def test_init_errors_are_alike(tmp_path, source, handler):
    (tmp_path / "app.py").write_text(source)
    async with serving() as (api, address), stock(tmp_path, handler, address) as process:
        failure = await api.wait_init(20)
        assert isinstance(failure, InitFailure)
        assert await process.wait() == 1
    with own(tmp_path, handler) as driver:
        report = driver.inited()
    assert report["error_type"] == failure.error_type
    assert _without_runtime(report["error"]) == _without_runtime(json.loads(failure.payload))


def _without_runtime(error):
    """Stack traces without the frames of the interpreter's own library: the two may be different installations."""
    error["stackTrace"] = [
        frame
        for frame in error["stackTrace"]
        if "/lib/python3" not in frame and "importlib" not in frame
    ]
    return error


async def test_snap_start_of_the_stock_client(tmp_path):
    source = """
        from snapshot_restore_py import register_after_restore, register_before_snapshot
        calls = []
        register_before_snapshot(calls.append, "before")
        register_after_restore(calls.append, "after")
        def handler(event, context): return calls
    """
    (tmp_path / "app.py").write_text(textwrap.dedent(source))
    async with (
        serving() as (api, address),
        stock(tmp_path, "app.handler", address, init_type="snap-start"),
    ):
        assert isinstance(await api.wait_init(20), InitReport)
        assert (await api.restore(10)).restored
        assert json.loads((await api.submit(make_call())).payload) == ["before", "after"]
