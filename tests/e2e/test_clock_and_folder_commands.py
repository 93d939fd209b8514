"""``forerun schedules`` and ``forerun folders`` against a real server."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.servers import FORERUN, Server, eventually, running, server_environment

pytestmark = pytest.mark.slow


def forerun(server: Server, *arguments: str, zone: str = "UTC", fails: bool = False) -> str:
    done = subprocess.run(
        [str(FORERUN), *arguments, "--data", str(server.data)],
        env=server_environment(server.data.parent) | {"TZ": zone},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode != 0) == fails, done
    return done.stderr if fails else done.stdout


def test_what_comes_next_is_listed_in_the_users_own_time_zone(tmp_path: Path):
    with running(tmp_path / "data") as server:
        account, region = server.account, server.region
        server.client("scheduler").create_schedule(
            Name="noon",
            ScheduleExpression="cron(0 12 1 1 ? *)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": f"arn:aws:lambda:{region}:{account}:function:f",
                "RoleArn": f"arn:aws:iam::{account}:role/r",
            },
        )
        server.client("events").put_rule(Name="ticks", ScheduleExpression="rate(1 hour)")
        head, *rows = forerun(server, "schedules", zone="Asia/Tokyo").splitlines()
        assert head.split()[:4] == ["NAME", "KIND", "STATE", "WHEN"]
        [noon] = [row for row in rows if row.startswith("noon")]
        assert "-01-01 21:00:00" in noon
        assert noon.endswith("lambda function:f")
        assert [row.split()[1] for row in rows if row.startswith("ticks")] == ["rule"]
        [shown] = json.loads(forerun(server, "schedules", "no", "--json"))
        assert len(shown["Next"]) == 5


def test_directories_are_watched_by_command(tmp_path: Path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with running(tmp_path / "data", settings={"FORERUN_EVENTS_FOLDERS": str(inbox)}) as server:
        assert forerun(server, "folders", "list") == ""
        said = forerun(server, "folders", "put", "inbox", "/etc", "f", fails=True)
        assert "may not be watched" in said
        forerun(
            server, "folders", "put", "inbox", str(inbox), "f", "--pattern", "*.csv",
            "--event", "created", "--settle", "0",
        )  # fmt: skip
        (inbox / "a.csv").write_text("1,2")
        eventually(
            lambda: json.loads(forerun(server, "folders", "list", "--json"))[0]["Told"] == 1,
            what="the file was told",
        )
        head, row = forerun(server, "folders", "list").splitlines()
        assert head.split()[:2] == ["NAME", "PATH"]
        assert row.split()[:4] == ["inbox", str(inbox), "*.csv", "created"]
        forerun(server, "folders", "delete", "inbox")
        assert json.loads(forerun(server, "folders", "list", "--json")) == []
        assert "no folder" in forerun(server, "folders", "delete", "inbox", fails=True)
