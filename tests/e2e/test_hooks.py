"""Webhooks on a real server: every scheme, what is replayed, what floods, and a server that is killed."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.endpoints import Endpoint
from tests.servers import FORERUN, Answer, Server, eventually, running

pytestmark = [pytest.mark.slow]

JSON = {"Content-Type": "application/json"}
PRINTS = "import json\ndef handler(event, context):\n    print('GOT ' + json.dumps(event))\n"


def do(server: Server, name: str, **body: Any) -> Answer:
    path, text = f"/forerun/{name}", json.dumps(body).encode()
    headers = server.signed("POST", path, text, headers=JSON, service="forerun")
    return server.request("POST", path, text, headers)


def put(server: Server, target: str, scheme: str, **more: Any) -> dict[str, Any]:
    name = f"h-{uuid.uuid4().hex[:8]}"
    answer = do(server, "put-hook", Name=name, Target=target, Scheme=scheme, **more)
    assert answer.status == 200, answer
    return dict(answer.json())


def send(
    server: Server, hook: dict[str, Any], body: bytes, headers: dict[str, str] | None = None
) -> Answer:
    path = hook["Url"].removeprefix(server.endpoint)
    return server.request("POST", path, body, JSON | (headers or {}))


def hexed(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def standard(secret: str, body: bytes, *, at: float = 0.0, name: str = "") -> dict[str, str]:
    name, stamp = name or f"msg_{uuid.uuid4().hex}", str(int(at or time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": signature}


def github(secret: str, body: bytes, *, event: str = "push") -> dict[str, str]:
    signature = f"sha256={hexed(secret, body)}"
    return {
        "X-Hub-Signature-256": signature,
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid.uuid4()),
    }


def stripe(secret: str, body: bytes) -> dict[str, str]:
    stamp = int(time.time())
    return {"Stripe-Signature": f"t={stamp},v1={hexed(secret, f'{stamp}.'.encode() + body)}"}


def slack(secret: str, body: bytes) -> dict[str, str]:
    stamp = int(time.time())
    signature = f"v0={hexed(secret, f'v0:{stamp}:'.encode() + body)}"
    return {"X-Slack-Request-Timestamp": str(stamp), "X-Slack-Signature": signature}


SIGN = {"standard": standard, "github": github, "stripe": stripe, "slack": slack}


def got(server: Server, name: str) -> list[Any]:
    """What a function that prints was given."""
    logs = server.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]:
        return []
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [
        json.loads(each["message"][4:]) for each in events if each["message"].startswith("GOT ")
    ]


@pytest.mark.parametrize("scheme", sorted(SIGN))
def test_every_scheme_runs_a_function_once(server: Server, scheme: str) -> None:
    name = server.function(PRINTS)
    given = {"Secret": "the sender's secret"} if scheme in ("stripe", "slack") else {}
    hook = put(server, name, scheme, **given)
    secret = given.get("Secret") or hook["Secret"]
    body = b'{"hello": "there"}'
    headers = SIGN[scheme](secret, body)
    answer = send(server, hook, body, headers)
    assert answer.status == 202, answer
    replayed = send(server, hook, body, headers)
    assert (replayed.status, replayed.json()["Duplicate"]) == (200, True)
    assert send(server, hook, body + b" ", headers).status == 401
    assert send(server, hook, body).status == 401
    eventually(lambda: got(server, name), within=20)
    [event] = got(server, name)
    assert event["data"] == {"hello": "there"}
    assert event["specversion"] == "1.0"
    [listed] = [
        each for each in server.platform("/forerun/hooks")["Hooks"] if each["Name"] == hook["Name"]
    ]
    assert "Secret" not in listed
    assert (listed["Accepted"], listed["Duplicates"], listed["Refused"]) == (1, 1, 2)


def test_what_senders_ask_before_they_send(server: Server) -> None:
    hook = put(server, "nobody", "slack", Secret="the sender's secret")
    body = b'{"type": "url_verification", "challenge": "c"}'
    answer = send(server, hook, body, slack("the sender's secret", body))
    assert (answer.status, answer.json()) == (200, {"challenge": "c"})
    assert send(server, hook, body, slack("another secret", body)).status == 401
    hook = put(server, "nobody", "github")
    answer = send(server, hook, b"{}", github(hook["Secret"], b"{}", event="ping"))
    assert (answer.status, answer.json()) == (200, {"message": "pong"})
    path = hook["Url"].removeprefix(server.endpoint)
    asked = server.request("OPTIONS", path, headers={"WebHook-Request-Origin": "example.com"})
    assert (asked.status, asked.headers["webhook-allowed-origin"]) == (200, "example.com")


def test_what_is_too_old_too_large_or_nowhere(server: Server) -> None:
    hook = put(server, "nobody", "standard")
    old = standard(hook["Secret"], b"{}", at=time.time() - 301)
    answer = send(server, hook, b"{}", old)
    assert (answer.status, "too old" in answer.json()["message"]) == (401, True)
    large = b'"' + b"x" * (1024 * 1024) + b'"'
    assert send(server, hook, large, standard(hook["Secret"], large)).status == 413
    nowhere = {"Url": f"{server.endpoint}/hooks/{uuid.uuid4().hex}"}
    assert send(server, nowhere, b"{}").status == 404
    path = hook["Url"].removeprefix(server.endpoint)
    assert server.request("GET", path).status == 405
    png = standard(hook["Secret"], b"x") | {"Content-Type": "image/png"}
    assert send(server, hook, b"x", png).status == 415


def test_a_flood_is_refused_and_others_are_served(server: Server) -> None:
    flooded = put(server, "nobody", "github", RatePerSecond=1)
    other = put(server, "nobody", "github")
    answers = [send(server, flooded, b"{}") for _ in range(10)]
    assert {each.status for each in answers} == {401, 429}
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert send(server, other, b"{}", github(other["Secret"], b"{}")).status == 202


def test_cloudevents_in_three_modes_reach_a_function(server: Server) -> None:
    name = server.function(PRINTS)
    hook = put(server, name, "none")
    assert "whoever learns its URL" in hook["Warning"]
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}}
    structured = {"Content-Type": "application/cloudevents+json"}
    assert send(server, hook, json.dumps(event).encode(), structured).status == 202
    binary = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/s", "ce-type": "t"}
    assert send(server, hook, b'{"n": 2}', binary).status == 202
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    several = [event, {**event, "id": "3", "data": {"n": 3}}]
    answer = send(server, hook, json.dumps(several).encode(), batch)
    assert (answer.status, answer.json()["Messages"]) == (202, 1)
    refused = send(server, hook, b'{"specversion": "1.0"}', structured)
    assert (refused.status, refused.json()["message"][:3]) == (400, "id ")
    eventually(lambda: len(got(server, name)) == 3, within=20)
    assert sorted(each["data"]["n"] for each in got(server, name)) == [1, 2, 3]
    assert {each["id"] for each in got(server, name)} == {"1", "2", "3"}


def test_a_url_gets_structured_events(server: Server) -> None:
    with contextlib.closing(Endpoint()) as endpoint:
        hook = put(server, endpoint.url, "github")
        body = b'{"ref": "main"}'
        assert send(server, hook, body, github(hook["Secret"], body)).status == 202
        heard = endpoint.next()
        assert heard.headers["content-type"] == "application/cloudevents+json"
        event = heard.json()
        assert (event["specversion"], event["type"]) == ("1.0", "com.github.push")
        assert event["source"].endswith(f":hook/{hook['Name']}")
        assert event["data"] == {"ref": "main"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Name"),
        ({"Name": "a", "Target": "f", "Scheme": "odd"}, "Scheme"),
        ({"Name": "a", "Target": "f", "Scheme": "none", "Other": 1}, "Other"),
        ({"Name": "a", "Target": "f", "Scheme": "none", "MaxAgeSeconds": "x"}, "MaxAgeSeconds"),
        ({"Name": "a", "Target": "f", "Scheme": "none", "MaxAgeSeconds": -1}, "MaxAgeSeconds"),
        ({"Name": "a", "Target": "f", "Scheme": "none", "ContentTypes": [1]}, "ContentTypes"),
        ({"Name": "a", "Target": "f", "Scheme": "stripe"}, "Secret"),
        ({"Name": "a", "Target": "arn:aws:s3:::b", "Scheme": "none"}, "Target"),
    ],
    ids=["empty", "scheme", "unknown", "type", "range", "list", "secret", "target"],
)
def test_hooks_that_are_refused(server: Server, body: dict[str, Any], words: str) -> None:
    answer = do(server, "put-hook", **body)
    assert answer.status == 400, answer
    assert words in (answer.json().get("message") or answer.json().get("Message"))


def test_what_was_answered_202_survives_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sent: dict[str, dict[str, str]] = {}
    with running(data) as server:
        name = server.function(PRINTS)
        hook = put(server, name, "standard")
        for number in range(20):
            body = json.dumps({"n": number}).encode()
            headers = standard(hook["Secret"], body)
            assert send(server, hook, body, headers).status == 202
            sent[body.decode()] = headers
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
    with running(data) as server:
        moved = {"Url": f"{server.endpoint}/hooks/{hook['Url'].rpartition('/')[2]}"}
        for text, headers in sent.items():
            answer = send(server, moved, text.encode(), headers)
            assert (answer.status, answer.json()["Duplicate"]) == (200, True)
        numbers: set[int] = set()

        def all_came() -> bool:
            numbers.update(each["data"]["n"] for each in got(server, name))
            return numbers == set(range(20))

        eventually(all_came, within=30)


def test_the_command_line(server: Server, tmp_path: Path) -> None:
    def forerun(*arguments: str) -> Any:
        return subprocess.run(
            [str(FORERUN), "hooks", *arguments],
            env=server.environment(tmp_path),
            capture_output=True,
            timeout=30,
            check=True,
            text=True,
        )

    name = f"h-{uuid.uuid4().hex[:8]}"
    made = json.loads(forerun("put", name, "--target", "f", "--json").stdout)
    assert made["Secret"].startswith("whsec_")
    rotated = forerun("rotate", name)
    assert "secret  whsec_" in rotated.stdout
    assert made["Secret"] not in rotated.stdout
    shown = forerun("list").stdout
    assert name in shown
    assert made["Url"] in shown
    body = b"{}"
    assert send(server, made, body, standard(made["Secret"], body)).status == 202, "kept for a day"
    loud = forerun("put", name, "--target", "f", "--scheme", "none")
    assert "unsigned requests" in loud.stderr
    forerun("delete", name)
    assert name not in forerun("list", "--json").stdout
    assert send(server, made, body).status == 404
