"""The Python runtime in real interpreters, from the oldest supported to the newest installed."""

import json
import os

import pytest


def test_answers_errors_and_logs(start, interpreter):
    driver = start(
        """
        import logging
        def handler(event, context):
            print("printed")
            logging.warning("two\\nlines")
            if event == "boom":
                raise ValueError("bad")
            return {"event": event, "memory": context.memory_limit_in_mb}
        """,
        interpreter=interpreter,
    )
    assert driver.inited()["ms"] > 0
    assert driver.invoke({"a": [1, None]}) == (None, {"event": {"a": [1, None]}, "memory": "256"})
    assert driver.output() == "printed\n"
    assert driver.logs[0].startswith("[WARNING]\t2")
    assert driver.logs[0].endswith("Z\treq-1\ttwo\nlines")
    kind, error = driver.invoke("boom", request_id="req-2")
    assert kind == "ValueError"
    path = os.path.join(str(driver.folder), "app.py")
    assert error == {
        "errorMessage": "bad",
        "errorType": "ValueError",
        "requestId": "req-2",
        "stackTrace": [f'  File "{path}", line 7, in handler\n    raise ValueError("bad")\n'],
    }
    hard = "\u00a0"
    assert driver.logs[-1] == (
        "[ERROR] ValueError: bad\nTraceback (most recent call last):\n"
        f'{hard * 2}File "{path}", line 7, in handler\n{hard * 4}raise ValueError("bad")'
    )


def test_context_has_every_attribute(start, interpreter):
    driver = start(
        """
        def handler(event, c):
            c.log("from context")
            return [c.function_name, c.function_version, c.invoked_function_arn, c.memory_limit_in_mb,
                    c.aws_request_id, c.log_group_name, c.log_stream_name, c.tenant_id, c.w3c(),
                    c.identity.cognito_identity_id, c.identity.cognito_identity_pool_id,
                    c.client_context.custom, c.client_context.env, c.client_context.client.app_title,
                    0 < c.get_remaining_time_in_millis() <= 3000, "aws_request_id=req-1" in repr(c)]
        """,
        interpreter=interpreter,
    )
    driver.inited()
    client_context = {
        "custom": {"k": "v"},
        "env": {"e": 1},
        "client": {"app_title": "t"},
        "w3c": {"traceparent": "00-1", "tracestate": 5, "other": "x"},
    }
    _, got = driver.invoke(client_context=json.dumps(client_context), tenant_id="ten")
    assert got == [
        "fn",
        "7",
        "arn:aws:lambda:eu-central-1:000000000000:function:fn",
        "256",
        "req-1",
        "/aws/lambda/fn",
        "2026/01/01/[7]abc",
        "ten",
        {"traceparent": "00-1"},
        None,
        None,
        {"k": "v"},
        {"e": 1},
        "t",
        True,
        True,
    ]
    assert driver.logs == ["from context"]


def test_bad_client_context_is_an_error(start):
    driver = start("def handler(e, c): return 1")
    driver.inited()
    kind, error = driver.invoke(client_context="{")
    assert kind == "Runtime.LambdaContextUnmarshalError"
    assert error["errorMessage"].startswith("Unable to parse Client Context JSON: ")


def test_environment_is_complete_and_the_trace_changes(start):
    driver = start(
        """
        import os
        def handler(event, context):
            return dict(os.environ)
        """,
        user={"MINE": "1", "AWS_REGION": "no", "TZ": "Europe/Berlin"},
    )
    driver.inited()
    _, first = driver.invoke(trace_id="Root=1")
    assert first["_X_AMZN_TRACE_ID"] == "Root=1"
    assert first["MINE"] == "1"
    assert first["AWS_REGION"] == "eu-central-1"
    assert first["TZ"] == "Europe/Berlin"
    assert first["_HANDLER"] == "app.handler"
    assert "_X_AMZN_TRACE_ID" not in driver.invoke()[1]


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        (
            "import nope",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nope'",
        ),
        (
            "",
            "other.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'other': No module named 'other'",
        ),
        (
            "",
            "app.handler",
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'app'",
        ),
        (
            "",
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "",
            "sys.exit",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module sys as a handler module",
        ),
        ("raise LookupError('at import')", "app.handler", "LookupError", "at import"),
    ],
)
def test_init_errors(start, source, handler, error_type, message):
    driver = start(source, handler)
    report = driver.inited()
    assert (report["error_type"], report["error"]["errorType"]) == (error_type, error_type)
    assert report["error"]["errorMessage"] == message
    assert driver.logs[0].startswith(f"[ERROR] {error_type}: {message}\nTraceback")
    assert driver.process.wait(5) == 1


def test_syntax_error_points_at_the_line(start, interpreter):
    driver = start("x = = 1\n", interpreter=interpreter)
    error = driver.inited()["error"]
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"].startswith("Syntax error in module 'app': invalid syntax (app.py")
    assert error["stackTrace"] == [f'  File "{driver.folder}/app.py" Line 1\n    x = = 1\n']


@pytest.mark.parametrize("handler", ["pkg/sub/mod.run", "pkg.sub.mod.run"])
def test_handler_in_a_package(start, handler):
    driver = start("def run(e, c): return __name__", handler, file="pkg/sub/mod.py")
    driver.inited()
    assert driver.invoke() == (None, "pkg.sub.mod")


def test_modules_of_the_user_win_over_loaded_ones(start):
    driver = start("def handler(e, c): return 'mine'", "resource.handler", file="resource.py")
    driver.inited()
    assert driver.invoke() == (None, "mine")


def test_unserializable_result_and_bad_event(start):
    driver = start(
        """
        def handler(event, context):
            return {1, 2} if event == "set" else "x" * event
        """
    )
    driver.inited()
    kind, error = driver.invoke("set")
    assert kind == error["errorType"] == "Runtime.MarshalError"
    expected = "Unable to marshal response: Object of type set is not JSON serializable"
    assert error["errorMessage"] == expected
    head, payload = driver.invoke_raw(b"{no")
    assert head["error"] == "Runtime.UnmarshalError"
    assert json.loads(payload)["errorMessage"].startswith("Unable to unmarshal input: ")
    assert driver.invoke(7_000_000)[0] == "Function.ResponseSizeTooLarge"
    assert driver.invoke(6_000_000)[0] is None


def test_bytes_are_passed_as_they_are(start):
    driver = start("def handler(e, c): return bytes(range(256))")
    driver.inited()
    head, payload = driver.invoke_raw(b"null")
    assert (payload, head["content_type"]) == (bytes(range(256)), "application/unknown")
    assert 0 < head["started"] <= head["ended"]


def test_json_log_format(start, interpreter):
    driver = start(
        """
        import logging
        log = logging.getLogger("mine")
        def handler(event, context):
            log.debug("hidden")
            log.info("é %d", 5, extra={"order": {1: object}})
            log.warning({"a": 1})
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("failed")
            raise KeyError("k")
        """,
        interpreter=interpreter,
        log_format="JSON",
        log_level="INFO",
    )
    driver.inited()
    assert driver.invoke()[0] == "KeyError"
    info, warning, failed, end = (json.loads(text) for text in driver.logs)
    assert info["level"] == "INFO"
    assert info["message"] == "é 5"
    assert info["logger"] == "mine"
    assert info["requestId"] == "req-1"
    assert "object" in str(info["order"])
    assert warning["message"] == {"a": 1}
    assert (failed["errorType"], failed["errorMessage"]) == (
        "ZeroDivisionError",
        "division by zero",
    )
    assert failed["location"].endswith("app.py:handler:11")
    assert (end["level"], end["errorType"]) == ("ERROR", "KeyError")


SNAPPED = """
    import random
    from snapshot_restore_py import register_after_restore, register_before_snapshot
    calls = []
    @register_before_snapshot
    def first(): calls.append("first")
    register_before_snapshot(calls.append, "second")
    register_after_restore(calls.append, "after")
    random.seed(1)
    drawn = random.Random(1).random()
    def handler(event, context): return calls, random.random() != drawn, context.log_stream_name
"""


def test_snap_start_hooks(start, interpreter):
    driver = start(SNAPPED, init_type="snap-start", interpreter=interpreter)
    assert "error" not in driver.inited()
    assert driver.restore(log_stream="copy", environment={"A": "1"})["restored"]
    assert driver.invoke() == (None, [["second", "first", "after"], True, "copy"])


def test_snap_start_without_a_restore_still_runs_the_hooks(start):
    driver = start(SNAPPED, init_type="snap-start")
    driver.inited()
    assert driver.invoke()[1][0] == ["second", "first", "after"]


def test_snap_start_hook_errors(start):
    source = """
        from snapshot_restore_py import register_{hook}
        @register_{hook}
        def hook(): raise OSError("no")
        def handler(event, context): return 1
    """
    driver = start(source.format(hook="before_snapshot"), init_type="snap-start")
    report = driver.inited()
    assert report["error_type"] == "Runtime.BeforeSnapshotError"
    assert (report["error"]["errorType"], report["error"]["errorMessage"]) == ("OSError", "no")
    assert driver.process.wait(5) == 64
    driver = start(source.format(hook="after_restore"), init_type="snap-start")
    driver.inited()
    assert driver.restore()["error_type"] == "Runtime.AfterRestoreError"
    assert driver.process.wait(5) == 65


def test_code_paths_of_layers(start, tmp_path):
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "lib.py").write_text("NAME = 'layer'")
    driver = start(
        "import lib, sys\ndef handler(e, c): return lib.NAME, sys.path[:2], __import__('os').getcwd()",
        code_paths=[str(tmp_path), str(layer)],
    )
    driver.inited()
    expected = ["layer", [str(tmp_path), str(layer)], str(tmp_path)]
    assert driver.invoke() == (None, expected)
