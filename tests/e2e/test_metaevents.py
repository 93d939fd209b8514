"""The dead-man switch and what follows from it, with real functions, real time and a server that is killed."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.servers import FORERUN, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

WITHIN = 2.0
EVERY = 0.8
# The platform notes that a handler begins a moment before the handler itself reads its clock, or after.
CLOSE = 0.05
OK = "def handler(event, context):\n    return 'ok'\n"
ALARM = "def handler(event, context):\n    return {'alarm': 'X', 'of': event}\n"
ECHO = "def handler(event, context):\n    return event\n"
SLOW = "import time\n\n\ndef handler(event, context):\n    time.sleep(3)\n"


def command(server: Server, name: str, body: object, status: int = 200):
    path, content = f"/forerun/{name}", json.dumps(body).encode()
    signed = server.signed("POST", path, content, service="forerun")
    answer = server.request("POST", path, content, signed)
    assert answer.status == status, answer
    return answer.json()


def watch_backup(server: Server, **more):
    leaf = {"event": "execution.started", "function": "backup"}
    command(
        server,
        "put-metaevent",
        {"Name": "watchdog", "When": {"absent": leaf, "within": WITHIN}, "Job": "alarm", **more},
    )


def cli(server: Server, *arguments: str) -> str:
    ran = subprocess.run(
        [str(FORERUN), "metaevents", *arguments, "--data", str(server.data)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=clean_environment(server.data.parent),
    )
    return ran.stdout + ran.stderr


def rule(server: Server, name: str):
    return server.platform(f"/forerun/metaevent?Name={name}")["Metaevent"]


def until(moment: float):
    eventually(lambda: time.time() >= moment, within=20)


def back_up(server: Server) -> float:
    """Run it; when it was started."""
    before = {each["request_id"] for each in server.invocations("backup")}
    server.call("backup")
    [new] = eventually(
        lambda: [each for each in server.invocations("backup") if each["request_id"] not in before]
    )
    return float(new["timings"]["started"])


def alarms(server: Server):
    return sorted(server.invocations("alarm"), key=lambda each: each["timings"]["received"])


def test_alarm_runs_when_backup_has_not_and_page_when_alarm_says_so(tmp_path: Path):
    with running(tmp_path / "data") as server:
        for name, code in (("backup", OK), ("alarm", ALARM), ("page", ECHO)):
            server.function(code, name=name)
        cli(server, "put", "watchdog", "--absent", "backup", "--within", "2s", "--run", "alarm")
        command(
            server,
            "put-metaevent",
            {
                "Name": "pager",
                "When": {
                    "event": "execution.ended",
                    "function": "alarm",
                    "where": "event.output.contains('X')",
                },
                "Job": "page",
            },
        )
        for _ in range(4):
            last = back_up(server)
            until(last + EVERY)
        assert alarms(server) == [], "while backup runs, nobody is alarmed"

        [alarm] = eventually(lambda: alarms(server))
        due = last + WITHIN
        assert due - CLOSE <= alarm["timings"]["received"] < due + 0.5
        assert alarm["source"].endswith(":metaevent/watchdog")
        until(due + 1.5 * WITHIN)
        assert len(alarms(server)) == 1, "once for one absence"

        last = back_up(server)
        [_, again] = eventually(lambda: alarms(server)[1:] and alarms(server))
        assert last + WITHIN - CLOSE <= again["timings"]["received"] < last + WITHIN + 0.5

        pages = eventually(lambda: server.invocations("page")[1:] and server.invocations("page"))
        assert len(pages) == 2
        assert rule(server, "pager")["Jobs"][0]["Chain"] == ["watchdog", "pager"]
        shown = rule(server, "watchdog")
        assert (shown["Fired"], shown["Refused"]) == (2, 0)
        assert shown["Held"]
        assert "it is absent, 2 s are over" in shown["Why"][1]
        assert "it is absent, 2 s are over" in cli(server, "show", "watchdog")
        assert [line.split()[0] for line in cli(server, "list").splitlines()[1:]] == [
            "pager",
            "watchdog",
        ]


@pytest.mark.parametrize("down", [0.0, 1.5 * WITHIN], ids=["a moment", "longer than it may be"])
def test_a_server_that_was_killed_in_the_gap_alarms_once(tmp_path: Path, down: float):
    with running(tmp_path / "data") as server:
        for name, code in (("backup", OK), ("alarm", ALARM)):
            server.function(code, name=name)
        watch_backup(server)
        last = back_up(server)
        server.stop(signal.SIGKILL)
    until(last + down)
    with running(tmp_path / "data") as server:
        began = time.time()
        [alarm] = eventually(lambda: alarms(server))
        due = last + WITHIN
        assert alarm["timings"]["received"] >= due - CLOSE
        assert alarm["timings"]["received"] < max(due, began) + 1.0
        until(alarm["timings"]["received"] + 1.5 * WITHIN)
        assert len(alarms(server)) == 1
        server.stop(signal.SIGKILL)
    with running(tmp_path / "data") as server:
        until(time.time() + WITHIN)
        assert len(alarms(server)) == 1, "not again after another restart"
        assert rule(server, "watchdog")["Fired"] == 1
        last = back_up(server)
        [_, again] = eventually(lambda: alarms(server)[1:] and alarms(server))
        assert again["timings"]["received"] >= last + WITHIN - CLOSE


def test_what_is_refused_is_no_execution_and_what_runs_long_has_begun(tmp_path: Path):
    with running(tmp_path / "data") as server:
        for name, code in (("backup", SLOW), ("alarm", ECHO)):
            server.function(code, name=name, Timeout=10)
        watch_backup(server)
        server.lambda_.invoke(FunctionName="backup", InvocationType="Event")
        [fired] = eventually(lambda: rule(server, "watchdog")["Jobs"])
        [ran] = eventually(lambda: server.invocations("backup"))
        assert ran["timings"]["started"] + WITHIN == pytest.approx(fired["At"], abs=0.3)
        assert fired["At"] < ran["timings"]["ended"], "its start counts, not its end"

        server.lambda_.put_function_concurrency(
            FunctionName="backup", ReservedConcurrentExecutions=0
        )
        with pytest.raises(ClientError, match="TooManyRequests"):
            server.call("backup")
        server.lambda_.invoke(FunctionName="backup", InvocationType="Event")
        refused = eventually(
            lambda: [each for each in server.invocations("backup") if each["status"] == "throttled"]
        )
        assert refused
        shown = rule(server, "watchdog")
        assert (shown["Fired"], shown["Held"]) == (1, True)
        told = eventually(lambda: server.invocations("alarm"))
        assert len(told) == 1


def test_the_job_is_told_what_held(tmp_path: Path):
    with running(tmp_path / "data") as server:
        server.function(OK, name="backup")
        server.function(
            "def handler(event, context):\n    print(event)\n    raise ValueError\n", name="alarm"
        )
        server.function(ECHO, name="page")
        watch_backup(server)
        command(
            server,
            "put-metaevent",
            {
                "Name": "failed",
                "When": {
                    "count": {"event": "execution.ended", "where": "event.status == 'error'"},
                    "over": "1m",
                    "at_least": 1,
                },
                "Job": "page",
                "InputTransformer": {
                    "InputPathsMap": {"what": "$.criteria[0].value", "who": "$.event.function"},
                    "InputTemplate": '{"errors": <what>, "of": "<who>"}',
                },
            },
        )
        last = back_up(server)
        logs = server.client("logs")

        def printed():
            try:
                found = logs.filter_log_events(logGroupName="/aws/lambda/alarm")["events"]
            except ClientError:
                return None
            return [each["message"] for each in found if "watchdog" in each["message"]]

        [line] = eventually(printed)[:1]
        told = eval(line)
        assert told["metaevent"] == "watchdog"
        assert told["chain"] == ["watchdog"]
        assert told["event"] is None
        assert told["criteria"][0]["held"] is True
        assert told["criteria"][0]["value"] == pytest.approx(WITHIN, abs=0.5)
        assert told["lastExecution"]["function"] == "backup"
        assert told["window"]["from"][:19] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(last))
        shown = eventually(lambda: rule(server, "failed")["Fired"] and rule(server, "failed"))
        assert shown["Jobs"][0]["Chain"] == ["watchdog", "failed"]
        page = eventually(lambda: server.invocations("page"))[0]
        assert page["response_bytes"] == len(b'{"errors": 1.0, "of": "alarm"}')


RAREST = {
    "kept": {"event": "deadletter.kept", "function": "work", "where": "event.reason != ''"},
    "deployed": {"event": "function.changed", "where": "event.change == 'created'"},
    "updated": {
        "event": "function.changed",
        "function": "work",
        "where": "event.change == 'updated'",
    },
    "refused": {"event": "execution.throttled", "function": "work"},
    "queued": {"event": "execution.queued", "function": "work"},
    "detected": {
        "event": "execution.detected",
        "function": "work",
        "where": "event.type == 'Event'",
    },
    "hosts": {"event": "host.changed", "where": "event.sandboxes > 0 && event.memory_mb > 0"},
    "cold": {"event": "execution.ended", "where": "event.cold && event.init_ms > 0"},
    "cascade": {"event": "metaevent.raised", "where": "event.metaevent == 'kept'"},
}


def test_all_that_the_platform_sees_can_be_looked_for(tmp_path: Path):
    settings = {"FORERUN_EVENTS_RETRY_S": "0.1"}
    with running(tmp_path / "data", settings=settings) as server:
        for name, code in (
            ("work", "def handler(event, context):\n    raise ValueError\n"),
            ("note", ECHO),
        ):
            server.function(code, name=name)
        for name, when in RAREST.items():
            given = {"Name": name, "When": {**when}, "Job": "note", "Cooldown": "1h"}
            command(server, "put-metaevent", given)
        # Deployments and numbers are compared with what there was when somebody first asked.
        eventually(lambda: rule(server, "hosts")["Fired"])
        server.function(ECHO, name="another")
        server.lambda_.update_function_configuration(FunctionName="work", Timeout=5)
        server.lambda_.invoke(FunctionName="work", InvocationType="Event")
        eventually(lambda: rule(server, "kept")["Fired"], within=20)
        server.lambda_.put_function_concurrency(FunctionName="work", ReservedConcurrentExecutions=0)
        with pytest.raises(ClientError, match="TooManyRequests"):
            server.call("work")

        def missing():
            return [name for name in RAREST if not rule(server, name)["Fired"]]

        eventually(lambda: not missing(), what="every rule fired")
        chain = rule(server, "cascade")["Jobs"][0]["Chain"]
        assert chain[-2:] == ["kept", "cascade"]


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("put-metaevent", b"[]", "JSON object"),
        ("put-metaevent", b"{" * 5000, "JSON object"),
        ("put-metaevent", b'{"Name": "n"}', "When must be a JSON object"),
        (
            "put-metaevent",
            b'{"Name": "n", "When": {"event": "execution.ended"}, "Job": "gone"}',
            "not found",
        ),
        ("put-metaevent", b'{"Name": "n", "When": {"any": [' * 400 + b"]}" * 400 + b"}", "JSON"),
        ("delete-metaevent", b"{}", "Name must be"),
        ("delete-metaevent", b'{"Name": "gone"}', "no metaevent gone"),
        (
            "test-metaevent",
            b'{"When": {"event": "execution.ended", "where": "[1].all(x, true)"}}',
            "macro",
        ),
    ],
    ids=["list", "broken", "no criteria", "no function", "deep", "no name", "no rule", "macro"],
)
def test_what_is_wrong_is_answered_with_its_reason(
    plain: Server, name: str, body: bytes, words: str
):
    path = f"/forerun/{name}"
    signed = plain.signed("POST", path, body, service="forerun")
    answer = plain.request("POST", path, body, signed)
    assert answer.status in (400, 404), answer
    assert words in answer.json()["message"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("plain") / "data") as server:
        yield server
