import base64
import io
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from tests.fakes.aws import ACCOUNT, REGION

import forerun.sandbox
from forerun.cli import connection, logs, main
from forerun.cli.failures import Failure
from forerun.cli.invocations import steps, total_ms
from forerun.cli.invoke import invoke as invoke_command


@pytest.fixture
def hello(aws, forerun, tmp_path, monkeypatch):
    code = tmp_path / "hello.py"
    code.write_text("def handler(event, context): return 1")
    monkeypatch.setattr(
        connection.Connection, "get", lambda self, path, **_: {"runtimes": ["python3.11"]}
    )
    assert forerun("deploy", str(code)).exit_code == 0
    return aws


def answers(monkeypatch, **operations):
    """Replace single operations of every client by plain functions."""
    client = SimpleNamespace(**operations)
    monkeypatch.setattr(connection.Connection, "client", lambda self, name, **_: client)


def test_help_names_every_command_and_loads_little():
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from forerun.cli import main; main(['--help'], standalone_mode=False);"
            "print(sorted({'botocore', 'rich', 'yaml', 'asyncio', 'msgspec'} & sys.modules.keys()))",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert loaded.endswith("[]\n")
    for name in ("up", "env", "deploy", "invoke", "logs", "doctor", "account", "key"):
        assert f"\n  {name} " in loaded


def commands(group=main, path=()):
    """Every command that does something, by its names; ``forerun a b`` is ``("a", "b")``."""
    found = {}
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
        else:
            found[*path, name] = command
    return found


def test_every_command_imports_and_explains_itself():
    for path in commands():
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0, (path, result.output)
        # What runs until it is stopped, or only takes something away, tells nothing.
        assert "--json" in result.output or path[-1] in {"up", "delete"}, path


def test_env_is_safe_to_evaluate(forerun):
    exported = forerun("env", "--shell", "bash").stdout
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:1\n" in exported
    assert """export AWS_SECRET_ACCESS_KEY='it'"'"'s secret'\n""" in exported
    done = subprocess.run(
        ["bash", "-c", exported + 'printf %s "$AWS_SECRET_ACCESS_KEY $AWS_REGION"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert done.stdout == f"it's secret {REGION}"
    assert "set -gx AWS_REGION us-home-1;" in forerun("env", "--shell", "fish").stdout
    assert json.loads(forerun("env", "--json").stdout)["AWS_DEFAULT_REGION"] == REGION


def test_env_without_a_server_says_how_to_get_one(forerun, data_dir):
    (data_dir / "credentials.json").unlink()
    result = forerun("env")
    assert result.exit_code == 1
    assert "Start it with: forerun up" in result.stderr


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"endpoint": 3}'])
def test_a_damaged_credentials_file_is_named(forerun, data_dir, content):
    (data_dir / "credentials.json").write_text(content)
    result = forerun("env")
    assert result.exit_code == 2
    assert "credentials.json is not" in result.stderr


def test_a_server_that_does_not_answer(forerun):
    for command in (["functions"], ["status"], ["invoke", "x"], ["logs", "x"]):
        result = forerun(*command)
        assert result.exit_code == 1
        assert (
            "No Forerun server answers at http://127.0.0.1:1. Start it with: forerun up"
            in result.stderr
        )


def test_functions_versions_and_delete(hello, forerun):
    assert "hello  python3.11  hello.handler" in forerun("functions").stdout
    hello.client("lambda").publish_version(FunctionName="hello")
    hello.client("lambda").create_alias(
        FunctionName="hello",
        Name="live",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"$LATEST": 0.1}},
    )
    shown = forerun("versions", "hello").stdout
    assert "live 10%" in shown
    assert "live 90%" in shown
    assert forerun("delete", "hello", input="n\n").exit_code == 1
    assert "hello" in hello.functions
    assert forerun("delete", "hello", "--yes").exit_code == 0
    assert hello.functions == {}
    missing = forerun("delete", "hello", "--yes")
    assert missing.exit_code == 1
    assert "forerun functions" in missing.stderr
    assert "forerun deploy" in forerun("functions").stderr


def invoked(payload=b'{"n": 1}', **more):
    def invoke(**arguments):
        invoke.arguments = arguments
        headers = {"x-forerun-start-type": "pool", "x-forerun-duration-ms": "2.345"}
        meta = {"RequestId": "r-1", "HTTPHeaders": headers}
        return {
            "StatusCode": 200,
            "Payload": io.BytesIO(payload),
            "ExecutedVersion": "3",
            "ResponseMetadata": meta,
            **more,
        }

    return invoke


def test_invoke_prints_result_and_how_it_went(monkeypatch, forerun):
    invoke = invoked(LogResult=base64.b64encode(b"START\nEND\n").decode())
    answers(monkeypatch, invoke=invoke)
    result = forerun("invoke", "hello", '{"a": 1}', "--qualifier", "live", "--log")
    assert json.loads(result.stdout) == {"n": 1}
    assert "pool start | 2.35 ms | version 3" in result.stderr.replace("2.34", "2.35")
    assert "START\nEND" in result.stderr
    assert invoke.arguments == {
        "FunctionName": "hello",
        "Payload": b'{"a": 1}',
        "Qualifier": "live",
        "LogType": "Tail",
    }


def test_invoke_exits_with_1_when_the_function_fails(monkeypatch, forerun):
    answers(monkeypatch, invoke=invoked(b'{"errorMessage": "no"}', FunctionError="Unhandled"))
    assert forerun("invoke", "hello").exit_code == 1
    answers(monkeypatch, invoke=invoked(b"\xff\x00", FunctionError="Unhandled"))
    summary = json.loads(forerun("invoke", "hello", "--json").stdout)
    assert summary["StartType"] == "pool"
    assert summary["DurationMs"] == 2.345
    assert summary["PayloadBase64"] == base64.b64encode(b"\xff\x00").decode()


def test_invoke_payload_from_stdin_and_file(monkeypatch, forerun, tmp_path):
    invoke = invoked()
    answers(monkeypatch, invoke=invoke)
    assert forerun("invoke", "hello", "-", input="[1]").exit_code == 0
    assert invoke.arguments["Payload"] == b"[1]"
    (tmp_path / "in.json").write_text("[2]")
    assert forerun("invoke", "hello", f"@{tmp_path}/in.json").exit_code == 0
    assert invoke.arguments["Payload"] == b"[2]"
    assert forerun("invoke", "hello", f"@{tmp_path}/none.json").exit_code == 1
    assert forerun("invoke", "hello", "not json").exit_code == 2
    assert invoke_command.params[1].default == "{}"


def test_steps_of_an_invocation_count_from_the_last_one_reached():
    timings = {"received": 100.0, "admitted": 100.001, "dequeued": 0.0, "acquired": 100.003}
    assert steps(timings) == {"admit": 1.0, "sandbox": 2.0}
    assert total_ms(timings) == 3.0
    assert (steps({}), total_ms({})) == ({}, None)
    backwards = {"received": 100.0, "admitted": 99.0, "started": 100.5}
    assert steps(backwards) == {"admit": 0.0, "enter": 500.0}


def test_invocations_are_paged_and_shown(monkeypatch, forerun):
    asked = []

    def get(self, path, **query):
        asked.append(query)
        record = {
            "request_id": "0123456789",
            "version": "1",
            "status": "success",
            "start_type": "warm",
            "timings": {"received": 1e9, "admitted": 1e9 + 0.001, "ended": 1e9 + 0.002},
        }
        more = {"NextMarker": "m"} if query["Marker"] is None else {}
        return {"Invocations": [record], **more}

    monkeypatch.setattr(connection.Connection, "get", get)
    shown = forerun("invocations", "hello", "--limit", "5").stdout.splitlines()
    assert len(shown) == 3
    assert "01234567" in shown[1]
    assert "warm" in shown[1]
    assert [query["Marker"] for query in asked] == [None, "m"]
    listed = json.loads(forerun("invocations", "hello", "--json").stdout)
    assert listed[0]["steps_ms"] == {"admit": 1.0, "run": 1.0}


class LogPages:
    """A log that grows by a scan: overlapping pages, as the service gives them."""

    def __init__(self, *scans):
        self.scans = list(scans)
        self.starts = []
        self.exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)

    def get_paginator(self, _):
        return self

    def paginate(self, startTime, **_):  # noqa: N803 - AWS's name
        # A generator, as botocore's: nothing is asked before it is read.
        self.starts.append(startTime)
        if not self.scans:
            raise KeyboardInterrupt
        scan = self.scans.pop(0)
        if scan is None:
            raise LookupError
        for number in scan:
            yield {"events": [self._event(number)]}

    @staticmethod
    def _event(number):
        return {"eventId": f"e{number}", "timestamp": number * 1000, "message": f"line {number}\n"}


def test_following_a_log_prints_each_event_once(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    pages = LogPages(None, [1, 2], [2, 3], [100])
    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(event["eventId"] for event in logs.events(pages, {}, 0, follow=True))
    assert pages.starts == [0, 0, 0, 0, 90_000]
    pages = LogPages(None, [1, 2], [2, 3], [100])
    follower = logs.events(pages, {}, 0, follow=True)
    assert [next(follower)["eventId"] for _ in range(4)] == ["e1", "e2", "e3", "e100"]
    assert next(logs.events(LogPages([7]), {}, 0, follow=False))["eventId"] == "e7"
    with pytest.raises(LookupError):
        list(logs.events(LogPages(None), {}, 0, follow=False))


def test_logs_prints_lines(monkeypatch, forerun):
    monkeypatch.setattr(
        connection.Connection, "client", lambda self, name, **_: LogPages([1_700_000_000])
    )
    assert forerun("logs", "hello", "--since", "1h").stdout.rstrip().endswith(" line 1700000000")
    assert json.loads(forerun("logs", "/any/group", "--json").stdout)["eventId"] == "e1700000000"
    assert forerun("logs", "hello", "--since", "soon").exit_code == 2


def test_zygotes(monkeypatch, forerun):
    content = {
        "Zygotes": [
            {
                "name": "python3.11+a1b2c3",
                "parent": "python3.11",
                "modules": [f"module{number}" for number in range(9)],
                "own_mb": 4.5,
                "age_s": 61.2,
                "starts": 12,
                "saved_ms_per_hour": 3600,
                "functions": [{"names": {"hello": "3"}, "spared_ms": 51.5}],
                "other_functions": 2,
            }
        ],
        "Planned": [{"runtime": "python3.12", "trouble": "no memory"}],
        "Functions": [
            {
                "names": {"hello": "3"},
                "zygote": "python3.11+a1b2c3",
                "imports": [{"module": "numpy", "origin": "layer", "ms": 71.5}],
            }
        ],
    }
    asked = {}
    monkeypatch.setattr(
        connection.Connection, "get", lambda self, path, **query: asked.update(query) or content
    )
    shown = forerun("zygotes")
    for part in ("a1b2c3", "module5 and 3 more", "hello (51.5 ms), 2 of others", "3600"):
        assert part in shown.stdout
    assert "no memory" in shown.output
    assert asked == {"FunctionName": None}
    assert "numpy" in forerun("zygotes", "hello").stdout
    assert asked == {"FunctionName": "hello"}
    assert json.loads(forerun("zygotes", "--json").stdout) == content
    content |= {"Zygotes": [], "Functions": [], "Planned": []}
    assert "no zygotes" in forerun("zygotes").output
    assert "No start" in forerun("zygotes", "hello").output


def test_sandboxes_and_status(monkeypatch, forerun):
    content = {
        "/forerun/sandboxes": {"Sandboxes": [{"id": "s-1", "memory_mb": 4}]},
        "/forerun/status": {"ready": True, "runtimes": ["python3.11"], "host": {"sandboxes": 3}},
    }
    monkeypatch.setattr(connection.Connection, "get", lambda self, path, **_: content[path])
    assert "s-1" in forerun("sandboxes").stdout
    status = forerun("status").stdout
    assert "sandboxes 3" in status
    assert "ready" in status
    assert json.loads(forerun("status", "--json").stdout)["ready"] is True


def test_doctor_names_what_is_missing(monkeypatch):
    findings = [
        SimpleNamespace(name="namespaces", ok=True, detail="user, net", remedy=""),
        SimpleNamespace(
            name="nft", ok=False, detail="not found", remedy="apt-get install nftables"
        ),
    ]
    monkeypatch.setattr(forerun.sandbox, "probe", lambda: findings, raising=False)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "nft: apt-get install nftables" in result.stderr
    findings.pop()
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["name"] == "namespaces"


def test_up_refuses_wrong_settings_as_misuse(tmp_path):
    result = CliRunner().invoke(main, ["up", "--listen", "nowhere", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "HOST:PORT" in result.stderr


def test_requests_of_our_own_are_signed(tmp_path, http_answers):
    http_answers["/forerun/status?a=b"] = (200, b'{"ok": true}')
    http_answers["/health"] = (200, b"ok")
    http_answers["/forerun/broken"] = (403, b'{"message": "not yours"}')
    http_answers["/forerun/odd"] = (200, b"<html>")
    server = connection.Connection(http_answers.endpoint, REGION, "AKIDEXAMPLE", "secret", ACCOUNT)
    assert server.get("/forerun/status", a="b", c=None) == {"ok": True}
    signature = http_answers.requests[0].headers["Authorization"]
    assert "Credential=AKIDEXAMPLE/" in signature
    assert f"/{REGION}/forerun/aws4_request" in signature
    assert server.healthy()
    with pytest.raises(Failure, match="answered 403: not yours"):
        server.get("/forerun/broken")
    with pytest.raises(Failure, match="not the JSON"):
        server.get("/forerun/odd")
