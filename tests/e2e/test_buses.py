"""Buses of a real server: what was accepted is delivered although the server dies, and accounts open buses to each other."""

import json
import os
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.policies import allow
from tests.servers import FORERUN, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

CODE = """
import json

def handler(event, context):
    print("GOT " + json.dumps(event))
"""


def prepare_queue(server: Server, name: str) -> tuple[str, str]:
    """URL and ARN of a queue that rules may send to."""
    arn = f"arn:aws:sqs:{server.region}:{server.account}:{name}"
    policy = allow("sqs:SendMessage", arn, "events")
    sqs = server.client("sqs")
    return sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"], arn


def prepare_function(server: Server, rule: str) -> str:
    """The ARN of a function that this rule may call."""
    server.function(CODE, name="called")
    server.lambda_.add_permission(
        FunctionName="called",
        StatementId=rule,
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=f"arn:aws:events:{server.region}:{server.account}:rule/{rule}",
    )
    return f"arn:aws:lambda:{server.region}:{server.account}:function:called"


def logged(server: Server) -> list[dict[str, Any]]:
    """The events that the function was given, of its log."""
    client, found = server.client("logs"), []
    try:
        for page in client.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/called", filterPattern="GOT"
        ):
            found += page["events"]
    except client.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(each["message"].partition("GOT ")[2]) for each in found]


def drained(server: Server, url: str, into: set[str]) -> set[str]:
    """The ids of the events in a queue, which is emptied."""
    sqs = server.client("sqs")
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        into |= {json.loads(each["Body"])["id"] for each in found}
        entries = [
            {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
            for number, each in enumerate(found)
        ]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return into


def putting(server: Server, accepted: set[str], enough: threading.Event) -> None:
    """Put events until the server is gone; those that it accepted."""
    events = server.client("events", timeout=5)
    entry = {"Source": "shop", "DetailType": "Order", "Detail": '{"n": 1}'}
    try:
        while True:
            reply = events.put_events(Entries=[entry] * 5)
            accepted |= {each["EventId"] for each in reply["Entries"]}
            if len(accepted) >= 100:
                enough.set()
    except (BotoCoreError, ClientError):
        enough.set()


def test_what_was_accepted_is_delivered_although_the_server_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        url, queue = prepare_queue(server, "q")
        function = prepare_function(server, "r")
        events = server.client("events")
        events.put_rule(Name="r", EventPattern='{"source": ["shop"]}')
        targets = [{"Id": "1", "Arn": function}, {"Id": "2", "Arn": queue}]
        assert events.put_targets(Rule="r", Targets=targets)["FailedEntryCount"] == 0
        accepted: set[str] = set()
        enough = threading.Event()
        putter = threading.Thread(target=putting, args=(server, accepted, enough))
        putter.start()
        assert enough.wait(30)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        putter.join(20)
    assert len(accepted) >= 100
    with running(tmp_path / "data") as server:
        at_queue: set[str] = set()
        eventually(lambda: accepted <= drained(server, url, at_queue), within=30, what="the queue")
        eventually(
            lambda: accepted <= {event["id"] for event in logged(server)},
            within=30,
            what="the function",
        )


def test_a_rule_that_was_due_while_the_server_was_down_fires_once(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        url, queue = prepare_queue(server, "q")
        events = server.client("events")
        events.put_rule(Name="tick", ScheduleExpression="rate(1 hour)")
        events.put_targets(Rule="tick", Targets=[{"Id": "1", "Arn": queue}])
        server.stop()
    # The moments are moved into the past, as if the server had been down for hours.
    with sqlite3.connect(tmp_path / "data" / "messages.db") as db:
        db.execute(
            "UPDATE event_rules SET due = due - 12600,"
            " config = json_set(CAST(config AS TEXT), '$.anchor', config ->> '$.anchor' - 12600)"
        )
    db.close()
    with running(tmp_path / "data") as server:
        found: set[str] = set()
        eventually(lambda: drained(server, url, found), what="the firing")

        def shown() -> Any:
            [row] = server.platform("/forerun/schedules")["Schedules"]
            return row if row["Last"] else None

        row = eventually(shown, what="that it fired")
        assert row["Next"][0] - row["Last"]["Moment"] == 3600
        assert len(drained(server, url, found)) == 1


def second_account(server: Server, home: Path) -> dict[str, str]:
    """The keys of another account's root, as arguments of a client, and its number."""

    def forerun(*command: str) -> Any:
        done = subprocess.run(
            [str(FORERUN), *command, "--data", str(server.data), "--json"],
            capture_output=True,
            check=True,
            timeout=20,
            env=clean_environment(home),
        )
        return json.loads(done.stdout)

    return forerun("account", "create", "other")


def test_a_bus_takes_events_of_another_account_when_its_policy_says_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as server:
        server.stop()
        made = second_account(server, tmp_path)
    keys = {
        "aws_access_key_id": made["access_key_id"],
        "aws_secret_access_key": made["secret_access_key"],
    }
    with running(data) as server:
        url, queue = prepare_queue(server, "q")
        events, others = server.client("events"), server.client("events", **keys)
        events.create_event_bus(Name="open")
        arn = f"arn:aws:events:{server.region}:{server.account}:event-bus/open"
        events.put_rule(Name="r", EventBusName="open", EventPattern='{"source": ["shop"]}')
        events.put_targets(Rule="r", EventBusName="open", Targets=[{"Id": "1", "Arn": queue}])
        entry = {"Source": "shop", "DetailType": "x", "Detail": "{}", "EventBusName": arn}
        with pytest.raises(ClientError, match="AccessDenied"):
            others.put_events(Entries=[entry])
        with pytest.raises(ClientError, match="AccessDenied"):
            others.put_rule(Name="r", EventBusName=arn, EventPattern='{"a": [1]}')
        account = server.client("sts", **keys).get_caller_identity()["Account"]
        events.put_permission(
            EventBusName="open", StatementId="s", Action="events:PutEvents", Principal=account
        )
        assert others.put_events(Entries=[entry])["FailedEntryCount"] == 0
        sqs = server.client("sqs")
        reply = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)
        [body] = [json.loads(each["Body"]) for each in reply["Messages"]]
        assert body["account"] == account
        # Its own bus of that name is not this one.
        with pytest.raises(ClientError, match="does not exist"):
            others.describe_event_bus(Name="open")
