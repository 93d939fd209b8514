"""Watched directories of a real server: every file is told at least once, whatever happens to the server meanwhile."""

import json
import os
import signal
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Answer, Server, eventually, running

pytestmark = pytest.mark.slow

CODE = """
import json

def handler(event, context):
    print("TOLD " + json.dumps([event["type"].rpartition(".")[2], event["subject"], event["data"]["size"]]))
"""
WITH_ROOTS = "FORERUN_EVENTS_FOLDERS"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def post(
    server: Server, name: str, body: dict[str, Any], *, keys: tuple[str, str] | None = None
) -> Answer:
    content = json.dumps(body).encode()
    path = f"/forerun/{name}"
    headers = server.signed("POST", path, content, service="forerun", keys=keys)
    return server.request("POST", path, content, headers)


def put(server: Server, path: Path, **more: Any) -> dict[str, Any]:
    wish = {"Name": "inbox", "Path": str(path), "Target": "told", "SettleSeconds": 0.1}
    answer = post(server, "put-folder", wish | more)
    assert answer.status == 200, answer
    return dict(answer.json()["Folder"])


def told(server: Server) -> list[tuple[str, str, int]]:
    """What the function was told: kind, path below the directory, size."""
    logs, found, token = server.client("logs"), [], {}
    while True:
        try:
            page = logs.filter_log_events(
                logGroupName="/aws/lambda/told", filterPattern="TOLD", **token
            )
        except logs.exceptions.ResourceNotFoundException:
            return []
        for event in page["events"]:
            kind, subject, size = json.loads(event["message"].partition("TOLD ")[2])
            found.append((kind, subject, size))
        if not page.get("nextToken"):
            return found
        token = {"nextToken": page["nextToken"]}


def shown(server: Server) -> dict[str, Any]:
    [folder] = server.platform("/forerun/folders?Name=inbox")["Folders"]
    return dict(folder)


def watched(server: Server) -> bool:
    return shown(server)["LookedThrough"] is not None


def test_files_are_told_when_they_come_change_and_go(tmp_path: Path, inbox: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (inbox / "before.txt").write_text("was there")
    os.utime(inbox / "before.txt", (1, 1))
    with running(tmp_path / "data", settings={WITH_ROOTS: str(tmp_path)}) as server:
        server.function(CODE, name="told")
        folder = put(server, inbox, Events=["created", "modified", "deleted"], Pattern="*.txt")
        account = server.account
        assert folder["Arn"] == f"arn:aws:forerun:{server.region}:{account}:folder/inbox"
        eventually(lambda: watched(server), what="the first look")
        (inbox / "a.txt").write_text("first")
        (inbox / "ignored.csv").write_text("x")
        (inbox / "deep" / "er").mkdir(parents=True)
        (inbox / "deep" / "er" / "b.txt").write_text("below")
        (outside / "secret.txt").write_text("not told")
        (inbox / "link.txt").symlink_to(outside / "secret.txt")
        (inbox / "linked").symlink_to(outside)
        os.mkfifo(inbox / "pipe.txt")
        eventually(lambda: len(told(server)) >= 2, what="new files")
        (inbox / "a.txt").write_text("second!")
        eventually(lambda: ("modified", "a.txt", 7) in told(server), what="the change")
        (inbox / "a.txt").unlink()
        eventually(lambda: ("deleted", "a.txt", 7) in told(server), what="the end")
        (inbox / "deep" / "er" / "b.txt").rename(inbox / "c.txt")
        eventually(lambda: ("created", "c.txt", 5) in told(server), what="the new name")
        eventually(lambda: ("deleted", "deep/er/b.txt", 5) in told(server), what="the old name")
        assert sorted(set(told(server))) == [
            ("created", "a.txt", 5),
            ("created", "c.txt", 5),
            ("created", "deep/er/b.txt", 5),
            ("deleted", "a.txt", 7),
            ("deleted", "deep/er/b.txt", 5),
            ("modified", "a.txt", 7),
        ]
        assert post(server, "delete-folder", {"Name": "inbox"}).status == 200
        assert server.platform("/forerun/folders")["Folders"] == []


def test_a_thousand_files_are_each_told_though_the_server_is_killed(tmp_path: Path, inbox: Path):
    """A writer that never waits; the server is killed twice, and is down for a while."""
    data, settings = tmp_path / "data", {WITH_ROOTS: str(inbox)}
    count = 1000
    pace = threading.Event()

    def write() -> None:
        for number in range(count):
            (inbox / f"{number % 10}").mkdir(exist_ok=True)
            (inbox / f"{number % 10}" / f"f{number}.bin").write_bytes(b"x" * number)
            pace.wait(0.012)

    writer = threading.Thread(target=write)
    with running(data, settings=settings) as server:
        server.function(CODE, name="told")
        put(server, inbox)
        writer.start()
        eventually(lambda: shown(server)["Told"] > 50, what="some files")
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
    with running(data, settings=settings) as server:
        before = shown(server)["Files"]
        eventually(lambda: shown(server)["Files"] > before + 50, what="some more files")
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        # The rest comes while there is no server.
        pace.set()
        writer.join(30)
    with running(data, settings=settings) as server:
        expected = {(f"{n % 10}/f{n}.bin", n) for n in range(count)}
        eventually(
            lambda: {(path, size) for _, path, size in told(server)} >= expected,
            within=30,
            what="all files",
        )
        eventually(lambda: shown(server)["Files"] == count, what="that all are known")


BAD = {
    "relative": ({"Path": "inbox"}, 400, "absolute"),
    "elsewhere and missing": ({"Path": "/nowhere/at/all"}, 403, "may not be watched; allowed is what lies below"),
    "not allowed": ({"Path": "/etc"}, 403, "may not be watched; allowed is what lies below"),
    "other account": ({"Target": "arn:aws:lambda:us-home-1:999999999999:function:f"}, 400, "own account"),
    "target": ({"Target": "arn:aws:s3:::bucket"}, 400, "Target must be"),
    "events": ({"Events": ["renamed"]}, 400, "Events must be a list of some of created"),
    "settle": ({"SettleSeconds": -1}, 400, "SettleSeconds must be a number from 0 to 3600"),
    "name": ({"Name": "a/b"}, 400, "Name must be"),
    "unknown": ({"Colour": 1}, 400, "no field Colour"),
    "type": ({"Recursive": "yes"}, 400, "Recursive must be true or false"),
}  # fmt: skip


def test_what_cannot_be_watched_is_refused_and_says_why(tmp_path: Path, inbox: Path):
    with running(tmp_path / "data", settings={WITH_ROOTS: str(inbox)}) as server:
        good = {"Name": "inbox", "Path": str(inbox), "Target": "told"}
        for kind, (wrong, status, words) in BAD.items():
            answer = post(server, "put-folder", good | wrong)
            assert (answer.status, words in answer.json()["message"].__str__()) == (status, True), (
                kind,
                answer,
            )
        answer = post(server, "put-folder", good | {"Path": str(inbox / "none")})
        assert (answer.status, b"cannot be watched" in answer.body) == (400, True)
        link = inbox / "out"
        link.symlink_to("/etc")
        answer = post(server, "put-folder", good | {"Path": str(link)})
        assert answer.status == 403, answer
        assert post(server, "delete-folder", {"Name": uuid.uuid4().hex}).status == 404


def test_who_puts_a_folder_must_be_allowed_to_send_to_its_target(tmp_path: Path, inbox: Path):
    with running(tmp_path / "data", settings={WITH_ROOTS: str(inbox)}) as server:
        keys = limited_user(server, "forerun:PutFolder", "forerun:PutMetaevent")
        wish = {"Name": "inbox", "Path": str(inbox), "Target": "told"}
        answer = post(server, "put-folder", wish, keys=keys)
        assert (answer.status, b"lambda:InvokeFunction" in answer.body) == (403, True)
        rule = {"Name": "r", "When": {"event": "execution.ended"}, "Job": "told"}
        answer = post(server, "put-metaevent", rule, keys=keys)
        assert (answer.status, b"lambda:InvokeFunction" in answer.body) == (403, True)
        queue = f"arn:aws:sqs:{server.region}:{server.account}:q"
        answer = post(server, "put-folder", wish | {"Target": queue}, keys=keys)
        assert (answer.status, b"sqs:SendMessage" in answer.body) == (403, True)


def limited_user(server: Server, *actions: str) -> tuple[str, str]:
    """The keys of a user who may do these and nothing else."""
    iam, name = server.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_without_a_setting_no_directory_is_watched(tmp_path: Path, inbox: Path):
    with running(tmp_path / "data") as server:
        answer = post(server, "put-folder", {"Name": "inbox", "Path": str(inbox), "Target": "told"})
        assert answer.status == 403
        assert b"FORERUN_EVENTS_FOLDERS" in answer.body
